"""The radii of each class."""

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from iaat.analysis import style
from iaat.analysis.checks import PX_PER_UNIT, as_labels, as_radii
from iaat.analysis.figure_text import fit, put_title
from iaat.errors import UserError

Groups = list[tuple[str, NDArray[np.float64]]]

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_MOST_CLASSES = 40
_NAME_WIDTH = 2.0


def radius_per_class(
    radii: ArrayLike,
    labels: ArrayLike,
    classes: Sequence[str],
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
) -> Figure:
    """Draw each class's radii: 5 to 95 % of them thin, 25 to 75 % thick, the median as a dot; lowest median on top.

    A class without samples is left out. Of more than 40 classes, the 20 lowest and the 20 highest medians are drawn.

    Args:
        radii: `[N]`, on the [0, 1] image scale, none negative.
        labels: `[N]`, integers in `[0, len(classes))`.
        classes: Class names by label.
        path: Where to write: .png, .svg or .pdf.
        title: A line above the picture.

    Returns:
        The figure that was written.

    Raises:
        UserError: Arrays that do not fit each other, are empty or out of range; or the suffix is unknown.
    """
    values = as_radii(radii) * PX_PER_UNIT
    owners = as_labels(labels, "labels", len(values), classes)
    if not values.size:
        raise UserError("no radii to draw: there are no samples")
    groups = [(classes[label], np.quantile(values[owners == label], _QUANTILES)) for label in np.unique(owners)]
    groups.sort(key=lambda group: float(group[1][2]))
    half = _MOST_CLASSES // 2
    shown = groups if len(groups) <= _MOST_CLASSES else groups[:half] + groups[-half:]
    with style.context():
        figure = Figure(figsize=(style.WIDTH, 1.1 + 0.24 * len(shown)), layout="constrained")
        _draw(figure.subplots(), shown, of=len(groups))
        put_title(figure, title)
        style.save(figure, path)
    return figure


def _draw(axis: Axes, shown: Groups, of: int) -> None:
    rows = np.arange(len(shown))
    p5, p25, median, p75, p95 = np.stack([quantiles for _, quantiles in shown]).T
    thin = axis.hlines(rows, p5, p95, color=style.PALETTE["sky"], linewidth=2, zorder=1.5)
    thick = axis.barh(rows, p75 - p25, left=p25, height=0.55, color=style.PALETTE["blue"], zorder=2)
    (dots,) = axis.plot(median, rows, "o", color="white", markeredgecolor=style.INK, markersize=5.5)
    axis.set_yticks(rows, [fit(name, _NAME_WIDTH, 9) for name, _ in shown])
    axis.set_ylim(len(shown) - 0.4, -0.6)
    top = float(p95.max()) or 1.0
    axis.set_xlim(-0.02 * top, 1.04 * top)
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("radius (px)")
    heading = "radii by class"
    if of > len(shown):
        axis.axhline(len(shown) / 2 - 0.5, color=style.MUTED, linewidth=1, linestyle=":")
        heading += f": the {len(shown) // 2} lowest and the {len(shown) // 2} highest of {of}"
    axis.set_title(heading)
    names = ["5\N{EN DASH}95 %", "25\N{EN DASH}75 %", "median"]
    axis.legend([thin, thick, dots], names, loc="upper left", bbox_to_anchor=(1, 1))
