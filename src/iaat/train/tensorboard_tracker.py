"""Follow runs in TensorBoard."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from iaat.config.safe_yaml import dump_yaml
from iaat.errors import UserError
from iaat.evaluate.results import EvaluationResult
from iaat.runs.epoch_record import EpochRecord
from iaat.runs.run_folder import RunFolder
from iaat.train.trackers import Tracker

INSTALL_TENSORBOARD = "pip install tensorboard"

BINS = 64
"""Of a histogram of radii."""


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
        self._writer = self._library.SummaryWriter(str(self._run.tensorboard), purge_step=first)
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
