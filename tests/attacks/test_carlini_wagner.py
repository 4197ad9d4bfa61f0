"""The attacks of Carlini and Wagner: closed forms on linear models, and a slow reference with Adam written out."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from iaat.attacks.carlini_wagner import cw_l2, cw_pgd
from iaat.attacks.pgd import pgd
from iaat.errors import UserError
from iaat.runtime.passes import count_passes
from reference.carlini_slow import carlini_slow

every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])
targeted_or_not = pytest.mark.parametrize("targeted", [False, True])


def bumpy(inputs=6, classes=4, *, scale=3.0):
    model = nn.Sequential(nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, classes)).double()
    with torch.no_grad():
        model[0].weight *= scale
    return model


def two_classes(inputs=8):
    """A linear model, interior inputs, the labels it gives, and their L2 distances to the boundary."""
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(inputs, generator=generator, dtype=torch.float64)
    model = nn.Linear(inputs, 2, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.stack([weight, -weight]))
    shift = 0.05 * torch.tensor([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0], dtype=torch.float64)
    middle = torch.full((inputs,), 0.5, dtype=torch.float64)
    middle = middle - (weight @ middle) * weight / weight.norm() ** 2  # on the boundary, in another place
    middle = middle + 0.05 * torch.randn(inputs, generator=generator, dtype=torch.float64)
    middle = middle - (weight @ middle) * weight / weight.norm() ** 2
    x = middle + shift[:, None] * weight / weight.norm()
    return model, x, model(x).argmax(1), shift.abs()


def draws(*shape, seed=1):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# PGD on the margin


@every_norm
def test_cw_pgd_is_pgd_on_the_margin_while_no_lead_exceeds_the_confidence(norm):
    model, x, y = bumpy(), draws(12, 6), torch.arange(12) % 4
    radius = torch.linspace(0, 0.3, 12, dtype=torch.float64)
    settings = {"radius": radius, "norm": norm, "step_size": 0.05}
    seeded = [torch.Generator().manual_seed(0) for _ in range(2)]
    x_adv = cw_pgd(model, x, y, generator=seeded[0], **settings)
    expected = pgd(model, x, y, loss="margin", steps=30, generator=seeded[1], **settings)
    assert torch.equal(x_adv, expected)
    assert torch.equal(x_adv[0], x[0])


@targeted_or_not
@pytest.mark.parametrize("confidence", [0.0, 0.7])
def test_a_sample_stops_as_soon_as_its_lead_exceeds_the_confidence(confidence, targeted):
    """On f(x) = (s, 0) with s the sum of 4 numbers, each step of 0.01 moves the lead by 0.04."""

    class Sum(nn.Module):
        def forward(self, x):
            return torch.stack([x.sum(1), 0 * x.sum(1)], dim=1)

    x = torch.tensor([[0.25] * 4, [0.05] * 4], dtype=torch.float64)  # leads of class 0: 1 and 0.2
    y = torch.ones(2, dtype=torch.long) if targeted else torch.zeros(2, dtype=torch.long)
    x_adv = cw_pgd(
        Sum(),
        x,
        y,
        radius=5.0,
        step_size=0.01,
        steps=100,
        confidence=confidence,
        targeted=targeted,
        random_start=False,
        bounds=None,
    )
    lead = -x_adv.sum(1)
    assert bool((lead >= confidence).all())
    assert bool((lead <= confidence + 0.04 + 1e-9).all())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"radius": 8}, r"8px"),
        ({"confidence": -1.0}, r"confidence = -1"),
        ({"confidence": float("nan")}, r"confidence = nan"),
        ({"steps": 0}, r"steps = 0"),
        ({"norm": "l1"}, r"'l1'.*linf, l2"),
    ],
    ids=str,
)
def test_mistakes_in_cw_pgd_are_refused_by_name(settings, message):
    with pytest.raises(UserError, match=message):
        cw_pgd(bumpy(), draws(2, 6), torch.tensor([0, 1]), **{"radius": 0.1, **settings})


# The L2 attack


@targeted_or_not
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-0.5, 1.0)])
@pytest.mark.parametrize("confidence", [0.0, 0.5])
def test_equals_the_slow_reference(targeted, bounds, confidence):
    model, x = bumpy(), bounds[0] + (bounds[1] - bounds[0]) * draws(4, 6)
    with torch.no_grad():
        model[2].weight *= 4
    y = model(x).topk(2, dim=1).indices[:, 1 if targeted else 0]
    settings = {"searches": 3, "steps": 40, "confidence": confidence, "targeted": targeted, "bounds": bounds}
    x_adv = cw_l2(model, x, y, initial=0.5, learning_rate=0.05, **settings)
    expected = [
        carlini_slow(model, row.tolist(), int(label), initial=0.5, rate=0.05, **settings)
        for row, label in zip(x, y, strict=True)
    ]
    torch.testing.assert_close(x_adv, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-7)
    assert (x_adv != x).any(1).sum() >= 2


def test_finds_the_distance_to_a_linear_boundary():
    model, x, y, distance = two_classes()
    assert set(y.tolist()) == {0, 1}
    x_adv = cw_l2(model, x, y, bounds=(-1.0, 2.0), steps=100)
    assert bool((model(x_adv).argmax(1) != y).all())
    ratio = (x_adv - x).norm(dim=1) / distance
    assert bool((ratio > 1).all())
    assert bool((ratio < 1.03).all())


def test_saturated_inputs_are_attacked_successfully_too():
    """Of f(x) = (s - 4.5, 0) with s the sum of 6 numbers at 1, each must give up 1/4."""
    model = nn.Linear(6, 2).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0], [0.0]]).expand(2, 6))
        model.bias.copy_(torch.tensor([-4.5, 0.0]))
    x = torch.ones(1, 6, dtype=torch.float64)
    x_adv = cw_l2(model, x, torch.tensor([0]), steps=300, searches=4, initial=0.3)
    torch.testing.assert_close(x_adv, torch.full_like(x, 0.75), rtol=0, atol=0.02)
    assert model(x_adv).argmax(1).item() == 1


def test_confidence_is_the_lead_that_is_reached():
    model, x, y, _ = two_classes()
    x_adv = cw_l2(model, x, y, bounds=(-1.0, 2.0), confidence=0.4, steps=100, searches=8)
    logits = model(x_adv)
    lead = logits.gather(1, 1 - y[:, None]) - logits.gather(1, y[:, None])
    assert bool((lead > 0.4).all())
    assert bool((lead < 0.45).all())


def test_with_a_radius_only_what_lies_within_it_counts():
    model, x, y, _ = two_classes()
    settings = {"bounds": (-1.0, 2.0), "steps": 60, "searches": 5}
    free = cw_l2(model, x, y, **settings)
    found = (free - x).norm(dim=1)
    radius = found * torch.tensor([0.99, 1.01] * 3, dtype=torch.float64)
    expected = torch.where((found <= radius)[:, None], free, x)
    assert (expected != x).any(1).tolist() == [False, True] * 3
    assert torch.equal(cw_l2(model, x, y, radius=radius, **settings), expected)
    assert torch.equal(cw_l2(model, x, y, radius=0.0, **settings), x)


def test_misclassified_inputs_come_back_untouched_and_cost_one_forward():
    model, x, y, _ = two_classes()
    with count_passes(model) as passes:
        assert torch.equal(cw_l2(model, x, 1 - y, bounds=(-1.0, 2.0)), x)
    assert passes.forward == 6
    mixed = torch.where(torch.arange(6) % 2 == 0, y, 1 - y)
    x_adv = cw_l2(model, x, mixed, bounds=(-1.0, 2.0), steps=60, searches=5)
    assert (x_adv != x).any(1).tolist() == [True, False] * 3


def test_what_no_attack_succeeds_on_comes_back_clean():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.stack([1 + 0 * x.sum(1), 0 * x.sum(1)], dim=1)

    x = draws(3, 2)
    assert torch.equal(cw_l2(Constant(), x, torch.zeros(3, dtype=torch.long), steps=5, searches=15), x)


def test_a_sample_does_not_notice_the_others():
    model, x = bumpy(), draws(5, 6)
    y = model(x).argmax(1)
    settings = {"steps": 20, "searches": 3, "initial": 0.5, "learning_rate": 0.05}
    together = cw_l2(model, x, y, **settings)
    assert (together != x).any(1).sum() >= 3
    alone = torch.cat([cw_l2(model, x[row : row + 1], y[row : row + 1], **settings) for row in range(5)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)


@given(shape=st.lists(st.integers(1, 4), min_size=2, max_size=4), seed=st.integers(0, 99), classes=st.integers(2, 4))
@settings(max_examples=12)
def test_result_is_adversarial_or_the_clean_input_and_stays_in_the_bounds(shape, seed, classes):
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(shape, generator=generator) * 2 - 0.5).clamp(0, 1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 8), nn.Tanh(), nn.Linear(8, classes)).double()
    y = torch.randint(0, classes, (shape[0],), generator=generator)
    x_adv = cw_l2(model, x.double(), y, steps=15, searches=3, learning_rate=0.3, initial=1.0)
    assert x_adv.shape == x.shape
    assert not x_adv.requires_grad
    assert bool(((x_adv >= 0) & (x_adv <= 1)).all())
    moved = (x_adv != x).flatten(1).any(1)
    assert bool(((model(x_adv).argmax(1) != y) | ~moved).all())


def test_the_model_comes_back_as_it_was():
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    model[1].eval()
    x, y = draws(4, 6).float(), torch.zeros(4).long()
    first, second = (cw_l2(model, x, y, steps=5, searches=2) for _ in range(2))
    assert torch.equal(first, second)
    assert [module.training for module in model] == [True, False, True, True]
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_attack_under_inference_mode_is_the_same_attack():
    model, x = bumpy(), draws(4, 6)
    y, settings = model(x).argmax(1), {"steps": 20, "searches": 2, "initial": 1.0}
    outside = cw_l2(model, x, y, **settings)
    with torch.inference_mode():
        inside = cw_l2(model, x.clone(), y.clone(), **settings)
    assert torch.equal(inside, outside)


def test_an_empty_batch_comes_back_empty():
    assert cw_l2(nn.Linear(6, 3), torch.empty(0, 6), torch.empty(0).long()).shape == (0, 6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm": "linf"}, r"norm 'linf'.*l2"),
        ({"bounds": None}, r"bounds = None"),
        ({"bounds": (0.0, float("inf"))}, r"bounds = \(0.0, inf\)"),
        ({"steps": 0}, r"steps = 0"),
        ({"searches": 0}, r"searches = 0"),
        ({"learning_rate": 0.0}, r"learning_rate = 0"),
        ({"initial": float("nan")}, r"initial = nan"),
        ({"confidence": -0.1}, r"confidence = -0.1"),
        ({"radius": 128.0}, r"radius = 128.*px"),
    ],
    ids=str,
)
def test_mistakes_are_refused_by_name(settings, message):
    with pytest.raises(UserError, match=message):
        cw_l2(bumpy(), draws(2, 6), torch.tensor([0, 1]), **settings)
