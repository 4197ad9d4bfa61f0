"""Attacked accuracy on a linear model, with the distance to the decision boundary in closed form."""

import io
from copy import deepcopy

import pytest
import torch
from rich.console import Console
from torch import nn

from iaat.attacks import pgd_early_stop
from iaat.config.evaluate_config import EvaluateConfig
from iaat.data import InMemorySource
from iaat.evaluate import Stage, attack_samples
from iaat.evaluate.stages import stages_of
from iaat.runtime.passes import count_passes
from iaat.runtime.progress import Reporter
from iaat.types import Batch

# Distances to the boundary, on either side of it, and radii between them.
DISTANCES = torch.tensor([sign * step / 100 for step in (1, 3, 5, 7, 9, 11, 13, 15) for sign in (1, -1)]).repeat(3)
RADII = (0.02, 0.04, 0.1, 0.2)
MISLABELLED = torch.arange(len(DISTANCES)) % 7 == 0
both_norms = pytest.mark.parametrize("norm", ["linf", "l2"])


class Linear(nn.Module):
    """Two classes with logits 0 and w (x - 1/2)."""

    def __init__(self, scale=1.0):
        super().__init__()
        w = torch.randn(8, generator=torch.Generator().manual_seed(0)) * scale
        self.w = nn.Parameter(w)

    def forward(self, x):
        score = (x.flatten(1) - 0.5) @ self.w
        return torch.stack([torch.zeros_like(score), score], dim=1)


def samples(norm="linf"):
    """Inputs at DISTANCES from the boundary of `Linear`, away from the bounds 0 and 1; some labels are false."""
    w = Linear().w.detach()
    direction = w.sign() if norm == "linf" else w / w.norm()
    noise = 0.1 * torch.rand(len(DISTANCES), 8, generator=torch.Generator().manual_seed(1)) - 0.05
    noise += (DISTANCES - noise @ w / (direction @ w))[:, None] * direction
    y = (DISTANCES > 0).long() ^ MISLABELLED
    return InMemorySource((0.5 + noise).reshape(-1, 2, 4), y, ("below", "above"))


def stage(loss, radius, norm="linf", **settings):
    """PGD on a loss, called by the loss's name."""

    def run(model, batch, generator):
        attack = {"steps": 20, "norm": norm, "loss": loss, "generator": generator, **settings}
        return pgd_early_stop(model, batch.x, batch.y, radius=radius, **attack)

    return Stage(loss, run)


def attacked(radius, norm="linf", *, model=None, losses=("ce", "margin"), index=None, seed=0, batch_size=500, **more):
    index = torch.arange(len(DISTANCES)) if index is None else index
    model = Linear() if model is None else model
    settings = {key: more.pop(key) for key in ("steps", "step_size", "restarts") if key in more}
    stages = [stage(loss, radius, norm, **settings) for loss in losses]
    place = {"radius": radius, "norm": norm, "batch_size": batch_size, "seed": seed}
    return attack_samples(model, samples(norm), index, stages, **place, **more)


@both_norms
@pytest.mark.parametrize("radius", RADII)
@pytest.mark.parametrize("settings", [{}, {"steps": 4, "restarts": 3, "batch_size": 10}])
def test_exactly_the_samples_within_reach_are_adversarial(radius, norm, settings):
    outcome = attacked(radius, norm, **settings)
    reach = DISTANCES.abs() < radius
    adversarial = torch.tensor([name != "none" for name in outcome.misclassified_by])
    assert torch.equal(adversarial, reach | MISLABELLED)
    assert torch.equal(torch.tensor([name == "clean" for name in outcome.misclassified_by]), MISLABELLED)
    assert outcome.accuracy("clean") == pytest.approx(float((~MISLABELLED).double().mean()))
    assert outcome.accuracy("ce") == pytest.approx(float((~adversarial).double().mean()))
    assert outcome.accuracy("margin") == outcome.accuracy("ce")


@both_norms
@pytest.mark.parametrize("radius", RADII)
def test_the_size_of_a_break_lies_between_the_distance_and_the_radius(radius, norm):
    outcome = attacked(radius, norm)
    by_attack = torch.tensor([name in ("ce", "margin") for name in outcome.misclassified_by])
    assert bool((outcome.perturbation_norm[by_attack] <= radius + 1e-6).all())
    assert bool((outcome.perturbation_norm[by_attack] >= DISTANCES.abs()[by_attack] - 1e-6).all())
    assert bool((outcome.perturbation_norm[MISLABELLED] == 0).all())
    assert torch.equal(outcome.perturbation_norm.isnan(), ~by_attack & ~MISLABELLED)


def test_predictions_and_labels_are_those_of_the_samples():
    outcome = attacked(0.08)
    above = (DISTANCES > 0).long()
    adversarial = torch.tensor([name == "ce" for name in outcome.misclassified_by])
    assert torch.equal(outcome.label, above ^ MISLABELLED)
    assert torch.equal(outcome.clean, above)
    assert torch.equal(outcome.adversarial, above ^ adversarial)


def test_radius_zero_gives_the_clean_accuracy():
    outcome = attacked(0.0)
    assert set(outcome.misclassified_by) == {"clean", "none"}
    assert outcome.accuracy("clean") == outcome.accuracy("margin") == float((~MISLABELLED).double().mean())


def test_no_losses_give_the_clean_accuracy_at_one_forward_a_sample():
    outcome = attacked(0.1, losses=())
    assert set(outcome.misclassified_by) == {"clean", "none"}
    assert (outcome.passes.forward, outcome.passes.backward) == (1, 0)


def test_a_later_attack_breaks_what_an_earlier_one_cannot():
    """Logits so large that the cross-entropy has no gradient left: the margin still has one."""
    saturated = Linear(scale=1e6)
    ce, margin, worst = (
        attacked(0.1, model=saturated, losses=losses) for losses in (("ce",), ("margin",), ("ce", "margin"))
    )
    reach = DISTANCES.abs() < 0.1
    assert ce.accuracy("ce") > worst.accuracy("margin")
    assert worst.accuracy("margin") == margin.accuracy("margin")
    assert torch.equal(torch.tensor([name != "none" for name in worst.misclassified_by]), reach | MISLABELLED)
    assert worst.accuracy("clean") > worst.accuracy("ce") > worst.accuracy("margin")
    assert worst.misclassified_by.count("ce") == ce.misclassified_by.count("ce")
    assert "margin" in worst.misclassified_by


def test_the_worst_case_is_never_above_one_attack_alone():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
    for radius in (0.01, 0.03, 0.1):
        alone = attacked(radius, model=network, losses=("ce",)).accuracy("ce")
        both = attacked(radius, model=network)
        assert both.accuracy("clean") >= both.accuracy("ce") == alone >= both.accuracy("margin")


@pytest.mark.parametrize("batch_size", [1, 5, 500])
def test_results_keep_the_order_of_the_index_for_any_batch_size(batch_size):
    index = torch.randperm(len(DISTANCES), generator=torch.Generator().manual_seed(2))[:20]
    outcome, whole = attacked(0.08, index=index, batch_size=batch_size), attacked(0.08)
    assert torch.equal(outcome.index, index)
    assert outcome.misclassified_by == [whole.misclassified_by[number] for number in index]
    for name in ("label", "clean", "adversarial"):
        assert torch.equal(getattr(outcome, name), getattr(whole, name)[index])


@pytest.mark.parametrize("radius", [0.0, 0.08])
def test_an_attack_gets_only_what_is_still_correct(radius, monkeypatch):
    """A robust sample takes every step and one forward more; an adversarial one takes no more after it is found."""
    monkeypatch.setattr("iaat.attacks.batching.BUCKET", 1)
    n, steps = len(DISTANCES), 6
    model = Linear()
    with count_passes(model) as counted:
        one = attacked(radius, model=model, losses=("ce",), steps=steps)
    two = attacked(radius, steps=steps)
    robust = two.misclassified_by.count("none")
    assert counted.forward == pytest.approx(one.passes.forward * n)
    assert counted.backward == pytest.approx(one.passes.backward * n)
    assert (two.passes.forward - one.passes.forward) * n == pytest.approx(robust * (steps + 1))
    assert (two.passes.backward - one.passes.backward) * n == pytest.approx(robust * steps)
    # Samples on which it succeeds leave the attack at that step.
    correct = n - two.misclassified_by.count("clean")
    assert (counted.forward == n + correct * (steps + 1)) == (radius == 0)
    assert counted.forward <= n + correct * (steps + 1)


def test_step_size_and_restarts_are_those_of_the_recipe():
    """Steps too small to move: only random starts break anything, and more starts break more."""
    still = {"steps": 1, "step_size": 1e-6}
    once, often = attacked(0.2, **still), attacked(0.2, restarts=9, **still)
    assert (
        0
        < once.misclassified_by.count("ce")
        < often.misclassified_by.count("ce")
        < attacked(0.2).misclassified_by.count("ce")
    )


def test_equal_seeds_give_equal_attacks_and_other_seeds_others():
    sizes = [attacked(0.08, seed=seed).perturbation_norm.nan_to_num(-1) for seed in (0, 0, 1)]
    assert torch.equal(sizes[0], sizes[1])
    assert not torch.equal(sizes[0], sizes[2])


def evaluated(run, radius=0.1):
    index = torch.arange(len(DISTANCES))
    stages = [Stage("mine", run)]
    return attack_samples(Linear(), samples(), index, stages, radius=radius, norm="linf", batch_size=500, seed=0)


@pytest.mark.parametrize(
    "run",
    [
        lambda _model, batch, _generator: (batch.x + 0.2).clamp(0, 1),
        lambda _model, batch, _generator: torch.full_like(batch.x, torch.nan),
        lambda _model, batch, _generator: batch.x + 10,
    ],
    ids=["too far", "NaN", "outside the range"],
)
def test_what_lies_outside_the_ball_breaks_nothing_and_is_counted(run):
    outcome = evaluated(run)
    assert set(outcome.misclassified_by) == {"clean", "none"}
    assert outcome.stages[1].outside == outcome.stages[1].samples == outcome.misclassified_by.count("none")


def test_what_the_attack_returns_is_checked_again():
    """An attack that claims a success it has not had changes nothing."""
    assert set(evaluated(lambda _model, batch, _generator: batch.x).misclassified_by) == {"clean", "none"}
    assert "ce" in attacked(0.1).misclassified_by


def test_the_model_is_in_eval_mode_inside_and_as_it_was_outside():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(8), nn.Dropout(0.5), Linear())
    model[1].running_mean.fill_(0.1)
    model.train()
    model[2].eval()
    model[1].weight.requires_grad_(False)
    twin = deepcopy(model).eval()
    outcome, expected = attacked(0.05, model=model), attacked(0.05, model=twin)
    assert outcome.misclassified_by == expected.misclassified_by
    assert torch.equal(outcome.perturbation_norm.nan_to_num(-1), expected.perturbation_norm.nan_to_num(-1))
    assert [module.training for module in model] == [True, True, False, True]
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, True, True]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(buffer, twin.get_buffer(name)) for name, buffer in model.named_buffers())


def test_progress_counts_samples():
    class Recording:
        def __init__(self):
            self.seen = []

        def track(self, items, *, total, what, size):
            sizes = []
            for item in items:
                sizes.append(size(item))
                yield item
            self.seen.append((what, sizes, total))

        def counter(self, _unit, _most):
            return lambda: None

    reporter = Recording()
    index = torch.arange(len(DISTANCES))
    attacked(0.1, losses=("ce",), index=index, batch_size=20, reporter=reporter)
    robust = int((~MISLABELLED).sum())
    assert reporter.seen == [("clean", [20, 20, 8], 48), ("ce", [20, 20, robust - 40], robust)]


def test_progress_within_a_batch_costs_no_pass_and_changes_nothing():
    reporter = Reporter(console=Console(file=io.StringIO(), width=100), interval=0.0)
    outcomes = [attacked(0.1, batch_size=20, **more) for more in ({}, {"reporter": reporter})]
    plain, shown = ([(record.name, record.passes) for record in outcome.stages] for outcome in outcomes)
    assert plain == shown
    assert outcomes[0].misclassified_by == outcomes[1].misclassified_by


def test_stages_state_about_how_many_forwards_they_take():
    """PGD to the step, counted on a model on which it never succeeds."""
    (pgd_20,) = stages_of(("pgd-20x3",), EvaluateConfig(), 10)
    calls = 0

    def count(*_):
        nonlocal calls
        calls += 1

    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 10))
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].bias[0] = 1
    network.register_forward_hook(count)
    batch = Batch(torch.full((4, 3, 2, 2), 0.5), torch.zeros(4).long(), torch.arange(4))
    pgd_20.run(network, batch, torch.Generator())
    assert calls == pgd_20.most
