"""The smallest radius of each sample: closed form on linear models, and a scan of every level one by one."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from iaat.attacks.deepfool import deepfool
from iaat.attacks.pgd import pgd
from iaat.attacks.smallest_radius import smallest_radius
from iaat.errors import UserError
from iaat.units import PIXEL

every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])
GRID = torch.arange(1, 17, dtype=torch.float64) * PIXEL


def from_clean(model, x, y, **settings):
    """PGD without a random start."""
    return pgd(model, x, y, x_init=x, **settings)


walk = partial(from_clean, steps=3)


def at_distances(distance, norm, *, inputs=8):
    """A linear model of two classes, and an input at each of the distances (signed: which class it is given)."""
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(inputs, generator=generator, dtype=torch.float64)
    model = nn.Linear(inputs, 2).double()
    with torch.no_grad():
        model.weight.copy_(torch.stack([weight, -weight]))
        model.bias.copy_(torch.stack([-weight.sum() / 2, weight.sum() / 2]))
    way = weight.sign() if norm == "linf" else weight / weight.norm()
    return model, 0.5 + distance[:, None] * way, (distance < 0).long()


@every_norm
@pytest.mark.parametrize("count", [1, 2, 7, 16])
def test_level_is_the_closed_form_on_a_linear_model(norm, count):
    levels = GRID[:count]
    distance = torch.linspace(-20.3, 20.3, 60, dtype=torch.float64) * PIXEL
    model, x, y = at_distances(distance, norm)
    found = smallest_radius(walk, model, x, y, levels=levels, norm=norm)
    expected = (levels[:, None] < distance.abs()).sum(0)
    assert found.level.tolist() == expected.tolist()
    broken = expected < count
    assert bool(found.norm[~broken].isnan().all())
    torch.testing.assert_close(found.norm[broken], levels[expected[broken]])


@pytest.mark.parametrize("count", [1, 2, 3, 16, 100])
def test_rounds_grow_with_the_logarithm_of_the_levels(count):
    levels = torch.arange(1, count + 1, dtype=torch.float64) / (4 * count)
    model, x, y = at_distances(torch.linspace(0.001, 0.3, 40, dtype=torch.float64), "linf")
    rounds = []

    def counted(*arguments, radius, **options):
        rounds.append(radius)
        return walk(*arguments, radius=radius, **options)

    smallest_radius(counted, model, x, y, levels=levels)
    assert len(rounds) <= count.bit_length()


def test_every_sample_is_attacked_at_its_own_middle_level():
    levels = GRID[:7]
    model, x, y = at_distances(torch.tensor([0.5, 2.5, 4.5, 6.5, 9.0], dtype=torch.float64) * PIXEL, "linf")
    rounds = []

    def counted(*arguments, radius, **options):
        rounds.append((radius / PIXEL).round().int().tolist())
        return walk(*arguments, radius=radius, **options)

    level, *_ = smallest_radius(counted, model, x, y, levels=levels)
    assert level.tolist() == [0, 2, 4, 6, 7]
    assert rounds == [[4, 4, 4, 4, 4], [2, 2, 6, 6, 6], [1, 3, 5, 7, 7]]


def test_a_small_break_closes_the_levels_above_its_norm():
    levels = GRID
    model, x, y = at_distances(torch.tensor([0.5, 2.5, 9.5, 30.0], dtype=torch.float64) * PIXEL, "linf")
    rounds = []

    def nearest(model, x, y, *, radius, norm, generator):
        rounds.append((radius / PIXEL).round().int().tolist())
        return deepfool(model, x, y, radius=radius, norm=norm, generator=generator)

    level, size, _ = smallest_radius(nearest, model, x, y, levels=levels)
    assert level.tolist() == [0, 2, 9, 16]
    torch.testing.assert_close(size[:3] / PIXEL, 1.02 * torch.tensor([0.5, 2.5, 9.5], dtype=torch.float64))
    assert size[3].isnan()
    # After the first round, at 8, the first sample is done; the second has levels 1 and 2 (of 1 .. 16) left below it.
    assert rounds[0] == [8, 8, 8, 8]
    assert [row[0] for row in rounds[1:]] == [0] * (len(rounds) - 1)  # only fills the batch up
    assert [row[1] for row in rounds[1:]][:3] == [1, 2, 0]


def test_the_predicted_class_is_that_of_the_smallest_perturbation():
    """Class 1 lies nearer than class 2, which the first round at a large radius reaches."""

    class Bands(nn.Module):
        def forward(self, x):
            band = (x[:, 0] >= 0.25).long() + (x[:, 0] >= 0.5).long()
            return nn.functional.one_hot(band, 3).float()

    def step(model, x, y, *, radius, norm, generator):
        return x + radius[:, None]

    x, y = torch.tensor([[0.0], [0.22], [0.4], [-9.0]]), torch.tensor([0, 0, 0, 0])
    found = smallest_radius(step, Bands(), x, y, levels=torch.arange(1, 17) / 16)
    assert found.prediction.tolist() == [1, 1, 1, -1]  # the third is misclassified without an attack
    assert found.level.tolist() == [3, 0, -1, 16]
    far = smallest_radius(step, Bands(), x, y, levels=torch.tensor([0.6]))
    assert far.prediction.tolist() == [2, 2, 1, -1]


def network():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 4))
    with torch.no_grad():
        model[1].weight *= 4
    return model


def scanned(attack, model, x, y, levels, norm):
    """Every level one by one, from the smallest."""
    result = []
    for point, label in zip(x, y, strict=True):
        level = -1 if model(point[None]).argmax(1) != label else len(levels)
        for number in range(len(levels) if level >= 0 else 0):
            x_adv = attack(model, point[None], label[None], radius=levels[number : number + 1], norm=norm)
            if model(x_adv).argmax(1) != label:
                level = number
                break
        result.append(level)
    return result


@every_norm
@pytest.mark.parametrize("shape", [(33, 12), (3, 1, 4, 3), (12, 1, 1, 12)], ids=str)
def test_equals_a_scan_of_all_levels(norm, shape):
    model = network()
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    y = model(x).argmax(1)
    y[::5] = (y[::5] + 1) % 4
    levels = torch.arange(1, 10) * (0.02 if norm == "linf" else 0.05)
    attack = partial(from_clean, steps=12, loss="margin")
    level, size, _ = smallest_radius(attack, model, x, y, levels=levels, norm=norm)
    assert level.tolist() == scanned(attack, model, x, y, levels, norm)
    if shape[0] == 33:
        assert len(set(level.tolist())) >= 5
    misclassified, never = level == -1, level == len(levels)
    assert bool((size[misclassified] == 0).all())
    assert bool((size.isnan() == never).all())
    between = ~misclassified & ~never
    assert bool((size[between] <= levels[level[between]] * (1 + 1e-5)).all())


def test_misclassified_samples_have_level_minus_one_and_are_not_attacked():
    model, x, y = at_distances(torch.tensor([0.1, -0.1], dtype=torch.float64), "linf")
    level, size, _ = smallest_radius(walk, model, x, 1 - y, levels=GRID)
    assert level.tolist() == [-1, -1]
    assert size.tolist() == [0, 0]

    def forbidden(*_arguments, **_options):
        raise AssertionError

    smallest_radius(forbidden, model, x, 1 - y, levels=GRID)


def test_what_the_attack_returns_is_evaluated_again():
    model, x, y = at_distances(torch.tensor([0.01, 0.03, 0.05], dtype=torch.float64), "linf")

    def beyond(model, x, y, *, radius, norm, generator):
        return walk(model, x, y, radius=2 * radius, norm=norm)

    def idle(model, x, y, *, radius, norm, generator):
        return x.clone()

    def undefined(model, x, y, *, radius, norm, generator):
        return x * torch.nan

    for attack in (beyond, idle, undefined):
        level, size, _ = smallest_radius(attack, model, x, y, levels=GRID)
        assert level.tolist() == [16, 16, 16]
        assert bool(size.isnan().all())


def test_rounding_of_the_attack_pushes_no_sample_to_the_next_level():
    """In float32 `x + delta - x` is often a little longer than the radius."""
    model = nn.Linear(64, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0], [-1.0]]).expand(2, 64))
        model.bias.zero_()
    x = 0.3 + 0.5 * torch.rand(50, 64, generator=torch.Generator().manual_seed(0))
    x = x + (0.02 - x.mean(1, keepdim=True))  # all at distance 0.02 from the boundary, in sum
    levels = torch.arange(1, 11) / 255
    level, *_ = smallest_radius(partial(walk, bounds=None), model, x, torch.zeros(50, dtype=torch.long), levels=levels)
    assert level.tolist() == [5] * 50  # 0.02 is 5.1px


def test_the_generator_is_handed_to_the_attack():
    model, x = network(), torch.rand(20, 12)
    seen = []

    def noisy(model, x, y, *, radius, norm, generator):
        seen.append(generator)
        return pgd(model, x, y, radius=radius, norm=norm, steps=1, generator=generator)

    generator = torch.Generator().manual_seed(0)
    smallest_radius(noisy, model, x, model(x).argmax(1), levels=GRID, generator=generator)
    assert seen
    assert all(each is generator for each in seen)


@given(st.lists(st.integers(-1, 12), min_size=1, max_size=70), st.integers(1, 12), st.randoms(use_true_random=False))
@settings(max_examples=100)
def test_any_thresholds_are_found_whatever_the_break_measures(thresholds, count, random):
    """The model is a threshold a sample carries in its second number; the first one is what is perturbed."""

    class Threshold(nn.Module):
        def forward(self, x):
            return torch.stack([torch.zeros(len(x)), (x[:, 0] > x[:, 1]).float() * 2 - 1], dim=1)

    def attack(model, x, y, *, radius, norm, generator):
        length = radius.clone()
        for row, threshold in enumerate(x[:, 1].tolist()):  # a break anywhere between threshold and radius
            if threshold < radius[row]:
                length[row] = random.uniform(threshold, radius[row].item()) + 1e-6
        return torch.stack([length.minimum(radius), x[:, 1]], dim=1)

    levels = torch.arange(1, count + 1).float() / 16
    wall = torch.tensor(thresholds) / 16 + 1 / 32  # between two levels; below 0 for -1: misclassified
    x = torch.stack([torch.zeros(len(wall)), wall], dim=1)
    level, size, _ = smallest_radius(attack, Threshold(), x, torch.zeros(len(wall), dtype=torch.long), levels=levels)
    expected = [-1 if t < 0 else min(t, count) for t in thresholds]
    assert level.tolist() == expected
    broken = (level >= 0) & (level < count)
    assert bool((size[broken] > wall[broken]).all())
    assert bool((size[broken] <= levels[level[broken]] + 1e-6).all())


def test_the_model_comes_back_as_it_was_and_is_evaluated_in_eval_mode():
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = torch.rand(4, 6)
    with torch.no_grad():
        y = model.eval()(x).argmax(1)
    model.train()
    first, second = (smallest_radius(walk, model, x, y, levels=GRID.float()) for _ in range(2))
    assert torch.equal(first.level, second.level)
    assert bool((first.level >= 0).all())
    assert all(module.training for module in model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_an_empty_batch_has_no_levels():
    level, size, prediction = smallest_radius(
        walk, nn.Linear(6, 3), torch.empty(0, 6), torch.empty(0).long(), levels=GRID
    )
    assert level.shape == size.shape == prediction.shape == (0,)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (torch.empty(0), r"\[0\].*at least one"),
        (torch.tensor(0.1), r"shape \[\]"),
        (torch.tensor([0.1, 0.1]), r"above the one before"),
        (torch.tensor([0.2, 0.1]), r"above the one before"),
        (torch.tensor([-0.1, 0.1]), r"not negative"),
        (torch.tensor([0.1, float("nan")]), r"finite"),
        (torch.tensor([0.1, float("inf")]), r"finite"),
    ],
    ids=str,
)
def test_levels_that_make_no_sense_are_refused(levels, message):
    with pytest.raises(UserError, match=message):
        smallest_radius(walk, nn.Linear(6, 3), torch.rand(2, 6), torch.tensor([0, 1]), levels=levels)


def test_an_attack_that_returns_another_shape_is_refused():
    model, x, y = at_distances(torch.tensor([0.01], dtype=torch.float64), "linf")
    with pytest.raises(UserError, match=r"returned shape \[1, 3\] .*\[1, 8\]"):
        smallest_radius(lambda *_arguments, **_options: x[:, :3], model, x, y, levels=GRID)


def test_an_unknown_norm_is_refused():
    with pytest.raises(UserError, match="'l1'"):
        smallest_radius(walk, nn.Linear(6, 3), torch.rand(2, 6), torch.tensor([0, 1]), levels=GRID, norm="l1")
