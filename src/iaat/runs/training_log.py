"""The log of a run: epochs and their times, steps that were not finite, samples that cannot be read."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from typing_extensions import TypedDict

from iaat.runs.epoch_record import EpochRecord, upgrade
from iaat.runtime.files import append_json_line, write_text
from iaat.runtime.json_files import Count, Lines, read_json_lines, to_json

_METRICS, _TIMINGS, _FAULTS, _SKIPPED = "metrics.jsonl", "timings.jsonl", "faults.jsonl", "skipped.jsonl"

LOG_FILES = (_METRICS, _TIMINGS, _FAULTS, _SKIPPED)
"""Names of the files of a log."""


@dataclass(frozen=True, slots=True)
class EpochTiming:
    """One line of `timings.jsonl`."""

    epoch: Count
    seconds: float
    samples_per_second: float | None = None


class SkippedSample(TypedDict):
    """A sample that cannot be read: of `train` or `test`, its index, its path or the like, and why."""

    split: str
    index: Count
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class TrainingLog:
    """Reads and writes the log in a run folder.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def metrics_file(self) -> Path:
        """One record an epoch."""
        return self.path / _METRICS

    @property
    def timings_file(self) -> Path:
        """Wall time of each epoch."""
        return self.path / _TIMINGS

    @property
    def faults_file(self) -> Path:
        """Steps that were not finite."""
        return self.path / _FAULTS

    @property
    def skipped_file(self) -> Path:
        """Samples that cannot be read."""
        return self.path / _SKIPPED

    def log_epoch(self, record: EpochRecord, timing: EpochTiming) -> None:
        """Append one epoch to the metrics and timings."""
        append_json_line(self.metrics_file, record.to_json())
        append_json_line(self.timings_file, to_json(timing))

    def metrics(self) -> list[EpochRecord]:
        """Records of all epochs so far; lines that are damaged are left out with a warning."""
        lines, _ = self._logs()
        lines.warn("left out: it shows in no curve")
        return lines.records

    def epochs(self) -> list[int]:
        """Numbers of the epochs in the metrics and in the timings: one of the two may lack a line."""
        metrics, timings = self._logs()
        return [record.epoch for log in (metrics, timings) for record in log.records]

    def training_cost(self, epoch: int | None = None) -> dict[str, float]:
        """Passes per sample and step and seconds of training, and the last mean radius, if any, up to an epoch.

        `radius_mean_px` is 255 times the radius in any norm. What hangs on a line that is damaged or missing is left
        out, with a warning.
        """
        logs = self._logs()
        metrics = _up_to(epoch, logs[0], self.metrics_file, "passes")
        timings = _up_to(epoch, logs[1], self.timings_file, "seconds")
        cost: dict[str, float] = {}
        if metrics:
            cost["train_forwards"] = sum(record.forwards for record in metrics) / len(metrics)
            cost["train_backwards"] = sum(record.backwards for record in metrics) / len(metrics)
        if timings:
            cost["train_seconds"] = sum(record.seconds for record in timings)
        if metrics and (radius := metrics[-1].radius_mean_px) is not None:
            cost["radius_mean_px"] = radius
        return cost

    def _logs(self) -> tuple[Lines[EpochRecord], Lines[EpochTiming]]:
        metrics = read_json_lines(self.metrics_file, EpochRecord, upgrade=upgrade)
        return metrics, read_json_lines(self.timings_file, EpochTiming)

    def log_faults(self, records: Sequence[dict[str, Any]]) -> None:
        """Write down the steps that were not finite, all of the run; no file where there are none."""
        _write_lines(self.faults_file, records)

    def save_skipped(self, records: Sequence[SkippedSample]) -> None:
        """List the samples that are skipped because they cannot be read; no file where there are none."""
        _write_lines(self.skipped_file, records)

    def skipped_samples(self) -> list[SkippedSample]:
        """The samples that were skipped so far."""
        lines = self._skipped_lines()
        lines.warn("these samples are skipped again only if they still cannot be read")
        return lines.records

    def skipped_index(self) -> list[int]:
        """Indices of the training samples that were skipped so far; damaged lines are left out."""
        return [each["index"] for each in self._skipped_lines().records if each["split"] == "train"]

    def _skipped_lines(self) -> Lines[SkippedSample]:
        return read_json_lines(self.skipped_file, SkippedSample)

    def go_back_to(self, epoch: int, records: Sequence[EpochRecord]) -> None:
        """Drop the epochs after `epoch`; `records` is the log of the epochs up to it."""
        write_text(self.metrics_file, _lines([record.to_json() for record in records]))
        timings = read_json_lines(self.timings_file, EpochTiming)
        timings.warn("its time is lost")
        write_text(self.timings_file, _lines([to_json(each) for each in timings.records if each.epoch <= epoch]))


def _lines(records: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def _write_lines(file: Path, records: Sequence[Mapping[str, Any]]) -> None:
    if records:
        write_text(file, _lines(records))
    else:
        file.unlink(missing_ok=True)


_Epoch = TypeVar("_Epoch", EpochRecord, EpochTiming)


def _up_to(epoch: int | None, lines: Lines[_Epoch], file: Path, what: str) -> list[_Epoch]:
    """Records of the epochs from the first to `epoch` or the last; none, with a warning, where one is missing."""
    found = [record for record in lines.records if epoch is None or record.epoch <= epoch]
    whole = all(record.epoch == number for number, record in enumerate(found, start=1))
    if found and whole and (len(found) == epoch if epoch is not None else not (lines.damage or lines.cut)):
        return found
    reason = (*lines.damage, *([lines.cut] if lines.cut else []), f"{file} does not have every epoch once")[0]
    warnings.warn(f"{reason}; {what} of training not known", stacklevel=4)
    return []
