"""Corrupt a batch of images: the table of all corruptions, input checks and rounding."""

from __future__ import annotations

from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from iaat.corruptions.blur import defocus_blur, gaussian_blur, glass_blur, motion_blur, zoom_blur
from iaat.corruptions.constants import CORRUPTIONS, SEVERITIES, ConstantSet, constant, constant_set
from iaat.corruptions.digital import contrast, elastic_transform, jpeg_compression, pixelate, saturate
from iaat.corruptions.draws import Corruption, Draws, Pixels
from iaat.corruptions.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from iaat.corruptions.spatter import spatter
from iaat.corruptions.weather import brightness, fog, frost, snow
from iaat.errors import UserError, check_choice, shown

RULES: dict[str, Corruption] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "defocus_blur": defocus_blur,
    "glass_blur": glass_blur,
    "motion_blur": motion_blur,
    "zoom_blur": zoom_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "elastic_transform": elastic_transform,
    "pixelate": pixelate,
    "jpeg_compression": jpeg_compression,
    "speckle_noise": speckle_noise,
    "gaussian_blur": gaussian_blur,
    "spatter": spatter,
    "saturate": saturate,
}

SMALLEST_SIDE = 8
"""Images with a shorter side than this are refused."""


def corrupt(
    images: Tensor,
    *,
    name: str,
    severity: int,
    index: Tensor,
    seed: int,
    constants: ConstantSet = "auto",
) -> Tensor:
    """Corrupt images like the published test sets: 19 corruptions, 5 severities.

    The draws of a sample depend on `(seed, name, severity, index)` only, not on its batch. The global random state is
    neither read nor moved. All is computed on the CPU.

    Args:
        images: `[B, C, H, W]`, C 1 or 3, H and W at least 8: uint8, or floats in [0, 1], which are rounded to levels
            of 1/255 first.
        name: One of `CORRUPTIONS`.
        severity: 1 to 5. A higher one is stronger, with two exceptions: `saturate` removes colour at 1 and 2 and adds
            it from 3 on, and `elastic_transform` trades the size of its moves for their roughness.
        index: `[B]` integers, the stable index of each sample.
        seed: Of the corrupted set.
        constants: `cifar`, `tiny-imagenet` or `imagenet`, published for sides of 32, 64 and 224 pixels; `auto` takes
            the one nearest to the shorter side, see `constant_set`. The same name and severity are much stronger with
            `imagenet` than with `cifar`.

    Returns:
        `[B, C, H, W]` float32 in [0, 1] on the device of `images`, multiples of 1/255, cut down to them as in the
        published files.

    Raises:
        UserError: an unknown name, severity or set of constants; images or an index of another shape, type or range.

    Source: Hendrycks & Dietterich 2019 (arXiv 1903.12261), section 4 and appendix. Two things differ from the published
    files: the frost is synthetic, see `iaat.corruptions.weather.frost`; and the authors save each image of ImageNet-C
    and Tiny-ImageNet-C, of any corruption, as a JPEG of quality 85 (make_imagenet_c.py, make_tinyimagenet_c.py:
    `save(save_path, quality=85, optimize=True)`), which is not done here. CIFAR-C holds the levels themselves.
    """
    check_choice(name, CORRUPTIONS, "corruption")
    if not isinstance(severity, Integral) or isinstance(severity, bool) or severity not in SEVERITIES:
        raise UserError(f"severity {shown(severity)} is not known: use 1, 2, 3, 4 or 5")
    _check_batch(images, index)
    chosen = constant_set(constants, *images.shape[-2:])
    if not len(images):
        return images.to(torch.float32)
    draws = Draws(seed, name, severity, index.tolist())
    changed = RULES[name](_pixels(images), constant(chosen, name, severity), draws)
    return _levels(changed).to(images.device)


def _pixels(images: Tensor) -> Pixels:
    levels = images.detach().cpu() if images.dtype == torch.uint8 else (images.detach().cpu().float() * 255).round()
    pixels: Pixels = levels.to(torch.float32).numpy() / np.float32(255)
    return pixels


def _levels(values: Pixels) -> Tensor:
    # The small term keeps values that are a level up to rounding from losing a whole level.
    levels = np.floor(np.clip(values, 0, 1) * np.float32(255) + np.float32(1e-3))
    return torch.from_numpy(np.ascontiguousarray(levels, dtype=np.float32)) / 255


def _check_batch(images: Tensor, index: Tensor) -> None:
    shape = list(images.shape)
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise UserError(f"images have shape {shape}: corruptions need [B, C, H, W] with 1 or 3 channels")
    if min(images.shape[2:]) < SMALLEST_SIDE:
        raise UserError(
            f"images have shape {shape}: corruptions need at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels"
        )
    if index.shape != (len(images),) or index.is_floating_point():
        raise UserError(
            f"index has shape {list(index.shape)} and type {index.dtype}: pass one integer for each of the"
            f" {len(images)} images"
        )
    if images.dtype == torch.uint8 or not images.numel():
        return
    if not images.is_floating_point():
        raise UserError(f"images are {images.dtype}: pass uint8, or floats in [0, 1]")
    low, high = (float(each) for each in images.aminmax())
    if not (low >= 0 and high <= 1):
        raise UserError(
            f"images lie in [{low:g}, {high:g}]: corruptions need uint8, or floats in [0, 1] that are not normalised"
        )
