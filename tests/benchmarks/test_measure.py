"""The pure parts of the benchmarks; no test asserts a time. `benchmarks` is no package: it is put on the path."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from iaat.radius import paper
from reference import iaat_slow

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
K = 10


@pytest.fixture(autouse=True)
def _on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def tiny():
    return nn.Sequential(nn.Flatten(), nn.Linear(18, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def published(model, count, **settings):
    from published import PublishedIAAT

    return PublishedIAAT(model, torch.optim.SGD(model.parameters(), lr=0.1), torch.full((count,), 8 / 255), **settings)


def test_ratios_are_of_the_same_round():
    from _measure import Spread, Timing

    ours, other = Timing("ours", (1.0, 2.0, 4.0)), Timing("other", (2.0, 8.0, 12.0))
    assert other.ratio(ours) == Spread(3.0, 2.5, 3.5)  # 2, 4, 3; the ratio of the medians would be 4
    assert ours.spread.median == 2.0
    assert Timing("once", (3.0,)).spread == Spread(3.0, 3.0, 3.0)


def test_candidates_take_turns_after_the_warm_up():
    from _measure import compare

    calls = []
    timings = compare({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3, warmup=2)
    assert calls == ["a", "a", "b", "b", *"ababab"]
    assert [(timing.name, len(timing.seconds)) for timing in timings] == [("a", 3), ("b", 3)]


@pytest.mark.parametrize(
    ("low", "median", "high", "bound", "reached", "clear"),
    [
        (1.0, 1.02, 1.04, {"at_most": 1.05}, True, True),
        (1.0, 1.02, 1.06, {"at_most": 1.05}, True, False),
        (1.0, 1.06, 1.07, {"at_most": 1.05}, False, False),
        (3.0, 3.5, 3.9, {"at_least": 4.0}, False, True),
        (3.9, 4.1, 4.2, {"at_least": 4.0}, True, False),
    ],
)
def test_a_goal_is_reached_by_its_median(low, median, high, bound, reached, clear):
    from _measure import Goal, Spread

    goal = Goal("x", Spread(median, low, high), **bound)
    assert (goal.reached, goal.clear) == (reached, clear)
    assert ("not reached" in str(goal)) == (not reached)
    assert ("within the spread" in str(goal)) == (not clear)


def test_the_result_file_says_what_was_measured_where(tmp_path):
    from _measure import Goal, Spread, write_results

    goals = [Goal("a / b", Spread(1.0, 0.9, 1.1), at_most=2)]
    path = write_results(
        "step-tiny", {"steps": K}, [{"name": "a", "seconds": [1.0]}], goals=goals, packages=["no-such"], folder=tmp_path
    )
    record = json.loads(path.read_text(encoding="utf-8"))
    assert path.parent == tmp_path
    assert path.name.startswith("step-tiny-")
    assert path.name.endswith(f"-{record['date']}.json")
    assert set(record) == {"what", "date", "command", "hardware", "versions", "config", "rows", "goals"}
    assert set(record["hardware"]) == {"cpu", "gpu", "threads", "system"}
    assert record["versions"]["torch"] == torch.__version__
    assert record["versions"]["no-such"] is None
    assert (record["config"], record["rows"]) == ({"steps": K}, [{"name": "a", "seconds": [1.0]}])
    assert record["goals"][0]["reached"] is True


def test_the_published_procedure_costs_what_was_published():
    from _measure import passes_of

    model, x, y = tiny(), torch.rand(4, 2, 3, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    procedure = published(model, 9, steps=K)
    passes = passes_of(model, lambda: procedure.step(x, y, torch.tensor([8, 2, 3, 5])), len(x))
    assert (passes.forward, passes.backward) == (34, 31)


def test_the_published_update_is_the_rule_paper():
    from published import moved

    outcomes = torch.tensor(list(itertools.product([False, True], repeat=3)))
    radius = torch.linspace(0, 16 / 255, len(outcomes))
    constants = {"gamma": 1.9 / 255, "beta": 0.1}
    new = moved(radius, *outcomes.T, **constants)
    assert torch.equal(new, paper(radius, *outcomes.T, **constants))
    for value, before, (clean, at, above) in zip(new.tolist(), radius.tolist(), outcomes.tolist(), strict=True):
        expected = iaat_slow.updated_radius(
            before, clean_correct=clean, correct_at_e=at, correct_above=above, **constants
        )
        assert value == pytest.approx(expected, abs=1e-8)


def test_the_published_procedure_trains_as_the_slow_oracle():
    images = torch.rand(6, 2, 3, 3, dtype=torch.float64)
    labels, batches = [0, 1, 2, 0, 1, 2], [[4, 0, 3], [1, 5, 2]]
    model, slow = tiny(), tiny()
    slow.load_state_dict(model.state_dict())
    procedure = published(model, len(images), steps=3, generator=torch.Generator().manual_seed(1))
    history = iaat_slow.train(
        slow, images, labels, [batches] * 4, torch.Generator().manual_seed(1), lr=0.1, warmup_epochs=0, steps=3
    )
    for batch in batches * 4:
        procedure.step(images[batch], torch.tensor(labels)[batch], torch.tensor(batch))
    assert procedure.radii.tolist() == pytest.approx(history[-1], abs=1e-7)
    assert len(set(history[-1])) > 1
    for ours, its in zip(model.parameters(), slow.parameters(), strict=True):
        assert torch.allclose(ours, its, atol=1e-6)


def test_operations_are_those_of_the_formulas_forward_and_backward():
    from _rows import counted_flops

    model, x = nn.Linear(3, 5, bias=False), torch.rand(7, 3)
    product = 2 * 7 * 3 * 5
    assert counted_flops(lambda: model(x)) == product
    assert counted_flops(lambda: model(x).sum().backward()) == 2 * product  # and the gradient of the weights
    leaf = x.clone().requires_grad_()
    assert counted_flops(lambda: torch.autograd.grad(model(leaf).sum(), leaf)) == 2 * product
    assert counted_flops(lambda: model(leaf).sum().backward()) == 3 * product


def test_the_share_of_the_peak_is_of_the_same_round():
    from _measure import Spread, Timing
    from _rows import Row, key_of, share_of_peak

    peak, row = Row("matrix multiplication", "bf16", tiny, tiny(), 1), Row("step", "bf16", tiny, tiny(), 1)
    peak.flops, row.flops = 100.0, 50.0
    peak.timing, row.timing = Timing(peak.key, (1.0, 2.0)), Timing(row.key, (1.0, 4.0))
    assert share_of_peak([peak, row], row) == Spread(0.375, 0.3125, 0.4375)  # 0.5 and 0.25
    assert peak.key == key_of("matrix multiplication", "bf16")
    row.flops = None
    assert share_of_peak([peak, row], row) is None


def test_of_each_figure_the_newest_file_that_has_it_counts(tmp_path):
    from overview import Results

    def write(name, date, rows):
        record = {"what": "step-x", "date": date, "command": name, "rows": rows}
        (tmp_path / f"{name}.json").write_text(json.dumps(record))

    ratio = {"median": 2.0}
    write("a-new", "2026-02-01", [{"name": "one", "of": {"median": 1.0}}])
    write("b-old", "2026-01-01", [{"name": "one", "of": ratio}, {"name": "two", "of": ratio}, {"name": "three"}])
    results = Results(tmp_path)
    assert results.median("step-x", "of", name="one") == 1.0
    assert results.median("step-x", "of", name="two") == 2.0
    assert results.median("step-x", "of", name="three") is None
    assert results.median("step-y", "of", name="one") is None
    assert [file["command"] for file in results.used.values()] == ["a-new", "b-old"]


def test_the_page_of_speed_is_that_of_the_results_that_are_here():
    from overview import PAGE, RESULTS, RUNS, Results, page

    assert PAGE.read_text(encoding="utf-8") == page(Results(RESULTS), RUNS), "run benchmarks/overview.py"


def test_the_mix_of_two_radii_has_the_clean_accuracy_that_is_wanted():
    from claim import _share

    share = _share(81.0, 82.0, 79.0)
    assert share * 82.0 + (1 - share) * 79.0 == pytest.approx(81.0)


def test_the_page_of_the_claim_is_that_of_the_runs_that_are_here():
    from claim import PAGE, RUNS, page

    assert PAGE.read_text(encoding="utf-8") == page(RUNS), "run benchmarks/claim.py"


def test_a_distance_from_a_line_is_measured_along_both_axes():
    from claim import Outcome, above_line

    first, second = Outcome(80, 30, 100), Outcome(84, 22, 100)  # two points of robustness for one of clean accuracy
    assert above_line(Outcome(82, 28, 100), first, second) == pytest.approx((1, 2))
    assert above_line(Outcome(82, 26, 100), first, second) == pytest.approx((0, 0))
    assert above_line(Outcome(83, 22, 100), first, second) == pytest.approx((-1, -2))


def test_the_distance_from_a_curve_is_that_from_its_parabola():
    from claim import Outcome, fitted_curve

    bent = {(f"uniform-{radius}px", 0): Outcome(clean, 50 - clean**2, 100) for radius, clean in enumerate([1, 2, 4])}
    assert fitted_curve(bent) is None  # three runs lie on their parabola, whatever they are
    beside = {("uniform-1px", seed): Outcome(2, 46 + off, 100) for seed, off in ((1, 1), (2, -1))}
    curve = fitted_curve(bent | beside)
    assert curve.sd == pytest.approx(1.0)  # squares of 0, 0, 0, 1, -1 over five runs less three coefficients
    assert curve.above(Outcome(3, 42, 100)) == pytest.approx(1.0)
    assert curve.above(Outcome(4.5, 42, 100)) is None


@pytest.mark.parametrize("method", ["natural", "pgd_at", "iaat"])
def test_a_training_state_can_be_built_of_the_images_of_the_benchmarks(method):
    from _workload import IMAGES

    from iaat.config.load_recipe import load_recipe
    from iaat.train.build_state import build_state

    recipe = load_recipe("cifar10-small-pgd-at", ["--method", method, "--model.width", "4"])
    state = build_state(recipe, IMAGES, 10, torch.device("cpu"))
    assert state.model(torch.rand(2, *IMAGES.shape)).shape == (2, 10)


def test_the_cost_of_fast_adversarial_training_is_that_of_its_passes():
    from time_to_robust import Candidate, _fast, _ratios

    device = torch.device("cpu")
    fast = _fast("fp32", device)
    assert fast.samples == 15 * 50_000
    model = nn.Linear(4, 2)
    other = Candidate(lambda: model(torch.rand(8, 4)).sum().backward(), model, 8, fast.samples // 2)
    other.count()
    assert (other.passes.forward, other.passes.backward) == (1, 1)
    assert other.flops == 2 * 2 * 4 * 2  # forward and the gradient of the weights
    fast.passes, fast.flops = type(other.passes)(2, 2), 2 * other.flops
    from _measure import Timing

    timings = {"recipe": Timing("recipe", (1.0,)), "fast adversarial training": Timing("fast", (2.0,))}
    ratios = _ratios({"recipe": other, "fast adversarial training": fast}, timings)
    assert ratios["passes"].median == pytest.approx(0.25)
    assert ratios["flops"].median == pytest.approx(0.25)
    assert ratios["seconds"].median == pytest.approx(0.5 * 16 * 0.5)  # batches of 8, not of 128
