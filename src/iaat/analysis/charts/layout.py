"""Panels, legends and titles of charts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from iaat.analysis.figure_text import fit_name, text_width
from iaat.analysis.style import Style, series_style
from iaat.errors import UserError
from iaat.units import LengthUnit, Norm, unit_of

_MOST_NAMES = 60


def make_panels(
    count: int, height: float, *, style: Style, most: int = 3, share_y: bool = False
) -> tuple[Figure, list[Axes]]:
    """Make a figure of `count` panels in columns; a single panel has the width of one column.

    Args:
        count: Panels, at least one.
        height: Height of each, in inches of a style of 7 points.
        style: Sizes of the figure.
        most: Panels a row at most.
        share_y: Whether all panels have one y-axis.
    """
    columns = min(most, count)
    rows = -(-count // columns)
    width = style.column if count == 1 else style.page
    figure = Figure(figsize=(width, rows * height * style.scale), layout="constrained")
    axes = list(figure.subplots(rows, columns, sharey=share_y, squeeze=False).flat)
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def panel_room(figure: Figure, count: int, margin: float) -> float:
    """Return the inches that the title of one of `count` panels may take, where each loses `margin` to its axis."""
    return figure.get_figwidth() / min(3, count) - margin


def settle(figure: Figure) -> None:
    """Lay the panels out once and for all, so that a figure is written alike every time.

    The layout is solved in an order that changes from process to process, and with it the last bits of its numbers.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axis in figure.axes:
        axis.set_position(tuple(round(value, 6) for value in axis.get_position(original=True).bounds))


def one_unit(norms: Sequence[Norm]) -> LengthUnit:
    """Return the unit of the radii of a figure with one axis for all.

    Raises:
        UserError: They are of several norms, so that no axis suits all.
    """
    if len(set(norms)) > 1:
        raise UserError(f"radii of {' and '.join(sorted(set(norms)))} have no unit in common: draw a figure for each")
    return unit_of(norms[0])


def is_first_in_row(axis: Axes) -> bool:
    """Return whether a panel is the leftmost of its row."""
    spec = axis.get_subplotspec()
    return spec is not None and spec.is_first_col()


def whole_epochs(axis: Axes) -> None:
    """Put the ticks of the x-axis at whole numbers."""
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def legend_below(
    figure: Figure, handles: Sequence[Artist], names: Sequence[str], title: str | None = None, *, style: Style
) -> None:
    """Write a legend under the panels and make the figure as much higher; of more than 60 names it has the first."""
    width = figure.get_figwidth()
    fitted = [fit_name(name, min(width - 0.7, 2.6) * style.scale, style.font) for name in names]
    if len(fitted) > _MOST_NAMES:
        handles = [*handles[:_MOST_NAMES], Line2D([], [], linestyle="")]
        fitted = [*fitted[:_MOST_NAMES], f"and {len(names) - _MOST_NAMES} more"]
    each = max(text_width(name, style.font) for name in fitted) + 0.5 * style.scale
    columns = max(1, min(len(fitted), int((width - 0.1) / each)))
    rows = -(-len(fitted) // columns)
    more = 0.135 * (rows + bool(title)) + 0.06
    figure.set_figheight(figure.get_figheight() + more * style.scale)
    figure.legend(handles, fitted, loc="outside lower center", ncols=columns, title=title)


def legend_line(number: int, *, style: Style, hollow: bool = False) -> Line2D:
    """Return the line of a series for a legend."""
    own = series_style(number)
    inside = "white" if hollow else own.color
    size = 3.5 * style.scale
    return Line2D(
        [], [], color=own.color, linestyle=own.dash, marker=own.marker, markersize=size, markerfacecolor=inside
    )


def finite(values: Sequence[float | None]) -> NDArray[np.float64]:
    """Return the values, with not-a-number for what is None or not finite."""
    array = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return np.where(np.isfinite(array), array, np.nan)
