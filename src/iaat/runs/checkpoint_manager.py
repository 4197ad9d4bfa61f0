"""Which checkpoints of a run are kept, when they are written, and which one is resumed."""

from __future__ import annotations

import os
import re
import shutil
import time
import warnings
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch

from iaat.config.train_config import TrainConfig
from iaat.errors import UserError
from iaat.runs.checkpoint import DamagedCheckpoint, load_checkpoint, save_checkpoint
from iaat.runs.run_paths import RunPaths
from iaat.runtime.files import remove_leftovers, replacing

_NAME = re.compile(r"(\d{4,})(?:-(\d{6,}))?\.pt")


class CheckpointManager:
    """Writes the checkpoints of a run and finds the newest that is whole.

    `last.pt` is that of the last finished epoch and `best.pt` that of the selected one. The folder `checkpoints` has
    `0003.pt`, of earlier epochs, and `0003-000120.pt`, of a moment 120 steps into the epoch after the third, until that
    epoch is finished. Every file is written whole beside its place and renamed, and the old last one is linked to its
    new place before, so that at no moment there is none.
    """

    def __init__(self, run: RunPaths, config: TrainConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._config, self._clock = run, config, clock
        self._saved_at = clock()

    def due(self, step: int) -> bool:
        """Whether to save after step number `step` of the epoch, counted from 1."""
        minutes, steps = self._config.save_minutes, self._config.save_steps
        waited = minutes and self._clock() - self._saved_at >= 60 * minutes
        return bool(waited or (steps and step % steps == 0))

    def save_within(self, saved: dict[str, Any]) -> None:
        """Write a checkpoint within an epoch.

        Raises:
            UserError: it cannot be written; the ones before are still there.
        """
        epoch, step = saved["epoch"], saved["tally"]["steps"]
        save_checkpoint(self._run.checkpoints / f"{epoch:04d}-{step:06d}.pt", saved)
        self._prune(epoch, step)
        self._saved_at = self._clock()

    def save_epoch(self, saved: dict[str, Any], *, improved: bool) -> None:
        """Write the checkpoint of a finished epoch: the last file of the epoch to be written.

        Raises:
            UserError: it cannot be written; the ones before are still there.
        """
        last, epoch = self._run.checkpoint("last"), saved["epoch"]
        if improved:
            save_checkpoint(self._run.checkpoint("best"), saved)
        if self._config.keep and last.exists():
            _link(last, self._run.checkpoints / f"{epoch - 1:04d}.pt")
        save_checkpoint(last, saved)
        self._prune(epoch, None)
        self._saved_at = self._clock()

    def newest(self, device: torch.device) -> dict[str, Any]:
        """The checkpoint to resume: the newest that is whole. Damaged ones are named and set aside.

        Raises:
            UserError: none is whole.
        """
        for folder in (self._run.path, self._run.checkpoints, self._run.radii, self._run.pictures):
            remove_leftovers(folder)
        last = self._whole_last(device)
        later = [file for file, (epoch, step) in self._files() if last is None or (epoch == last["epoch"] and step)]
        found = next(filter(None, (self._whole(file, device) for file in later)), last)
        if found is None:
            raise UserError(f"{self._run.path} holds no checkpoint that is whole: start again with --overwrite")
        return found

    def last_epoch(self, device: torch.device) -> dict[str, Any] | None:
        """The newest whole checkpoint of a finished epoch; None where no epoch is finished."""
        ended = (self._whole(file, device) for file, (_, step) in self._files() if not step)
        return self._whole_last(device) or next(filter(None, ended), None)

    def tidy(self, epoch: int, step: int) -> None:
        """Remove what a process that was killed left beside the checkpoint of `step` steps after `epoch` epochs."""
        self._prune(epoch, step or None)

    def forget_within(self) -> None:
        """Remove checkpoints within an epoch: training has gone back to the beginning of the epoch."""
        for file, (_, step) in self._files():
            if step:
                file.unlink(missing_ok=True)

    def mend_best(self, device: torch.device) -> None:
        """Replace a lost or damaged `best.pt` by the last finished epoch, with a warning."""
        best = self._run.checkpoint("best")
        if best.exists() and self._whole(best, device) is not None:
            return
        saved = self.last_epoch(device)
        if saved is not None:
            warnings.warn(f"{best} is missing or damaged: epoch {saved['epoch']} takes its place", stacklevel=2)
            save_checkpoint(best, saved)

    def _whole_last(self, device: torch.device) -> dict[str, Any] | None:
        last = self._run.checkpoint("last")
        return self._whole(last, device) if last.exists() else None

    def _whole(self, file: Path, device: torch.device) -> dict[str, Any] | None:
        """The checkpoint, or None after it was set aside because it is damaged."""
        try:
            return load_checkpoint(file, device)
        except DamagedCheckpoint as error:
            aside = file.with_name(f"{file.name}.damaged")
            warnings.warn(f"{error}. It is set aside as {aside.name}", stacklevel=2)
            file.replace(aside)
            return None

    def _files(self) -> list[tuple[Path, tuple[int, int]]]:
        """Files in the folder, newest first, each with the epochs finished and the steps after them."""
        names = ((file, _NAME.fullmatch(file.name)) for file in self._run.checkpoints.glob("*.pt"))
        found = [(file, (int(match[1]), int(match[2] or 0))) for file, match in names if match is not None]
        return sorted(found, key=itemgetter(1), reverse=True)

    def _prune(self, epoch: int, step: int | None) -> None:
        """Remove what is of no more use after a checkpoint was written at the end of `epoch`, or `step` steps later."""
        files, within = self._files(), step is not None
        here = [file for file, at in files if within and at[0] == epoch and at[1]]
        ended = [file for file, at in files if not at[1] and at[0] < epoch + within]
        kept = {*here[: self._config.keep + 1], *ended[: self._config.keep]}
        for file, _ in files:
            if file not in kept:
                file.unlink(missing_ok=True)


def _link(old: Path, new: Path) -> None:
    """Give a file a second name, or copy it where the file system has no links."""
    with replacing(new) as temporary:
        try:
            os.link(old, temporary)
        except OSError:
            shutil.copyfile(old, temporary)
