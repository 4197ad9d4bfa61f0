"""What an evaluation was made with and of, so that its results can be quoted by themselves."""

from __future__ import annotations

import platform
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version

import torch
from torch import Tensor

import iaat
from iaat.attacks import predict
from iaat.data import sequential_order
from iaat.evaluate.resume import Journal
from iaat.evaluate.robust import CLEAN, Outcome
from iaat.evaluate.subject import Subject, TestSet
from iaat.runtime.progress import Reporter
from iaat.statistics import wilson_interval


def deciding_versions() -> dict[str, str]:
    """Versions of what decides the numbers of an evaluation."""
    return {"iaat": iaat.__version__, "torch": torch.__version__, "pyautoattack": version("pyautoattack")}


def provenance(subject: Subject, test: TestSet, journal: Journal, batch_size: int) -> dict[str, object]:
    """Versions, date and digests, as plain values.

    Returns:
        `date`, UTC, on which the evaluation was begun; `versions`; `digests`, SHA-256 each: of the `model` (its weights
        and layers), of the `test_set` (classes, labels and names of all its samples), and of the `inputs` that were
        attacked (float32 pixels, in order of their index).
    """
    return {
        "date": journal.unit("date", lambda: datetime.now(UTC).isoformat(timespec="seconds")),
        "versions": {**deciding_versions(), "python": platform.python_version()},
        "digests": {
            "model": subject.digest,
            "test_set": test.data.test.fingerprint,
            "inputs": journal.unit("inputs", lambda: _digest_of_inputs(test, batch_size)),
        },
    }


def _digest_of_inputs(test: TestSet, batch_size: int) -> str:
    digest = sha256()
    for batch in test.data.test.batches(sequential_order(test.index, batch_size)):
        digest.update(batch.x.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


def clean_of_all(
    subject: Subject, test: TestSet, outcome: Outcome, journal: Journal, batch_size: int, reporter: Reporter
) -> dict[str, object]:
    """Clean accuracy on all test samples, those that are not attacked included; its `n` and `interval95`."""
    attacked = int(outcome.standing(CLEAN).sum())
    rest = _without(test.data.test_index, test.index)
    compute: Callable[[], int] = lambda: _count_correct(subject, test, rest, batch_size, reporter)  # noqa: E731
    correct = attacked + (journal.unit("clean-of-the-rest", compute) if len(rest) else 0)
    n = len(test.index) + len(rest)
    return {"accuracy": correct / n, "n": n, "interval95": list(wilson_interval(correct / n, n))}


def _without(index: Tensor, left_out: Tensor) -> Tensor:
    return index[~torch.isin(index, left_out)]


def _count_correct(subject: Subject, test: TestSet, index: Tensor, batch_size: int, reporter: Reporter) -> int:
    batches = test.data.test.batches(sequential_order(index, batch_size))
    shown = reporter.track(batches, total=len(index), what="clean, the rest", size=lambda batch: len(batch.y))
    return sum(int((predict(subject.model, batch.x) == batch.y).sum()) for batch in shown)
