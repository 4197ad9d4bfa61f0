"""Published constants of each corruption and severity, for images of 32, 64 and 224 pixels."""

from __future__ import annotations

import math
from typing import Literal

from iaat.errors import check_choice

STANDARD = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
)
"""The 15 corruptions that the mean corruption error is taken over."""

EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""The 4 corruptions that were published for validation."""

CORRUPTIONS = STANDARD + EXTRA
"""All 19 corruptions."""
SEVERITIES = (1, 2, 3, 4, 5)
"""Levels of each corruption, the mildest first."""

ConstantSet = Literal["auto", "cifar", "tiny-imagenet", "imagenet"]
"""Constants of the published sets; `auto` takes the set nearest in image size."""
Constant = tuple[float, ...]
PUBLISHED_SIDES = {"cifar": 32, "tiny-imagenet": 64, "imagenet": 224}
"""Side of the images that each set of constants was published for; `auto` takes the set nearest in ratio."""

_CIFAR: dict[str, tuple[Constant, Constant, Constant, Constant, Constant]] = {
    # standard deviation
    "gaussian_noise": ((0.04,), (0.06,), (0.08,), (0.09,), (0.10,)),
    # photons of a white pixel
    "shot_noise": ((500,), (250,), (100,), (75,), (50,)),
    # fraction of values replaced
    "impulse_noise": ((0.01,), (0.02,), (0.03,), (0.05,), (0.07,)),
    # radius of the disk, standard deviation that softens its edge
    "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    # standard deviation, largest move, passes
    "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    # radius, standard deviation
    "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    # stop and step of the zoom factors, which start at 1
    "zoom_blur": ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    # mean and standard deviation of the flakes, their zoom and threshold, radius and standard deviation of their
    # streaks, weight of the image kept
    "snow": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    # weights of image and frost
    "frost": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    # thickness, decay of the fractal
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    # added to the value of HSV
    "brightness": ((0.05,), (0.1,), (0.15,), (0.2,), (0.3,)),
    # factor
    "contrast": ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,)),
    # length and smoothness of the moves, largest move of the affine map's corners, all in sides of the image
    "elastic_transform": ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    # factor of the smaller size
    "pixelate": ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,)),
    # quality
    "jpeg_compression": ((80,), (65,), (58,), (50,), (40,)),
    # standard deviation of the factor
    "speckle_noise": ((0.06,), (0.1,), (0.12,), (0.16,), (0.2,)),
    # standard deviation
    "gaussian_blur": ((0.4,), (0.6,), (0.7,), (0.8,), (1,)),
    # mean and standard deviation of the liquid, its smoothness and threshold, strength (water) or smoothness (mud), mud
    "spatter": (
        (0.62, 0.1, 0.7, 0.7, 0.5, 0),
        (0.65, 0.1, 0.8, 0.7, 0.5, 0),
        (0.65, 0.3, 1, 0.69, 0.5, 0),
        (0.65, 0.1, 0.7, 0.69, 0.6, 1),
        (0.65, 0.1, 0.5, 0.68, 0.6, 1),
    ),
    # factor of and addend to the saturation of HSV
    "saturate": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
}

_TINY: dict[str, tuple[Constant, Constant, Constant, Constant, Constant]] = {
    "gaussian_noise": ((0.04,), (0.08,), (0.12,), (0.15,), (0.18,)),
    "shot_noise": ((250,), (100,), (50,), (30,), (15,)),
    "impulse_noise": ((0.01,), (0.02,), (0.05,), (0.08,), (0.14,)),
    "defocus_blur": ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
    "glass_blur": ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
    "motion_blur": ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
    "zoom_blur": ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    "snow": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
    ),
    "frost": ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
    "fog": ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
    "brightness": ((0.1,), (0.2,), (0.3,), (0.4,), (0.5,)),
    "contrast": ((0.4,), (0.3,), (0.2,), (0.1,), (0.05,)),
    "elastic_transform": ((0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02)),
    "pixelate": ((0.9,), (0.8,), (0.7,), (0.6,), (0.5,)),
    "jpeg_compression": ((65,), (58,), (50,), (40,), (25,)),
    "speckle_noise": ((0.15,), (0.2,), (0.25,), (0.3,), (0.35,)),
    "gaussian_blur": ((0.5,), (0.75,), (1,), (1.25,), (1.5,)),
    "spatter": (
        (0.62, 0.1, 0.7, 0.7, 0.6, 0),
        (0.65, 0.1, 0.8, 0.7, 0.6, 0),
        (0.65, 0.3, 1, 0.69, 0.6, 0),
        (0.65, 0.1, 0.7, 0.68, 0.6, 1),
        (0.65, 0.1, 0.5, 0.67, 0.6, 1),
    ),
    "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)),
}

# The authors wrote the elastic lengths as multiples of 244 pixels, for images of 224.
_ELASTIC = 244 / 224

_IMAGENET: dict[str, tuple[Constant, Constant, Constant, Constant, Constant]] = {
    "gaussian_noise": ((0.08,), (0.12,), (0.18,), (0.26,), (0.38,)),
    "shot_noise": ((60,), (25,), (12,), (5,), (3,)),
    "impulse_noise": ((0.03,), (0.06,), (0.09,), (0.17,), (0.27,)),
    "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    "zoom_blur": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    "snow": (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    "frost": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    "brightness": ((0.1,), (0.2,), (0.3,), (0.4,), (0.5,)),
    "contrast": ((0.4,), (0.3,), (0.2,), (0.1,), (0.05,)),
    "elastic_transform": (
        (2 * _ELASTIC, 0.7 * _ELASTIC, 0.1 * _ELASTIC),
        (2 * _ELASTIC, 0.08 * _ELASTIC, 0.2 * _ELASTIC),
        (0.05 * _ELASTIC, 0.01 * _ELASTIC, 0.02 * _ELASTIC),
        (0.07 * _ELASTIC, 0.01 * _ELASTIC, 0.02 * _ELASTIC),
        (0.12 * _ELASTIC, 0.01 * _ELASTIC, 0.02 * _ELASTIC),
    ),
    "pixelate": ((0.6,), (0.5,), (0.4,), (0.3,), (0.25,)),
    "jpeg_compression": ((25,), (18,), (15,), (10,), (7,)),
    "speckle_noise": ((0.15,), (0.2,), (0.35,), (0.45,), (0.6,)),
    "gaussian_blur": ((1,), (2,), (3,), (4,), (6,)),
    "spatter": (
        (0.65, 0.3, 4, 0.69, 0.6, 0),
        (0.65, 0.3, 3, 0.68, 0.6, 0),
        (0.65, 0.3, 2, 0.68, 0.5, 0),
        (0.65, 0.3, 1, 0.65, 1.5, 1),
        (0.67, 0.4, 1, 0.65, 1.5, 1),
    ),
    "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
}

_SETS = {"cifar": _CIFAR, "tiny-imagenet": _TINY, "imagenet": _IMAGENET}


def constant_set(constants: str, height: int, width: int) -> str:
    """Name of a set of constants, `cifar`, `tiny-imagenet` or `imagenet`; `auto` decides by the shorter side.

    Published are sets for images of 32, 64 and 224 pixels. In between `auto` takes the one with the side nearest in
    ratio: `cifar` up to 45 pixels, `tiny-imagenet` from 46 to 119, `imagenet` from 120.

    Raises:
        UserError: another name.
    """
    check_choice(constants, ("auto", *_SETS), "constants")
    if constants != "auto":
        return constants
    side = min(height, width)
    return min(_SETS, key=lambda name: abs(math.log(side / PUBLISHED_SIDES[name])))


def constant(chosen: str, name: str, severity: int) -> Constant:
    """Constants of one corruption at one severity, from the set `cifar`, `tiny-imagenet` or `imagenet`.

    Source: Hendrycks & Dietterich 2019 (arXiv 1903.12261); the values are those of the authors' programs
    `make_cifar_c.py`, `make_tinyimagenet_c.py` and `make_imagenet_c.py` (github.com/hendrycks/robustness).
    """
    return _SETS[chosen][name][severity - 1]
