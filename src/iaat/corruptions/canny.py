"""Canny edge detection of grey images."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

Whole = NDArray[np.int32]
_TAN = np.sqrt(2) - 1  # of 22.5 degrees, half the way from a row to a diagonal


def edges(levels: NDArray[np.uint8], *, low: float, high: float) -> NDArray[np.bool_]:
    """Thin edges of images `[B, H, W]`: ridges of the gradient above `low` that are connected to one above `high`.

    Source: Canny 1986, with 3 x 3 Sobel gradients and the sum of their absolute values as size, the usual variant.
    """
    values = levels.astype(np.int32)
    across, down = _sobel(values, axis=2), _sobel(values, axis=1)
    size = np.abs(across) + np.abs(down)
    ridge = _is_ridge(size, across, down)
    return _connected(ridge & (size > low), ridge & (size > high))


def _sobel(values: Whole, axis: int) -> Whole:
    """Gradient along one of the last two axes, smoothed along the other."""
    gradient: Whole = scipy.ndimage.correlate1d(values, [-1, 0, 1], axis=axis, mode="nearest")
    smoothed: Whole = scipy.ndimage.correlate1d(gradient, [1, 2, 1], axis=3 - axis, mode="nearest")
    return smoothed


def _is_ridge(size: Whole, across: Whole, down: Whole) -> NDArray[np.bool_]:
    """Non-maximum suppression: where the gradient exceeds both neighbours in its direction, of equal ones the first."""
    height, width = size.shape[1:]
    padded = np.pad(size, ((0, 0), (1, 1), (1, 1)))

    def moved(row: int, column: int) -> Whole:
        return padded[:, 1 + row : 1 + row + height, 1 + column : 1 + column + width]

    horizontal = np.abs(down) < _TAN * np.abs(across)
    vertical = np.abs(down) * _TAN > np.abs(across)
    rising = (across < 0) != (down < 0)
    return np.select(
        [horizontal, vertical, rising],
        [
            (size > moved(0, -1)) & (size >= moved(0, 1)),
            (size > moved(-1, 0)) & (size >= moved(1, 0)),
            (size > moved(-1, 1)) & (size > moved(1, -1)),
        ],
        (size > moved(-1, -1)) & (size > moved(1, 1)),
    )


def _connected(weak: NDArray[np.bool_], strong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Connected parts of `weak` with a point of `strong`; diagonal neighbours are connected, images are not."""
    structure = np.zeros((3, 3, 3), dtype=bool)
    structure[1] = True
    parts, count = scipy.ndimage.label(weak, structure)
    kept = np.zeros(count + 1, dtype=bool)
    kept[parts[strong]] = True
    kept[0] = False
    found: NDArray[np.bool_] = kept[parts]
    return found
