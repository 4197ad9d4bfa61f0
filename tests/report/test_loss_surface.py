"""Loss surfaces: a linear model has them in closed form."""

import numpy as np
import pytest
import torch
from torch import nn

from iaat.errors import UserError
from iaat.report.loss_surface import loss_surface, random_direction
from iaat.runtime.passes import count_passes
from iaat.units import PIXEL, unit_of

INDEX = torch.tensor([3, 0, 8])


def linear(seed=0, shape=(1, 4, 4), classes=3):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), classes))


def samples(shape=(1, 4, 4)):
    drawn = torch.rand(3, *shape, generator=torch.Generator().manual_seed(4))
    return 0.4 + 0.2 * drawn, torch.tensor([0, 2, 1])


def softmax(logits):
    exponentials = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()


def by_hand(model, x, y, index, seed, radius, points, norm, bounded=False):
    """Loss and prediction point by point in float64, for one sample of a linear model."""
    weight, bias = (each.detach().double().numpy() for each in model[1].parameters())
    clean = x.flatten().double().numpy()
    gradient = weight.T @ (softmax(weight @ clean + bias) - np.eye(len(bias))[y])
    second = random_direction(x[None], torch.tensor([index]), seed).flatten().double().numpy()
    first = np.sign(gradient)
    if norm == "l2":
        first, second = gradient / np.linalg.norm(gradient), second / np.linalg.norm(second)
    offsets = np.linspace(-2 * radius, 2 * radius, points)
    loss, prediction = np.empty((2, points, points))
    for row, b in enumerate(offsets):
        for column, a in enumerate(offsets):
            moved = clean + a * first + b * second
            logits = weight @ (moved.clip(0, 1) if bounded else moved) + bias
            loss[row, column], prediction[row, column] = -np.log(softmax(logits)[y]), logits.argmax()
    return offsets * unit_of(norm).scale, loss, prediction


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_values_are_the_closed_form_on_a_linear_model(norm, batch_size):
    model, (x, y) = linear(), samples()
    radius = torch.tensor([2.0, 8.0, 16.0]) * PIXEL
    found = loss_surface(model, x, y, INDEX, radius=radius, points=7, norm=norm, seed=5, batch_size=batch_size)
    for row, surface in enumerate(found):
        expected = by_hand(model, x[row], int(y[row]), int(INDEX[row]), 5, float(radius[row]), 7, norm)
        np.testing.assert_allclose(surface.offsets, expected[0], atol=1e-4)
        np.testing.assert_allclose(surface.loss, expected[1], atol=1e-5)
        assert np.array_equal(surface.prediction, expected[2])


def test_points_outside_the_pixel_range_are_clipped():
    model, y = linear(), torch.tensor([1])
    x = samples()[0][:1].sub(0.5).sign().clamp_min(0)  # black and white, so that half of every step is cut off
    (surface,) = loss_surface(model, x, y, INDEX[:1], radius=0.2, points=5)
    free, bounded = (by_hand(model, x[0], 1, 3, 0, 0.2, 5, "linf", bounded=each)[1] for each in (False, True))
    np.testing.assert_allclose(surface.loss, bounded, atol=1e-5)
    assert np.abs(free - bounded).max() > 0.01


@pytest.mark.parametrize("points", [3, 25])
def test_the_centre_is_the_sample_itself(points):
    model, (x, y) = linear(), samples()
    loss = nn.functional.cross_entropy(model(x), y, reduction="none").detach()
    for row, surface in enumerate(loss_surface(model, x, y, INDEX, radius=8 * PIXEL, points=points)):
        middle = points // 2
        assert surface.offsets[middle] == 0
        assert surface.loss[middle, middle] == pytest.approx(float(loss[row]), rel=1e-6)
        assert surface.offsets[-1] == pytest.approx(16, rel=1e-5)
        assert surface.loss.dtype == np.float32


def test_models_share_the_random_direction_and_have_their_own_gradient():
    x, y = samples()
    for model in (linear(1), linear(2)):
        for row, surface in enumerate(loss_surface(model, x, y, INDEX, radius=8 * PIXEL, points=3, seed=2)):
            expected = by_hand(model, x[row], int(y[row]), int(INDEX[row]), 2, 8 * PIXEL, 3, "linf")
            np.testing.assert_allclose(surface.loss, expected[1], atol=1e-5)


def test_the_random_direction_belongs_to_the_sample_and_the_seed():
    x, y = samples()
    together = random_direction(x, INDEX, 0)
    assert set(together.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(random_direction(x[1:2], INDEX[1:2], 0)[0], together[1])
    assert not torch.equal(random_direction(x, INDEX, 1), together)
    model = linear()
    runs = [loss_surface(model, x, y, INDEX, radius=8 * PIXEL, points=3, seed=s)[0].loss for s in (0, 0, 1)]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_random_directions_are_nearly_orthogonal_to_any_other():
    x = torch.zeros(200, 3, 32, 32)
    cosine = random_direction(x, torch.arange(200), 0).flatten(1).mean(dim=1)
    assert float(cosine.abs().max()) < 5 / 3072**0.5
    assert float(cosine.std()) == pytest.approx(1 / 3072**0.5, rel=0.2)


def test_without_a_gradient_the_surface_is_flat_along_it():
    model, (x, y) = linear(), samples()
    with torch.no_grad():
        model[1].weight.zero_()
    (surface, *_) = loss_surface(model, x, y, INDEX, radius=8 * PIXEL, points=3)
    assert len(set(surface.loss.flatten().tolist())) == 1


def test_the_model_comes_back_as_it_was_and_costs_what_is_said():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 3))
    model[2].eval()
    model[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x, y = samples()
    with count_passes(model) as passes:
        loss_surface(model, x, y, INDEX, radius=8 * PIXEL, points=5)
    assert (passes.forward, passes.backward) == (3 * (1 + 25), 3)
    assert [module.training for module in model] == [True, True, False, True, True]
    assert [p.requires_grad for p in model.parameters()] == [False] + 5 * [True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not x.requires_grad


def test_it_works_in_inference_mode_and_computes_in_float32():
    model, (x, y) = linear(), samples()
    plain = loss_surface(model, x, y, INDEX, radius=8 * PIXEL, points=3)[0]
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        odd = loss_surface(model, x, y, INDEX, radius=8 * PIXEL, points=3)[0]
    assert np.array_equal(plain.loss, odd.loss)


def test_no_samples_have_no_surfaces():
    x, y = samples()
    assert loss_surface(linear(), x[:0], y[:0], INDEX[:0], radius=8 * PIXEL) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"radius": 0.0}, "radius"),
        ({"radius": torch.tensor([0.1, float("nan"), 0.1])}, "radius"),
        ({"radius": 0.1, "points": 1}, "points"),
        ({"radius": 0.1, "batch_size": 0}, "batch_size"),
        ({"radius": 0.1, "norm": "l3"}, "l3"),
    ],
)
def test_settings_without_a_meaning_are_refused(options, words):
    x, y = samples()
    with pytest.raises(UserError, match=words):
        loss_surface(linear(), x, y, INDEX, **options)
