"""Exact duplicates: test samples in the training set, and training samples of two classes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from iaat.data.notices import Notices
from iaat.data.sample_log import SampleLog


def duplicates(
    train: SampleLog,
    test: SampleLog,
    labels: Tensor,
    classes: Sequence[str],
    *,
    validation_size: int = 0,
    validation: Tensor | None = None,
) -> Notices:
    """Find exact duplicates among the samples that were read so far.

    Samples in memory are compared by their values, streamed files by their bytes.

    Args:
        train: The training set, validation samples behind it.
        test: The test set.
        labels: `[N]` class ids of the training set.
        classes: Class names.
        validation_size: How many of the training set, the last ones, are for validation only.
        validation: Indices of all samples for validation, where they are known: also those drawn from the others.
    """
    notices = Notices()
    readable = train.readable
    border = len(train.digests) - validation_size
    own = readable[readable < border]
    held = np.arange(border, len(train.digests)) if validation is None else validation.numpy()
    is_held = np.isin(readable, held)
    _note_trained(notices, "trained", train, own, test, test.readable)
    _note_trained(notices, "held out", train, readable[~is_held], train, readable[is_held])
    _note_twins(notices, train, own, labels.numpy(), classes)
    return notices


def _note_trained(
    notices: Notices,
    kind: str,
    train: SampleLog,
    trained: NDArray[np.int64],
    other: SampleLog,
    others: NDArray[np.int64],
) -> None:
    """Count samples of `others` that are in the training set, too."""
    twins = others[np.isin(other.digests[others], train.digests[trained])]
    if len(twins):
        mine = int(twins[0])
        theirs = int(trained[np.flatnonzero(train.digests[trained] == other.digests[mine])[0]])
        example = f"{other.name(mine)} (in training: {train.name(theirs)})"
        notices.add(other.where, kind, example, count=len(twins), of=len(others))


def _note_twins(
    notices: Notices, train: SampleLog, trained: NDArray[np.int64], labels: NDArray[np.int64], classes: Sequence[str]
) -> None:
    """Count training samples that equal one of another class."""
    order = trained[np.lexsort((trained, train.digests[trained]))]
    digests, own = train.digests[order], labels[order]
    starts = np.flatnonzero(np.r_[True, digests[1:] != digests[:-1]]) if len(order) else np.zeros(0, dtype=np.int64)
    ends = np.r_[starts[1:], len(order)]
    groups = [(a, b) for a, b in zip(starts.tolist(), ends.tolist(), strict=False) if b - a > 1]
    groups = [(a, b) for a, b in groups if len(set(own[a:b].tolist())) > 1]
    if not groups:
        return
    first, last = min(groups, key=lambda group: int(order[group[0]]))
    one = int(order[first])
    other = next(int(index) for index in order[first:last] if labels[index] != labels[one])
    names = (f"{train.name(index)} ({classes[labels[index]]})" for index in (one, other))
    notices.add(train.where, "twins", " and ".join(names), count=sum(b - a for a, b in groups), of=len(trained))
