"""Worst case per sample over independent runs of an attack."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from iaat.attacks.attack_state import AttackState
from iaat.attacks.batching import padded_rows
from iaat.attacks.inputs import check_count


class RunResult(NamedTuple):
    """Result of one run of an attack.

    Attributes:
        x_adv: Final points `[B, ...]`.
        loss: Objective there, `[B]`.
        adversarial: Attack success there, `[B]` bool.
    """

    x_adv: Tensor
    loss: Tensor
    adversarial: Tensor


def worst_case(
    state: AttackState,
    restarts: int,
    run: Callable[[AttackState, int, Tensor], RunResult],
    *,
    early_stop: bool = True,
) -> Tensor:
    """Worst of `restarts` runs for each sample `[B, ...]`: an adversarial point before others, then the larger loss.

    Args:
        state: The batch under attack.
        restarts: Number of runs, at least 1.
        run: `(state, number, rows)`: run number `number`, from 0 on, of the samples at positions `rows` `[b]`.
        early_stop: Later runs attack only those samples that are not adversarial yet.

    Raises:
        UserError: restarts that are no whole number from 1 on.
    """
    check_count(restarts, "restarts")
    worst, rows = state.x.clone(), torch.arange(len(state.x), device=state.x.device)
    adversarial = torch.zeros_like(rows, dtype=torch.bool)
    loss = torch.full_like(worst.flatten(1)[:, 0], -torch.inf)
    for number in range(restarts):
        found = run(state, number, rows)
        better = torch.where(
            found.adversarial == adversarial[rows], found.loss.to(loss) > loss[rows], found.adversarial
        )
        if early_stop:
            better &= ~adversarial[rows]  # such samples only fill the batch up
        worst[rows[better]] = found.x_adv[better]
        loss[rows[better]] = found.loss.to(loss)[better]
        adversarial[rows[better]] = found.adversarial[better]
        if early_stop:
            kept = padded_rows(~adversarial[rows])
            if not len(kept):
                break
            state, rows = state.only(kept), rows[kept]
    return worst
