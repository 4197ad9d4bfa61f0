"""Blur: defocus, glass, motion, zoom, Gaussian."""

from __future__ import annotations

import math

import numpy as np
import scipy
from numpy.typing import NDArray

from iaat.corruptions.draws import Draws, Pixels
from iaat.corruptions.resampling import streaked, zoomed


def smoothed(images: Pixels, sigma: float) -> Pixels:
    """Gaussian blur of the last two axes, edges repeated, cut off at 4 standard deviations."""
    result: Pixels = scipy.ndimage.gaussian_filter(images, sigma, axes=(-2, -1), mode="nearest", truncate=4.0)
    return result


def gaussian_blur(images: Pixels, constant: tuple[float, ...], _draws: Draws) -> Pixels:
    """Gaussian blur."""
    (sigma,) = constant
    return smoothed(images, sigma)


def defocus_blur(images: Pixels, constant: tuple[float, ...], _draws: Draws) -> Pixels:
    """Blur of a lens out of focus: the mean over a disk with a softened edge."""
    radius, softness = constant
    kernel = disk(radius, softness)[None, None]
    blurred: Pixels = scipy.ndimage.correlate(images, kernel, mode="mirror")
    return blurred


def disk(radius: float, softness: float) -> Pixels:
    """Weights of a disk `[K, K]`, K odd: the pixels within the radius, softened by a Gaussian of 3 or 5 taps.

    As in the published files the grid ends 8 pixels from the centre for radii up to 8, and at the radius above. A disk
    that reaches the end of its grid is mirrored there, so that the weights of radii 8 and 10 sum to a little over 1.
    """
    half = 8 if radius <= 8 else math.floor(radius)
    place = np.arange(-half, half + 1)
    inside = (place[:, None] ** 2 + place**2 <= radius**2).astype(np.float64)
    taps = np.arange(-1, 2) if radius <= 8 else np.arange(-2, 3)
    weights = np.exp(-(taps**2) / (2 * softness**2))
    inside /= inside.sum()
    for axis in (0, 1):
        inside = scipy.ndimage.correlate1d(inside, weights / weights.sum(), axis=axis, mode="mirror")
    used = np.flatnonzero(inside.any(axis=1))
    inside = inside[used[0] : used[-1] + 1, used[0] : used[-1] + 1]
    kernel: Pixels = inside.astype(np.float32)
    return kernel


def motion_blur(images: Pixels, constant: tuple[float, ...], draws: Draws) -> Pixels:
    """Blur along a line within 45 degrees of the rows, in a random direction for every image."""
    radius, sigma = constant
    degrees = 90 * draws.uniform() - 45
    return np.stack(
        [
            streaked(image, radius=radius, sigma=sigma, degrees=float(angle))
            for image, angle in zip(images, degrees, strict=True)
        ]
    )


def zoom_blur(images: Pixels, constant: tuple[float, ...], _draws: Draws) -> Pixels:
    """Mean of the image and of its magnifications up to a factor."""
    stop, step = constant
    # Not linspace: whether rounding makes the stop itself a factor is part of the published constants.
    factors = np.arange(1, stop, step)
    total = images.copy()
    for factor in factors:
        total += zoomed(images, float(factor))
    return total / np.float32(len(factors) + 1)


def glass_blur(images: Pixels, constant: tuple[float, ...], draws: Draws) -> Pixels:
    """Pixels copied from random places nearby, between two Gaussian blurs.

    The authors' program means to swap neighbours, but for colour images it copies one over the other; the published
    files hold what it does, and so does this.
    """
    sigma, reach, passes = constant[0], int(constant[1]), int(constant[2])
    height, width = images.shape[-2:]
    pixels = np.floor(smoothed(images, sigma) * 255 + np.float32(1e-3)) / np.float32(255)
    flat = pixels.reshape(*pixels.shape[:2], height * width)
    for _ in range(passes):
        source = _copied_from(draws.integers(-reach, reach, 2, height, width), reach)
        flat = np.take_along_axis(flat, source[:, None], axis=2)
    return smoothed(flat.reshape(images.shape), sigma)


def _copied_from(moves: NDArray[np.int64], reach: int) -> NDArray[np.int64]:
    """Source of each pixel when pixels copy from `moves` away, one after another from the last back.

    A pixel that copies from one that has copied already gets what that one got. Following all these chains at once,
    twice as far each time, replaces the walk over pixels.

    Args:
        moves: `[B, 2, H, W]` rows and columns to the pixel copied from.
        reach: Pixels nearer to the first row or column than this, or as near to the last, do not copy.

    Returns:
        `[B, H * W]` positions in the flattened image.
    """
    batch, _, height, width = moves.shape
    count = height * width
    row, column = np.mgrid[:height, :width]
    copies = (row > reach) & (row <= height - reach) & (column > reach) & (column <= width - reach)
    own = np.arange(count).reshape(height, width)
    source = np.where(copies, own + moves[:, 0] * width + moves[:, 1], own).reshape(batch, count)
    # Positions from `count` on are the values before the pass: where every chain ends.
    done_before = copies.reshape(count)[source] & (source > own.reshape(count))
    after = np.where(done_before, source, source + count)
    chain = np.concatenate([after, np.broadcast_to(np.arange(count, 2 * count), (batch, count))], axis=1)
    while (chain < count).any():
        chain = np.take_along_axis(chain, chain, axis=1)
    places: NDArray[np.int64] = chain[:, :count] - count
    return places
