"""Plasma fractal: cloud-like maps by the diamond-square algorithm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from iaat.corruptions.draws import Draws, Pixels

Field = NDArray[np.float64]


def plasma(draws: Draws, height: int, width: int, decay: float) -> Pixels:
    """Plasma fractals `[B, H, W]`: the corner of square maps `[B, M, M]` scaled to [0, 1], M a power of 2.

    Each point halfway between four others is their mean plus noise. The range of the noise shrinks by the square of
    `decay` from one size of squares to the next. The map wraps around.

    Args:
        draws: Random draws of each sample.
        height: Of the maps returned.
        width: Of the maps returned.
        decay: Larger is smoother.

    Source: the diamond-square algorithm (Fournier, Fussell & Carpenter 1982), with the noise range of the authors.
    """
    size = 1 << (max(height, width) - 1).bit_length()
    noise = 2 * draws.uniform(size, size).astype(np.float64) - 1
    field = np.zeros_like(noise)
    # The authors' range starts at 100 squared; only its ratios matter, because the map is scaled in the end.
    amplitude, step = 1.0, size
    while step >= 2:
        _centres(field, noise, step, amplitude)
        _edges(field, noise, step, amplitude)
        step //= 2
        amplitude /= decay**2
    low = field.min(axis=(1, 2), keepdims=True)
    high = field.max(axis=(1, 2), keepdims=True)
    clouds: Pixels = ((field - low) / (high - low))[:, :height, :width].astype(np.float32)
    return clouds


def _centres(field: Field, noise: Field, step: int, amplitude: float) -> None:
    """Fill the centre of each square from its corners, in place."""
    half = step // 2
    corners = field[:, ::step, ::step]
    pairs = corners + np.roll(corners, -1, axis=1)
    total = pairs + np.roll(pairs, -1, axis=2)
    field[:, half::step, half::step] = total / 4 + amplitude * noise[:, half::step, half::step]


def _edges(field: Field, noise: Field, step: int, amplitude: float) -> None:
    """Fill the middle of each edge from its two ends and the two centres beside it, in place."""
    half = step // 2
    corners, centres = field[:, ::step, ::step], field[:, half::step, half::step]
    along = corners + np.roll(corners, -1, axis=1) + centres + np.roll(centres, 1, axis=2)
    across = corners + np.roll(corners, -1, axis=2) + centres + np.roll(centres, 1, axis=1)
    field[:, half::step, ::step] = along / 4 + amplitude * noise[:, half::step, ::step]
    field[:, ::step, half::step] = across / 4 + amplitude * noise[:, ::step, half::step]
