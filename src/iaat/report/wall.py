"""All images of a run with the radii of its epochs, packed for a page: columns of whole numbers as base64."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from iaat.report.radius_reasons import RadiusReasons, fill
from iaat.report.suspects import SUSPECT_KINDS
from iaat.units import Norm, unit_of

WALL_BUDGET = 3_000_000
"""Bytes that the radii of all epochs may take; base64 makes 4 characters of 3."""


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why the radii of the images of a wall are what they are, see `RadiusReasons`; columns as those of `Wall`.

    Attributes:
        templates: Sentences with names in braces for values.
        template, epoch, count, other, mine, theirs: As of `RadiusReasons`, 16 bits.
    """

    templates: list[str]
    template: str
    epoch: str
    count: str
    other: str
    mine: str
    theirs: str


@dataclass(frozen=True, slots=True)
class Wall:
    """All images that a run has radii of: first those of the gallery in its order, then the others.

    Columns are little-endian whole numbers as base64, one an image.

    Attributes:
        run: Place of the run.
        n: Images.
        epochs: Epochs of `radii`.
        left_out: Kept epochs that are not among them, because the page would grow too large.
        bits: 8 or 16, of a radius.
        step: Radius, in the unit of `norm`, of the number 1 in `radii`.
        radii: One column an epoch.
        index: Of the samples in the training data, 32 bits.
        label, prediction: Class numbers, 16 bits.
        kind: Place in `SUSPECT_KINDS` of what an image is suspected of, 8 bits.
        reasons: A sentence on the radius of each; None: nothing is said.
        norm: Of the radii.
    """

    run: int
    n: int
    epochs: list[int]
    left_out: int
    bits: int
    step: float
    radii: list[str]
    index: str
    label: str
    prediction: str
    kind: str
    reasons: Reasons | None = None
    norm: Norm = "linf"


def pack_wall(
    run: int,
    epochs: Sequence[int],
    history: NDArray[np.float32],
    index: NDArray[np.int64],
    label: NDArray[np.int64],
    prediction: NDArray[np.int64],
    kind: NDArray[np.str_],
    *,
    reasons: RadiusReasons | None = None,
    norm: Norm = "linf",
    budget: int = WALL_BUDGET,
) -> Wall:
    """Pack images for the page.

    Radii get 16 bits if all fit the budget, else 8; epochs at even distances, the first and the last among them, where
    8 are too many, too.

    Args:
        run: Place of the run.
        epochs: `E` epochs.
        history: Radii `[E, n]` after each on the [0, 1] scale.
        index: Of the samples in the training data, `[n]`.
        label: Class numbers `[n]`.
        prediction: Class numbers `[n]`.
        kind: Of `SUSPECT_KINDS`, `[n]`.
        reasons: Of the images, in their order.
        norm: Of the radii.
        budget: Bytes for the radii.

    Returns:
        The images in the given order.

    Example:
        >>> import numpy as np
        >>> one = np.zeros(1, dtype=int)
        >>> wall = pack_wall(0, [1, 2], np.array([[0.0], [8 / 255]], np.float32), one, one, one, np.array(["clear"]))
        >>> wall.bits, round(wall.step * 65535, 3)
        (16, 8.0)
    """
    n = history.shape[1]
    bits = 16 if 2 * history.size <= budget else 8
    shown = _spread(len(epochs), max(2, budget * 8 // bits // max(n, 1)))
    kept = unit_of(norm).scale * history[shown].astype(np.float64)
    step = max(float(kept.max(initial=0.0)), 1e-6) / (2**bits - 1)
    return Wall(
        run=run,
        n=n,
        epochs=[epochs[place] for place in shown],
        left_out=len(epochs) - len(shown),
        bits=bits,
        step=step,
        radii=[_packed(np.rint(radius / step), f"<u{bits // 8}") for radius in kept],
        index=_packed(index, "<u4"),
        label=_packed(label, "<u2"),
        prediction=_packed(prediction, "<u2"),
        kind=_packed(np.array([SUSPECT_KINDS.index(str(name)) for name in kind]), "u1"),
        reasons=None if reasons is None else _pack_reasons(reasons),
        norm=norm,
    )


def sentence_of(wall: Wall, place: int, classes: Sequence[str]) -> str:
    """Return the sentence on the radius of the image at a place of the wall; "" where there is none."""
    reasons = wall.reasons
    if reasons is None:
        return ""
    template, epoch, count, other, mine, theirs = (_at(getattr(reasons, name), place, 16) for name in _REASON_COLUMNS)
    last = unit_of(wall.norm).text(_at(wall.radii[-1], place, wall.bits) * wall.step)
    label = classes[_at(wall.label, place, 16)]
    return fill(reasons.templates[template], label, classes[other], last, epoch, count, mine, theirs)


_REASON_COLUMNS = ("template", "epoch", "count", "other", "mine", "theirs")


def _pack_reasons(reasons: RadiusReasons) -> Reasons:
    columns = {name: _packed(getattr(reasons, name), "<u2") for name in _REASON_COLUMNS}
    return Reasons(templates=list(reasons.templates), **columns)


def _at(packed: str, place: int, bits: int) -> int:
    """Return one number of a packed column, of which only its part is decoded."""
    first = place * bits // 8
    start = first // 3
    part = base64.b64decode(packed[4 * start : 4 * start + 8])
    return int.from_bytes(part[first - 3 * start : first - 3 * start + bits // 8], "little")


def _spread(count: int, most: int) -> list[int]:
    """Return at most `most` of `count` places at even distances, both ends among them."""
    return sorted({int(place) for place in np.linspace(0, count - 1, min(count, most)).round()})


def _packed(values: NDArray[np.generic], dtype: DTypeLike) -> str:
    return base64.b64encode(values.astype(dtype).tobytes()).decode("ascii")
