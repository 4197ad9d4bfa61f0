"""`MemoryRun`: a run that writes nothing, kept in memory as a run folder would have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from iaat.config.recipe import Recipe
from iaat.config.train_config import TrainConfig
from iaat.errors import UserError
from iaat.runs.checkpoint import save_checkpoint
from iaat.runs.checkpoint_schema import SavedState
from iaat.runs.epoch_record import EpochRecord
from iaat.runs.run_folder import RunFolder
from iaat.runs.training_log import EpochTiming, SkippedSample


class MemoryRun:
    """What training leaves, in memory: a `RunStore`, and the `CheckpointStore` of its own checkpoints.

    Every process has one. It keeps the state of the best and of the last epoch, on the CPU.

    Args:
        name: Name of the run, in place of a folder.

    Attributes:
        best, last: The states; None before the first epoch.
    """

    in_memory: ClassVar[bool] = True

    def __init__(self, name: str) -> None:
        self.path = Path(name)
        self.best: SavedState | None = None
        self.last: SavedState | None = None
        self._logs: list[tuple[EpochRecord, EpochTiming]] = []
        self._radii: dict[int, tuple[Tensor, Tensor]] = {}
        self._notices: list[dict[str, Any]] = []
        self._skipped: Sequence[SkippedSample] = ()
        self._faults: Sequence[dict[str, Any]] = ()

    # As a `RunStore`.

    def has_results(self) -> bool:
        """There is nothing to go on with."""
        return False

    def check_free(self, *, overwrite: bool) -> None:
        """Nothing is in the way."""

    def training(self) -> AbstractContextManager[object]:
        """No other process trains here."""
        return nullcontext()

    def create(self, recipe: Recipe, *, overwrite: bool) -> None:
        """Begin the run."""

    def checkpoint_store(self, config: TrainConfig) -> MemoryRun:
        """It keeps them itself."""
        return self

    def lengthen(self, epochs: int, method: Mapping[str, Any] | None = None) -> None:
        """The recipe is not kept here."""

    def changed_versions(self) -> list[str]:
        """The process is the one that began."""
        return []

    def log_epoch(self, record: EpochRecord, timing: EpochTiming) -> None:
        """Keep the record of an epoch and its times."""
        self._logs.append((record, timing))

    def save_radii(self, epoch: int, radii: Tensor, seen: Tensor) -> None:
        """Keep all radii `[N]` after an epoch."""
        self._radii[epoch] = radii.cpu().clone(), seen.cpu().clone()

    def log_faults(self, records: Sequence[dict[str, Any]]) -> None:
        """Keep the steps that were not finite."""
        self._faults = list(records)

    def save_notices(self, records: list[dict[str, Any]]) -> None:
        """Keep what was left out of the data or altered."""
        self._notices = records

    def save_skipped(self, records: Sequence[SkippedSample]) -> None:
        """Keep the samples that cannot be read."""
        self._skipped = list(records)

    def skipped_samples(self) -> list[SkippedSample]:
        """The samples that were skipped so far."""
        return list(self._skipped)

    def go_back_to(self, epoch: int, records: Sequence[EpochRecord]) -> None:
        """Drop what came after an epoch."""
        self._logs = [log for log in self._logs if log[0].epoch <= epoch]
        self._radii = {number: kept for number, kept in self._radii.items() if number <= epoch}

    # As a `CheckpointStore`.

    def due(self, step: int) -> bool:
        """No state within an epoch is kept."""
        return False

    def save_within(self, saved: dict[str, Any]) -> None:
        """Keep nothing."""

    def save_epoch(self, saved: dict[str, Any], *, improved: bool) -> None:
        """Keep the state after an epoch."""
        self.last = SavedState(_copied(saved), self.path)
        if improved:
            self.best = self.last

    def newest(self, device: torch.device) -> dict[str, Any]:
        """The state of the last finished epoch, on `device`.

        Raises:
            UserError: no epoch is finished.
        """
        if (state := self.last_epoch(device)) is None:
            raise UserError(f"{self.path} has no finished epoch to go on from")
        return state

    def last_epoch(self, device: torch.device) -> dict[str, Any] | None:
        """The state of the last finished epoch, on `device`."""
        return None if self.last is None else SavedState(_copied(self.last, device), self.path)

    def tidy(self, epoch: int, step: int) -> None:
        """There is nothing to remove."""

    def forget_within(self) -> None:
        """There is nothing to forget."""

    def mend_best(self, device: torch.device) -> None:
        """Nothing is lost."""

    def write(self, recipe: Recipe, out: Path) -> RunFolder:
        """Write all of it into a run folder.

        Raises:
            UserError: the folder holds a run or other files, or cannot be written.
        """
        run = RunFolder(out)
        run.create(recipe, overwrite=False)
        for record, timing in self._logs:
            run.log_epoch(record, timing)
        for epoch, (radii, seen) in self._radii.items():
            run.save_radii(epoch, radii, seen)
        run.log_faults(self._faults)
        run.save_skipped(self._skipped)
        run.save_notices(self._notices)
        for which, state in (("best", self.best), ("last", self.last)):
            if state is not None:
                save_checkpoint(run.checkpoint(which), dict(state))
        return run


def _copied(value: Any, device: torch.device | str = "cpu") -> Any:  # noqa: ANN401
    """A copy of a nested state, its tensors on `device`."""
    if isinstance(value, Tensor):
        return value.detach().to(device, copy=True)
    if isinstance(value, Mapping):
        return {key: _copied(each, device) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(each, device) for each in value)
    return value
