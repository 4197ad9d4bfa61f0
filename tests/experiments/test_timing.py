"""A timing takes a few real steps of the samples of a process, and computes the rest by plain arithmetic."""

from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn import functional as F

from experiments.test_cost import lines
from iaat.cli.main import main
from iaat.config.load_recipe import load_recipe
from iaat.data import DatasetInfo
from iaat.errors import UserError
from iaat.experiments import timing as probing
from iaat.experiments.cost import total_passes
from iaat.experiments.timing import StepTiming, time_steps, timed
from iaat.experiments.timing_table import format_total, timing_table, training_seconds
from iaat.methods import METHODS, BaseMethod
from iaat.runtime.passes import Passes
from iaat.runtime.text import format_duration
from iaat.train.step import take_step
from iaat.types import StepOutput

FACTS = DatasetInfo((1, 8, 8), 10, 1438, 359, 64)


def recipe(*words):
    return load_recipe("quickstart", ["--train.device", "cpu", "--train.batch_size", "32", *words])


class Clock:
    """A clock by which every step takes some seconds, and nothing else takes any."""

    def __init__(self):
        self.now, self.each, self.per_sample = 0.0, 0.0, 0.0

    def __call__(self):
        return self.now

    def step(self, samples):
        self.now += self.each + self.per_sample * samples

    def set(self, *, each=0.0, per_sample=0.0):
        """The clock, by which a step takes `each` seconds and `per_sample` for each of its samples."""
        self.each, self.per_sample = each, per_sample
        return self


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def steps(monkeypatch, clock):
    """What each training step is given: sizes of its parts, and radii."""
    seen = []

    def spy(state, parts, config, device, faults):
        radii = None if state.method.radii is None else state.method.radii.values
        seen.append(([len(batch.y) for _, batch in parts], radii))
        take_step(state, parts, config, device, faults)
        clock.step(sum(micro.own for micro, _ in parts))

    monkeypatch.setattr(probing, "take_step", spy)
    return seen


@pytest.mark.parametrize(
    ("each", "taken", "warmed"),
    [
        (4, 4, True),  # 4 to warm up and 4 x 4: the next would end after 24
        (9, 1, True),
        (15, 1, True),  # one counts though it does not fit
        (21, 1, False),  # the first takes all the time there is, and counts
    ],
)
def test_steps_are_repeated_while_time_is_left(each, taken, warmed):
    clock = Clock().set(each=each)

    def step():
        clock.step(0)
        return each

    times = timed(step, each, 20)
    assert times == [each] * (taken if warmed else 0)
    assert clock.now == sum(times)


@pytest.mark.parametrize(("each", "more"), [(4, 4), (9, 1), (15, 0), (21, 0)])
def test_on_a_cpu_no_step_is_repeated_that_does_not_fit(each, more):
    assert timed(lambda: each, each, 20, least=0) == [each] * more


@pytest.mark.parametrize(
    ("per_sample", "sizes", "scaled", "took"),
    [
        (0.01, [2, 8, 32], 32, 20),  # 0.42 s to warm up: then whole steps of 0.32 s
        (0.25, [2, 8, 32], 32, 18.5),  # 10.5 s with one whole step, and one more fits
        (0.5, [2, 8, 16], 16, 13),  # 32 would take 16 s of 15 that are left, 16 take 8 of them
        (3.0, [2, 4], 4, 18),
        (4.0, [2, 2], 2, 16),
        (9.0, [2], 2, 18),
        (100.0, [2], 2, 200),  # one step in any case
    ],
)
def test_on_a_cpu_steps_grow_while_time_is_left_and_the_rest_is_scaled(steps, clock, per_sample, sizes, scaled, took):
    found = time_steps(recipe(), FACTS, seconds=20, clock=clock.set(per_sample=per_sample))
    assert [sum(parts) for parts, _ in steps][: len(sizes)] == sizes
    assert (found.timed, found.samples) == (scaled, 32)
    assert found.step_seconds == pytest.approx(32 * per_sample)
    assert found.passes == Passes(6, 6)
    assert clock.now == pytest.approx(took, abs=0.32)
    assert found.warmed == (len(sizes) > 1)


def test_what_small_steps_cost_more_makes_the_estimate_longer_not_shorter(steps, clock):
    found = time_steps(recipe(), FACTS, seconds=20, clock=clock.set(each=2, per_sample=0.5))
    assert [sum(parts) for parts, _ in steps] == [2, 8, 8]  # 3 s, 6 s: 16 would take 12 s of 11 that are left
    assert found.step_seconds == 4 * 6  # where a whole step takes 2 + 16


def test_micro_batches_are_taken_whole_where_time_allows_and_cut_where_not(steps, clock):
    words = ["--train.batch_size", "34", "--train.accumulate", "4"]
    found = time_steps(recipe(*words), FACTS, processes=2, seconds=12, clock=clock.set(per_sample=0.5))
    # Of the parts 5, 5, 4, 4 of the process: 2 samples of the first; it alone; the first two, for four are too long.
    assert [parts for parts, _ in steps] == [[2], [5], [5, 5]]
    assert (found.timed, found.samples, found.step_seconds) == (10, 18, 9)
    assert found.memory == time_steps(recipe(*words), FACTS, processes=2, seconds=99, clock=clock).memory


@pytest.mark.parametrize(
    ("processes", "accumulate", "parts"),
    [(1, 1, [32]), (4, 1, [8]), (5, 1, [7]), (4, 2, [4, 4]), (16, 1, [2])],
)
def test_a_process_takes_its_share_in_as_many_parts_as_the_recipe_says(steps, clock, processes, accumulate, parts):
    asked = recipe("--train.accumulate", str(accumulate))
    found = time_steps(asked, FACTS, processes=processes, clock=clock.set(per_sample=0.3))
    assert steps[-1][0] == parts
    assert (found.samples, found.timed, found.batch_size, found.processes) == (sum(parts), sum(parts), 32, processes)
    assert (found.rate, found.joint_rate) == pytest.approx((1 / 0.3, 32 / sum(parts) / 0.3))
    assert found.passes == Passes(6, 6)


def test_parts_may_add_up_to_more_than_an_even_share(steps, clock):
    # Parts of 9, 9, 8, 8, of which the first process has the larger halves.
    words = ["--train.batch_size", "34", "--train.accumulate", "4"]
    found = time_steps(recipe(*words), FACTS, processes=2, clock=clock.set(per_sample=0.5))
    assert steps[-1][0] == [5, 5, 4, 4]
    assert (found.samples, found.joint_rate) == (18, 34 / 9)


def test_radii_are_full_at_every_step(steps, clock):
    found = time_steps(recipe(), FACTS, seconds=10, clock=clock.set(each=1))
    assert len(steps) == 10
    assert all(bool((radii == 64 / 255).all()) for _, radii in steps)
    assert found.radius == pytest.approx(64 / 255)
    assert time_steps(recipe("--method", "pgd_at"), FACTS, seconds=0).radius is None


@pytest.mark.parametrize(
    ("words", "note"),
    [
        ((), "All radii were 64px; below that, attacks take fewer steps."),
        (("--method.start", "0px"), "All radii were 64px; below that, as at first, attacks take fewer steps."),
        (("--method.full_steps_at", "80px"), "64px; below 80px, as at first, attacks take fewer steps."),
        (("--method.full_steps_at", "0px"), "All radii were 64px."),
        (("--method", "iaat_paper"), "All radii were 64px."),
        (("--method", "pgd_at"), "a sample costs more in a small step."),
    ],
)
def test_the_table_says_where_steps_cost_less(words, note):
    chosen = recipe(*words)
    table = timing_table(chosen, FACTS, time_steps(chosen, FACTS, seconds=0))
    assert " ".join(table.caption.split()).endswith(note)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_probed_and_takes_no_more_than_it_states(method):
    radius = [] if method == "natural" else ["--method.radius", "20px"]
    chosen = recipe("--method", method, *radius, "--train.epochs", "4")
    found, most = time_steps(chosen, FACTS, processes=4, seconds=0), total_passes(chosen)
    assert 1 <= found.passes.forward <= most.forward
    assert 1 <= found.passes.backward <= most.backward
    assert found.memory > 0


def test_the_last_epoch_is_what_is_timed():
    words = ["--method", "iaat_paper", "--method.warmup", "3", "--train.epochs", "4"]
    chosen = recipe(*words)
    found = time_steps(chosen, FACTS, seconds=0)
    assert found.passes.forward > 2 * chosen.method.steps + 2  # at least one of the probing attacks, which begin then


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = torch.get_rng_state()
    words = ["--train.radii_folder", str(tmp_path / "radii"), "--model.weights", "missing.pt"]
    time_steps(recipe(*words), FACTS, seconds=0)
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(torch.get_rng_state(), before)


SOFT = ("--method.soft_labels=0.5", "--method.soft_by_radius=true")


@pytest.mark.parametrize(
    "words",
    [
        ["--method.start_from={}"],
        ["--method=pgd_at", "--method.radii={}"],
        ["--method=pgd_at", "--method.radii={}", "--train.ema=0.9", *SOFT],
    ],
)
def test_radii_of_another_run_are_not_read(steps, tmp_path, words):
    """They are of the whole data, of which one batch is timed."""
    path, index = tmp_path / "radii.parquet", list(range(1438))
    pq.write_table(pa.table({"index": index, "label_id": [0] * 1438, "radius": [0.01] * 1438}), path)
    time_steps(recipe(*(word.format(path) for word in words)), FACTS, seconds=0)
    assert steps


def test_epochs_without_attacks_are_counted_by_their_passes():
    words = ("--train.epochs", "10", "--method=pgd_at")
    found = StepTiming(torch.device("cpu"), 1, 64, 64, 64, (1.0,), True, Passes(6, 6), 64 / 255, 3 * 2**20)
    whole = training_seconds(recipe(*words), FACTS, found)
    half = training_seconds(recipe(*words, "--train.natural_epochs=5"), FACTS, found)
    assert half / whole == pytest.approx((5 * 6 + 5 * 1) / (10 * 6))


def test_awp_that_never_begins_takes_no_time_off():
    found = StepTiming(torch.device("cpu"), 1, 64, 64, 64, (1.0,), True, Passes(2, 2), 64 / 255, 3 * 2**20)
    words = ("--train.epochs", "2", "--method=pgd_at", "--method.steps=1")
    late = recipe(*words, "--train.awp=0.005", "--train.awp_from=5")
    assert training_seconds(late, FACTS, found) == training_seconds(recipe(*words), FACTS, found)


def test_a_method_with_a_plain_config_is_timed(monkeypatch):
    @dataclass(frozen=True, kw_only=True)
    class Config:
        weight: float = 1.0

    class Own(BaseMethod):
        def prepare(self, model, batch, context):
            def objective(model):
                logits = model(batch.x)
                return StepOutput(F.cross_entropy(logits, batch.y), logits.detach())

            return objective

        def cost(self, epoch):
            return Passes(1, 1)

    Own.Config = Config
    monkeypatch.setitem(METHODS, "own", Own)
    own = replace(recipe("--method=natural"), method=Config(), method_name="own")
    assert time_steps(own, FACTS, seconds=0.0).times


def test_the_projection_is_plain_arithmetic():
    chosen = recipe("--train.epochs", "96", "--train.batch_size", "256")
    facts = DatasetInfo((1, 8, 8), 10, 1_280_000, 10, 64)  # 1,152,000 of them are trained on
    found = StepTiming(torch.device("cpu"), 8, 256, 32, 32, (1.0, 3.0), True, Passes(6, 6), 64 / 255, 3 * 2**20)
    assert (found.step_seconds, found.rate, found.joint_rate) == (2, 16, 128)
    rows = lines(timing_table(chosen, facts, found))
    assert rows["timed"] == "2 steps of 32 samples, after warming up, on cpu"
    assert rows["samples a second"] == "16 in one process, 128 in 8 at perfect scaling"
    assert rows["an epoch"] == "2.5 h"  # 1,152,000 / 128 = 9,000 s
    assert rows["all 96 epochs"] == "10 days, 80 days of processor time"
    assert rows["passes per sample and step"] == "6F 6B, of 6F 6B at most"
    assert rows["memory of a process"].startswith("3 MiB (not measured")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "0.5 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 days"), (8.64e7, "1,000 days")],
)
def test_times_are_shown_in_the_largest_unit_of_which_there_are_two(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("processes", "message"),
    [
        (0, r"--processes 0: give a number of at least 1"),
        (17, r"--processes 17: train\.batch_size = 32 leaves .*at most 16 processes"),
    ],
)
def test_numbers_of_processes_that_cannot_be_are_refused(processes, message):
    with pytest.raises(UserError, match=message):
        time_steps(recipe(), FACTS, processes=processes)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA"), RuntimeError("DefaultCPUAllocator: can't allocate memory"), MemoryError()],
)
def test_a_lack_of_memory_is_reported_with_what_to_do(monkeypatch, error):
    def failing(*_):
        raise error

    monkeypatch.setattr(probing, "take_step", failing)
    with pytest.raises(UserError, match=r"cpu has too little memory for a step on 16 samples.*train\.accumulate \(1\)"):
        time_steps(recipe(), FACTS, processes=2)


def test_other_errors_are_not_taken_for_a_lack_of_memory(monkeypatch):
    def failing(*_):
        raise RuntimeError("a mistake")

    monkeypatch.setattr(probing, "take_step", failing)
    with pytest.raises(RuntimeError, match="a mistake"):
        time_steps(recipe(), FACTS)


def test_only_check_with_probe_takes_a_step(steps, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    words = ["check", "quickstart", "--train.device", "cpu", "--train.batch_size", "32"]
    assert main(words) == 0
    assert steps == []
    assert "samples a second" not in capsys.readouterr().out
    monkeypatch.setattr("iaat.cli.commands.check.time_steps", partial(time_steps, seconds=0.0))
    assert main([*words, "--probe", "--processes", "4"]) == 0
    assert [sizes for sizes, _ in steps] == [[2]]
    out = capsys.readouterr().out
    assert "in 4 at perfect scaling" in out
    assert "1 step of 2 of 8 samples, scaled, with none to warm up, on cpu" in out
    assert "Scaled: whole steps would have taken too long" in out


@pytest.mark.parametrize(
    ("device", "processes", "hours", "text"),
    [
        ("cpu", 1, 0.5, "30 min"),
        ("cpu", 4, 0.5, "30 min, 2 h of processor time"),
        ("cuda", 1, 35, "35 h, 35 GPU-hours"),
        ("cuda", 8, 300, "12.5 days, 2,400 GPU-hours"),
    ],
)
def test_a_total_is_in_minutes_hours_or_days_and_of_gpus_in_gpu_hours(device, processes, hours, text):
    found = StepTiming(torch.device(device), processes, 256, 32, 32, (1.0,), True, Passes(6, 6), None, 0)
    assert format_total(hours * 3600, found) == text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check", "quickstart", "--processes", "2"], "--processes 2 is for --probe"),
        (["check", "{sweep}", "--data"], "--data reads the data of one recipe"),
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path, capsys, words, message):
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text("cells: {a: {recipe: quickstart}}")
    assert main([word.format(sweep=sweep) for word in words]) == 2
    assert message in capsys.readouterr().err
