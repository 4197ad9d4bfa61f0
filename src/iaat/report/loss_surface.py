"""Loss around a sample, on the plane of its adversarial direction and a random one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from iaat.attacks import attack_mode, cross_entropy, full_precision, geometry, per_sample
from iaat.attacks.attack_state import frozen_model, gradient_of
from iaat.errors import UserError
from iaat.runtime import rng
from iaat.runtime.device import device_of
from iaat.units import Norm, unit_of

_REACH = 2.0
"""Half the width of the grid, in radii."""


@dataclass(frozen=True, slots=True)
class Surface:
    """Loss and prediction of one model on a grid around one sample.

    Attributes:
        offsets: `[n]`, ascending: the steps of both axes, in the unit of the norm; 0 is among them where n is odd.
        loss: `[n, n]` float32, cross-entropy of the sample's label; rows go along the random direction, columns along
            the adversarial one.
        prediction: `[n, n]` int64, the predicted class.
    """

    offsets: NDArray[np.float32]
    loss: NDArray[np.float32]
    prediction: NDArray[np.int64]


def loss_surface(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    index: Tensor,
    *,
    radius: float | Tensor,
    points: int = 25,
    norm: Norm = "linf",
    seed: int = 0,
    batch_size: int = 256,
) -> list[Surface]:
    """Compute the loss at `clip(x + a * d1 + b * d2)` for a and b from -2 to 2 radii.

    `d1` is the direction of steepest ascent of the loss at `x`, the sign of its gradient in L-inf; `d2` is a Rademacher
    vector, -1 or 1 for each number of the input. Both are of norm 1, so a and b are lengths in the norm of the attack.
    `d2` is the same for all models, so it is not made orthogonal to `d1`, which each model has its own of.
    Clipping to [0, 1] bends the plane where pixels are dark or bright already. The model is in eval mode and frozen
    meanwhile and computes in float32. It costs one backward and `1 + points ** 2` forwards a sample, in batches of at
    most `batch_size`.

    Args:
        model: Maps inputs `[B, ...]` to logits `[B, classes]`.
        x: Clean inputs `[B, ...]` in [0, 1].
        y: Labels `[B]`.
        index: `[B]` int64: the random direction of a sample depends on the seed and this number alone.
        radius: Above 0, one number or `[B]`, on the [0, 1] scale.
        points: n, points of each axis, at least 2; odd ones have the sample itself at the centre.
        norm: `linf` or `l2`.
        seed: Of the random directions.
        batch_size: Points that go through the model at once.

    Returns:
        B surfaces.

    Raises:
        UserError: a radius that is not above 0 and finite, too few points, a batch size below 1, or logits
            that do not depend on the inputs.

    Source: the plane is that of Shafahi et al. 2019 (arXiv 1904.12843), fig. 3; Moosavi-Dezfooli et al. 2019 (arXiv
    1811.09716) draw that of a boundary's normal and a random direction, to show how adversarial training flattens it.
    """
    ball, size = geometry(norm), _checked(radius, points, batch_size, x)
    device = device_of(model)
    x, y, index = (each.to(device) for each in (x, y, index))
    first = [
        ball.steepest(_gradient(model, x[start : start + batch_size], y[start : start + batch_size]))
        for start in range(0, len(x), batch_size)
    ]
    steps = 2 * torch.arange(points) - (points - 1)  # whole numbers, so that the centre is 0 exactly
    surfaces = []
    for row, direction in enumerate(torch.cat(first) if first else x):
        second = ball.steepest(random_direction(x[row : row + 1], index[row : row + 1], seed))[0]
        offsets = (steps * (_REACH * size[row] / (points - 1))).to(device)
        loss, prediction = _on_grid(model, x[row], y[row], direction, second, offsets, batch_size)
        surfaces.append(
            Surface(
                offsets=(unit_of(norm).scale * offsets).cpu().numpy(),
                loss=loss.cpu().numpy(),
                prediction=prediction.cpu().numpy(),
            )
        )
    return surfaces


def random_direction(x: Tensor, index: Tensor, seed: int) -> Tensor:
    """Draw -1 or 1 for each number of inputs `[B, ...]`, by seed and `index` `[B]` alone: the same on every device."""
    drawn = rng.keyed_uniform(rng.derive_seed(seed, "surface"), 0, index, x[0].numel()) if len(x) else x
    return torch.where(drawn < 0.5, -1.0, 1.0).reshape(x.shape)


def _checked(radius: float | Tensor, points: int, batch_size: int, x: Tensor) -> Tensor:
    """Return radii `[B]` on the CPU."""
    size = per_sample(radius, x).flatten().float().cpu()
    if not bool((size.isfinite() & (size > 0)).all()):
        raise UserError(f"radius {size.tolist()}: a surface needs one above 0 to be drawn around a sample")
    if points < 2:
        raise UserError(f"points = {points}: an axis needs at least 2")
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}: give a whole number of at least 1")
    return size


def _gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with frozen_model(model, x, y) as (x, y), torch.autocast(x.device.type, enabled=False):
        leaf = x.requires_grad_()
        return gradient_of(cross_entropy(full_precision(model(leaf)), y), leaf)


def _on_grid(
    model: nn.Module, x: Tensor, y: Tensor, first: Tensor, second: Tensor, offsets: Tensor, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Return loss and prediction `[n, n]` around one sample."""
    n = len(offsets)
    plane = torch.cartesian_prod(offsets, offsets)
    loss, prediction = [], []
    with attack_mode(model, "eval"), torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        for part in torch.split(plane, batch_size):
            along_second, along_first = (per_sample(part[:, axis], x.expand(len(part), *x.shape)) for axis in (0, 1))
            moved = (x + along_first * first + along_second * second).clamp(0, 1)
            logits = full_precision(model(moved))
            loss.append(cross_entropy(logits, y.expand(len(part))))
            prediction.append(logits.argmax(dim=1))
    return torch.cat(loss).reshape(n, n), torch.cat(prediction).reshape(n, n)
