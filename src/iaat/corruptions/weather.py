"""Weather and light: snow, frost, fog, brightness."""

from __future__ import annotations

import numpy as np

from iaat.corruptions.blur import smoothed
from iaat.corruptions.color import add_value, grey
from iaat.corruptions.draws import Draws, Pixels
from iaat.corruptions.fractal import plasma
from iaat.corruptions.resampling import streaked, zoomed


def brightness(images: Pixels, constant: tuple[float, ...], _draws: Draws) -> Pixels:
    """Increase the value of HSV."""
    (addend,) = constant
    return add_value(images, addend)


def fog(images: Pixels, constant: tuple[float, ...], draws: Draws) -> Pixels:
    """Add a cloud of the given thickness and scale back to the brightest value the image had."""
    thickness, decay = constant
    height, width = images.shape[-2:]
    cloud = plasma(draws, height, width, decay)[:, None]
    brightest = images.max(axis=(1, 2, 3), keepdims=True)
    scale = brightest / (brightest + np.float32(thickness))
    foggy: Pixels = (images + np.float32(thickness) * cloud) * scale
    return foggy


def snow(images: Pixels, constant: tuple[float, ...], draws: Draws) -> Pixels:
    """Whiten the image and add streaks of flakes, falling and, turned by half, once more."""
    mean, deviation, zoom, threshold, radius, sigma, kept = constant
    flakes = zoomed(np.float32(mean) + np.float32(deviation) * draws.normal(*images.shape[-2:]), zoom)
    flakes = np.where(flakes < threshold, np.float32(0), np.clip(flakes, 0, 1))
    flakes = np.floor(flakes * 255) / np.float32(255)
    degrees = 90 * draws.uniform() - 135
    falling = np.stack(
        [
            streaked(layer[None], radius=radius, sigma=sigma, degrees=float(angle))
            for layer, angle in zip(flakes, degrees, strict=True)
        ]
    )
    whitened = np.maximum(images, 1.5 * grey(images) + np.float32(0.5))
    ground = np.float32(kept) * images + np.float32(1 - kept) * whitened
    snowy: Pixels = ground + falling + falling[..., ::-1, ::-1]
    return snowy


def frost(images: Pixels, constant: tuple[float, ...], draws: Draws) -> Pixels:
    """Blend a frost texture into the image; it is synthetic, not comparable with published files.

    The published files blend in crops of six photographs of frosted glass with these weights; the texture here has the
    range of brightness, contrast and tint of those photographs, not their pictures.
    """
    image_weight, frost_weight = constant
    return np.float32(image_weight) * images + np.float32(frost_weight) * frost_texture(draws, *images.shape[-3:])


_DIRECTIONS = 6


def frost_texture(draws: Draws, channels: int, height: int, width: int) -> Pixels:
    """Textures `[B, C, H, W]` of frosted glass: bright needles in patches on a bluish ground."""
    needles = _needles(draws, height, width)
    cloud = plasma(draws, height, width, 1.6)[:, None] - np.float32(0.5)
    level, contrast, cold = np.split(draws.uniform(3)[:, :, None, None], 3, axis=1)
    texture = 0.45 + 0.35 * level + 0.3 * cloud + (0.08 + 0.1 * contrast) * needles
    if channels == 3:
        tint = np.array([-0.12, 0.02, 0.08], dtype=np.float32)[:, None, None]
        texture = texture + (0.3 + cold) * tint
    return np.clip(texture, 0, 1).astype(np.float32)


def _needles(draws: Draws, height: int, width: int) -> Pixels:
    """Needles `[B, 1, H, W]` of mean 0 and standard deviation 1: patches, each with streaks in one direction."""
    side = min(height, width)
    radius = max(2, side // 16)
    margin = 2 * radius + 1  # streaks that begin outside: a repeated edge would show as a smear
    seeds = draws.uniform(_DIRECTIONS, height + 2 * margin, width + 2 * margin) ** 4  # few are bright
    degrees = 180 * draws.uniform(_DIRECTIONS)
    layers = np.stack(
        [
            [
                streaked(layer[None], radius=radius, sigma=max(2, side / 20), degrees=float(angle))[0]
                for layer, angle in zip(sample, angles, strict=True)
            ]
            for sample, angles in zip(seeds, degrees, strict=True)
        ]
    )
    patch = smoothed(draws.normal(_DIRECTIONS, height, width), side / 20).argmax(axis=1)[:, None]
    needles = np.take_along_axis(layers[..., margin:-margin, margin:-margin], patch, axis=1)
    mean = needles.mean(axis=(2, 3), keepdims=True, dtype=np.float64)
    deviation = needles.std(axis=(2, 3), keepdims=True, dtype=np.float64)
    scaled: Pixels = ((needles - mean) / np.maximum(deviation, 1e-6)).astype(np.float32)
    return scaled
