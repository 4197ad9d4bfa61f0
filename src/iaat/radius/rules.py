"""Update rules: pure functions from radii and attack outcomes, all `[B]`, to new radii `[B]`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from iaat.errors import UserError, shown


def warm_up(clean_right: Tensor, radius: float) -> Tensor:
    """Radii during warm-up: the uniform radius for samples classified right, 0 for the others.

    Args:
        clean_right: Bool `[B]`, whether the clean sample is classified right.
        radius: The uniform radius, on the [0, 1] scale, not negative.

    Returns:
        New radii `[B]`, float32.

    Raises:
        UserError: outcomes that are not bool, or a radius that is no length.

    Source: Balaji, Goldstein, Hoffman 2019 (arXiv 1910.08051) and the authors' code.

    Example:
        >>> import torch
        >>> from iaat import warm_up
        >>> (warm_up(torch.tensor([True, False]), 8 / 255) * 255).round()
        tensor([8., 0.])
    """
    _check_outcomes(None, clean_right=clean_right)
    _check_length("radius", radius)
    return clean_right.to(torch.float32) * radius


def paper(
    radius: Tensor, clean_right: Tensor, right_at: Tensor, right_above: Tensor, *, gamma: float, beta: float
) -> Tensor:
    """The authors' rule: move a share `beta` of the way to the largest radius, of three, that the network resists.

    The target is `radius + gamma` where the network is right under an attack at that radius, else `radius` where it is
    right at the present one, else `radius - gamma`; never below 0, and 0 where the clean sample is classified wrong.

    Args:
        radius: Present radii `[B]` on the [0, 1] scale.
        clean_right: Bool `[B]`, right on the clean sample.
        right_at: Bool `[B]`, right under the attack at `radius`.
        right_above: Bool `[B]`, right under the attack at `radius + gamma`.
        gamma: Probing distance, on the [0, 1] scale; 1.9px in the paper's CIFAR-10 runs.
        beta: Share of the distance moved, in (0, 1]; 0.1 there.

    Returns:
        New radii `[B]`, at least 0; no bound above.

    Raises:
        UserError: outcomes that are not bool of the shape of the radii, a gamma that is no length, a beta that is no
            share.

    Source: Balaji, Goldstein, Hoffman 2019 (arXiv 1910.08051), algorithm 2, and the authors' code for the clean-wrong
    samples.

    Example:
        >>> import torch
        >>> from iaat import paper
        >>> yes, no = torch.tensor([True]), torch.tensor([False])
        >>> radius = torch.tensor([8 / 255])
        >>> grown = paper(radius, clean_right=yes, right_at=yes, right_above=yes, gamma=2 / 255, beta=0.5)
        >>> fallen = paper(radius, clean_right=yes, right_at=no, right_above=no, gamma=2 / 255, beta=0.5)
        >>> (torch.cat([grown, fallen]) * 255).round()
        tensor([9., 7.])
    """
    _check_outcomes(radius, clean_right=clean_right, right_at=right_at, right_above=right_above)
    _check_length("gamma", gamma)
    if not 0 < beta <= 1:
        raise UserError(f"beta = {beta:g}: a share in (0, 1]")
    lower = torch.where(right_at, radius, radius - gamma)
    target = torch.where(right_above, radius + gamma, lower).clamp_min(0) * clean_right
    return (1 - beta) * radius + beta * target


def staircase(radius: Tensor, right: Tensor, *, up: float, down: float | None = None) -> Tensor:
    """One-up one-down staircase on the training attack's own outcome: no probe, so no cost.

    Grows by `up` where the network is right at its present radius, shrinks by `down` where it is fooled, never below 0.
    With equal steps it hovers where half of the attacks succeed; `up / (up + down)` is the share that do in general.

    Args:
        radius: Present radii `[B]` on the [0, 1] scale.
        right: Bool `[B]`, right under the attack at `radius`.
        up: Step up, on the [0, 1] scale, not negative.
        down: Step down; `up` by default.

    Returns:
        New radii `[B]`, at least 0; no bound above.

    Raises:
        UserError: outcomes that are not bool of the shape of the radii, or a step that is no length.

    Source: the weighted up-down method (Kaernbach 1991) applied to the margin of each sample.

    Example:
        >>> import torch
        >>> from iaat import staircase
        >>> (staircase(torch.tensor([4.0, 4.0]) / 255, torch.tensor([True, False]), up=1 / 255) * 255).round()
        tensor([5., 3.])
    """
    _check_outcomes(radius, right=right)
    _check_length("up", up)
    _check_length("down", up if down is None else down)
    moved = torch.where(right, radius + up, radius - (up if down is None else down))
    return moved.clamp_min(0)


def _check_outcomes(radius: Tensor | None, **outcomes: Tensor) -> None:
    """Refuse outcomes that are not bool of the shape of the radii: others would broadcast in silence."""
    for name, outcome in outcomes.items():
        if not isinstance(outcome, Tensor) or outcome.dtype != torch.bool:
            kind = outcome.dtype if isinstance(outcome, Tensor) else f"a {type(outcome).__name__}"
            raise UserError(f"{name} is {kind}: pass bool [B], such as logits.argmax(1) == y")
        if radius is not None and outcome.shape != getattr(radius, "shape", ()):
            raise UserError(
                f"{name} of shape {list(outcome.shape)} for radii of shape {list(getattr(radius, 'shape', ()))}: pass "
                "one outcome a radius, [B]; y are class numbers, not one-hot"
            )


def _check_length(name: str, value: float) -> None:
    if not isinstance(value, float | int) or not 0 <= value < math.inf:
        raise UserError(f"{name} = {shown(value)}: a length on the [0, 1] scale, such as 8 / 255, finite, not negative")
