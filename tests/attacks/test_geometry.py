import math

import pytest
import torch

from iaat.attacks import geometry, per_sample
from iaat.errors import UserError

SHAPES = [(5, 7), (5, 3, 4), (5, 3, 4, 2)]
RADII = [0.0, 0.1, 0.5, 1.0, 2.0]

every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=["rank2", "rank3", "rank4"])
both_precisions = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])


def norms(delta, norm):
    """Norm of each row, one number at a time."""
    rows = [row.flatten().tolist() for row in delta]
    if norm == "linf":
        return [max(abs(v) for v in row) for row in rows]
    return [math.sqrt(math.fsum(v * v for v in row)) for row in rows]


def of_norm(shape, sizes, norm, dtype=torch.float64):
    """Random rows of the given sizes."""
    delta = torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=dtype)
    return torch.stack([row / n * s for row, n, s in zip(delta, norms(delta, norm), sizes, strict=True)])


@every_norm
@every_shape
@both_precisions
def test_projection_keeps_what_is_inside_and_shortens_what_is_outside(norm, shape, dtype):
    radius = torch.tensor([0.3, 0.4, 0.5, 0.6, 0.7], dtype=dtype)
    share = [0.2, 0.99, 1.5, 10.0, 1e6]
    delta = of_norm(shape, (radius * torch.tensor(share, dtype=dtype)).tolist(), norm, dtype)
    projected = geometry(norm).project(delta, per_sample(radius, delta))

    assert projected.dtype == dtype
    torch.testing.assert_close(projected[:2], delta[:2], rtol=1e-6, atol=0)
    expected = radius[2:].tolist()
    assert norms(projected[2:], norm) == pytest.approx(expected, rel=1e-6)
    if norm == "linf":
        by_hand = [[min(max(v, -r), r) for v in row.flatten().tolist()] for row, r in zip(delta, radius, strict=True)]
    else:
        by_hand = [[v / max(1.0, s) for v in row.flatten().tolist()] for row, s in zip(delta, share, strict=True)]
    torch.testing.assert_close(projected.flatten(1), torch.tensor(by_hand, dtype=dtype), rtol=1e-5, atol=1e-7)


@every_norm
def test_projection_of_a_point_on_the_ball_is_that_point(norm):
    delta = torch.tensor([[0.25, 0.0], [0.0, -0.5]], dtype=torch.float64)  # exact in binary, so is their norm
    projected = geometry(norm).project(delta, per_sample(torch.tensor([0.25, 0.5]), delta))
    assert torch.equal(projected, delta)


@every_norm
@both_precisions
def test_projection_to_radius_zero_is_exactly_zero(norm, dtype):
    delta = torch.tensor([[1e-38, -1.0], [1e30, 1.0], [0.0, 0.0]], dtype=dtype)
    projected = geometry(norm).project(delta, per_sample(0.0, delta))
    assert torch.equal(projected, torch.zeros_like(delta))


@every_norm
@both_precisions
def test_projection_of_zero_is_zero_at_any_radius(norm, dtype):
    delta = torch.zeros(3, 4, dtype=dtype)
    projected = geometry(norm).project(delta, per_sample(torch.tensor([0.0, 1e-30, 1e30], dtype=dtype), delta))
    assert torch.equal(projected, delta)


@every_norm
@every_shape
@both_precisions
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_steepest_is_the_best_direction_of_norm_one_at_every_scale(norm, shape, dtype, scale):
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    direction = geometry(norm).steepest(gradient * scale)
    assert norms(direction, norm) == pytest.approx([1.0] * len(gradient), rel=1e-5)
    dual = gradient.flatten(1).abs().sum(1) if norm == "linf" else gradient.flatten(1).norm(dim=1)
    torch.testing.assert_close((direction * gradient).flatten(1).sum(1), dual, rtol=1e-5, atol=0)


@every_norm
@both_precisions
def test_steepest_of_a_zero_gradient_stays_put(norm, dtype):
    gradient = torch.zeros(2, 3, dtype=dtype)
    assert torch.equal(geometry(norm).steepest(gradient), gradient)


@every_norm
@both_precisions
def test_steepest_ignores_nan_and_only_nan(norm, dtype):
    gradient = torch.tensor([[math.nan] * 3, [math.nan, -2.0, 0.0], [3.0, 0.0, 0.0]], dtype=dtype)
    direction = geometry(norm).steepest(gradient)
    expected = torch.tensor([[0.0, 0.0, 0.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]], dtype=dtype)
    torch.testing.assert_close(direction, expected)


@every_norm
@both_precisions
def test_steepest_follows_infinite_gradients(norm, dtype):
    direction = geometry(norm).steepest(torch.tensor([[math.inf, 0.0], [0.0, -math.inf]], dtype=dtype))
    torch.testing.assert_close(direction, torch.tensor([[1.0, 0.0], [0.0, -1.0]], dtype=dtype))


@every_norm
@every_shape
@both_precisions
def test_random_start_lies_in_the_ball_of_each_row(norm, shape, dtype):
    x = torch.zeros(shape, dtype=dtype)
    for seed in range(20):
        delta = geometry(norm).random(x, per_sample(torch.tensor(RADII), x), torch.Generator().manual_seed(seed))
        assert delta.shape == x.shape
        assert delta.dtype == dtype
        assert all(n <= r * (1 + 1e-6) for n, r in zip(norms(delta, norm), RADII, strict=True))
        assert torch.equal(delta[0], x[0])


def test_linf_random_start_is_uniform_in_every_coordinate():
    x = torch.zeros(4000, 3)
    radius = torch.linspace(0.1, 2.0, 4000)
    unit = geometry("linf").random(x, per_sample(radius, x), torch.Generator().manual_seed(0)) / radius[:, None]
    shares = (unit[:, :, None] < torch.tensor([-0.8, -0.5, 0.0, 0.5, 0.8])).double().mean(0)
    expected = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9], dtype=torch.float64).expand(3, 5)
    torch.testing.assert_close(shares, expected, rtol=0, atol=0.03)  # 4 standard errors


def test_l2_random_start_is_uniform_in_the_ball():
    dimension = 3
    x = torch.zeros(4000, dimension)
    radius = torch.linspace(0.1, 2.0, 4000)
    unit = geometry("l2").random(x, per_sample(radius, x), torch.Generator().manual_seed(0)) / radius[:, None]
    for quantile in (0.1, 0.5, 0.9):
        inside = (unit.norm(dim=1) < quantile ** (1 / dimension)).double().mean().item()
        assert inside == pytest.approx(quantile, abs=0.03)
    assert unit.mean(0).abs().max() < 0.03
    orthants = (unit > 0).double() @ torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    shares = torch.bincount(orthants.long(), minlength=8) / len(unit)
    torch.testing.assert_close(shares, torch.full((8,), 1 / 8), rtol=0, atol=0.025)


@every_norm
def test_random_start_depends_on_the_generator_alone(norm):
    x = torch.zeros(3, 5)
    draws = [geometry(norm).random(x, per_sample(1.0, x), torch.Generator().manual_seed(seed)) for seed in (7, 7, 8)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@every_norm
def test_size_is_the_norm_of_each_row(norm):
    delta = torch.randn(4, 3, 2, dtype=torch.float64)
    assert geometry(norm).norm(delta).tolist() == pytest.approx(norms(delta, norm))


@every_norm
def test_diameter_is_the_distance_between_the_farthest_corners(norm):
    corners = torch.full((1, 12), 0.5)
    assert geometry(norm).diameter(12, 0.5) == pytest.approx(norms(corners, norm)[0])


def test_per_sample_acts_on_rows_where_batch_equals_width():
    """A bare `[B]` would broadcast along the width of `[B, C, H, W]` in silence."""
    x = torch.zeros(32, 3, 32, 32)
    radius = torch.arange(32.0)
    filled = x + per_sample(radius, x)
    assert all(bool((image == i).all()) for i, image in enumerate(filled))


@every_shape
@both_precisions
def test_per_sample_repeats_a_number_for_every_row(shape, dtype):
    x = torch.zeros(shape, dtype=dtype)
    for value in (0.25, torch.tensor(0.25), torch.tensor(0.25, dtype=torch.float64)):
        values = per_sample(value, x)
        assert values.shape == (5,) + (1,) * (len(shape) - 1)
        assert values.dtype == dtype
        assert bool((values == 0.25).all())


@pytest.mark.parametrize("shape", [(4,), (1,), (5, 1), (5, 1, 1), (1, 5)])
def test_per_sample_refuses_other_shapes(shape):
    with pytest.raises(UserError, match=r"batch of 5"):
        per_sample(torch.zeros(shape), torch.zeros(5, 3, 5))


def test_unknown_norm_is_refused_with_the_choices():
    with pytest.raises(UserError, match=r"'l1'.*linf.*l2"):
        geometry("l1")
