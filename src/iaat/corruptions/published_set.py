"""Published corrupted test set, in whatever format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from iaat.corruptions.constants import CORRUPTIONS
from iaat.data.notices import Notices
from iaat.errors import UserError, check_choice


@dataclass(frozen=True)
class PublishedSet(ABC):
    """Published corrupted test set, with samples numbered in its own order.

    Attributes:
        kind: `cifar` or `imagenet`.
        folder: Its folder.
        names: Its corruptions, the known ones first and in their usual order.
        severities: Severities of each of them.
        classes: Class names in the order of its labels; None where unknown.
        notices: Notices of what was left out so far.
    """

    kind: ClassVar[Literal["cifar", "imagenet"]]
    folder: Path
    names: tuple[str, ...]
    severities: tuple[int, ...]
    classes: tuple[str, ...] | None
    notices: Notices = field(default_factory=Notices, repr=False, kw_only=True)

    def size(self, name: str, severity: int) -> int:
        """Number of images of one corruption at one severity."""
        return len(self.labels(name, severity))

    @abstractmethod
    def images(self, name: str, severity: int, index: Tensor) -> Tensor:
        """Images `[B, C, H, W]` float32 in [0, 1] of the samples `index` `[B]`.

        Raises:
            UserError: an unknown name or severity, an index out of range, a file that cannot be read.
        """

    @abstractmethod
    def labels(self, name: str, severity: int) -> Tensor:
        """Labels `[N]` int64 in the set's numbering of classes; `label_map` maps them to that of the data.

        Raises:
            UserError: an unknown name or severity.
        """

    def check_condition(self, name: str, severity: int) -> None:
        """Refuse a corruption or severity that the set does not hold.

        Raises:
            UserError: naming it and what there is.
        """
        check_choice(name, self.names, f"{self.folder}: corruption")
        if severity not in self.severities:
            raise UserError(f"{self.folder} has no severity {severity!r}: use {', '.join(map(str, self.severities))}")


def usual_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of corruptions: the known ones in their usual order, then others by name."""
    names = set(names)
    return (*(name for name in CORRUPTIONS if name in names), *sorted(names - set(CORRUPTIONS)))


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
