"""Charts of per-sample radii: histograms over the epochs, quantiles of classes, radii against measured norms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from iaat.analysis.charts.layout import (
    finite,
    is_first_in_row,
    legend_below,
    make_panels,
    one_unit,
    panel_room,
    settle,
    whole_epochs,
)
from iaat.analysis.figure_text import fit_name, fit_text, put_title
from iaat.analysis.radius_summary import RadiusHistograms
from iaat.analysis.style import INK, MUTED, PALETTE, SHADES, Style, series_style
from iaat.errors import UserError
from iaat.units import Norm, unit_of

_MEDIAN, _REFERENCE, _BARS = PALETTE["orange"], PALETTE["vermillion"], "#8FC3E6"
_MOST_CLASSES = 40
_NAME_WIDTH = 1.1


def draw_radius_histograms(
    runs: Sequence[RadiusHistograms], *, style: Style, reference: float | None = None, title: str | None = None
) -> Figure:
    """Draw the distribution of the radii over the epochs: a map a run, dark where many samples are.

    A column of a map is one epoch; its shade is the fraction of the samples in each bin. A single run has the histogram
    of its last epoch beside the map; a single run of a single epoch has that histogram alone.

    Args:
        runs: At least one.
        style: Sizes of the figure.
        reference: A uniform radius to compare with, in px, or in L2 as it is, drawn as a line.
        title: A line above the figure.

    Raises:
        UserError: Runs of several norms.
    """
    one_unit([run.norm for run in runs])
    with style.context():
        if len(runs) > 1:
            figure = _draw_maps(runs, reference, style)
        elif len(runs[0].epochs) > 1:
            figure = _draw_map_and_end(runs[0], reference, style)
        else:
            figure = _draw_histogram(runs[0], reference, style)
        _history_legend(figure, runs, reference, style)
        put_title(figure, title)
        settle(figure)
    return figure


def _draw_maps(runs: Sequence[RadiusHistograms], reference: float | None, style: Style) -> Figure:
    figure, axes = make_panels(len(runs), 2.1, style=style, share_y=True)
    room = panel_room(figure, len(runs), 0.5 * style.scale)
    norm = _norm(runs)
    for axis, run in zip(axes, runs, strict=True):
        mesh = _draw_map(axis, run, norm, reference, style)
        axis.set_title(fit_name(run.name, room, style.font))
        if is_first_in_row(axis):
            axis.set_ylabel(unit_of(run.norm).of("radius"))
    axes[0].set_ylim(min(run.edges[0] for run in runs), max(_top(run, reference) for run in runs))
    _color_bar(figure, mesh, axes, runs)
    return figure


def _draw_map_and_end(run: RadiusHistograms, reference: float | None, style: Style) -> Figure:
    figure = Figure(figsize=(style.page, 2.3 * style.scale), layout="constrained")
    by_epoch, at_end = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1])
    mesh = _draw_map(by_epoch, run, _norm([run]), reference, style)
    title, top = run.name or "radii by epoch", _top(run, reference)
    by_epoch.set(ylabel=unit_of(run.norm).of("radius"), title=title, ylim=(run.edges[0], top))
    _color_bar(figure, mesh, [by_epoch], [run])
    at_end.stairs(run.counts[-1], run.edges, orientation="horizontal", fill=True, color=_BARS)
    _draw_lines(at_end.axhline, run, run.medians[-1], reference, style)
    at_end.set(xlabel="samples", title=f"epoch {run.epochs[-1]}")
    at_end.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True, min_n_ticks=1))
    at_end.tick_params(left=False)
    return figure


def _draw_histogram(run: RadiusHistograms, reference: float | None, style: Style) -> Figure:
    figure, (axis,) = make_panels(1, 2.1, style=style)
    axis.stairs(run.counts[0], run.edges, fill=True, color=_BARS)
    _draw_lines(axis.axvline, run, run.medians[0], reference, style)
    axis.set(xlabel=unit_of(run.norm).of("radius"), ylabel="samples", title=f"radii at epoch {run.epochs[0]}")
    axis.set_xlim(run.edges[0], _top(run, reference))
    axis.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    return figure


def _draw_map(axis: Axes, run: RadiusHistograms, norm: PowerNorm, reference: float | None, style: Style) -> QuadMesh:
    shade = np.ma.masked_equal(_percentages(run).T, 0)
    mesh = axis.pcolormesh(_columns(run.epochs), run.edges, shade, cmap=SHADES, norm=norm, rasterized=True)
    size = 1.8 * style.scale
    axis.plot(run.epochs, finite(run.medians), color=_MEDIAN, marker="o", markersize=size, label="median")
    _draw_lines(axis.axhline, run, None, reference, style)
    axis.set_xlabel("epoch")
    whole_epochs(axis)
    axis.grid(visible=False)
    return mesh


def _percentages(run: RadiusHistograms) -> NDArray[np.float64]:
    """Return the samples in each bin in per cent of all, `[epochs, bins]`."""
    counts = np.array(run.counts, dtype=np.float64)
    return np.asarray(100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def _norm(runs: Sequence[RadiusHistograms]) -> PowerNorm:
    """Return the scale of the shades.

    It ends below the largest value: an epoch of equal radii is one bin of 100 %, and would pale all the others.
    """
    peaks = np.concatenate([_percentages(run).max(axis=1) for run in runs])
    return PowerNorm(0.6, vmin=0, vmax=float(np.quantile(peaks, 0.8)) or 1.0, clip=True)


def _color_bar(figure: Figure, mesh: QuadMesh, axes: Sequence[Axes], runs: Sequence[RadiusHistograms]) -> None:
    darkest = float(np.max(mesh.norm.vmax or 0.0))
    beyond = "max" if max(_percentages(run).max() for run in runs) > darkest else "neither"
    ticks = [tick for tick in map(float, MaxNLocator(5).tick_values(0, darkest)) if tick <= darkest]
    bar = figure.colorbar(mesh, ax=list(axes), pad=0.01, aspect=30, extend=beyond, ticks=ticks)
    bar.set_label("samples in the bin (%)")
    bar.outline.set_visible(False)


def _draw_lines(
    draw: Callable[..., Any], run: RadiusHistograms, median: float | None, reference: float | None, style: Style
) -> None:
    if median is not None:
        draw(median, color=_MEDIAN, label="median")
    if reference is not None:
        name = _uniform(run, reference)
        draw(reference, color=_REFERENCE, linestyle="--", linewidth=style.scale, label=name)


def _uniform(run: RadiusHistograms, reference: float) -> str:
    return f"uniform {unit_of(run.norm).short(reference)}"


def _history_legend(figure: Figure, runs: Sequence[RadiusHistograms], reference: float | None, style: Style) -> None:
    key: dict[str, Artist] = {}
    if any(median is not None for run in runs for median in run.medians):
        key["median"] = Line2D([], [], color=_MEDIAN)
    if reference is not None:
        key[_uniform(runs[0], reference)] = Line2D([], [], color=_REFERENCE, linestyle="--")
    if key:
        legend_below(figure, list(key.values()), list(key), style=style)


def _columns(epochs: Sequence[int]) -> NDArray[np.float64]:
    """Return the edges between unevenly spaced epochs: midways, and half an epoch out at both ends."""
    at = np.array(epochs, dtype=np.float64)
    return np.concatenate([[at[0] - 0.5], (at[1:] + at[:-1]) / 2, [at[-1] + 0.5]])


def _top(run: RadiusHistograms, reference: float | None) -> float:
    return max(run.edges[-1], reference or 0.0) * 1.05


ClassQuantiles = Sequence[Mapping[str, float] | None]
"""Quantiles of the radii of each class by level: `5`, `25`, `50`, `75`, `95`, in px, or in L2 as they are; None for one
without samples."""


def draw_class_radii(
    runs: Mapping[str, ClassQuantiles],
    classes: Sequence[str],
    *,
    style: Style,
    title: str | None = None,
    norm: Norm = "linf",
) -> Figure:
    """Draw the radii of each class, lowest median on top: a panel a run, classes in the same order in all.

    5 to 95 % of the radii are thin, 25 to 75 % thick, the median is a dot. A class without samples is left out. Of more
    than 40 classes the 20 lowest and the 20 highest medians are drawn.

    Raises:
        UserError: No class has samples.
    """
    order = _order(list(runs.values()), len(classes))
    if not order:
        raise UserError("no radii to draw: there are no samples")
    half = _MOST_CLASSES // 2
    shown = order if len(order) <= _MOST_CLASSES else order[:half] + order[-half:]
    names = _NAME_WIDTH * style.scale
    with style.context():
        figure, axes = make_panels(len(runs), 0.6 + 0.135 * len(shown), style=style, share_y=True)
        room = panel_room(figure, len(runs), names / min(3, len(runs)) + 0.2 * style.scale)
        for axis, (name, quantiles) in zip(axes, runs.items(), strict=True):
            _draw_classes(axis, [quantiles[number] for number in shown], style)
            axis.set(title=fit_name(name, room, style.font), xlabel=unit_of(norm).of("radius"))
            if len(order) > len(shown):
                axis.axhline(half - 0.5, color=MUTED, linewidth=0.8 * style.scale, linestyle=":")
        axes[0].set_yticks(range(len(shown)), [fit_text(classes[number], names, style.font) for number in shown])
        axes[0].set_ylim(len(shown) - 0.4, -0.6)
        handles = [
            Line2D([], [], color=PALETTE["sky"], linewidth=1.4 * style.scale),
            Patch(color=PALETTE["blue"]),
            Line2D([], [], linestyle="", marker="o", color="white", markeredgecolor=INK),
        ]
        cut = f"{half} lowest and {half} highest medians of {len(order)} classes" if len(order) > len(shown) else None
        legend_below(figure, handles, ["5\N{EN DASH}95 %", "25\N{EN DASH}75 %", "median"], cut, style=style)
        put_title(figure, title)
        settle(figure)
    return figure


def _order(runs: Sequence[ClassQuantiles], count: int) -> list[int]:
    """Return the classes that any run has samples of, by the mean of their medians."""
    medians = {number: [found["50"] for run in runs if (found := run[number]) is not None] for number in range(count)}
    return sorted((number for number, found in medians.items() if found), key=lambda n: float(np.mean(medians[n])))


def _draw_classes(axis: Axes, quantiles: ClassQuantiles, style: Style) -> None:
    there = [(row, found) for row, found in enumerate(quantiles) if found is not None]
    rows = [row for row, _ in there]
    p5, p25, p50, p75, p95 = (np.array([found[level] for _, found in there]) for level in ("5", "25", "50", "75", "95"))
    axis.hlines(rows, p5, p95, color=PALETTE["sky"], linewidth=1.4 * style.scale, zorder=1.5)
    axis.barh(rows, p75 - p25, left=p25, height=0.55, color=PALETTE["blue"], zorder=2)
    edge = 0.7 * style.scale
    axis.plot(p50, rows, "o", color="white", markeredgecolor=INK, markeredgewidth=edge, label="median")
    top = float(p95.max(initial=0)) or 1.0
    axis.set_xlim(-0.02 * top, 1.04 * top)
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)


@dataclass(frozen=True, slots=True)
class MeasuredNorms:
    """Radius and smallest measured adversarial norm of samples of one run.

    Attributes:
        name: Name of the run.
        number: Number of its series style.
        radius: `[n]`, in px; L2 norms as they are where `norm` is `l2`.
        smallest: `[n]`, likewise by `searched_norm`; None where no attack succeeded.
        searched: Largest norm that was tried; None if not known.
        correlation: Rank correlation; None if not known.
        norm: Of the radii, `linf` or `l2`.
        searched_norm: Of the measured norms; None for that of the radii.
    """

    name: str
    number: int
    radius: Sequence[float]
    smallest: Sequence[float | None]
    searched: float | None
    correlation: float | None
    norm: Norm = "linf"
    searched_norm: Norm | None = None

    @property
    def comparable(self) -> bool:
        """Whether radii and measured norms are of one norm, so that one can be said to be larger."""
        return self.searched_norm in (None, self.norm)


def draw_radius_against_norm(runs: Sequence[MeasuredNorms], *, style: Style) -> Figure:
    """Draw the radius of samples against their smallest measured adversarial norm, one panel a run."""
    with style.context():
        figure, axes = make_panels(len(runs), 2.4, style=style)
        room = panel_room(figure, len(runs), 0.5 * style.scale)
        for axis, run in zip(axes, runs, strict=True):
            _draw_norms(axis, run, room, style)
        handles = [Line2D([], [], color=INK, linestyle="", marker="o", markersize=2.5 * style.scale)]
        names = ["a sample"]
        if any(run.comparable for run in runs):
            handles.insert(0, Line2D([], [], color=MUTED, linestyle=":", linewidth=0.9 * style.scale))
            names.insert(0, "radius = norm")
        if any(value is None for run in runs for value in run.smallest):
            handles.append(Line2D([], [], color=INK, linestyle="", marker="^", markerfacecolor="white"))
            names.append("robust up to here")
        legend_below(figure, handles, names, style=style)
        settle(figure)
    return figure


def _draw_norms(axis: Axes, run: MeasuredNorms, room: float, style: Style) -> None:
    radius, norm, own = finite(run.radius), finite(run.smallest), series_style(run.number)
    robust, scale = np.isnan(norm), style.scale
    radii = radius[~np.isnan(radius) & run.comparable]  # those of another norm are no heights here
    top = max([0.0, *radii, *norm[~robust], *([run.searched or 0.0] if robust.any() else [])])
    if run.comparable:
        axis.axline((0, 0), slope=1, color=MUTED, linestyle=":", linewidth=0.9 * scale, zorder=1)
    axis.plot(radius[~robust], norm[~robust], "o", color=own.color, markersize=2.5 * scale, alpha=0.45)
    axis.lines[-1].set(label="_adversarial", markeredgewidth=0)
    if robust.any():
        height = np.full(int(robust.sum()), run.searched if run.searched is not None else top)
        axis.plot(radius[robust], height, "^", color=own.color, markersize=3.5 * scale, clip_on=False)
        axis.lines[-1].set(label="_robust", markeredgewidth=0.6 * scale, markerfacecolor="white")
    axis.set_xlim(left=0)
    axis.set_ylim(0, (top or 1) * 1.05)
    measured = unit_of(run.searched_norm or run.norm)
    axis.set(xlabel=unit_of(run.norm).of("radius"), ylabel=measured.of("smallest adversarial norm"))
    known = run.correlation is not None and np.isfinite(run.correlation)
    rank = f"rank correlation {run.correlation:.2f}, " if known else ""
    axis.set_title(f"{fit_name(run.name, room, style.font)}\n{rank}n = {len(radius):,}")
