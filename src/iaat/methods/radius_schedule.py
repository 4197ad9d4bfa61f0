"""Constants of radius rules for a radius and a number of epochs, so that either may change alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from iaat.errors import UserError
from iaat.units import Radius

REACH = 19 / 8
"""How far a radius can move over a run, in multiples of `method.radius`: 19px at 8px, by the authors' constants."""

_AUTHORS_RADIUS = Radius("8px")
_AUTHORS_GAMMA, _AUTHORS_BETA = Radius("1.9px"), 0.1
_AUTHORS_WARMUP, _AUTHORS_EPOCHS = 10, 110
_CAT_ETA = 0.005


def check_reach(reach: float) -> None:
    """Refuse a reach by which no radius would move, or that is no number.

    Raises:
        UserError: naming the value.
    """
    if not 0 < reach < math.inf:
        raise UserError(f"method.reach = {reach:g}: a multiple of method.radius, above 0 and finite, such as {REACH:g}")


def check_moves(radius: float) -> None:
    """Refuse a radius of 0 where radii move by multiples of it.

    Raises:
        UserError: naming the value.
    """
    if not radius > 0:
        raise UserError(f"method.radius = {radius:g}: radii move by multiples of it; write one above 0, such as 8px")


def scaled_epoch(epoch: int, of: int, epochs: int) -> int:
    """An epoch of a schedule of `of` epochs, scaled to `epochs`: to the nearest, halves up."""
    return math.floor(epoch * epochs / of + 0.5)


@dataclass(frozen=True, slots=True)
class PaperConstants:
    """Constants of the rule of Balaji, Goldstein, Hoffman 2019.

    Attributes:
        gamma: Distance above the present radius at which samples are attacked, on the [0, 1] scale.
        beta: Fraction of the way to its target that a radius moves in one visit, in (0, 1].
        warmup: Epochs at the uniform radius before radii move.
    """

    gamma: Radius
    beta: float
    warmup: int


def paper_constants(
    radius: float, reach: float, epochs: int, *, gamma: Radius | None, beta: float | None, warmup: int | None
) -> PaperConstants:
    """The constants of the authors' rule for a radius and a number of epochs; those that are given stay.

    At a radius of 8px, 110 epochs and the default reach they are the authors' own, to the bit. Elsewhere gamma keeps
    its ratio to the radius, and the warm-up its fraction of the epochs. Beta is such that radii can move by `reach`
    radii in the visits after the warm-up. Where that would exceed 1, beta is 1 and gamma, unless given, is larger.

    Args:
        radius: `method.radius`, on the [0, 1] scale.
        reach: How far a radius can move, in multiples of the radius.
        epochs: Epochs of the run.
        gamma: The user's own, or None.
        beta: The user's own, or None.
        warmup: The user's own, or None.

    Raises:
        UserError: a warm-up that leaves no epoch.

    Source: Balaji, Goldstein, Hoffman 2019 (arXiv 1910.08051), section 4: 1.9px, 0.1, 10 of 110 epochs, 8px.
    """
    warmup = scaled_epoch(_AUTHORS_WARMUP, _AUTHORS_EPOCHS, epochs) if warmup is None else warmup
    visits = epochs - warmup
    if visits < 1:
        raise UserError(
            f"method.warmup = {warmup}: none of the {epochs} epochs is left for radii to move; give fewer, or null for "
            f"{scaled_epoch(_AUTHORS_WARMUP, _AUTHORS_EPOCHS, epochs)}"
        )
    usual = _AUTHORS_GAMMA * (radius / _AUTHORS_RADIUS)
    distance = usual if gamma is None else gamma
    if beta is None:
        # Ratios that are 1 at the authors' settings, so that their beta comes out to the bit.
        beta = _AUTHORS_BETA * (reach / REACH) * (usual / distance) * ((_AUTHORS_EPOCHS - _AUTHORS_WARMUP) / visits)
        if beta > 1:
            distance, beta = (distance * beta if gamma is None else distance), 1.0
    return PaperConstants(Radius(distance), beta, warmup)


def cat_eta(radius: float, epochs: int) -> Radius:
    """How far a trial of CAT goes beyond a radius, for a largest radius and a number of epochs.

    The authors' 0.005 at 8px, in proportion to the radius: seven trials that succeed lead to the cap, so that their 200
    epochs limit no sample. A short run has too few visits for that; its trials go so far that radii can move by `REACH`
    radii, as in other methods.

    Source: Cheng et al. 2020 (arXiv 2002.06789), section 5.
    """
    return Radius(max(_CAT_ETA * (radius / _AUTHORS_RADIUS), REACH * radius / epochs))
