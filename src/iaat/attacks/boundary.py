"""Decision boundary along a given direction, by bisection with forwards only."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from iaat.attacks.attack_mode import Mode, attack_mode
from iaat.attacks.geometry import geometry, per_sample, rounding_error
from iaat.attacks.inputs import ROUNDING, Classifier, check_batch, check_fits_inputs
from iaat.runtime.async_checks import check_async
from iaat.units import Norm, read_length


class Boundary(NamedTuple):
    """Points where the predictions of B samples flip.

    Attributes:
        x: `[B, ...]`, the point just beyond the boundary; the end of the search where none was found.
        found: Bool `[B]`, whether `x` is misclassified.
    """

    x: Tensor
    found: Tensor


def find_boundary(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    x_adv: Tensor,
    *,
    limit: float | str,
    norm: Norm = "linf",
    searches: int = 10,
    mode: Mode = "eval",
) -> Boundary:
    """Nearest misclassified point in the direction of `x_adv`, by bisection of the distance.

    Where `x_adv` is misclassified the search lies between `x` and there, elsewhere between there and `limit`. Every
    point is clamped to [0, 1], so it lies no farther from `x` than the distance tried. The farther end is returned: a
    misclassified point, at most `limit / 2**searches` beyond a correct one. Takes `searches + 1` forwards and never
    waits for the device.

    Args:
        model: Maps inputs `[B, ...]` to logits `[B, classes]`.
        x: Correctly classified inputs `[B, ...]` in [0, 1].
        y: Labels `[B]`.
        x_adv: Inputs `[B, ...]` that give the direction; a sample equal to its `x` stays there.
        limit: Largest distance searched, at least the norm of `x_adv - x`: a number on the [0, 1] scale, or text such
            as "8px". A number is at most 1, the range of a pixel; an L2 norm above that is a text, "2/1".
        norm: Norm of distances, `linf` or `l2`.
        searches: Number of bisections.
        mode: Mode of the model.

    Raises:
        UserError: a batch, norm or model that `pgd` refuses, `x_adv` of another shape than `x`, or a limit that is
            negative, a number above 1 or below the norm of `x_adv - x`.

    Source: Ding et al. 2020 (arXiv 1812.02637), AN-PGD, with points that were not clamped when trained on.

    Example:
        >>> import torch
        >>> from iaat.attacks import find_boundary
        >>> model = torch.nn.Identity()  # the inputs are the logits
        >>> x, y, x_adv = torch.tensor([[0.6, 0.4]]), torch.tensor([0]), torch.tensor([[0.4, 0.6]])
        >>> boundary = find_boundary(model, x, y, x_adv, limit=0.4)
        >>> [round(number, 2) for number in boundary.x[0].tolist()], boundary.found
        ([0.5, 0.5], tensor([True]))
    """
    labels, ball, limit = check_batch(x, y), geometry(norm), read_length(limit, "limit")
    check_fits_inputs(x_adv, x, "x_adv")
    classifier = Classifier(model, labels)
    reached = ball.norm(x_adv - x)
    _check_limit(limit, reached - rounding_error(ball, x))
    direction = (x_adv - x) / per_sample(reached.clamp_min(torch.finfo(x.dtype).tiny), x)

    def at(distance: Tensor) -> Tensor:
        return (x + per_sample(distance, x) * direction).clamp(0, 1)

    def is_misclassified(distance: Tensor) -> Tensor:
        return classifier(at(distance)).argmax(dim=1) != y

    with attack_mode(model, mode), torch.no_grad():
        found = is_misclassified(reached)
        low, high = torch.where(found, 0, reached), torch.where(found, reached, limit)
        for _ in range(searches):
            middle = (low + high) / 2
            crossed = is_misclassified(middle)
            low, high, found = torch.where(crossed, low, middle), torch.where(crossed, middle, high), found | crossed
    return Boundary(at(high), found)


def _check_limit(limit: float, reached: Tensor) -> None:
    """Refuse a limit below the distances `[B]` that the attack has gone, without waiting for the device."""

    def complaint(farthest: list[float]) -> str | None:
        if farthest[0] <= limit * (1 + ROUNDING):
            return None
        return f"limit = {limit:g} is below {farthest[0]:g}, the norm of x_adv - x: the search begins there; raise it"

    if reached.numel():
        check_async(reached.detach().nan_to_num(0.0).amax()[None], complaint)
