"""Changes of HSV value and saturation without computing hue, and colours for one or three channels."""

from __future__ import annotations

import numpy as np

from iaat.corruptions.draws import Pixels

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


def grey(images: Pixels) -> Pixels:
    """Luminance `[B, 1, H, W]`; that of a grey image is the image."""
    if images.shape[1] == 1:
        return images
    weighted: Pixels = images * _LUMA[:, None, None]
    # Three sums of planes: a sum over an axis may round by the shape of the batch.
    return weighted[:, :1] + weighted[:, 1:2] + weighted[:, 2:]


def paint(color: tuple[float, float, float], channels: int) -> Pixels:
    """Colour as `[C, 1, 1]`; its luminance for one channel."""
    values = np.array(color, dtype=np.float32)
    return (values if channels == 3 else np.array([values @ _LUMA], dtype=np.float32))[:, None, None]


def add_value(images: Pixels, addend: float) -> Pixels:
    """Add to the V of HSV, clipped to [0, 1]; hue and saturation stay, so the channels scale together."""
    value = images.max(axis=1, keepdims=True)
    brighter = np.clip(value + np.float32(addend), 0, 1)
    # Black has no saturation: it becomes grey.
    factor = brighter / np.where(value > 0, value, np.float32(1))
    changed: Pixels = np.where(value > 0, images * factor, brighter)
    return changed


def scale_saturation(images: Pixels, factor: float, addend: float) -> Pixels:
    """Map the S of HSV to `factor * S + addend`, clipped to [0, 1]; hue and value stay.

    A pixel without hue counts as red, as usual in HSV, so an addend tints it. Images of one channel have no saturation
    and stay as they are.
    """
    if images.shape[1] == 1:
        return images
    value = images.max(axis=1, keepdims=True)
    spread = value - images.min(axis=1, keepdims=True)
    saturation = spread / np.where(value > 0, value, np.float32(1))
    # How far each channel lies below the value, 0 to 1: all the information of hue.
    red = np.array([0, 1, 1], dtype=np.float32)[:, None, None]
    depth = np.where(spread > 0, (value - images) / np.where(spread > 0, spread, np.float32(1)), red)
    changed = np.clip(saturation * np.float32(factor) + np.float32(addend), 0, 1)
    result: Pixels = value * (1 - changed * depth)
    return result
