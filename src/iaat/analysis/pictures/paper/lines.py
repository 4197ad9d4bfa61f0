"""Charts of lines: accuracy against the radius, training curves, quantiles of radii over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from iaat.analysis import style
from iaat.analysis.pictures.paper import look as paper

_MARKERS_UP_TO = 12
"""Points up to which each has a marker; longer lines have that many."""

_MOST_IN_COLUMN = 8
_OUTER, _INNER, _MEDIAN = "#CBE4F4", "#7DBBE3", style.INK
_BAND_NAMES = ("5\N{EN DASH}95 %", "25\N{EN DASH}75 %", "median")


@dataclass(frozen=True, slots=True)
class Line:
    """One run's line.

    Attributes:
        name: What the legend calls it; lines of one name and look are there once.
        number: Of its look.
        x: Where.
        y: Values; None leaves a gap.
        hollow: Draw its markers hollow.
    """

    name: str
    number: int
    x: Sequence[float]
    y: Sequence[float | None]
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines of one quantity.

    Attributes:
        title: What it is.
        lines: At least one.
        scale: What values are multiplied by.
        from_zero: Begin the axis at 0.
    """

    title: str
    lines: Sequence[Line]
    scale: float = 1.0
    from_zero: bool = False


def accuracy_curves(lines: Sequence[Line], title: str | None = None) -> Figure:
    """Accuracy, shares, against the radius in px; `title` is that of the legend."""
    with paper.context():
        many = len({line.name for line in lines}) > _MOST_IN_COLUMN
        size = (paper.PAGE, 3.2) if many else (paper.COLUMN, 2.4)
        figure = Figure(figsize=size, layout="constrained")
        axis = figure.subplots()
        _draw_lines(axis, lines, 100)
        axis.set(xlabel="radius (px)", ylabel="accuracy (%)")
        axis.set_ylim(bottom=0)
        axis.set_xlim(left=0)
        for drawn in axis.lines:
            drawn.set_clip_on(False)
        _legend(figure, lines, title)
        paper.settle(figure)
    return figure


def line_panels(panels: Sequence[Panel]) -> Figure:
    """Quantities over the epochs, a panel each, with one legend for all."""
    with paper.context():
        figure, axes = paper.panels(len(panels), 3, 1.75)
        for axis, panel in zip(axes, panels, strict=True):
            _draw_lines(axis, panel.lines, panel.scale)
            axis.set(title=panel.title, xlabel="epoch")
            _whole_epochs(axis)
            if panel.from_zero:
                axis.set_ylim(bottom=0)
        _legend(figure, [line for panel in panels for line in panel.lines])
        paper.settle(figure)
    return figure


def _draw_lines(axis: Axes, lines: Sequence[Line], scale: float) -> None:
    for line in lines:
        own = paper.look(line.number)
        y = paper.finite(line.y) * scale
        every = max(1, -(-len(y) // _MARKERS_UP_TO))
        (drawn,) = axis.plot(line.x, y, linestyle=own.dash, color=own.color, marker=own.marker, label=line.name)
        drawn.set(markersize=2.8, markevery=(line.number % every, every))
        drawn.set_markerfacecolor("white" if line.hollow else own.color)
        drawn.set_markeredgewidth(0.6)
        if len(y) < every * 2:
            drawn.set_markevery(None)


def _legend(figure: Figure, lines: Sequence[Line], title: str | None = None) -> None:
    kinds = {(line.name, line.number, line.hollow): None for line in lines}
    handles = [paper.sample(number, hollow=hollow) for _, number, hollow in kinds]
    paper.legend_below(figure, handles, [name for name, _, _ in kinds], title)


def _whole_epochs(axis: Axes) -> None:
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


@dataclass(frozen=True, slots=True)
class Band:
    """Quantiles of the radii of one run over its epochs.

    Attributes:
        name: Of the run.
        epochs: Their numbers.
        quantiles: In px, by level: `5`, `25`, `50`, `75`, `95`, some may be missing; None leaves a gap.
    """

    name: str
    epochs: Sequence[float]
    quantiles: Mapping[str, Sequence[float | None]]


def quantile_bands(runs: Sequence[Band]) -> Figure:
    """Where the radii of each run lie, epoch by epoch: a panel a run, all of one scale."""
    with paper.context():
        figure, axes = paper.panels(len(runs), 3, 1.9, share_y=True)
        room = figure.get_figwidth() / min(3, len(runs)) - 0.4
        for axis, run in zip(axes, runs, strict=True):
            _draw_band(axis, run)
            paper.panel_title(axis, run.name, room)
            axis.set_xlabel("epoch")
            _whole_epochs(axis)
            if paper.first_in_row(axis):
                axis.set_ylabel("radius (px)")
        axes[0].set_ylim(bottom=0)
        handles = [Patch(color=_OUTER), Patch(color=_INNER), Line2D([], [], color=_MEDIAN)]
        paper.legend_below(figure, handles, _BAND_NAMES)
        paper.settle(figure)
    return figure


def _draw_band(axis: Axes, run: Band) -> None:
    level = {name: paper.finite(values) for name, values in run.quantiles.items()}
    for low, high, color in (("5", "95", _OUTER), ("25", "75", _INNER)):
        if low in level and high in level:
            axis.fill_between(run.epochs, level[low], level[high], color=color, linewidth=0)
    if "50" in level:
        dot = "o" if np.isfinite(level["50"]).sum() == 1 else ""
        axis.plot(run.epochs, level["50"], color=_MEDIAN, marker=dot, label="median")
