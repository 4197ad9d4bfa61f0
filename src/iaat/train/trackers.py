"""Trackers, such as TensorBoard, that follow a run; the log in the run folder stays the truth."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, Self

import numpy as np

from iaat.config.safe_yaml import dump_yaml
from iaat.errors import UserError
from iaat.evaluate.results import EvaluationResult
from iaat.runs.epoch_record import EpochRecord
from iaat.runs.run_folder import RunFolder
from iaat.runtime import rng
from iaat.runtime.distributed import current

INSTALL_TENSORBOARD = "pip install tensorboard"

BINS = 64
"""Of a histogram of radii."""


class Tracker(Protocol):
    """Follows a run. Derive from it and define the methods you need; the others do nothing.

    The process that writes the run folder calls the methods, once the files that belong to a call are written. Training
    waits meanwhile. Arguments are copies.

    Example:
        >>> import iaat
        >>> class Losses(iaat.Tracker):
        ...     def started(self, recipe, run, records):
        ...         self.losses = [record.loss for record in records]
        ...     def epoch(self, record):
        ...         self.losses.append(record.loss)
        >>> losses, settings = Losses(), {"method": "natural", "limit": 200, "device": "cpu", "quiet": True}
        >>> run = iaat.fit("small-cnn", "digits", epochs=1, callbacks=[losses], **settings)
        >>> losses.losses == [run.history[0].loss]
        True
    """

    def started(self, recipe: dict[str, Any], run: Path, records: Sequence[EpochRecord]) -> None:
        """The run begins or goes on.

        Args:
            recipe: All settings, as `recipe.yaml` has them.
            run: The run folder.
            records: What the log says of the epochs finished before, oldest first; none where the run is new. All
                epochs after them are made again, whatever was reported of them.
        """

    def epoch(self, record: EpochRecord) -> None:
        """An epoch is finished and its checkpoint written.

        Args:
            record: Its line of `metrics.jsonl`. An epoch that was reported before has been made again, and all after it
                will be.
        """

    def evaluated(self, results: EvaluationResult) -> None:
        """A checkpoint was evaluated on the test set.

        Args:
            results: Content of `results.json`; `results.to_json()` is the same as plain values.
        """

    def finished(self) -> None:
        """The run is finished, stopped or failed; the last call."""


class Trackers(Tracker):
    """Passes each call on to several trackers, in the main process alone; `finished` when its context is left.

    A tracker that fails gets no more calls. Nor can one change the run in other ways: the state of the global
    generators is restored after each call.
    """

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = tuple(trackers)
        self._active: list[Tracker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.finished()

    def started(self, recipe: dict[str, Any], run: Path, records: Sequence[EpochRecord]) -> None:
        """Call all trackers; those that fail are dropped."""
        self._active = list(self._trackers) if current().main else []
        self._call(lambda tracker: tracker.started(deepcopy(recipe), run, deepcopy(list(records))))

    def epoch(self, record: EpochRecord) -> None:
        """Call the trackers that are left."""
        self._call(lambda tracker: tracker.epoch(deepcopy(record)))

    def evaluated(self, results: EvaluationResult) -> None:
        """Call the trackers that are left."""
        self._call(lambda tracker: tracker.evaluated(deepcopy(results)))

    def finished(self) -> None:
        """Call the trackers that are left, for the last time."""
        self._call(lambda tracker: tracker.finished())
        self._active = []

    def _call(self, call: Callable[[Tracker], None]) -> None:
        for tracker in self._active.copy():
            state = rng.globals_state()
            try:
                call(tracker)
            except Exception as error:  # code of others, which fails in many ways
                self._active = [other for other in self._active if other is not tracker]
                warnings.warn(
                    f"tracker {type(tracker).__name__} failed and gets no more calls in this run: "
                    f"{type(error).__name__}: {error}. The run goes on, and its metrics.jsonl has every epoch",
                    stacklevel=2,
                )
            finally:
                rng.set_globals_state(state)


class TensorBoard(Tracker):
    """Writes event files into `RUN/tensorboard`: for `tensorboard --logdir RUN`, or a folder of runs.

    Scalars of every epoch by their names in `metrics.jsonl`, a histogram of the radii in px of each epoch with saved
    radii, the recipe as text and as hyperparameters, and accuracies of evaluations as `evaluation/best/clean`.

    A run that goes on is written anew from its first epoch, and TensorBoard drops what it had: so the event files say
    what `metrics.jsonl` says, wherever an earlier process ended, and of runs begun without them as well.

    Example:
        >>> import iaat, pathlib, tempfile
        >>> folder, settings = tempfile.TemporaryDirectory(), {"limit": 200, "device": "cpu", "quiet": True}
        >>> out = pathlib.Path(folder.name, "run")
        >>> tracker = iaat.TensorBoard()
        >>> _ = iaat.fit("small-cnn", "digits", method="natural", epochs=1, out=out, callbacks=[tracker], **settings)
        >>> any((out / "tensorboard").iterdir())
        True
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
        text = dump_yaml(recipe)
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

    def evaluated(self, results: EvaluationResult) -> None:
        """Write the accuracies, at the epoch of the checkpoint."""
        kind = "-raw" if results.weights == "raw" else ""
        for name, accuracy in results.accuracy.items():
            self._writer.add_scalar(f"evaluation/{results.checkpoint}{kind}/{name}", accuracy, results.epoch)
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
        raise UserError(f"--tensorboard needs tensorboard, which is not installed: {INSTALL_TENSORBOARD}") from None


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All values of nested mappings, their keys joined by a slash."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value
