"""Checks of the arrays that charts and tables are given."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iaat.errors import UserError


def as_radii(values: ArrayLike, name: str = "radii") -> NDArray[np.float64]:
    """Return radii `[N]`, on the [0, 1] scale as they came.

    Raises:
        UserError: Not one-dimensional, negative or not finite; the message calls them `name`.
    """
    radii = np.asarray(values, dtype=np.float64)
    if radii.ndim != 1:
        raise UserError(f"{name}: expected a one-dimensional array, got shape {list(radii.shape)}")
    if not np.isfinite(radii).all() or (radii < 0).any():
        raise UserError(f"{name}: every radius must be finite and at least 0")
    return radii


def as_integers(values: ArrayLike, name: str, count: int) -> NDArray[np.int64]:
    """Return `count` integers `[N]` as int64.

    Raises:
        UserError: Another shape, or not integers; the message calls them `name`.
    """
    integers = np.asarray(values)
    if integers.shape != (count,):
        raise UserError(f"{name}: expected shape [{count}], as many as there are radii; got {list(integers.shape)}")
    if count and integers.dtype.kind not in "iu":
        raise UserError(f"{name}: expected integers, got {integers.dtype}")
    return integers.astype(np.int64)


def as_labels(values: ArrayLike, name: str, count: int, classes: Sequence[str], lowest: int = 0) -> NDArray[np.int64]:
    """Return `count` class numbers `[N]`, each in `[lowest, len(classes))`.

    Raises:
        UserError: Another shape, not integers, or out of range; the message calls them `name`.
    """
    labels = as_integers(values, name, count)
    if count and (labels.min() < lowest or labels.max() >= len(classes)):
        raise UserError(
            f"{name}: {labels.min()}..{labels.max()} is out of range: there are {len(classes)} classes, "
            f"so numbers run from {lowest} to {len(classes) - 1}"
        )
    return labels


def suffix_of(path: str | os.PathLike[str], known: tuple[str, ...]) -> str:
    """Return the suffix of `path` in lower case, without its dot.

    Raises:
        UserError: The suffix is not one of `known`; the message lists those.
    """
    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in known:
        raise UserError(f"{os.fspath(path)}: the file name must end in {' or '.join('.' + name for name in known)}")
    return suffix
