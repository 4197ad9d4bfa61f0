"""Versions, date and digests of an evaluation, and clean accuracy on the whole test set."""

from __future__ import annotations

import platform
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

import iaat
from iaat.attacks import predict
from iaat.data import sequential_order
from iaat.evaluate.evaluated_model import EvaluatedModel, TestSet
from iaat.evaluate.results import CLEAN, CleanAccuracy, Digests
from iaat.evaluate.resume import Journal
from iaat.evaluate.robust_accuracy import Outcome
from iaat.runtime.progress import Reporter
from iaat.statistics import wilson_interval


def deciding_versions() -> dict[str, str]:
    """Versions of the libraries that decide the numbers of an evaluation."""
    return {"iaat": iaat.__version__, "torch": torch.__version__, "pyautoattack": version("pyautoattack")}


def provenance(evaluated: EvaluatedModel, test: TestSet, journal: Journal, batch_size: int) -> dict[str, Any]:
    """Fields `date`, `versions` and `digests` of the results.

    Digests are SHA-256 of the model (weights and layers), of the test set (classes, labels and names of all samples),
    and of the inputs that were attacked (float32 pixels, in order of their index).
    """
    return {
        "date": journal.unit("date", lambda: datetime.now(UTC).isoformat(timespec="seconds")),
        "versions": {**deciding_versions(), "python": platform.python_version()},
        "digests": Digests(
            model=evaluated.digest,
            test_set=test.data.test.fingerprint,
            inputs=journal.unit("inputs", lambda: _digest_of_inputs(test, batch_size)),
        ),
    }


def _digest_of_inputs(test: TestSet, batch_size: int) -> str:
    digest = sha256()
    for batch in test.data.test.batches(sequential_order(test.index, batch_size)):
        digest.update(batch.x.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


def clean_of_all(
    evaluated: EvaluatedModel, test: TestSet, outcome: Outcome, journal: Journal, batch_size: int, reporter: Reporter
) -> CleanAccuracy:
    """Clean accuracy on all test samples, those that are not attacked included."""
    attacked = int(outcome.correct_after(CLEAN).sum())
    rest = test.data.test_index[~torch.isin(test.data.test_index, test.index)]
    compute: Callable[[], int] = lambda: _count_correct(evaluated, test, rest, batch_size, reporter)  # noqa: E731
    correct = attacked + (journal.unit("clean-of-the-rest", compute) if len(rest) else 0)
    n = len(test.index) + len(rest)
    return CleanAccuracy(correct / n, n, wilson_interval(correct / n, n))


def _count_correct(evaluated: EvaluatedModel, test: TestSet, index: Tensor, batch_size: int, reporter: Reporter) -> int:
    batches = test.data.test.batches(sequential_order(index, batch_size))
    shown = reporter.track(batches, total=len(index), what="clean, the rest", size=lambda batch: len(batch.y))
    return sum(int((predict(evaluated.model, batch.x) == batch.y).sum()) for batch in shown)
