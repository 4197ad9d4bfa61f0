"""Spatter: drops of water or mud on the lens."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

from iaat.corruptions.blur import smoothed
from iaat.corruptions.canny import edges
from iaat.corruptions.color import paint
from iaat.corruptions.draws import Draws, Pixels

_WATER = (175 / 255, 238 / 255, 238 / 255)
_MUD = (63 / 255, 42 / 255, 20 / 255)
_FAR = 20  # pixels from an edge beyond which a drop gets no brighter
# Light from the lower right: brightens that side of a drop, darkens the other.
_RELIEF = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])


def spatter(images: Pixels, constant: tuple[float, ...], draws: Draws) -> Pixels:
    """Cover the image where smooth noise exceeds a threshold: water adds light, mud hides the image."""
    mean, deviation, smoothness, threshold, strength, mud = constant
    noise = np.float32(mean) + np.float32(deviation) * draws.normal(*images.shape[-2:])
    liquid = smoothed(noise, smoothness)
    if not mud:
        cover = np.float32(strength) * _lit(np.where(liquid < threshold, 0, liquid))[:, None]
        return images + cover * paint(_WATER, images.shape[1])
    cover = smoothed((liquid > threshold).astype(np.float32), strength)[:, None]
    cover = np.where(cover < 0.8, np.float32(0), cover)
    return images * (1 - cover) + cover * paint(_MUD, images.shape[1])


def _lit(liquid: Pixels) -> Pixels:
    """Brightness of drops `[B, H, W]`, at most 1 in each image: by distance from their edges, lit from one side."""
    levels = np.clip(liquid * 255, 0, 255).astype(np.uint8)
    distance = np.minimum(_distance(edges(levels, low=50, high=150)), _FAR)
    height = np.stack([equalized(each) for each in _box(distance.astype(np.float32)).astype(np.uint8)])
    relief = scipy.ndimage.correlate(height.astype(np.int32), _RELIEF[None], mode="mirror")
    light = np.rint(_box(np.clip(relief, 0, 255).astype(np.float32))) * levels
    brightest = light.max(axis=(1, 2), keepdims=True)
    return light / np.where(brightest > 0, brightest, np.float32(1))


def _box(images: Pixels) -> Pixels:
    mean: Pixels = scipy.ndimage.uniform_filter(images, 3, axes=(-2, -1), mode="mirror")
    return mean


def _distance(edge: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance `[B, H, W]` of each pixel to the nearest edge of its image; beyond `_FAR` without any."""
    far = 1e3 * _FAR  # the spacing of the images of a batch: no image reaches into the next
    if not edge.any():
        return np.full(edge.shape, far)
    distance: NDArray[np.float64] = scipy.ndimage.distance_transform_edt(~edge, sampling=(far, 1, 1))
    return distance


def equalized(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Histogram equalisation: the lowest level becomes 0, the highest 255; a flat image stays."""
    counts = np.bincount(levels.ravel(), minlength=256)
    lowest = int(levels.min())
    rest = levels.size - counts[lowest]
    if not rest:
        return levels
    above = counts.cumsum() - counts[lowest]
    table = np.clip(np.rint(above * (255 / rest)), 0, 255).astype(np.uint8)
    spread: NDArray[np.uint8] = table[levels]
    return spread
