"""Trackers: who else is told how a run goes, such as TensorBoard; the log in the run folder stays the truth."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, Self

import numpy as np
import yaml

from iaat.errors import UserError
from iaat.runs.epoch_record import EpochRecord
from iaat.runs.run_folder import RunFolder
from iaat.runtime import rng
from iaat.runtime.distributed import current

INSTALL = 'pip install "iaat[tensorboard]"'

BINS = 64
"""Of a histogram of radii."""


class Tracker(Protocol):
    """Is told how a run goes. Derive from it and define what you need: what is left out does nothing.

    All is told by the process that writes the run folder, once the files that belong to it are written. Training waits
    meanwhile. What is given is a copy.
    """

    def started(self, recipe: dict[str, Any], run: Path, records: Sequence[EpochRecord]) -> None:
        """The run begins or goes on.

        Args:
            recipe: All settings, as `recipe.yaml` has them.
            run: The run folder.
            records: What the log says of the epochs finished before, oldest first; none where the run is new. All
                epochs after them are made again, whatever was told of them.
        """

    def epoch(self, record: EpochRecord) -> None:
        """An epoch is finished and its checkpoint written.

        Args:
            record: Its line of `metrics.jsonl`. An epoch that was told before has been made
                again, and all after it will be.
        """

    def evaluated(self, results: dict[str, Any]) -> None:
        """A checkpoint was judged on the test set.

        Args:
            results: As `results.json` of the evaluation has them.
        """

    def finished(self) -> None:
        """Nothing more is told of the run: it is finished, stopped or failed."""


class Trackers(Tracker):
    """Tells trackers what it is told itself, in the main process alone; closed, it tells them that the run is finished.

    A tracker that fails is told nothing more of the run. Nor can one change the run in other ways: what it draws from
    the global generators is undone.
    """

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = tuple(trackers)
        self._told: list[Tracker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.finished()

    def started(self, recipe: dict[str, Any], run: Path, records: Sequence[EpochRecord]) -> None:
        """Tell all, and from now on those that took it well."""
        self._told = list(self._trackers) if current().main else []
        self._tell(lambda tracker: tracker.started(deepcopy(recipe), run, deepcopy(list(records))))

    def epoch(self, record: EpochRecord) -> None:
        """Tell those that are left."""
        self._tell(lambda tracker: tracker.epoch(deepcopy(record)))

    def evaluated(self, results: dict[str, Any]) -> None:
        """Tell those that are left."""
        self._tell(lambda tracker: tracker.evaluated(deepcopy(results)))

    def finished(self) -> None:
        """Tell those that are left, for the last time."""
        self._tell(lambda tracker: tracker.finished())
        self._told = []

    def _tell(self, tell: Callable[[Tracker], None]) -> None:
        for tracker in self._told.copy():
            state = rng.globals_state()
            try:
                tell(tracker)
            except Exception as error:  # code of others, which fails in many ways
                self._told = [other for other in self._told if other is not tracker]
                warnings.warn(
                    f"tracker {type(tracker).__name__} failed and is told nothing more of this run: "
                    f"{type(error).__name__}: {error}. The run goes on, and its metrics.jsonl has every epoch",
                    stacklevel=2,
                )
            finally:
                rng.set_globals_state(state)


class TensorBoard(Tracker):
    """Writes event files into `RUN/tensorboard`: for `tensorboard --logdir RUN`, or a folder of runs.

    Scalars of every epoch by their names in `metrics.jsonl`, a histogram of the radii in px of each epoch whose radii
    are kept, the recipe as text and as hyperparameters, and accuracies of evaluations as `evaluation/best/clean`.

    A run that goes on is written anew from its first epoch, and TensorBoard told to forget what it had: so the event
    files say what `metrics.jsonl` says, wherever an earlier process ended, and of runs begun without them as well.
    """

    def __init__(self) -> None:
        """Find TensorBoard.

        Raises:
            UserError: it is not installed.
        """
        self._library = _load()
        self._run = RunFolder(Path())
        self._writer: Any = None
        self._last = 0

    def started(self, recipe: dict[str, Any], run: Path, records: Sequence[EpochRecord]) -> None:
        """Open a new event file, with the recipe and all epochs so far."""
        self._run = RunFolder(run)
        self._open(0)
        text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
        self._writer.add_text("recipe", "".join(f"    {line}\n" for line in text.splitlines()), 0)
        settings = {key: value if isinstance(value, int | float) else str(value) for key, value in _flat(recipe)}
        metrics = dict.fromkeys(("validation_clean", "validation_robust"), 0.0)  # columns
        for summary in self._library.summary.hparams(settings, metrics):
            self._writer.file_writer.add_summary(summary, 0)
        for record in records:
            self.epoch(record)
        self._writer.flush()

    def epoch(self, record: EpochRecord) -> None:
        """Write its numbers, and its radii where they are kept."""
        epoch = record.epoch
        if epoch <= self._last:
            self._open(epoch)
        self._last = epoch
        quantiles = {f"radius_quantiles_px/{level}": px for level, px in (record.radius_quantiles_px or {}).items()}
        for key, value in (record.numbers() | quantiles).items():
            self._writer.add_scalar(key, value, epoch)
        if epoch in self._run.radii_epochs():
            px = self._run.radii_after(epoch)[1].astype(np.float64) * 255
            self._writer.add_histogram("radius_px", px, epoch, bins=BINS)
        self._writer.flush()

    def evaluated(self, results: dict[str, Any]) -> None:
        """Write the accuracies, at the epoch of the checkpoint."""
        kind = "-trained" if results.get("weights") == "trained" else ""
        for name, accuracy in results["accuracy"].items():
            self._writer.add_scalar(f"evaluation/{results['checkpoint']}{kind}/{name}", accuracy, results["epoch"])
        self._writer.flush()

    def finished(self) -> None:
        """Close the event file."""
        self._writer.close()

    def _open(self, first: int) -> None:
        """Begin a new event file, which takes the place of all that is there from step `first` on."""
        if self._writer is not None:
            self._writer.close()
        self._writer = self._library.SummaryWriter(str(self._run.path / "tensorboard"), purge_step=first)
        self._last = first - 1


def _load() -> ModuleType:
    """PyTorch's writer of event files, imported only where it is asked for.

    Raises:
        UserError: TensorBoard is not installed.
    """
    try:
        return importlib.import_module("torch.utils.tensorboard")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "tensorboard":
            raise
        raise UserError(f"--tensorboard needs tensorboard, which is not installed: {INSTALL}") from None


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All values of nested mappings, their keys joined by a slash."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value
