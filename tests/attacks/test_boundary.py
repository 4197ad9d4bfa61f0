"""Bisection to the decision boundary: closed form on a linear model, and a model that misclassifies in a band only."""

import pytest
import torch
from torch import nn

from iaat.attacks.boundary import find_boundary
from iaat.errors import UserError
from iaat.runtime.passes import count_passes

LIMIT, SEARCHES = 0.2, 10
every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])


class Band(nn.Module):
    """Class 0 everywhere but where the first number is between `low` and `high`."""

    def __init__(self, low, high):
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x):
        inside = (x[:, 0] - self.low) * (self.high - x[:, 0])
        return torch.stack([-inside, inside], dim=1)


def search(model, x, reach, norm="linf", **options):
    """From `x` along the first number, the attack having gone `reach` `[B]` far."""
    x_adv = x.clone()
    x_adv[:, 0] += reach
    y = torch.zeros(len(x), dtype=torch.int64)
    settings = {"limit": LIMIT, "norm": norm, "searches": SEARCHES, **options}
    return find_boundary(model, x, y, x_adv, **settings)


@every_norm
@pytest.mark.parametrize("reach", [0.01, 0.1, 0.15, 0.2])
def test_the_point_is_just_beyond_the_boundary_wherever_the_attack_ended(norm, reach):
    x = torch.full((4, 3), 0.3, dtype=torch.float64)
    x[:, 0] = torch.tensor([0.45, 0.4, 0.37, 0.25])  # 0.05, 0.1, 0.13 and 0.25 before the boundary
    found = search(Band(0.5, 2.0), x, reach, norm)
    assert found.found.tolist() == [True, True, True, False]
    beyond = found.x[:3, 0] - 0.5
    assert bool((beyond > 0).all())
    assert bool((beyond <= LIMIT / 2**SEARCHES + 1e-12).all())
    assert found.x[3, 0].item() == pytest.approx(0.25 + LIMIT)
    assert torch.equal(found.x[:, 1:], x[:, 1:])


def test_every_search_halves_what_is_not_known():
    x = torch.full((1, 3), 0.41, dtype=torch.float64)
    for searches in (1, 3, 6):
        beyond = search(Band(0.5, 2.0), x, 0.001, searches=searches).x[0, 0].item() - 0.5
        assert 0 < beyond <= LIMIT / 2**searches


def test_points_beyond_a_saturated_pixel_stay_on_it():
    x = torch.tensor([[0.95, 0.5]], dtype=torch.float64)
    seen = []
    model = Band(0.99, 2.0)
    model.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].clone()))
    found = search(model, x, 0.05)
    assert all(bool(((point >= 0) & (point <= 1)).all()) for point in seen)
    assert 0.99 < found.x[0, 0].item() <= 0.99 + 0.05 / 2**SEARCHES
    blocked = search(Band(1.5, 2.0), x, 0.05)
    assert not blocked.found.item()
    assert blocked.x[0, 0].item() == 1.0


def test_found_is_a_misclassified_point_even_if_points_farther_out_are_correct():
    x = torch.full((2, 2), 0.4, dtype=torch.float64)
    found = search(Band(0.45, 0.52), x, torch.tensor([0.1, 0.01], dtype=torch.float64))
    assert found.found.tolist() == [True, True]
    assert bool(((found.x[:, 0] > 0.45) & (found.x[:, 0] < 0.52)).all())


@pytest.mark.parametrize(("reach", "expected"), [(0.08, 0.5), (0.05, 0.44)])
def test_where_the_attack_failed_the_search_goes_beyond_it(reach, expected):
    """Correct at 0.48, the model is searched from there on; misclassifying at 0.45, it is searched up to there."""

    class Twice(nn.Module):
        def forward(self, x):
            misclassified = ((x[:, 0] > 0.44) & (x[:, 0] < 0.46)) | (x[:, 0] > 0.5)
            return torch.stack([~misclassified, misclassified], dim=1).double()

    found = search(Twice(), torch.full((1, 2), 0.4, dtype=torch.float64), reach, limit=0.22)
    assert expected < found.x[0, 0].item() <= expected + 0.22 / 2**SEARCHES


def test_an_attack_that_did_not_move_finds_nothing():
    x = torch.full((2, 2), 0.4, dtype=torch.float64)
    found = search(Band(0.45, 2.0), x, 0.0)
    assert torch.equal(found.x, x)
    assert not found.found.any()


def test_it_takes_one_forward_more_than_searches_and_leaves_no_trace():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double().train()
    x = torch.rand(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with count_passes(model) as passes:
        point = search(model, x, 0.01).x
    assert (passes.forward, passes.backward) == (5 * (SEARCHES + 1), 0)
    assert not point.requires_grad
    assert model[1].num_batches_tracked.item() == 0
    assert model.training
    assert all(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (
            8,
            r"limit = 8 is above the pixel range 1; .* write 8 / 255 or \"8px\", for an L2 norm \"8/1\"",
        ),
        (0.04, r"limit = 0\.04 is below 0\.05, the norm of x_adv - x"),
        ("8 pixels", r"'8 pixels' cannot be read"),
        (-0.1, r"limit = -0\.1: must be a finite number from 0 on"),
        (None, r"limit = None: must be a finite number from 0 on"),
    ],
)
def test_a_limit_that_is_no_length_beyond_the_attack_is_refused(limit, message):
    with pytest.raises(UserError, match=message):
        search(Band(0.5, 2.0), torch.full((2, 3), 0.3, dtype=torch.float64), 0.05, limit=limit)


def test_a_limit_may_be_text_and_an_l2_norm_above_1():
    x = torch.full((2, 3), 0.3, dtype=torch.float64)
    for text, number in (("51px", 0.2), ("51/255", 0.2)):
        found, expected = (search(Band(0.4, 2.0), x, 0.05, limit=limit) for limit in (text, number))
        assert torch.equal(found.x, expected.x)
    assert search(Band(0.4, 2.0), x, 0.05, "l2", limit="2/1").found.all()
