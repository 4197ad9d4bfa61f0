"""PGD inner loop with a number of steps per sample, and numbers of steps in proportion to the radius."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from iaat.attacks.attack_mode import Mode
from iaat.attacks.attack_state import AttackState
from iaat.attacks.batching import STEP_BUCKET, rounded_up
from iaat.attacks.geometry import per_sample
from iaat.errors import UserError
from iaat.runtime.async_checks import check_arrived
from iaat.units import read_length


def proportional_steps(radius: Tensor, steps: int, *, full_at: float | str) -> Tensor:
    """Steps per sample in proportion to its radius: `ceil(steps * radius / full_at)`, at most `steps`, 0 at 0.

    An attack of many steps on a small ball goes the same way over and over; with these, steps are about as long for
    small radii as for large ones, and the cost of an attack follows the mean radius.

    Args:
        radius: Radii `[B]` on the [0, 1] scale; negative and NaN ones count as 0.
        steps: Steps of a sample with radius `full_at` or more; at least 1.
        full_at: Radius that takes all steps, above 0, in units of `radius`, or text such as "8px". A number is at
            most 1, the range of a pixel: it would be a missing unit; an L2 norm above that is a text, "2/1".

    Returns:
        Whole numbers `[B]` from 0 to `steps`, for `pgd`.

    Raises:
        UserError: radii that are no floating-point tensor, steps below 1, or a `full_at` that is not above 0, or a
            number above 1, the sign of a missing unit.

    Source: this project; its cost is measured in docs/experiments.md.

    Example:
        >>> import torch
        >>> from iaat import proportional_steps
        >>> proportional_steps(torch.tensor([0.0, 1.0, 4.0, 9.0]) / 255, 10, full_at="8px")
        tensor([ 0,  2,  5, 10])
    """
    full_at = read_length(full_at, "full_at")
    if not isinstance(radius, Tensor) or not radius.is_floating_point():
        raise UserError(f"radius is {getattr(radius, 'dtype', type(radius).__name__)}: pass a float tensor [B]")
    if steps < 1:
        raise UserError(f"steps = {steps}: an attack needs at least 1")
    if not full_at:
        raise UserError(f"full_at = {full_at:g}: the radius that takes all steps, above 0 and finite, such as 8 / 255")
    fraction = (radius.nan_to_num(0.0) / full_at).clamp(0, 1)
    return (steps * fraction - 1e-4).ceil().long()  # half the radius is half the steps, in float32 too


def check_per_sample_steps(steps: Tensor, x: Tensor, mode: Mode) -> None:
    """Refuse numbers of steps that are not whole `[B]`, and modes in which samples depend on their batch.

    Raises:
        UserError: naming the shape, or the mode.
    """
    if steps.shape != (len(x),) or steps.is_floating_point():
        raise UserError(f"steps {steps.dtype} {list(steps.shape)} for a batch of {len(x)}: pass whole numbers [B]")
    if mode != "eval":
        raise UserError(f"steps [B] shrink the batch and so change its statistics: use mode 'eval', not {mode!r}")


def run_per_sample_steps(state: AttackState, x_adv: Tensor, steps: Tensor) -> Tensor:
    """`steps` `[B]` projected gradient steps from `x_adv`; a sample that has taken its own leaves the batch.

    Raises:
        UserError: a number of steps is negative.
    """
    order = steps.argsort(descending=True, stable=True)  # so that the samples that stay come first
    state, steps, x_adv = state.only(order).boxed(), steps[order], x_adv[order]
    counts = steps.tolist()  # the only wait for the device
    if counts[-1] < 0:
        raise UserError(f"steps holds {counts[-1]}: pass whole numbers [B], 0 or more")
    check_arrived()
    for done in range(counts[0]):
        rows = slice(rounded_up(sum(count > done for count in counts), len(counts), STEP_BUCKET))
        now = state.only(rows)
        now = replace(now, step=now.step * per_sample(steps[rows] > done, now.x))  # 0 for those that fill the bucket
        point = x_adv[rows]  # a view, which a step in L-inf overwrites
        point.copy_(now.project(point.add_(now.steepest(point).mul_(now.step))))
    return torch.empty_like(x_adv).index_copy_(0, order, x_adv)
