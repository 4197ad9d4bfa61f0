"""Update rules: pure functions from radii and attack outcomes, all `[B]`, to new radii `[B]`."""

from __future__ import annotations

import torch
from torch import Tensor


def warm_up(clean_right: Tensor, radius: float) -> Tensor:
    """Radii during warm-up: the uniform radius for samples classified right, 0 for the others.

    Args:
        clean_right: Bool `[B]`, whether the clean sample is classified right.
        radius: The uniform radius, on the [0, 1] scale.

    Source: Balaji, Goldstein, Hoffman 2019 (arXiv 1910.08051) and the authors' code.
    """
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

    Source: Balaji, Goldstein, Hoffman 2019 (arXiv 1910.08051), algorithm 2, and the authors' code for the clean-wrong
    samples.
    """
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
        up: Step up, on the [0, 1] scale.
        down: Step down; `up` by default.

    Source: the weighted up-down method (Kaernbach 1991) applied to the margin of each sample.
    """
    moved = torch.where(right, radius + up, radius - (up if down is None else down))
    return moved.clamp_min(0)
