"""What is found out about samples while training: shared among processes, and kept in the run folder."""

from __future__ import annotations

from iaat.data import DataBundle, Examination
from iaat.runs.run_folder import RunFolder, SkippedSample
from iaat.runtime.distributed import Ranks


def share_findings(examination: Examination, ranks: Ranks) -> None:
    """Have every process know what any has found out about the samples of a split; all call it together.

    Raises:
        Unreadable: Together they have met more unreadable samples than may be.
    """
    if not ranks.several:
        return
    rows, errors = examination.news()
    found = ranks.merged(errors)
    for part in ranks.gather(rows):
        numbers = part[:, 0].tolist()
        examination.merge(part, {number: found[number] for number in numbers if number in found})
    examination.check_limit()


def keep_unreadable(run: RunFolder, data: DataBundle) -> None:
    """List the samples that are skipped in the run folder; no file where there are none."""
    records: list[SkippedSample] = [
        {"split": split, "index": index, "name": examination.name(index), "reason": reason}
        for split, examination in _examinations(data).items()
        for index, reason in sorted(examination.unreadable.items())
    ]
    run.keep_unreadable(records)


def recall_unreadable(run: RunFolder, data: DataBundle) -> None:
    """Skip the samples that the run has skipped so far, also where they can be read by now: it goes on as it began."""
    examinations = _examinations(data)
    for record in run.unreadable():
        examination, index = examinations.get(record["split"]), record["index"]
        if examination is not None and 0 <= index < len(examination.digests):
            examination.skip({index: record["reason"]})


def _examinations(data: DataBundle) -> dict[str, Examination]:
    return {"train": data.train.examination, "test": data.test.examination}
