"""Line charts: training curves, accuracy against the radius, quantiles of radii over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from iaat.analysis.charts.layout import (
    finite,
    is_first_in_row,
    legend_below,
    legend_line,
    make_panels,
    one_unit,
    panel_room,
    settle,
    whole_epochs,
)
from iaat.analysis.figure_text import fit_name, put_title
from iaat.analysis.style import INK, Style, series_style
from iaat.errors import UserError
from iaat.units import Norm, unit_of

_MARKERS_UP_TO = 12
"""Points up to which each has a marker; longer lines have that many."""

_MOST_IN_COLUMN = 8
_OUTER, _INNER = "#CBE4F4", "#7DBBE3"
_BAND_NAMES = ("5\N{EN DASH}95 %", "25\N{EN DASH}75 %", "median")

Values = Sequence[float | None]
"""Values of a series; None or a number that is not finite leaves a gap."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart.

    Attributes:
        name: What the legend calls it; lines of one name and style are there once, and "" is not there.
        number: Number of its series style.
        x: Positions.
        y: Values, one for each position.
        hollow: Draw its markers hollow.
    """

    name: str
    number: int
    x: Sequence[float]
    y: Values
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """Logged quantities of one run.

    Attributes:
        name: What the legend calls it.
        number: Number of its series style.
        epochs: Epoch numbers.
        curves: Values by the names of `metrics.jsonl`, one for each epoch: `loss`, `train_accuracy`,
            `validation_clean`, `validation_robust`, `radius_mean`, `lr`; all optional, accuracies are fractions.
            `radius_mean` is in px, or an L2 norm as it is where `norm` is `l2`: in the log it is `radius_mean_px`.
        quantiles: Of the radii by level: `5`, `25`, `50`, `75`, `95`, in px or in L2 likewise; some may be missing.
        norm: Of the radii, `linf` or `l2`.
    """

    name: str
    number: int
    epochs: Sequence[float]
    curves: Mapping[str, Values]
    quantiles: Mapping[str, Values] = field(default_factory=dict)
    norm: Norm = "linf"

    def known(self, key: str) -> bool:
        """Return whether a quantity has a value in any epoch."""
        return bool(np.isfinite(finite(self.curves.get(key, ()))).any())


class _Quantity(NamedTuple):
    """A logged quantity: its key, its title in a panel of its own, and its name in a panel of several."""

    key: str
    title: str
    name: str = ""


class _Group(NamedTuple):
    """Quantities on one axis: values are multiplied by `factor`; titles of lengths have the unit behind them."""

    title: str
    quantities: tuple[_Quantity, ...]
    factor: float = 1.0
    from_zero: bool = False
    is_length: bool = False

    def titled(self, title: str, norm: Norm) -> str:
        """Return a title of the group or one of its quantities, with the unit of a length."""
        return unit_of(norm).of(title) if self.is_length else title


_GROUPS = (
    _Group("training loss", (_Quantity("loss", "training loss"),)),
    _Group(
        "accuracy (%)",
        (
            _Quantity("train_accuracy", "accuracy on training inputs (%)", "training inputs"),
            _Quantity("validation_clean", "validation, clean (%)", "validation, clean"),
            _Quantity("validation_robust", "validation, robust (%)", "validation, robust"),
        ),
        factor=100.0,
    ),
    _Group("radius", (_Quantity("radius_mean", "mean radius", "mean radius"),), from_zero=True, is_length=True),
    _Group("learning rate", (_Quantity("lr", "learning rate"),), from_zero=True),
)
_QUANTITIES = [quantity for group in _GROUPS for quantity in group.quantities]


def draw_training(runs: Sequence[TrainingRun], *, style: Style, title: str | None = None) -> Figure:
    """Draw training curves: loss, accuracies, mean radius and learning rate by epoch.

    One run has its accuracies in one panel, and a band of its radii. Several have a panel for each quantity, and for
    each norm of the radii. A panel without data is left out.

    Raises:
        UserError: No run has anything to draw.
    """
    panels = _panels_of_one(runs[0]) if len(runs) == 1 else _panels_of_several(runs)
    if not panels:
        known = ", ".join(quantity.key for quantity in _QUANTITIES)
        raise UserError(f"no training curves to draw: no record has one of {known}")
    with style.context():
        figure, axes = make_panels(len(panels), 1.75, style=style, most=2 if len(panels) in (2, 4) else 3)
        for axis, (heading, group, lines) in zip(axes, panels, strict=True):
            _draw_lines(axis, lines, group.factor, style)
            axis.set(title=heading, xlabel="epoch")
            whole_epochs(axis)
            if group.is_length and len(runs) == 1:
                _draw_spread(axis, runs[0], lines[0].number)
            if group.from_zero:
                axis.set_ylim(bottom=0)
        _legend(figure, [line for _, _, lines in panels for line in lines], style)
        put_title(figure, title)
        settle(figure)
    return figure


def _panels_of_one(run: TrainingRun) -> list[tuple[str, _Group, list[Line]]]:
    numbers = {quantity.key: number for number, quantity in enumerate(_QUANTITIES)}
    found = [
        (group.titled(group.title, run.norm), group, [
            Line(quantity.name, numbers[quantity.key], run.epochs, run.curves[quantity.key])
            for quantity in group.quantities if run.known(quantity.key)
        ])
        for group in _GROUPS
    ]  # fmt: skip
    return [panel for panel in found if panel[2]]


def _panels_of_several(runs: Sequence[TrainingRun]) -> list[tuple[str, _Group, list[Line]]]:
    norms = list(dict.fromkeys(run.norm for run in runs))
    found = [
        (group.titled(quantity.title, some[0]), group, [
            Line(run.name, run.number, run.epochs, run.curves[quantity.key])
            for run in runs if run.norm in some and run.known(quantity.key)
        ])
        for group in _GROUPS for quantity in group.quantities
        for some in ([[norm] for norm in norms] if group.is_length else [norms])
    ]  # fmt: skip
    return [panel for panel in found if panel[2]]


def _draw_spread(axis: Axes, run: TrainingRun, number: int) -> None:
    low, high = (finite(run.quantiles.get(level, ())) for level in ("5", "95"))
    if np.isfinite(low).any() and np.isfinite(high).any():
        axis.fill_between(run.epochs, low, high, color=series_style(number).color, alpha=0.18, linewidth=0)
        axis.set_title(f"{axis.get_title(loc='left')}; shaded: 5\N{EN DASH}95 % of the samples")


def draw_accuracy_by_radius(
    lines: Sequence[Line], legend_title: str | None = None, *, style: Style, norm: Norm = "linf"
) -> Figure:
    """Draw accuracy, given as fractions, against the radius of the attack in px, or in L2 as it is."""
    with style.context():
        wide = len({line.name for line in lines}) > _MOST_IN_COLUMN
        width, height = (style.page, 3.2) if wide else (style.column, 2.4)
        figure = Figure(figsize=(width, height * style.scale), layout="constrained")
        axis = figure.subplots()
        _draw_lines(axis, lines, 100, style)
        axis.set(xlabel=unit_of(norm).of("radius"), ylabel="accuracy (%)")
        axis.set_ylim(bottom=0)
        axis.set_xlim(left=0)
        for drawn in axis.lines:
            drawn.set_clip_on(False)
        _legend(figure, lines, style, legend_title)
        settle(figure)
    return figure


def _draw_lines(axis: Axes, lines: Sequence[Line], factor: float, style: Style) -> None:
    for line in lines:
        own = series_style(line.number)
        y = finite(line.y) * factor
        every = max(1, -(-len(y) // _MARKERS_UP_TO))
        (drawn,) = axis.plot(line.x, y, linestyle=own.dash, color=own.color, marker=own.marker, label=line.name)
        drawn.set(markersize=2.8 * style.scale, markevery=(line.number % every, every))
        drawn.set_markerfacecolor("white" if line.hollow else own.color)
        drawn.set_markeredgewidth(0.6 * style.scale)
        if len(y) < every * 2:
            drawn.set_markevery(None)


def _legend(figure: Figure, lines: Sequence[Line], style: Style, title: str | None = None) -> None:
    kinds = {(line.name, line.number, line.hollow): None for line in lines if line.name}
    if kinds:
        handles = [legend_line(number, style=style, hollow=hollow) for _, number, hollow in kinds]
        legend_below(figure, handles, [name for name, _, _ in kinds], title, style=style)


def draw_radius_bands(runs: Sequence[TrainingRun], *, style: Style) -> Figure:
    """Draw quantiles of the radii of each run by epoch: a panel a run, all of one scale.

    Raises:
        UserError: Runs of several norms.
    """
    unit = one_unit([run.norm for run in runs])
    with style.context():
        figure, axes = make_panels(len(runs), 1.9, style=style, share_y=True)
        room = panel_room(figure, len(runs), 0.4 * style.scale)
        for axis, run in zip(axes, runs, strict=True):
            _draw_band(axis, run)
            axis.set(title=fit_name(run.name, room, style.font), xlabel="epoch")
            whole_epochs(axis)
            if is_first_in_row(axis):
                axis.set_ylabel(unit.of("radius"))
        axes[0].set_ylim(bottom=0)
        handles = [Patch(color=_OUTER), Patch(color=_INNER), Line2D([], [], color=INK)]
        legend_below(figure, handles, _BAND_NAMES, style=style)
        settle(figure)
    return figure


def _draw_band(axis: Axes, run: TrainingRun) -> None:
    level = {name: finite(values) for name, values in run.quantiles.items()}
    for low, high, color in (("5", "95", _OUTER), ("25", "75", _INNER)):
        if low in level and high in level:
            axis.fill_between(run.epochs, level[low], level[high], color=color, linewidth=0)
    if "50" in level:
        dot = "o" if np.isfinite(level["50"]).sum() == 1 else ""
        axis.plot(run.epochs, level["50"], color=INK, marker=dot, label="median")
