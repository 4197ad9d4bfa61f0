"""The one order of images by their radii, for every picture, table and page that sorts them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from iaat.runtime.rng import derive_seed, keyed_uniform


def radius_order(history: ArrayLike, index: ArrayLike) -> NDArray[np.int64]:
    """Return the positions of samples in the order of their radii, the smallest first; reversed, the largest first.

    Many samples share a last radius, often 0. Of these the first is the one with the smaller mean over the
    epochs, then the one with fewer epochs above 0, then the one that was above 0 last in an earlier epoch. What is
    still equal is drawn by its index: in the order of indices, a folder's first hundred are of one class.

    Args:
        history: Radii `[E, n]` after each epoch, in their order, one epoch or more.
        index: `[n]` positions in the training set.

    Example:
        >>> from iaat.analysis.radius_order import radius_order
        >>> radius_order([[0, 4, 1], [2, 0, 0], [1, 0, 0]], [10, 11, 12]).tolist()
        [2, 1, 0]
    """
    radii, number = np.asarray(history), np.asarray(index, dtype=np.int64)
    above = radii > 0
    last_above = np.where(above.any(axis=0), len(radii) - above[::-1].argmax(axis=0), 0)
    # Always by seed 0: the order of two runs, and of page and pictures, is to be the same.
    draw = keyed_uniform(derive_seed(0, "image order"), 0, torch.tensor(number), 1)[:, 0].numpy()
    mean = radii.mean(axis=0, dtype=np.float64)
    # numpy sorts by the last key first.
    return np.lexsort((number, draw, last_above, above.sum(axis=0), mean, radii[-1]))
