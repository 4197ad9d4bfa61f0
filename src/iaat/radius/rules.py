"""Update rules of the radii: pure functions of radii and attack outcomes, all `[B]`."""

from __future__ import annotations

import torch
from torch import Tensor

from iaat.errors import UserError
from iaat.units import read_length


def warm_up(clean_correct: Tensor, radius: float | str) -> Tensor:
    """Radii during warm-up: the uniform radius for correctly classified samples, 0 for the others.

    Args:
        clean_correct: Bool `[B]`, whether the clean sample is classified correctly.
        radius: The uniform radius: a number on the [0, 1] scale, not negative, or text such as "8px". A number is at
            most 1, the range of a pixel: it would be a missing unit; an L2 norm above that is a text, "2/1".

    Returns:
        New radii `[B]`, float32.

    Raises:
        UserError: outcomes that are not bool, or a radius that is negative, not finite or a number above 1.

    Source: Balaji, Goldstein, Hoffman 2019 (arXiv 1910.08051) and the authors' code.

    Example:
        >>> import torch
        >>> from iaat import warm_up
        >>> (warm_up(torch.tensor([True, False]), 8 / 255) * 255).round()
        tensor([8., 0.])
    """
    _check_outcomes(None, clean_correct=clean_correct)
    return clean_correct.to(torch.float32) * read_length(radius, "radius")


def paper(
    radius: Tensor, clean_correct: Tensor, correct_at: Tensor, correct_above: Tensor, *, gamma: float | str, beta: float
) -> Tensor:
    """Rule of the IAAT paper: move by a fraction `beta` to the largest of three radii at which the model is robust.

    The target is `radius + gamma` where the model is correct under an attack at that radius, else `radius` where it is
    correct at the present one, else `radius - gamma`; at least 0, and 0 where the clean sample is misclassified.

    Args:
        radius: Present radii `[B]` on the [0, 1] scale.
        clean_correct: Bool `[B]`, correct on the clean sample.
        correct_at: Bool `[B]`, correct under the attack at `radius`.
        correct_above: Bool `[B]`, correct under the attack at `radius + gamma`.
        gamma: Distance of the larger and smaller radius, in the forms of `warm_up`; "1.9px" in the paper's CIFAR-10
            runs.
        beta: Fraction of the distance to move, in (0, 1]; 0.1 there.

    Returns:
        New radii `[B]`, at least 0; no bound above.

    Raises:
        UserError: outcomes that are not bool of the shape of the radii, a gamma that is negative, not finite or a
            number above 1, a beta outside of (0, 1].

    Source: Balaji, Goldstein, Hoffman 2019 (arXiv 1910.08051), algorithm 2, and the authors' code for misclassified
    samples.

    Example:
        >>> import torch
        >>> from iaat import paper
        >>> yes, no = torch.tensor([True]), torch.tensor([False])
        >>> radius = torch.tensor([8 / 255])
        >>> grown = paper(radius, clean_correct=yes, correct_at=yes, correct_above=yes, gamma=2 / 255, beta=0.5)
        >>> fallen = paper(radius, clean_correct=yes, correct_at=no, correct_above=no, gamma=2 / 255, beta=0.5)
        >>> (torch.cat([grown, fallen]) * 255).round()
        tensor([9., 7.])
    """
    _check_outcomes(radius, clean_correct=clean_correct, correct_at=correct_at, correct_above=correct_above)
    gamma = read_length(gamma, "gamma")
    if not 0 < beta <= 1:
        raise UserError(f"beta = {beta:g}: must be a fraction in (0, 1]")
    lower = torch.where(correct_at, radius, radius - gamma)
    target = torch.where(correct_above, radius + gamma, lower).clamp_min(0) * clean_correct
    return (1 - beta) * radius + beta * target


def staircase(radius: Tensor, correct: Tensor, *, up: float | str, down: float | str | None = None) -> Tensor:
    """One-up one-down staircase on the outcome of the training attack, without a further attack.

    A radius grows by `up` where the model is correct at it and shrinks by `down` where the attack succeeds, to 0 at
    least. With equal steps it settles where half of the attacks succeed; in general a fraction `up / (up + down)` does.

    Args:
        radius: Present radii `[B]` on the [0, 1] scale.
        correct: Bool `[B]`, correct under the attack at `radius`.
        up: Step up, in the forms of `warm_up`, such as "0.2px".
        down: Step down; `up` by default.

    Returns:
        New radii `[B]`, at least 0; no bound above.

    Raises:
        UserError: outcomes that are not bool of the shape of the radii, or a step that is negative, not finite or a
            number above 1.

    Source: the weighted up-down method (Kaernbach 1991) applied to the margin of each sample.

    Example:
        >>> import torch
        >>> from iaat import staircase
        >>> (staircase(torch.tensor([4.0, 4.0]) / 255, torch.tensor([True, False]), up="1px") * 255).round()
        tensor([5., 3.])
    """
    _check_outcomes(radius, correct=correct)
    up = read_length(up, "up")
    down = up if down is None else read_length(down, "down")
    return torch.where(correct, radius + up, radius - down).clamp_min(0)


def _check_outcomes(radius: Tensor | None, **outcomes: Tensor) -> None:
    """Refuse outcomes that are not bool of the shape of the radii: others would broadcast without an error."""
    for name, outcome in outcomes.items():
        if not isinstance(outcome, Tensor) or outcome.dtype != torch.bool:
            kind = outcome.dtype if isinstance(outcome, Tensor) else f"a {type(outcome).__name__}"
            raise UserError(f"{name} is {kind}: pass bool [B], such as logits.argmax(1) == y")
        if radius is not None and outcome.shape != getattr(radius, "shape", ()):
            raise UserError(
                f"{name} of shape {list(outcome.shape)} for radii of shape {list(getattr(radius, 'shape', ()))}: pass "
                "one outcome a radius, [B]; y are class numbers, not one-hot"
            )
