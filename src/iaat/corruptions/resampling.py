"""Resampling for several corruptions: zoom about the centre, and blur along a line."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from iaat.corruptions.draws import Pixels


def zoomed(images: Pixels, factor: float) -> Pixels:
    """Magnify the centre of `[..., H, W]` bilinearly by a factor of at least 1; the size stays.

    Bilinear interpolation acts on rows and columns apart, so one matrix for each does it.
    """
    height, width = images.shape[-2:]
    # One product per image: in one large product the rounding would depend on the batch.
    return _zoom_matrix(height, factor) @ images @ _zoom_matrix(width, factor).T


@lru_cache(maxsize=256)
def _zoom_matrix(size: int, factor: float) -> Pixels:
    """Weights `[size, size]` of one axis: crop the centre, stretch end to end, trim both ends to `size`."""
    crop = math.ceil(size / factor)
    stretched = round(crop * factor)
    place = (np.arange(size) + (stretched - size) // 2) * ((crop - 1) / (stretched - 1))
    low = np.minimum(place.astype(int), crop - 2)
    weight = place - low
    first = (size - crop) // 2
    matrix = np.zeros((size, size), dtype=np.float32)
    matrix[np.arange(size), first + low] = 1 - weight
    matrix[np.arange(size), first + low + 1] = weight
    return matrix


def streaked(image: Pixels, *, radius: float, sigma: float, degrees: float) -> Pixels:
    """Mean of `[C, H, W]` along a line to one side of each pixel, weighted by half a Gaussian.

    The line has `2 * radius + 1` points, each at the nearest whole pixel; outside the image the edge is
    repeated. The result is rounded to pixel levels.

    Args:
        image: Values in [0, 1].
        radius: Half the length of the line in pixels.
        sigma: Standard deviation of the weights in pixels.
        degrees: Direction, 0 along the rows, positive downwards.

    Source: the rule of ImageMagick's motion blur, which the published files were made with.
    """
    steps = np.arange(2 * int(radius) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights = (weights / weights.sum()).astype(np.float32)
    rows = np.ceil(steps * math.sin(math.radians(degrees)) - 0.5).astype(int)
    columns = np.ceil(steps * math.cos(math.radians(degrees)) - 0.5).astype(int)
    top, left = max(0, -rows.min()), max(0, -columns.min())
    padded = np.pad(image, ((0, 0), (top, max(0, rows.max())), (left, max(0, columns.max()))), mode="edge")
    height, width = image.shape[-2:]
    total = np.zeros_like(image)
    for weight, row, column in zip(weights, rows + top, columns + left, strict=True):
        total += weight * padded[:, row : row + height, column : column + width]
    return np.rint(total * 255) / np.float32(255)
