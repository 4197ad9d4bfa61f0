"""Samples that are there twice: test samples that were trained on, and training inputs of two classes."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from torch import Tensor


@dataclass(frozen=True, slots=True)
class StoredSplit:
    """The samples used of one split, in memory.

    Attributes:
        x: `[M, ...]` stored inputs.
        index: `[M]` index of each in its data set.
        labels: `[N]` class ids of the whole data set.
        classes: Class names.
        paths: `[N]` relative paths, or None.
        where: Names the split in messages.
    """

    x: Tensor
    index: Tensor
    labels: Tensor
    classes: Sequence[str]
    paths: list[str] | None
    where: str

    def name(self, row: int) -> str:
        """What a person finds a sample by."""
        index = int(self.index[row])
        return f"index {index}" if self.paths is None else self.paths[index]


def warn_of_duplicates(train: StoredSplit, test: StoredSplit) -> None:
    """Warn of test samples that the training set holds too, and of equal training inputs with different labels.

    Only inputs that are equal in every value are found.
    """
    digests = input_digests(train.x)
    first: dict[bytes, int] = {}
    for row, digest in enumerate(digests):
        first.setdefault(digest, row)
    _warn_of_trained(train, test, first)
    if len(first) < len(digests):
        _warn_of_contradictions(train, digests)


def input_digests(x: Tensor) -> list[bytes]:
    """A digest of each input `[N, ...]`: equal inputs have equal ones, others in practice never."""
    rows = x.detach().cpu().contiguous().numpy().reshape(len(x), -1)
    return [blake2b(row.data, digest_size=16).digest() for row in rows]


def _warn_of_trained(train: StoredSplit, test: StoredSplit, first: dict[bytes, int]) -> None:
    twins = [(row, first[digest]) for row, digest in enumerate(input_digests(test.x)) if digest in first]
    if twins:
        mine, theirs = twins[0]
        _warn(
            f"{test.where}: {len(twins):,} of {len(test.x):,} samples are in the training set too, such as"
            f" {test.name(mine)} (in training: {train.name(theirs)}): accuracy will be overstated; remove them from one"
            " of the sets"
        )


def _warn_of_contradictions(train: StoredSplit, digests: list[bytes]) -> None:
    owners: dict[bytes, list[int]] = {}
    for row, digest in enumerate(digests):
        owners.setdefault(digest, []).append(row)
    labels = train.labels[train.index].tolist()
    groups = [rows for rows in owners.values() if len({labels[row] for row in rows}) > 1]
    if groups:
        one = groups[0][0]
        other = next(row for row in groups[0] if labels[row] != labels[one])
        names = (f"{train.name(row)} ({train.classes[labels[row]]})" for row in (one, other))
        _warn(
            f"{train.where}: {sum(map(len, groups)):,} of {len(digests):,} samples have a twin of another class, such"
            f" as {' and '.join(names)}: no model can be right on both; remove or relabel them"
        )


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=4)
