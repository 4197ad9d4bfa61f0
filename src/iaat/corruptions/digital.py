"""Digital corruptions: contrast, saturation, elastic warp, pixelation, JPEG."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image

from iaat.corruptions.color import scale_saturation
from iaat.corruptions.draws import Draws, Pixels


def contrast(images: Pixels, constant: tuple[float, ...], _draws: Draws) -> Pixels:
    """Move every value towards the mean of its image and channel."""
    (factor,) = constant
    mean = images.mean(axis=(2, 3), keepdims=True, dtype=np.float64).astype(np.float32)
    changed: Pixels = (images - mean) * np.float32(factor) + mean
    return changed


def saturate(images: Pixels, constant: tuple[float, ...], _draws: Draws) -> Pixels:
    """Reduce (severities 1, 2) or increase (3 to 5) saturation. Grey images (C = 1) stay as they are."""
    return scale_saturation(images, *constant)


def jpeg_compression(images: Pixels, constant: tuple[float, ...], _draws: Draws) -> Pixels:
    """JPEG compression of the given quality."""
    (quality,) = constant
    return _each(images, lambda image: _through_jpeg(image, int(quality)))


def _through_jpeg(image: Image.Image, quality: int) -> Image.Image:
    with BytesIO() as file:
        image.save(file, "JPEG", quality=quality)
        decoded = Image.open(file)
        decoded.load()
    return decoded


def pixelate(images: Pixels, constant: tuple[float, ...], _draws: Draws) -> Pixels:
    """Resize to a smaller size and back, each by the mean over boxes."""
    (factor,) = constant
    height, width = images.shape[-2:]
    small = (int(width * factor), int(height * factor))
    box = Image.Resampling.BOX
    return _each(images, lambda image: image.resize(small, box).resize((width, height), box))


def _each(images: Pixels, change: Callable[[Image.Image], Image.Image]) -> Pixels:
    """Apply a function of Pillow images to each image."""
    levels = np.rint(images * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    changed = [np.asarray(change(Image.fromarray(each[..., 0] if each.shape[-1] == 1 else each))) for each in levels]
    return np.stack(changed).reshape(levels.shape).transpose(0, 3, 1, 2) / np.float32(255)


def elastic_transform(images: Pixels, constant: tuple[float, ...], draws: Draws) -> Pixels:
    """Affine map with three corners moved at random, then a smooth field of small moves, both bilinear.

    The constants are in units of the shorter side, which gives the published ones at the published sizes.
    """
    height, width = images.shape[-2:]
    length, smoothness, corner = (min(height, width) * each for each in constant)
    corners = corner * (2 * draws.uniform(3, 2) - 1)
    moves = scipy.ndimage.gaussian_filter(
        2 * draws.uniform(2, height, width) - 1, smoothness, axes=(-2, -1), mode="reflect", truncate=3
    )
    grid = np.mgrid[:height, :width].astype(np.float64)
    return np.stack(
        [
            _sampled(_sampled(image, _affine_places(grid, moved), "mirror"), grid + length * field, "reflect")
            for image, moved, field in zip(images, corners, moves, strict=True)
        ]
    )


def _affine_places(grid: NDArray[np.float64], moved: Pixels) -> NDArray[np.float64]:
    """Source rows and columns `[2, H, W]` of the affine map that moves three corners by `[3, 2]`."""
    height, width = grid.shape[1:]
    reach = min(height, width) // 3
    centre = np.array([height // 2, width // 2])
    corners = centre + reach * np.array([[1, 1], [-1, 1], [-1, -1]])
    homogeneous = np.column_stack([corners, np.ones(3)]).T
    target = np.vstack([corners.T + moved.T, np.ones(3)])
    backwards = homogeneous @ np.linalg.inv(target)
    places: NDArray[np.float64] = np.tensordot(backwards[:2, :2], grid, axes=1) + backwards[:2, 2, None, None]
    return places


def _sampled(image: Pixels, places: NDArray[np.float64], mode: str) -> Pixels:
    """Sample `[C, H, W]` bilinearly at the rows and columns `places` `[2, H, W]`."""
    return np.stack([scipy.ndimage.map_coordinates(channel, places, order=1, mode=mode) for channel in image])
