"""How charts for a paper look: the house style at the sizes of print, one look a recipe, files equal to the byte."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from iaat.analysis import style
from iaat.analysis.checks import suffix_of
from iaat.analysis.figure_text import ELLIPSIS, clean, text_width
from iaat.runtime.files import replacing

COLUMN, PAGE = 3.3, 6.9
"""Inches: one column of a paper, and two."""

FONT, SMALL = 7.0, 6.0
"""Points: of most text, and the least there is."""

DPI = 300
FORMATS = style.FORMATS
SHADES = LinearSegmentedColormap.from_list("shades", ["#F4F9FD", "#8FC3E6", style.PALETTE["blue"], "#00263F"])
"""From little to much, for maps: it darkens all the way, so grey print shows it, too."""

_COLORS = list(style.PALETTE.values())[:-1]
_MARKERS = "osD^vPX<"
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.2, 1.2, 1.2)), (0, (9, 2)))
_MOST_NAMES = 60
# Luminance on which black and white have the same contrast, 4.6, by the formula of WCAG.
_EVEN_CONTRAST = 0.179

_PRINT: Any = {
    "axes.labelsize": FONT,
    "axes.linewidth": 0.6,
    "axes.titlesize": FONT,
    "axes.titleweight": "normal",
    "axes.titlepad": 4,
    "figure.constrained_layout.h_pad": 0.04,
    "figure.constrained_layout.w_pad": 0.04,
    "figure.dpi": DPI,
    "font.size": FONT,
    "grid.linewidth": 0.5,
    "legend.fontsize": FONT,
    "legend.title_fontsize": FONT,
    "legend.handlelength": 2.4,
    "legend.columnspacing": 1.4,
    "legend.borderpad": 0.1,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "savefig.dpi": DPI,
    "xtick.labelsize": FONT,
    "ytick.labelsize": FONT,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    # Text stays text: searched, edited and read aloud.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "iaat",
}
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": "iaat"},
    "svg": {"Date": None, "Creator": "iaat"},
    "pdf": {"CreationDate": None, "Creator": "iaat", "Producer": "iaat"},
}


class Look(NamedTuple):
    """How a recipe is drawn, told apart without colours, too."""

    color: str
    marker: str
    dash: Any


def look(number: int) -> Look:
    """The look of recipe number `number`."""
    return Look(_COLORS[number % len(_COLORS)], _MARKERS[number % len(_MARKERS)], _DASHES[number % len(_DASHES)])


@contextmanager
def context() -> Iterator[None]:
    """Apply the style of print inside the block, whatever the user's own matplotlibrc says."""
    with style.context(), matplotlib.rc_context(_PRINT), warnings.catch_warnings():
        # It shows as a box, and would be told of once for every letter, chart and format.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .*missing from font")
        yield


def save(figure: Figure, path: Path) -> None:
    """Write a figure; `path` appears whole or not at all, and of equal figures with equal bytes.

    Args:
        figure: Drawn within `context`.
        path: Ends in .png, .svg or .pdf. Missing parent folders are made.

    Raises:
        UserError: another suffix, or the folder cannot be written.
    """
    suffix = suffix_of(path, FORMATS)
    with context(), replacing(path) as temporary:
        figure.savefig(temporary, format=suffix, dpi=DPI, metadata=_METADATA[suffix])


def settle(figure: Figure) -> None:
    """Lay the panels out once and for all, so that a figure is written alike every time.

    The layout is solved in an order that changes from process to process, and with it the last bits of its numbers.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axis in figure.axes:
        axis.set_position(tuple(round(value, 6) for value in axis.get_position(original=True).bounds))


def panels(count: int, columns: int, height: float, *, share_y: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, each `height` inches high; one alone is of one column, several are of two."""
    columns = min(columns, count)
    rows = -(-count // columns)
    width = COLUMN if count == 1 else PAGE
    figure = Figure(figsize=(width, rows * height), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=share_y, squeeze=False)
    axes = list(grid.flat)
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def panel_title(axis: Axes, text: str, room: float) -> None:
    """Write a name above a panel, cut to `room` inches."""
    axis.set_title(fit_name(text, room))


def fit_name(name: str, room: float, size: float = FONT) -> str:
    """The name of a run or recipe, cut in its middle to `room` inches: what tells such names apart is at their ends."""
    name = clean(name)
    if text_width(name, size) <= room:
        return name
    least, most = 0, len(name)
    while least < most:
        kept = (least + most + 1) // 2
        least, most = (kept, most) if text_width(_without_middle(name, kept), size) <= room else (least, kept - 1)
    return _without_middle(name, least)


def _without_middle(name: str, kept: int) -> str:
    tail = kept * 3 // 5
    return f"{name[: kept - tail].rstrip()}{ELLIPSIS}{name[len(name) - tail :].lstrip()}"


def first_in_row(axis: Axes) -> bool:
    """Whether a panel is the leftmost of its row."""
    spec = axis.get_subplotspec()
    return spec is not None and spec.is_first_col()


def legend_below(figure: Figure, handles: Sequence[Artist], names: Sequence[str], title: str | None = None) -> None:
    """Write a legend under the panels and make the figure as much higher; of more than 60 names it has the first."""
    width = figure.get_figwidth()
    fitted = [fit_name(name, min(width - 0.7, 2.6)) for name in names]
    if len(fitted) > _MOST_NAMES:
        handles = [*handles[:_MOST_NAMES], Line2D([], [], linestyle="")]
        fitted = [*fitted[:_MOST_NAMES], f"and {len(names) - _MOST_NAMES} more"]
    each = max(text_width(name, FONT) for name in fitted) + 0.5
    columns = max(1, min(len(fitted), int((width - 0.1) / each)))
    rows = -(-len(fitted) // columns)
    figure.set_figheight(figure.get_figheight() + 0.135 * (rows + bool(title)) + 0.06)
    figure.legend(handles, fitted, loc="outside lower center", ncols=columns, title=title)


def sample(number: int, *, hollow: bool = False, line: bool = True) -> Line2D:
    """The look of a recipe for a legend."""
    own = look(number)
    inside = "white" if hollow else own.color
    dash: Any = own.dash if line else ""
    return Line2D([], [], color=own.color, linestyle=dash, marker=own.marker, markersize=3.5, markerfacecolor=inside)


def ink_on(shade: float) -> str:
    """Black or white, whichever stands out more on a shade of `SHADES`, a share in [0, 1]."""
    channels = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in SHADES(shade)[:3]]
    luminance = 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]
    return "white" if luminance < _EVEN_CONTRAST else "black"


def finite(values: Sequence[float | None]) -> NDArray[np.float64]:
    """Values with not-a-number for what is None or not finite."""
    array = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return np.where(np.isfinite(array), array, np.nan)
