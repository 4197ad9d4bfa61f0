"""The calls that training makes on a run: a run folder takes them, and a run in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from iaat.config.recipe import Recipe
from iaat.config.train_config import TrainConfig
from iaat.runs.epoch_record import EpochRecord
from iaat.runs.training_log import EpochTiming, SkippedSample


class CheckpointStore(Protocol):
    """Keeps the checkpoints of a run; `CheckpointManager` says when and which."""

    def due(self, step: int) -> bool:
        """Whether to save after step number `step` of the epoch, counted from 1."""
        ...

    def save_within(self, saved: dict[str, Any]) -> None:
        """Save a checkpoint within an epoch."""
        ...

    def save_epoch(self, saved: dict[str, Any], *, improved: bool) -> None:
        """Save the checkpoint of a finished epoch, the best so far if `improved`."""
        ...

    def newest(self, device: torch.device) -> dict[str, Any]:
        """The checkpoint to resume.

        Raises:
            UserError: there is none.
        """
        ...

    def last_epoch(self, device: torch.device) -> dict[str, Any] | None:
        """The newest checkpoint of a finished epoch; None where no epoch is finished."""
        ...

    def tidy(self, epoch: int, step: int) -> None:
        """Remove what is left beside the checkpoint of `step` steps after `epoch` epochs."""
        ...

    def forget_within(self) -> None:
        """Remove checkpoints within an epoch."""
        ...

    def mend_best(self, device: torch.device) -> None:
        """Replace a lost checkpoint of the best epoch by the last."""
        ...


class RunStore(Protocol):
    """What training leaves; `RunFolder` says what each call does."""

    @property
    def path(self) -> Path:
        """The folder, or a name in its place."""
        ...

    @property
    def in_memory(self) -> bool:
        """Whether nothing is written; then every process has one of its own."""
        ...

    def has_results(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        ...

    def check_free(self, *, overwrite: bool) -> None:
        """Refuse to begin a run where that would destroy something.

        Raises:
            UserError: it would.
        """
        ...

    def training(self) -> AbstractContextManager[object]:
        """The lock that a process holds while it trains."""
        ...

    def create(self, recipe: Recipe, *, overwrite: bool) -> None:
        """Begin the run."""
        ...

    def checkpoint_store(self, config: TrainConfig) -> CheckpointStore:
        """Keeps its checkpoints."""
        ...

    def lengthen(self, epochs: int, method: Mapping[str, Any] | None = None) -> None:
        """Write down that the run goes on to more epochs."""
        ...

    def changed_versions(self) -> list[str]:
        """What computes otherwise now than when the run was started."""
        ...

    def log_epoch(self, record: EpochRecord, timing: EpochTiming) -> None:
        """Log an epoch."""
        ...

    def save_radii(self, epoch: int, radii: Tensor, seen: Tensor) -> None:
        """Keep all radii `[N]` after an epoch, with the indices of the samples that are trained on."""
        ...

    def log_faults(self, records: Sequence[dict[str, Any]]) -> None:
        """Write down the steps that were not finite, all of the run."""
        ...

    def save_notices(self, records: list[dict[str, Any]]) -> None:
        """Write down what was left out of the data or altered."""
        ...

    def save_skipped(self, records: Sequence[SkippedSample]) -> None:
        """List the samples that cannot be read."""
        ...

    def skipped_samples(self) -> list[SkippedSample]:
        """The samples that were skipped so far."""
        ...

    def go_back_to(self, epoch: int, records: Sequence[EpochRecord]) -> None:
        """Drop what came after an epoch; `records` is the log up to it."""
        ...
