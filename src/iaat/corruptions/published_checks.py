"""Checks of the corruption, severity and samples asked of a published set."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import torch
from torch import Tensor

from iaat.corruptions.constants import CORRUPTIONS
from iaat.errors import UserError, check_choice


def usual_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of corruptions: the known ones in their usual order, then others by name."""
    names = set(names)
    return (*(name for name in CORRUPTIONS if name in names), *sorted(names - set(CORRUPTIONS)))


def check_condition(
    names: Collection[str], severities: Collection[int], name: str, severity: int, folder: Path
) -> None:
    """Refuse a corruption or severity that a published set does not hold.

    Raises:
        UserError: naming it and what there is.
    """
    check_choice(name, names, f"{folder}: corruption")
    if severity not in severities:
        raise UserError(f"{folder} has no severity {severity!r}: use {', '.join(map(str, severities))}")


def check_index(index: Tensor, size: int) -> Tensor:
    """Convert `index` to `[B]` int64 on the CPU.

    Raises:
        UserError: another shape or type, or a number out of range.
    """
    if index.ndim != 1 or index.is_floating_point() or index.dtype == torch.bool:
        raise UserError(f"index has shape {list(index.shape)} and type {index.dtype}: pass integers [B]")
    index = index.detach().cpu().to(torch.int64)
    if len(index) and (int(index.min()) < 0 or int(index.max()) >= size):
        raise UserError(f"index runs from {int(index.min())} to {int(index.max())}: there are samples 0 to {size - 1}")
    return index
