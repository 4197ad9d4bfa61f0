"""The lie detector: planted bad defences are caught by name, honest models raise no alarm."""

import json
from dataclasses import asdict
from functools import cache
from math import comb

import pytest
import scipy
import torch
from torch import nn

from helpers import honest as honest_networks
from helpers import planted
from helpers.planted import Around, BatchStatistics
from iaat.errors import UserError
from iaat.evaluate.findings import TOO_FEW, TRUSTED, WORST_CASE
from iaat.evaluate.masking import gap_finding, masking_report, transfer_finding
from iaat.evaluate.masking.case import HIDDEN, POWER, Case, is_relevant, is_stronger, samples_needed
from iaat.evaluate.masking.gradient_checks import measure_gradients
from iaat.evaluate.masking.output_checks import differences
from iaat.runtime.passes import count_passes
from iaat.runtime.progress import Reporter

RADIUS = 32 / 255
N = 100

digits = cache(planted.digits)


@cache
def honest(kind, classes=10, seed=0):
    """A network trained without tricks; shared by the tests, which must not change it."""
    torch.manual_seed(seed)
    network = planted.cnn(classes) if "cnn" in kind else planted.mlp(classes)
    settings = {"radius": 0.0 if "natural" in kind else RADIUS, "adaptive": "iaat" in kind}
    return planted.trained(network, *digits(classes)[0], seed=seed, **settings)


def report(model, *, classes=10, n=N, seed=0, **settings):
    x, y = digits(classes)[1]
    settings = {"radius": RADIUS, "norm": "linf", "queries": 60, **settings}
    return masking_report(model, x[:n], y[:n], classes=classes, seed=seed, **settings)


def names(found, *, serious=None):
    return {finding.name for finding in found.findings if serious is None or finding.serious == serious}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("kind", "classes"),
    [("natural cnn", 10), ("at cnn", 10), ("iaat mlp", 10), ("at mlp", 3), ("natural mlp", 2)],
)
def test_an_honest_model_raises_no_alarm(kind, classes, seed):
    found = report(honest(kind, classes, seed), classes=classes, seed=seed)
    assert names(found, serious=True) == set()
    assert found.verdict == TRUSTED
    assert found.measures["white_box"] > 0.05  # where nothing is robust there is nothing to suspect
    assert found.measures["clean"] > 0.9
    assert ("few-classes" in names(found)) == (classes < 4)


@pytest.mark.parametrize("kind", ["natural mlp", "at cnn"])
def test_an_honest_model_raises_no_alarm_in_l2(kind):
    found = report(honest(kind), norm="l2", radius=0.5)
    assert found.verdict == TRUSTED
    assert 0.1 < found.measures["white_box"] < found.measures["clean"]
    assert found.measures["accuracy_at_8"] == 0  # the diameter of 64 pixels


@pytest.mark.parametrize("factor", [1, 4])
def test_a_confident_model_broken_to_zero_is_no_masking_however_small_its_gradients(factor):
    found = report(Around(honest("natural mlp"), after=lambda logits: factor * logits), radius=0.5)
    assert found.verdict == TRUSTED
    assert found.measures["pgd"] == 0
    assert found.findings == ()
    if factor == 4:
        small = probe_of(Around(honest("natural mlp"), after=lambda logits: factor * logits)).size
        assert small.quantile(0.1) < 1e-7


@pytest.mark.parametrize("plant", planted.DEFENCES)
def test_a_planted_defence_is_caught_by_name(plant):
    expected = planted.DEFENCES[plant][1]
    found = report(planted.defended(plant, honest("natural mlp"), honest("natural cnn")))
    assert expected <= names(found, serious=True)
    assert all(name in found.verdict for name in expected)
    assert all(finding.evidence and finding.advice for finding in found.findings)
    json.dumps(asdict(found), allow_nan=False)


@pytest.mark.parametrize(
    "plant", ["rounded input", "saturated gate", "logits x1000", "lying gradient", "noise", "memory"]
)
def test_it_is_caught_around_a_robust_network_and_under_another_seed(plant):
    build, expected = planted.DEFENCES[plant]
    found = report(build(honest("iaat mlp")), seed=1)
    assert expected - {"black-box-stronger"} <= names(found, serious=True)


HANDFUL = (
    "softmax regression, 3 epochs, seed 1",
    "hardly trained mlp, seed 0",
    "untrained cnn",
    "layer norm, hardly trained",
    "transformer that adversarial training left at chance",
    "mlp, 100 classes",
)


@pytest.mark.parametrize("name", HANDFUL)
def test_networks_that_are_hardly_trained_or_unusual_raise_no_alarm_either(name):
    """A handful of the thirty of `benchmarks/masking.py`."""
    spec = honest_networks.HONEST[name]
    x, y = honest_networks.samples(spec.classes)[1]
    settings = {"radius": RADIUS, "norm": "linf", "queries": 30}
    found = masking_report(honest_networks.made(spec), x[:N], y[:N], classes=spec.classes, seed=0, **settings)
    assert names(found, serious=True) == set()
    if "softmax regression" in name:
        assert found.verdict.startswith(f"{WORST_CASE}: logit-scale")


def test_a_model_of_one_class_for_everything_is_not_suspected_and_one_of_two_is():
    """That no radius breaks a constant is right; with a witness of another class it means that the attack failed."""
    x, y = digits()[1]

    class Table(nn.Module):
        """Class 3, and class 4 for the images that look like a 4, without a slope that leads there."""

        def __init__(self, below):
            super().__init__()
            self.below = below

        def forward(self, x):
            four = (honest("natural mlp")(x).argmax(1) == 4) & (x.mean((1, 2, 3)) < self.below)
            logits = torch.nn.functional.one_hot(torch.where(four, 4, 3), 10).float()
            return 5 * logits + 1e-3 * x.flatten(1)[:, :10]

    only = (y == 3) | (y == 4)
    settings = {"radius": RADIUS, "norm": "linf", "classes": 10, "seed": 0, "queries": 30}
    constant, other = (masking_report(Table(below), x[only][:N], y[only][:N], **settings) for below in (0.0, 1.0))
    assert "robust-at-any-radius" not in names(constant)
    assert "robust-at-any-radius" in names(other, serious=True)


@pytest.mark.parametrize("constant", [0.0, 100.0, 1e4])
@pytest.mark.parametrize("factor", [1e-7, 1.0, 1e3])
def test_differences_of_logits_depend_neither_on_a_constant_nor_on_a_factor(constant, factor):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 10, generator=generator, dtype=torch.float64)
    changed = logits + 0.1 * torch.randn(50, 10, generator=generator, dtype=torch.float64)
    shift = constant * torch.randn(10, generator=generator, dtype=torch.float64)
    plain = differences(changed, logits)
    shifted = differences(factor * (changed + shift), factor * (logits + shift))
    torch.testing.assert_close(shifted, plain, atol=0.02, rtol=0)  # the allowance for the rounding of float32
    assert 0.05 < plain.mean() < 0.2
    rounded = (logits + 1e5).float()
    assert differences(rounded, logits.float() + 1e5).max() == 0


def test_what_the_checks_break_is_inside_the_ball_and_misclassified_by_a_fresh_copy():
    model = planted.Remembering(honest("natural mlp"), RADIUS * 1.01)
    found = report(model)
    assert len(found.adversarial) == round((found.measures["clean"] - found.measures["worst"]) * N) > 30
    assert all(0 < size <= RADIUS + 1e-6 for _, size, _ in found.adversarial)
    _, y = digits()[1]
    assert all(label != y[row] for row, _, label in found.adversarial)


def test_a_model_that_cannot_be_copied_is_noted():
    class Single(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = honest("natural mlp")

        def __deepcopy__(self, _memo):
            raise TypeError("there is one of me")

        def forward(self, x):
            return self.network(x)

    found = report(Single().eval())
    assert names(found) == {"no-fresh-copy"}
    assert "there is one of me" in found.findings[0].evidence
    assert found.verdict == TRUSTED


def test_tiny_logits_are_no_sigmoids():
    for factor in (1e-7, 1e-5):
        found = report(Around(honest("natural mlp"), after=lambda logits, factor=factor: factor * logits))
        assert "sigmoid-outputs" not in names(found)
        assert names(found, serious=True) == set()
    assert "sigmoid-outputs" in names(report(Around(honest("natural mlp"), after=torch.sigmoid)), serious=True)


def test_log_softmax_outputs_are_a_note_because_no_attack_sees_a_difference():
    plain = report(honest("natural mlp"))
    logs = report(Around(honest("natural mlp"), after=lambda logits: logits.log_softmax(1)))
    assert names(logs, serious=False) - names(plain) == {"log-softmax-outputs"}
    assert logs.verdict == TRUSTED
    assert logs.measures["white_box"] == pytest.approx(plain.measures["white_box"], abs=0.02)


def test_vectors_have_no_square_attack_and_say_so():
    x, y = digits()[1]
    network = honest("at mlp")
    vectors = {"radius": RADIUS, "norm": "linf", "classes": 10, "seed": 0}
    found = masking_report(network, x[:N].flatten(1), y[:N], **vectors)
    assert names(found) == {"no-black-box"}
    assert found.verdict == TRUSTED
    assert "[64]" in found.findings[0].evidence
    assert found.measures["white_box"] == report(network).measures["white_box"]
    assert "black_box" not in found.measures


def test_too_few_samples_are_noted():
    found = report(honest("natural mlp"), n=30)
    assert names(found) == {"few-samples"}
    assert found.verdict == f"{TOO_FEW}: 29 of 30 are classified correctly and can be attacked, 34 are needed"
    assert report(honest("natural mlp"), n=40).verdict == TRUSTED
    wrong = Around(honest("natural mlp"), after=lambda logits: -logits)
    found = report(wrong)
    assert names(found) == {"few-samples"}
    assert found.measures["clean"] == 0


# Train mode


def test_a_model_handed_over_in_train_mode_is_named_and_serious_where_its_figures_differ():
    network = honest("natural cnn")
    found = report(network, was_training=True)
    assert names(found, serious=True) == {"train-mode"}
    assert found.measures["pgd_train_mode"] > found.measures["pgd"] + 0.1  # by batch statistics
    network.train()
    try:
        assert report(network) == found
        assert network.training
        assert network[1].training
    finally:
        network.eval()


def test_after_the_comparison_in_train_mode_the_model_is_attacked_as_it_was():
    """Its running statistics would move by the train-mode attack, and Square would see another model."""
    network = honest("natural cnn")
    seen = []

    def note(layer, _inputs):
        seen.append(None if layer.training else layer.running_mean.clone())

    layer = next(each for each in network.modules() if isinstance(each, nn.BatchNorm2d))
    handle = layer.register_forward_pre_hook(note)
    report(network, was_training=True)
    handle.remove()
    assert None in seen  # it ran in train mode
    assert all(torch.equal(each, seen[0]) for each in seen if each is not None)


def test_train_mode_is_a_note_where_it_changes_nothing():
    network = honest("natural mlp")[:2].append(nn.Identity()).extend(honest("natural mlp")[3:])  # without dropout
    found = report(network, was_training=True)
    assert names(found, serious=False) == {"train-mode"}
    assert found.verdict == TRUSTED
    network.train()  # no layer minds
    assert "train-mode" not in names(report(network))


def test_dropout_that_eval_does_not_switch_off_is_named_by_its_layer():
    class Stubborn(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = nn.Sequential(nn.Dropout(0.3), honest("natural mlp"))

        def forward(self, x):
            self.network[0].train()
            return self.network(x)

    found = report(Stubborn().eval())
    assert {"train-mode", "random-outputs"} <= names(found, serious=True)
    assert "Dropout" in next(f.evidence for f in found.findings if f.name == "train-mode")


# Claims of others


def test_a_gap_above_five_points_is_a_reason_to_quote_the_worst_case_where_chance_does_not_explain_it():
    assert gap_finding(0.50, 0.46, 10_000) is None
    assert gap_finding(0.57, 0.34, 1000).weak_attack
    assert gap_finding(0.5, 0.445, 200).weak_attack is False  # 11 of 200, where 10 are allowed
    assert gap_finding(0.5, 0.445, 20_000).weak_attack
    assert not gap_finding(0.9, 0.1, 20_000).serious  # no masking by itself
    assert gap_finding(0.8, 0.6, 20) is None  # 4 samples
    assert "23.0 points" in gap_finding(0.57, 0.34, 1000).evidence


def test_the_gap_of_the_evaluation_is_used_where_given():
    found = report(honest("natural mlp"), gap=(0.6, 0.3, 1000))
    assert names(found) == {"pgd-gap"}
    assert found.verdict == f"{WORST_CASE}: pgd-gap"
    assert found.measures["gap"] == pytest.approx(0.3)
    assert names(report(honest("natural mlp"), gap=(0.6, 0.58, 1000))) == set()


def test_transfer_stronger_than_white_box():
    assert transfer_finding(0.7, 0.5, 1000) is None
    assert transfer_finding(0.46, 0.5, 1000) is None
    assert transfer_finding(0.40, 0.5, 100) is None  # 7 points of standard error
    assert transfer_finding(0.40, 0.5, 1000).name == "transfer-stronger"


# When a difference is relevant


@pytest.mark.parametrize(
    ("number", "n", "expected"), [(4, 20, False), (5, 20, True), (10, 200, False), (11, 200, True)]
)
def test_what_counts_exceeds_five_points_and_five_samples(number, n, expected):
    assert is_relevant(number, n) is expected


@pytest.mark.parametrize(("n", "expected"), [(10, 34), (99, 34), (200, 65), (1000, 247)])
def test_samples_needed_are_the_fewest_that_show_masking_of_a_quarter_of_them(n, expected):
    def seen(attacked):
        """Probability that enough of them are hidden, by the sum of the binomial probabilities."""
        chances = [comb(attacked, k) * HIDDEN**k * (1 - HIDDEN) ** (attacked - k) for k in range(attacked + 1)]
        return sum(chance for k, chance in enumerate(chances) if is_relevant(k, n))

    needed = samples_needed(n)
    assert needed == expected
    assert seen(needed) >= POWER > seen(needed - 1)


def test_samples_needed_are_found_in_few_steps(monkeypatch):
    """For each size up to a whole test set."""
    calls = []
    probability = scipy.stats.binom.sf
    monkeypatch.setattr("scipy.stats.binom.sf", lambda *args: calls.append(args) or probability(*args))
    found = [samples_needed(n) for n in range(1, 10_001)]
    assert found == sorted(found)
    assert len(calls) < 10_000


def test_a_paired_difference_counts_where_mcnemars_exact_test_says_so():
    for gained in range(0, 40, 3):
        for lost in range(0, 20, 2):
            pairs = gained + lost
            chance = sum(comb(pairs, k) for k in range(gained, pairs + 1)) / 2**pairs
            expected = gained - lost >= 6 and chance < 0.01
            assert is_stronger(gained, lost, 100) is expected


# Measures


class Linear(nn.Module):
    def __init__(self, factor=1.0):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(factor * torch.randn(3, 12, generator=generator))

    def forward(self, x):
        return x.flatten(1) @ self.weight.T


def case_of(model, x, *, norm="linf", radius=0.01):
    y = model(x).argmax(1)
    return Case(model=model, x=x, y=y, n=len(x), radius=radius, norm=norm, classes=y.max() + 1, seed=0)


def probe_of(model):
    x, y = digits()[1]
    correct = model(x).argmax(1) == y
    return measure_gradients(case_of(model, x[correct], radius=RADIUS))


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("factor", [1.0, 1e-12])
def test_reach_of_a_linear_model_is_radius_over_distance_at_any_scale_of_the_logits(norm, factor):
    model, x = Linear(factor), torch.rand(20, 12, generator=torch.Generator().manual_seed(1))
    # So small a radius that the random point is as good as the clean one.
    found = measure_gradients(case_of(model, x, norm=norm, radius=1e-6))
    logits = model(x).detach()
    (first, second), (best, other) = logits.topk(2, dim=1).values.T, logits.topk(2, dim=1).indices.T
    direction = (model.weight[best] - model.weight[other]).detach()
    dual = direction.abs().sum(1) if norm == "linf" else direction.norm(dim=1)
    torch.testing.assert_close(found.reach.float(), 1e-6 * dual / (first - second), rtol=0.02, atol=0)
    assert not found.zero.any()
    assert found.finite.all()


def test_figures_agree_with_each_other():
    measures = report(honest("at mlp")).measures
    assert measures["samples"] == N
    assert measures["clean"] >= measures["pgd"] >= measures["pgd_restarted"] >= measures["white_box"]
    assert measures["white_box"] >= measures["black_box"] == measures["worst"]
    assert measures["one_step"] >= measures["white_box"] > measures["accuracy_at_0.502"]
    assert measures["gap"] == pytest.approx(measures["pgd_restarted"] - measures["worst"])


def test_worst_case_passes():
    """Of a model on which every attack fails, so that all of them run in full."""
    model = planted.DEFENCES["rounded input"][0](honest("natural mlp"))
    queries = 50
    with count_passes(model) as passes:
        report(model, queries=queries)
    assert passes.backward / N < 250
    assert passes.forward / N < 300 + queries


# The model and the world stay as they were


def test_report_is_reproducible_and_leaves_everything_as_it_was():
    model = BatchStatistics(planted.trained(planted.cnn(), *digits()[0], epochs=1)).eval()
    model.network[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [(module.training, [p.requires_grad for p in module.parameters()]) for module in model.modules()]
    state = torch.get_rng_state()
    first = report(model, was_training=True, n=60, queries=20)
    assert torch.equal(torch.get_rng_state(), state)
    assert flags == [(module.training, [p.requires_grad for p in module.parameters()]) for module in model.modules()]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    torch.manual_seed(99)
    assert report(model, was_training=True, n=60, queries=20, reporter=Reporter(quiet=True)) == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"radius": 8.0}, "write 8px"),
        ({"radius": 0.0}, "nothing to attack"),
        ({"norm": "l1"}, "norm 'l1' is not known"),
        ({"classes": 1}, "at least 2"),
        ({"classes": 9}, r"returned \[4, 10\] for 4 inputs: it must return \[B, 9\]"),
        ({"y": torch.zeros(3, dtype=torch.long)}, "4 inputs and 3 labels"),
        ({"x": torch.zeros(0, 1, 8, 8), "y": torch.zeros(0, dtype=torch.long)}, "at least one sample"),
    ],
)
def test_mistakes_are_named(change, message):
    settings = {"x": torch.rand(4, 1, 8, 8), "y": torch.zeros(4, dtype=torch.long), "radius": 0.1, "norm": "linf"}
    settings = {**settings, "classes": 10, "seed": 0, **change}
    with pytest.raises(UserError, match=message):
        masking_report(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), settings.pop("x"), settings.pop("y"), **settings)
