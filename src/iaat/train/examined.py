"""What is found out about samples while training: shared among processes, and kept in the run folder."""

from __future__ import annotations

from iaat.data import DataSplits, SampleLog
from iaat.runs.run_folder import RunFolder, SkippedSample
from iaat.runtime.distributed import Ranks


def share_findings(sample_log: SampleLog, ranks: Ranks) -> None:
    """Have every process know what any has found out about the samples of a split; all call it together.

    Raises:
        SampleReadError: Together they have met more unreadable samples than may be.
    """
    if not ranks.several:
        return
    rows, errors = sample_log.new_records()
    found = ranks.merged(errors)
    for part in ranks.gather(rows):
        numbers = part[:, 0].tolist()
        sample_log.merge(part, {number: found[number] for number in numbers if number in found})
    sample_log.check_limit()


def keep_unreadable(run: RunFolder, data: DataSplits) -> None:
    """List the samples that are skipped in the run folder; no file where there are none."""
    records: list[SkippedSample] = [
        {"split": split, "index": index, "name": sample_log.name(index), "reason": reason}
        for split, sample_log in _examinations(data).items()
        for index, reason in sorted(sample_log.unreadable.items())
    ]
    run.keep_unreadable(records)


def recall_unreadable(run: RunFolder, data: DataSplits) -> None:
    """Skip the samples that the run has skipped so far, also where they can be read by now: it goes on as it began."""
    examinations = _examinations(data)
    for record in run.unreadable():
        sample_log, index = examinations.get(record["split"]), record["index"]
        if sample_log is not None and 0 <= index < len(sample_log.digests):
            sample_log.skip({index: record["reason"]})


def _examinations(data: DataSplits) -> dict[str, SampleLog]:
    return {"train": data.train.sample_log, "test": data.test.sample_log}
