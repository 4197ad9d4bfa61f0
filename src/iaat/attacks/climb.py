"""The ways up: projected ascent of a batch whose samples all go on, go on for steps of their own, or until fooled."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from iaat.attacks.batching import STEP_BUCKET, filled_up, rounded_up
from iaat.attacks.geometry import per_sample
from iaat.attacks.task import Task
from iaat.errors import UserError
from iaat.runtime.deferred import judge_arrived
from iaat.units import Radius


def proportional_steps(radius: Tensor, steps: int, *, full_at: float | str) -> Tensor:
    """Steps for each sample in proportion to its radius: `ceil(steps * radius / full_at)`, at most `steps`, 0 at 0.

    An attack of many steps on a small ball walks the same way over and over; with these, steps are about as long for
    small radii as for large ones, and what an attack costs follows the mean radius.

    Args:
        radius: Radii `[B]` on the [0, 1] scale; negative and NaN ones count as 0.
        steps: Of a sample whose radius is `full_at` or more; at least 1.
        full_at: The radius that takes all steps, above 0, in units of `radius`, or text such as "8px". A number is
            at most 1, the range of a pixel: it would be a missing unit; an L2 length above that is a text, "2/1".

    Returns:
        Whole numbers `[B]` from 0 to `steps`, to be passed to `pgd`.

    Raises:
        UserError: radii that are no floating-point tensor, steps below 1, or a `full_at` that is not above 0, or a
            number above 1, which is the mark of a missing unit.

    Source: this project; what it costs is measured in docs/experiments.md.

    Example:
        >>> import torch
        >>> from iaat import proportional_steps
        >>> proportional_steps(torch.tensor([0.0, 1.0, 4.0, 9.0]) / 255, 10, full_at="8px")
        tensor([ 0,  2,  5, 10])
    """
    if not isinstance(full_at, str | Radius) and 1 < full_at < math.inf:  # a `Radius` was checked in its own norm
        raise UserError(
            f"full_at = {full_at:g} is above the pixel range 1; for {full_at:g} pixel levels write {full_at:g} / 255 "
            f'or "{full_at:g}px", for an L2 length "{full_at:g}/1"'
        )
    full_at = Radius(full_at) if isinstance(full_at, str) else full_at
    if not isinstance(radius, Tensor) or not radius.is_floating_point():
        raise UserError(f"radius is {getattr(radius, 'dtype', type(radius).__name__)}: pass a float tensor [B]")
    if steps < 1:
        raise UserError(f"steps = {steps}: an attack needs at least 1")
    if not 0 < full_at < math.inf:
        raise UserError(f"full_at = {full_at:g}: the radius that takes all steps, above 0 and finite, such as 8 / 255")
    share = (radius.nan_to_num(0.0) / full_at).clamp(0, 1)
    return (steps * share - 1e-4).ceil().long()  # half the radius is half the steps, in float32 too


def climb(task: Task, x_adv: Tensor, steps: int) -> Tensor:
    """`steps` steps from `x_adv`, which is overwritten."""
    for _ in range(steps):
        gradient, _ = task.gradient(x_adv)
        task.ascend(x_adv, gradient)
    return x_adv


def climb_apart(task: Task, x_adv: Tensor, steps: Tensor) -> Tensor:
    """As `climb`, with a number of steps `[B]` for each sample: those with most to go come first and stay longest."""
    order = steps.argsort(descending=True, stable=True)
    task, steps, climbing = task.only(order), steps[order], x_adv[order]
    taken = steps.tolist()  # the only wait for the device
    if taken[-1] < 0:
        raise UserError(f"steps holds {taken[-1]}: pass whole numbers [B], 0 or more")
    judge_arrived()
    for done in range(taken[0]):
        batch = slice(rounded_up(sum(own > done for own in taken), len(taken), STEP_BUCKET))
        now = task.only(batch)
        now = replace(now, step=now.step * per_sample((steps[batch] > done).to(now.step), now.x))
        gradient, _ = now.gradient(climbing[batch])
        now.ascend(climbing[batch], gradient)
    return torch.empty_like(x_adv).index_copy_(0, order, climbing)


def climb_standing(task: Task, x_adv: Tensor, steps: int, patience: int = 0) -> Tensor:
    """As `climb`, but a sample stays where it is fooled, and leaves the batch.

    Before that it takes `patience` steps from points where it is fooled, too. These points count, not the steps after
    the first of them: a step may lead back to the right side, and where a sample stays it is fooled.

    Source: Zhang et al. 2020 (arXiv 2002.11242), algorithm 1, for the patience, their tau.
    """
    result, rows = x_adv.clone(), torch.arange(len(x_adv), device=x_adv.device)
    standing, left = torch.ones_like(rows, dtype=torch.bool), torch.full_like(rows, patience)
    for _ in range(steps):
        gradient, logits = task.gradient(x_adv)
        fooled = task.fooled(logits)
        standing, left = standing & ~(fooled & (left == 0)), left - fooled.long()
        kept = filled_up(standing)
        if len(kept) < len(rows):
            result[rows] = x_adv
            task, rows, standing, left = task.only(kept), rows[kept], standing[kept], left[kept]
            x_adv, gradient = x_adv[kept], gradient[kept]
        if not len(rows):
            return result
        x_adv = torch.where(per_sample(standing, x_adv) > 0, task.ascend(x_adv.clone(), gradient), x_adv)
    result[rows] = x_adv
    return result
