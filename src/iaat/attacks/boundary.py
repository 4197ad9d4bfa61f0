"""The decision boundary along a known direction, by bisection: forwards only."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from iaat.attacks.context import Mode, attack_mode
from iaat.attacks.geometry import Geometry, per_sample
from iaat.attacks.inputs import Classifier, check_batch
from iaat.errors import UserError


class Boundary(NamedTuple):
    """Where the prediction of each of B samples flips.

    Attributes:
        x: `[B, ...]`, the point just beyond the boundary; the end of the search where none was found.
        found: Bool `[B]`, whether the model was seen to be wrong at `x`.
    """

    x: Tensor
    found: Tensor


def to_boundary(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    x_adv: Tensor,
    *,
    limit: float,
    ball: Geometry,
    searches: int = 10,
    mode: Mode = "eval",
) -> Boundary:
    """The nearest point towards `x_adv`, or beyond it, where the model is wrong, by bisection of the distance.

    Where the model is wrong at `x_adv` the search lies between `x` and there, elsewhere between there and `limit`.
    Every point is clamped to [0, 1], so it lies no farther from `x` than the distance tried. The farther end is
    returned: a point where the model was seen to be wrong, at most `limit / 2**searches` beyond one where it was seen
    to be right. Takes `searches + 1` forwards and never waits for the device.

    Args:
        model: Maps inputs `[B, ...]` to logits `[B, classes]`.
        x: Inputs `[B, ...]` in [0, 1] that the model classifies right.
        y: Labels `[B]`.
        x_adv: Inputs `[B, ...]` that say where to search; a sample equal to its `x` stays there.
        limit: Largest distance searched, at least that of `x_adv`.
        ball: Norm of distances.
        searches: Number of bisections.
        mode: Mode of the model.

    Raises:
        UserError: a batch or a model that `pgd` refuses, or `x_adv` of another shape than `x`.

    Source: Ding et al. 2020 (arXiv 1812.02637), AN-PGD, whose points were not clamped when trained on.
    """
    labels = check_batch(x, y)
    if x_adv.shape != x.shape:
        raise UserError(f"x_adv of shape {list(x_adv.shape)} for inputs of shape {list(x.shape)}: they must agree")
    classifier = Classifier(model, labels)
    size = ball.size(x_adv - x)
    direction = (x_adv - x) / per_sample(size.clamp_min(torch.finfo(x.dtype).tiny), x)

    def at(distance: Tensor) -> Tensor:
        return (x + per_sample(distance, x) * direction).clamp(0, 1)

    def is_wrong(distance: Tensor) -> Tensor:
        return classifier(at(distance)).argmax(dim=1) != y

    with attack_mode(model, mode), torch.no_grad():
        found = is_wrong(size)
        low, high = torch.where(found, 0, size), torch.where(found, size, limit)
        for _ in range(searches):
            middle = (low + high) / 2
            wrong = is_wrong(middle)
            low, high, found = torch.where(wrong, low, middle), torch.where(wrong, middle, high), found | wrong
    return Boundary(at(high), found)
