"""Placement of names beside points, so that they cover neither each other nor the points."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from numpy.typing import ArrayLike, NDArray

from iaat.analysis.figure_text import text_width

_POINT_RADIUS = 4.0
_DISTANCES = (8.0, 18.0, 30.0, 46.0)
_LEADER_FROM = 18.0
# In the order of preference: right, left, above, below, then the diagonals.
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (0.7, 0.7), (-0.7, 0.7), (0.7, -0.7), (-0.7, -0.7))


@dataclass(frozen=True, slots=True)
class PointLabel:
    """A name and the point it belongs to, in data coordinates."""

    text: str
    x: float
    y: float
    color: str | tuple[float, float, float]


Boxes = NDArray[np.float64]
"""Rectangles `[..., 4]` in points (1/72 inch): left, bottom, right, top."""


def _overlap(box: Boxes, others: Boxes) -> NDArray[np.float64]:
    """Return the common area of a box with each of others `[K, 4]`."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return np.asarray(sides.clip(0).prod(axis=1))


def place_labels(axis: Axes, labels: Sequence[PointLabel], obstacles: ArrayLike, size: float) -> list[Annotation]:
    """Write each label beside its point, where it overlaps least; a far one gets a thin line to its point.

    A greedy search over directions and distances: in a crowded picture some overlap may remain. The limits of the axes
    must be final.

    Args:
        axis: The axes to write into.
        labels: What to write, the most important first.
        obstacles: `[K, 2]` points not to cover, in data coordinates.
        size: The font size in points.

    Returns:
        The annotations, in the order of the labels.
    """
    figure = axis.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # the transforms below hold only after the layout
    to_points = 72 / figure.dpi
    points = axis.transData.transform(np.asarray(obstacles, dtype=np.float64)) * to_points
    taken = np.hstack([points - _POINT_RADIUS, points + _POINT_RADIUS])
    frame = np.array(axis.get_window_extent().extents) * to_points
    notes = []
    for label in labels:
        at = axis.transData.transform((label.x, label.y)) * to_points
        box, distance = _best(at, (text_width(label.text, size) * 72, size * 1.2), taken, frame)
        taken = np.vstack([taken, box])
        notes.append(_write(axis, label, box[:2] - at, size, leader=distance >= _LEADER_FROM))
    return notes


def _best(at: NDArray[np.float64], extent: tuple[float, float], taken: Boxes, frame: Boxes) -> tuple[Boxes, float]:
    """Return the first of the boxes around `at` that covers nothing, or else the one that covers least."""
    best, least = None, float("inf")
    for distance in _DISTANCES:
        for direction in _DIRECTIONS:
            box = _beside(at, extent, direction, distance)
            outside = extent[0] * extent[1] - float(_overlap(box, frame[None])[0])
            covered = float(_overlap(box, taken).sum()) + 3 * outside
            if covered < least - 1e-6:
                best, least = (box, distance), covered
    assert best is not None
    return best


def _beside(
    at: NDArray[np.float64], extent: tuple[float, float], direction: tuple[float, float], distance: float
) -> Boxes:
    half, towards = np.array(extent) / 2, np.array(direction)
    # Along a diagonal the box touches with its corner; straight up or down it is centred.
    centre = at + towards * distance + np.sign(towards) * half
    return np.hstack([centre - half, centre + half])


def _write(axis: Axes, label: PointLabel, offset: NDArray[np.float64], size: float, *, leader: bool) -> Annotation:
    line = {"arrowstyle": "-", "color": label.color, "linewidth": 0.7, "shrinkA": 1, "shrinkB": 4} if leader else None
    note = axis.annotate(
        label.text,
        (label.x, label.y),
        tuple(offset),
        textcoords="offset points",
        color=label.color,
        fontsize=size,
        ha="left",
        va="bottom",
        arrowprops=line,
        annotation_clip=False,
    )
    # Otherwise the layout would shrink the axes for a label at the rim, and so move every point from its label.
    note.set_in_layout(False)
    return note
