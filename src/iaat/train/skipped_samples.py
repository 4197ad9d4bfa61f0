"""Samples that cannot be read: listed in the run folder, skipped again on resume."""

from __future__ import annotations

from iaat.data import DataSplits, SampleLog
from iaat.runs.run_store import RunStore
from iaat.runs.training_log import SkippedSample
from iaat.runtime.files import encodable


def save_skipped(run: RunStore, data: DataSplits) -> None:
    """List the skipped samples in the run folder; no file where there are none."""
    records: list[SkippedSample] = [
        {"split": split, "index": index, "name": encodable(sample_log.name(index)), "reason": encodable(reason)}
        for split, sample_log in _sample_logs(data).items()
        for index, reason in sorted(sample_log.unreadable.items())
    ]
    run.save_skipped(records)


def restore_skipped(run: RunStore, data: DataSplits) -> None:
    """Skip the samples that the run has skipped so far, even if they can be read by now: it goes on as it began."""
    sample_logs = _sample_logs(data)
    for record in run.skipped_samples():
        sample_log, index = sample_logs.get(record["split"]), record["index"]
        if sample_log is not None and 0 <= index < len(sample_log.digests):
            sample_log.skip({index: record["reason"]})


def _sample_logs(data: DataSplits) -> dict[str, SampleLog]:
    return {"train": data.train.sample_log, "test": data.test.sample_log}
