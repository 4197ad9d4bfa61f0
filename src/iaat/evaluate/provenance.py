"""Versions, date and digests of an evaluation, and clean accuracy on the whole test set."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

import iaat
from iaat.attacks import predict_classes
from iaat.data import Source, sequential_order
from iaat.evaluate.results import CLEAN, CleanAccuracy, Digests
from iaat.evaluate.sections import Context
from iaat.statistics import wilson_interval

CLEAN_OF_THE_REST = "correct-of-the-rest"
"""Unit of the journal: how many of the samples that are not attacked are classified correctly, and how many are read.

Of the name `clean-of-the-rest` it had the first number alone, samples that cannot be read among them.
"""


def deciding_versions() -> dict[str, str]:
    """Versions of the libraries that decide the numbers of an evaluation."""
    return {"iaat": iaat.__version__, "torch": torch.__version__, "pyautoattack": version("pyautoattack")}


def provenance(context: Context) -> dict[str, Any]:
    """Fields `date`, `versions` and `digests` of the results.

    Digests are SHA-256 of the model (weights and layers), of the test set (classes, labels and names of all samples),
    and of the inputs that were attacked (float32 pixels, in order of their index).
    """
    return {
        "date": context.journal.unit("date", lambda: datetime.now(UTC).isoformat(timespec="seconds")),
        "versions": {**deciding_versions(), "python": platform.python_version()},
        "digests": Digests(
            model=context.evaluated.digest,
            test_set=context.data.test.fingerprint,
            inputs=context.inputs,
        ),
    }


def digest_of_inputs(source: Source, index: Tensor, batch_size: int) -> str:
    """SHA-256 of the inputs of samples `[n]`: float32 pixels in the order of `index`."""
    digest = sha256()
    for batch in source.batches(sequential_order(index, batch_size)):
        digest.update(batch.x.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


def clean_of_all(context: Context, chosen: Tensor) -> CleanAccuracy:
    """Clean accuracy on all test samples that can be read, those that are not attacked included.

    Args:
        context: The evaluation after its attacks.
        chosen: Samples that were to be attacked, those that cannot be read included.
    """
    correct, n = int(context.outcome.correct_after(CLEAN).sum()), len(context.index)
    everything = context.data.test_index
    rest = everything[~torch.isin(everything, chosen)]
    if len(rest):
        more, read = context.journal.totals(CLEAN_OF_THE_REST, partial(_count_correct, context, rest))
        correct, n = correct + more, n + read
    return CleanAccuracy(correct / n, n, wilson_interval(correct / n, n))


def _count_correct(context: Context, index: Tensor) -> tuple[int, int]:
    """How many of the samples `[n]` that fall to this process are classified correctly, and how many can be read."""
    ranks, order = context.journal.ranks, sequential_order(index, context.config.batch_size)
    own = [order[number] for number in range(ranks.rank, len(order), ranks.world)]
    correct, read = 0, 0
    if own:
        source, total = context.data.test, sum(map(len, own))
        batches = context.reporter.track(
            source.batches(own), total=total, what="clean, the rest", size=lambda batch: len(batch.y)
        )
        for batch in batches:
            rows = source.sample_log.readable_rows(batch.index).to(batch.y.device)
            correct += int((predict_classes(context.evaluated.model, batch.x) == batch.y)[rows].sum())
            read += len(rows)
    return correct, read
