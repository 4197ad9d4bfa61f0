"""The smallest radius at which an attack breaks each sample, by bisection over a grid of radii."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from iaat.attacks.batching import filled_up
from iaat.attacks.context import attack_mode
from iaat.attacks.geometry import Geometry, geometry, per_sample
from iaat.attacks.inputs import Classifier, Labels, check_batch
from iaat.errors import UserError
from iaat.units import Norm


class Attack(Protocol):
    """An attack with a radius of its own for every sample, such as `pgd` or a `functools.partial` of it."""

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        /,
        *,
        radius: Tensor,
        norm: Norm,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Inputs `[B, ...]` within `radius` `[B]` of `x`."""


class SmallestRadius(NamedTuple):
    """Where each of B samples breaks.

    Attributes:
        level: `[B]` int64, number of the smallest level at which the sample was broken: -1 where the clean input is
            misclassified already, L where no level broke it.
        size: `[B]`, norm of the smallest break found, 0 where the clean input is misclassified; NaN where none was.
    """

    level: Tensor
    size: Tensor


def smallest_radius(
    attack: Attack,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    levels: Tensor,
    norm: Norm = "linf",
    generator: torch.Generator | None = None,
) -> SmallestRadius:
    """The smallest of `levels` at which `attack` breaks each sample.

    Every round attacks all unresolved samples at once, each at the middle of the levels still open for it: about
    log2(L) rounds instead of L. A break of a norm far below its radius closes the levels above that norm too. What the
    attack returns is judged again here, and counts only inside its ball, up to rounding. It is taken for granted that
    a sample which stands at one level stands at those below.

    Args:
        attack: `(model, x, y, *, radius, norm, generator) -> x_adv`; bind other settings with `functools.partial`.
        model: Maps inputs `[B, ...]` to logits `[B, classes]`; judged in eval mode.
        x: Clean inputs `[B, ...]`.
        y: Labels `[B]`.
        levels: Radii `[L]` in units of `x`, ascending.
        norm: `linf` or `l2`, handed to the attack and used to measure its breaks.
        generator: Handed to the attack.

    Returns:
        Level and norm of the smallest break of each sample; see `SmallestRadius`.

    Raises:
        UserError: levels that are not a rising `[L]` of at least one radius, an attack that returns another shape,
            or what the attack refuses.
    """
    ball = geometry(norm)
    labels = check_batch(x, y, bounds=None)
    levels = _checked(levels).to(x)
    radius = torch.cat([levels.new_zeros(1), levels])  # one entry ahead of level 0: what fills a batch up stands still
    standing = _predictions(model, x, labels) == y
    low = torch.full_like(y, -1, dtype=torch.int64)
    high = torch.where(standing, len(levels), -1)
    size = torch.where(standing, torch.nan, 0.0).to(x)
    while len(rows := filled_up(high - low > 1)):
        searched = (high - low > 1)[rows]
        middle = torch.where(searched, (low + high)[rows] // 2, -1)
        x_adv = attack(model, x[rows], y[rows], radius=radius[middle + 1], norm=norm, generator=generator)
        found = _sizes(ball, x[rows], x_adv)
        slack = rounding(ball, x[rows])
        broken = searched & (found <= radius[middle + 1] + slack) & (_predictions(model, x_adv, labels) != y[rows])
        smaller = torch.minimum(torch.searchsorted(levels, (found - slack).clamp_min(0)), middle)
        low[rows] = torch.where(searched & ~broken, middle, low[rows])
        high[rows] = torch.where(broken, smaller, high[rows])
        size[rows] = torch.where(broken, torch.fmin(found, size[rows]), size[rows])
    return SmallestRadius(high, size)


def judged(x: Tensor, x_adv: Tensor, radius: Tensor, ball: Geometry) -> Tensor:
    """`x_adv` `[B, ...]` where it lies within `radius` (one number or `[B]`), the clean `x` elsewhere."""
    inside = ball.size(x_adv - x) <= per_sample(radius, x).flatten()
    return torch.where(per_sample(inside, x) > 0, x_adv, x)


def rounding(ball: Geometry, x: Tensor) -> Tensor:
    """`[B]`: by how much rounding `x + delta` to the numbers of its dtype may change the norm of `delta`."""
    unit = torch.finfo(x.dtype).eps * ball.diameter(x[0].numel(), 1.0)
    return unit * x.flatten(1).abs().amax(dim=1).clamp_min(1)


def _sizes(ball: Geometry, x: Tensor, x_adv: Tensor) -> Tensor:
    shape = getattr(x_adv, "shape", None)
    if shape != x.shape:
        raise UserError(
            f"the attack returned shape {list(shape or ())} for inputs of shape {list(x.shape)}: they must agree"
        )
    return ball.size(x_adv.detach() - x)


def _predictions(model: nn.Module, x: Tensor, labels: Labels) -> Tensor:
    with attack_mode(model, "eval"), torch.no_grad():
        return Classifier(model, labels)(x).argmax(dim=1)


def _checked(levels: Tensor) -> Tensor:
    if levels.ndim != 1 or not len(levels):
        raise UserError(f"levels of shape {list(levels.shape)}: pass radii [L], at least one")
    if not bool((levels.isfinite() & (levels >= 0)).all()) or not bool((levels.diff() > 0).all()):
        raise UserError(f"levels {levels.tolist()}: must be finite, not negative, and each above the one before it")
    return levels
