"""Noise: Gaussian, shot, impulse, speckle."""

from __future__ import annotations

import numpy as np

from iaat.corruptions.draws import Draws, Pixels


def gaussian_noise(images: Pixels, constant: tuple[float, ...], draws: Draws) -> Pixels:
    """`x + sigma * n`, n standard normal."""
    (sigma,) = constant
    return images + np.float32(sigma) * draws.normal(*images.shape[1:])


def shot_noise(images: Pixels, constant: tuple[float, ...], draws: Draws) -> Pixels:
    """`Poisson(photons * x) / photons`: the fewer photons, the stronger."""
    (photons,) = constant
    return draws.poisson(images * np.float32(photons)) / np.float32(photons)


def impulse_noise(images: Pixels, constant: tuple[float, ...], draws: Draws) -> Pixels:
    """Salt and pepper: a fraction of the values, channel by channel, becomes 0 or 1 with equal chance."""
    (fraction,) = constant
    drawn = draws.uniform(2, *images.shape[1:])
    hit, salt = drawn[:, 0] < fraction, drawn[:, 1] < 0.5
    return np.where(hit, salt.astype(np.float32), images)


def speckle_noise(images: Pixels, constant: tuple[float, ...], draws: Draws) -> Pixels:
    """`x + x * sigma * n`, n standard normal: noise that grows with brightness."""
    (sigma,) = constant
    return images + images * (np.float32(sigma) * draws.normal(*images.shape[1:]))
