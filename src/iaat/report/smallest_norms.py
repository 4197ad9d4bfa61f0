"""Smallest adversarial norm that PGD finds on each sample of a report."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from iaat.attacks import geometry, pgd_early_stop, smallest_radius
from iaat.units import Norm


def largest_radius(radius: float, norm: Norm, x: Tensor) -> float:
    """Return `radius`, but at most the largest distance between two inputs `[B, ...]` in [0, 1]."""
    return min(radius, geometry(norm).diameter(x[0].numel(), 1.0))


def smallest_norms(model: nn.Module, x: Tensor, y: Tensor, *, levels: Tensor, norm: Norm, steps: int) -> Tensor:
    """Smallest adversarial norm found on each sample, an upper bound of the true one.

    PGD begins at the clean input and stops at the first adversarial one: that is well inside the ball, and costs less
    than all steps. Nothing is random.

    Args:
        model: Maps inputs `[B, ...]` to logits `[B, classes]`; evaluated in eval mode.
        x: Clean inputs `[B, ...]` in [0, 1].
        y: Labels `[B]`.
        levels: Radii `[L]` to search among, ascending, on the [0, 1] scale.
        norm: `linf` or `l2`.
        steps: Steps at each radius.

    Returns:
        `[B]`: 0 where the clean input is misclassified, NaN where no radius was enough.
    """

    def attack(model: nn.Module, x: Tensor, y: Tensor, /, **settings: Any) -> Tensor:  # noqa: ANN401
        return pgd_early_stop(model, x, y, steps=steps, x_init=x, **settings)

    return smallest_radius(attack, model, x, y, levels=levels, norm=norm).norm
