"""Smallest radius at which an attack succeeds on each sample, by bisection over a grid of radii."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from iaat.attacks.attack_mode import attack_mode
from iaat.attacks.batching import padded_rows
from iaat.attacks.geometry import Geometry, geometry, rounding_error
from iaat.attacks.inputs import Classifier, Labels, check_batch
from iaat.errors import UserError
from iaat.units import Norm


class SmallestRadius(NamedTuple):
    """Smallest successful attack on each of B samples.

    Attributes:
        level: `[B]` int64, position of the smallest level at which the attack succeeded: -1 where the clean input is
            misclassified already, L where no level was enough.
        norm: `[B]`, norm of the smallest adversarial perturbation found; 0 where the clean input is misclassified, NaN
            where none was found.
        prediction: `[B]` int64, class predicted there; that of the clean input where it is misclassified, -1 where none
            was found.
    """

    level: Tensor
    norm: Tensor
    prediction: Tensor


def smallest_radius(
    attack: Callable[..., Tensor],
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    levels: Tensor,
    norm: Norm = "linf",
    generator: torch.Generator | None = None,
) -> SmallestRadius:
    """Smallest of `levels` at which `attack` succeeds on each sample.

    Every round attacks all unresolved samples at once, each at the middle of the levels still open for it: about
    log2(L) rounds instead of L. A perturbation far smaller than its radius closes the levels above its norm, too. The
    results of the attack are evaluated again and count only inside the ball, up to rounding. A sample that is robust at
    one level is taken to be robust at those below.

    Args:
        attack: `(model, x, y, *, radius, norm, generator) -> x_adv` for radii `[B]`; bind other settings with
            `functools.partial`.
        model: Maps inputs `[B, ...]` to logits `[B, classes]`; evaluated in eval mode.
        x: Clean inputs `[B, ...]`.
        y: Labels `[B]`.
        levels: Radii `[L]` in units of `x`, ascending.
        norm: `linf` or `l2`, given to the attack and used to measure its perturbations.
        generator: Given to the attack.

    Returns:
        Level, norm and predicted class of the smallest success on each sample; see `SmallestRadius`.

    Raises:
        UserError: levels that are not an ascending `[L]` of at least one radius, an attack that returns another
            shape, or what the attack refuses.

    Example:
        >>> import torch
        >>> from iaat.attacks import pgd, smallest_radius
        >>> model = torch.nn.Identity()  # the inputs are the logits
        >>> x, y = torch.tensor([[0.6, 0.4], [0.9, 0.1]]), torch.tensor([0, 0])
        >>> smallest_radius(pgd, model, x, y, levels=torch.tensor([0.05, 0.15, 0.25])).level
        tensor([1, 3])
    """
    ball = geometry(norm)
    labels, x = check_batch(x, y, bounds=None), x.detach()
    levels = _checked(levels).to(x)
    radius = torch.cat([levels.new_zeros(1), levels])  # radius 0 first, for samples that pad a batch
    clean = _predictions(model, x, labels)
    correct = clean == y
    low = torch.full_like(y, -1, dtype=torch.int64)
    high = torch.where(correct, len(levels), -1)
    norms = torch.where(correct, torch.nan, 0.0).to(x)
    predictions = torch.where(correct, -1, clean)
    while len(rows := padded_rows(high - low > 1)):
        searched = (high - low > 1)[rows]
        middle = torch.where(searched, (low + high)[rows] // 2, -1)
        x_adv = attack(model, x[rows], y[rows], radius=radius[middle + 1], norm=norm, generator=generator)
        found = _norms(ball, x[rows], x_adv)
        slack = rounding_error(ball, x[rows])
        predicted = _predictions(model, x_adv, labels)
        adversarial = searched & (found <= radius[middle + 1] + slack) & (predicted != y[rows])
        smaller = torch.minimum(torch.searchsorted(levels, (found - slack).clamp_min(0)), middle)
        low[rows] = torch.where(searched & ~adversarial, middle, low[rows])
        high[rows] = torch.where(adversarial, smaller, high[rows])
        nearest = adversarial & ~(norms[rows] <= found)  # the norm is NaN until one is found
        norms[rows] = torch.where(nearest, found, norms[rows])
        predictions[rows] = torch.where(nearest, predicted, predictions[rows])
    return SmallestRadius(high, norms, predictions)


def _norms(ball: Geometry, x: Tensor, x_adv: Tensor) -> Tensor:
    shape = getattr(x_adv, "shape", None)
    if shape != x.shape:
        raise UserError(
            f"the attack returned shape {list(shape or ())} for inputs of shape {list(x.shape)}: they must agree"
        )
    return ball.norm(x_adv.detach() - x)


def _predictions(model: nn.Module, x: Tensor, labels: Labels) -> Tensor:
    with attack_mode(model, "eval"), torch.no_grad():
        return Classifier(model, labels)(x).argmax(dim=1)


def _checked(levels: Tensor) -> Tensor:
    if not isinstance(levels, Tensor):
        raise UserError(f"levels is a {type(levels).__name__}: pass radii [L] as a tensor, torch.tensor(levels)")
    if levels.ndim != 1 or not len(levels):
        raise UserError(f"levels of shape {list(levels.shape)}: pass radii [L], at least one")
    if not bool((levels.isfinite() & (levels >= 0)).all()) or not bool((levels.diff() > 0).all()):
        raise UserError(f"levels {levels.tolist()}: must be finite, not negative, and each above the one before it")
    return levels
