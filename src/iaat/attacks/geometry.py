"""L-inf and L2: projection onto the ball, steepest ascent, random start, norm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from iaat.errors import UserError, check_choice
from iaat.runtime.rng import draw


def per_sample(value: float | Tensor, x: Tensor) -> Tensor:
    """A number, or one value a sample `[B]`, shaped `[B, 1, ...]` to broadcast against inputs `x` `[B, ...]`.

    Every broadcast of a per-sample value goes through here: a bare `[B]` would act along the last axis of `x`, without
    an error where that has B entries, too.

    Raises:
        UserError: a tensor that is neither a scalar nor `[B]`.
    """
    tensor = torch.as_tensor(value, dtype=x.dtype, device=x.device).detach()
    if tensor.ndim == 0:
        return tensor.expand(len(x)).reshape(-1, *[1] * (x.ndim - 1))
    if tensor.shape != (len(x),):
        raise UserError(f"a per-sample value of shape {list(tensor.shape)} does not fit a batch of {len(x)}: pass [B]")
    return tensor.reshape(-1, *[1] * (x.ndim - 1))


@dataclass(frozen=True, slots=True)
class Geometry:
    """Functions of one norm; radii are `[B, 1, ...]` (`per_sample`), perturbations and gradients `[B, ...]`.

    Attributes:
        project: `(delta, radius) -> delta` of norm at most `radius`; exactly 0 at radius 0.
        steepest: `gradient -> direction` of norm 1 with the largest inner product; 0 where the gradient is 0 or NaN.
        random: `(x, radius, generator) -> delta` drawn uniformly from the ball.
        norm: `delta -> [B]`, the norm of each sample.
        diameter: `(numbers, width) -> float`, the largest distance between two samples of so many numbers that each
            span `width`.
        is_box: Whether the ball is a box, so that projection into ball and bounds is one clamp.
    """

    project: Callable[[Tensor, Tensor], Tensor]
    steepest: Callable[[Tensor], Tensor]
    random: Callable[[Tensor, Tensor, torch.Generator | None], Tensor]
    norm: Callable[[Tensor], Tensor]
    diameter: Callable[[int, float], float]
    is_box: bool


def _draw(x: Tensor, generator: torch.Generator | None, sampler: Callable[..., Tensor]) -> Tensor:
    return draw(sampler, x.shape, generator=generator, device=x.device, dtype=x.dtype)


def _project_linf(delta: Tensor, radius: Tensor) -> Tensor:
    return torch.clamp(delta, -radius, radius)


def _steepest_linf(gradient: Tensor) -> Tensor:
    return gradient.sign().nan_to_num_(nan=0.0)


def _random_linf(x: Tensor, radius: Tensor, generator: torch.Generator | None) -> Tensor:
    return (2 * _draw(x, generator, torch.rand) - 1) * radius


def _norm_linf(delta: Tensor) -> Tensor:
    return delta.flatten(1).abs().amax(dim=1)


def _diameter_linf(_numbers: int, width: float) -> float:
    return width


def _rows(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.ndim - 1))


def _project_l2(delta: Tensor, radius: Tensor) -> Tensor:
    norm = _rows(_norm_l2(delta), delta)
    return delta * (radius / norm.clamp_min(torch.finfo(delta.dtype).tiny)).clamp_max(1)


def _steepest_l2(gradient: Tensor) -> Tensor:
    tiny = torch.finfo(gradient.dtype).tiny
    gradient = gradient.nan_to_num(nan=0.0)  # infinities become the largest finite numbers
    # Scaling by the largest entry first keeps the squares of very small and very large gradients representable.
    scaled = gradient / _rows(_norm_linf(gradient).clamp_min(tiny), gradient)
    return scaled / _rows(_norm_l2(scaled).clamp_min(tiny), scaled)


def _random_l2(x: Tensor, radius: Tensor, generator: torch.Generator | None) -> Tensor:
    direction = _steepest_l2(_draw(x, generator, torch.randn))
    fraction = _draw(x.flatten(1)[:, 0], generator, torch.rand) ** (1 / x[0].numel())
    return direction * _rows(fraction, x) * radius


def _norm_l2(delta: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(delta.flatten(1), dim=1)
    return norm


def _diameter_l2(numbers: int, width: float) -> float:
    return float(numbers**0.5 * width)


GEOMETRIES = {
    "linf": Geometry(_project_linf, _steepest_linf, _random_linf, _norm_linf, _diameter_linf, is_box=True),
    "l2": Geometry(_project_l2, _steepest_l2, _random_l2, _norm_l2, _diameter_l2, is_box=False),
}
"""Geometry of the ball by the name of its norm."""


def geometry(norm: str) -> Geometry:
    """Geometry of a norm by name.

    Raises:
        UserError: a name that is neither `linf` nor `l2`.
    """
    check_choice(norm, GEOMETRIES, "norm")
    return GEOMETRIES[norm]


def rounding_error(ball: Geometry, x: Tensor) -> Tensor:
    """`[B]`: how much rounding `x + delta` to the dtype may change the norm of `delta`."""
    unit = torch.finfo(x.dtype).eps * ball.diameter(x[0].numel(), 1.0)
    return unit * x.flatten(1).abs().amax(dim=1).clamp_min(1)
