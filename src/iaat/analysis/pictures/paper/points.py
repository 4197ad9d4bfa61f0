"""Charts of points: clean against robust accuracy, radii against measured norms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from iaat.analysis import style
from iaat.analysis.figure_text import clean, fit
from iaat.analysis.label_placement import PointLabel, place_labels
from iaat.analysis.pictures.paper import look as paper

Floats = NDArray[np.float64]

_FEW = 6
_MOST_NAMED = 14
"""Recipes up to which each is named beside its point; more are numbered."""

_NAME_WIDTH = 1.3
_LEAST_SPAN = 4.0
_FRONTIER = "Pareto frontier"


@dataclass(frozen=True, slots=True)
class Cloud:
    """The runs of one recipe.

    Attributes:
        name: Of the recipe.
        number: Of its look.
        runs: `[n, 2]`, clean and robust accuracy of each, shares.
        low: `[n, 2]`, lower ends of their intervals.
        high: `[n, 2]`, upper ends.
        uniform: Whether it is of the curve of uniform radii.
    """

    name: str
    number: int
    runs: Floats
    low: Floats
    high: Floats
    uniform: bool = False

    @property
    def mean(self) -> Floats:
        """Mean of the runs in per cent."""
        mean: Floats = 100 * self.runs.mean(axis=0)
        return mean

    @property
    def color(self) -> str:
        """Grey for the curve, or that of its look."""
        return style.MUTED if self.uniform else paper.look(self.number).color


def intervals_tradeoff(clouds: Sequence[Cloud], notes: Sequence[str] = ()) -> Figure:
    """Clean against robust accuracy, with intervals, the Pareto frontier and the curve of uniform radii.

    Of several runs each is a small faint point and their mean a large one. What is further from the curve than its own
    extent is left out and named above: natural training would leave an empty picture.

    Args:
        clouds: The recipes, those of the curve in its order; at least one.
        notes: Lines above the picture: attacks, weights.
    """
    shown, outside = _framed(clouds)
    with paper.context():
        wide = len(shown) > _FEW
        figure = Figure(figsize=(paper.PAGE, 4.0) if wide else (paper.COLUMN, 2.7), layout="constrained")
        axis = figure.subplots()
        curve = np.array([cloud.mean for cloud in shown if cloud.uniform]).reshape(-1, 2)
        frontier = pareto([cloud.mean for cloud in shown])
        if len(curve) > 1:
            axis.plot(*curve.T, color=style.MUTED, linewidth=1, zorder=1, label="_uniform")
        if len(frontier) > 1:
            axis.plot(*frontier.T, color=style.INK, linewidth=0.8, linestyle=":", drawstyle="steps-pre", zorder=2.5)
            axis.lines[-1].set_label(_FRONTIER)
        for cloud in shown:
            _draw_cloud(axis, cloud)
        axis.set(xlabel="clean accuracy (%)", ylabel="robust accuracy (%)")
        _set_limits(axis, shown)
        away = [f"{clean(cloud.name)} ({cloud.mean[0]:.1f}, {cloud.mean[1]:.1f})" for cloud in outside]
        lines = [*notes, f"off the picture: {', '.join(away)}" if away else ""]
        fitted = [fit(line, figure.get_figwidth() - 0.6, paper.SMALL) for line in lines if line]
        axis.set_title("\n".join(fitted), fontsize=paper.SMALL, color=style.MUTED)
        _draw_key(figure, shown, curve=len(curve) > 1, frontier=len(frontier) > 1)
        paper.settle(figure)
        _draw_names(axis, shown, [_along(curve), _along(_steps(frontier))])
    return figure


def pareto(points: Sequence[Floats]) -> Floats:
    """Those of `[n, 2]` that none surpasses in both, by rising first coordinate; `[k, 2]`."""
    best: list[Floats] = []
    for point in sorted(points, key=lambda point: (-point[0], -point[1])):
        if not best or point[1] > best[-1][1]:
            best.append(point)
    return np.array(best[::-1]).reshape(-1, 2)


def _framed(clouds: Sequence[Cloud]) -> tuple[list[Cloud], list[Cloud]]:
    means = np.array([cloud.mean for cloud in clouds if cloud.uniform])
    if len(means) < 2:
        return list(clouds), []
    low, high = means.min(axis=0), means.max(axis=0)
    room = np.maximum(high - low, _LEAST_SPAN)
    near = [bool(((low - room <= cloud.mean) & (cloud.mean <= high + room)).all()) for cloud in clouds]
    pairs = list(zip(clouds, near, strict=True))
    return [cloud for cloud, is_near in pairs if is_near], [cloud for cloud, is_near in pairs if not is_near]


def _draw_cloud(axis: Axes, cloud: Cloud) -> None:
    marker = "o" if cloud.uniform else paper.look(cloud.number).marker
    alone = len(cloud.runs) == 1
    runs, low, high = 100 * cloud.runs, 100 * cloud.low, 100 * cloud.high
    below, above = np.maximum(runs - low, 0), np.maximum(high - runs, 0)
    bars = axis.errorbar(
        runs[:, 0],
        runs[:, 1],
        xerr=np.stack([below[:, 0], above[:, 0]]),
        yerr=np.stack([below[:, 1], above[:, 1]]),
        fmt=marker,
        color=cloud.color,
        markersize=5 if alone else 2.5,
        markeredgewidth=0,
        elinewidth=0.7 if alone else 0.5,
        alpha=1 if alone else 0.45,
        zorder=2,
    )
    bars.lines[0].set_label(cloud.name if alone else "_runs")
    if not alone:
        axis.plot(*cloud.mean, marker, color=cloud.color, markersize=5.5, markeredgecolor="white", zorder=3)
        axis.lines[-1].set(label=cloud.name, markeredgewidth=0.5)


def _draw_key(figure: Figure, clouds: Sequence[Cloud], *, curve: bool, frontier: bool) -> None:
    key: list[tuple[Artist, str]] = [
        (Line2D([], [], color=style.MUTED, marker="|", linewidth=0.7), "95 % interval of a run")
    ]
    if any(len(cloud.runs) > 1 for cloud in clouds):
        key.append((Line2D([], [], color=style.MUTED, marker="o", linestyle=""), "mean over seeds"))
    if curve:
        key.append((Line2D([], [], color=style.MUTED, linewidth=1, marker="o", markersize=3), "uniform radii"))
    if frontier:
        key.append((Line2D([], [], color=style.INK, linewidth=0.8, linestyle=":"), _FRONTIER))
    if len(clouds) > _MOST_NAMED:
        key += [(_mark(cloud), f"{number} {cloud.name}") for number, cloud in enumerate(clouds, start=1)]
    paper.legend_below(figure, [handle for handle, _ in key], [name for _, name in key])


def _mark(cloud: Cloud) -> Line2D:
    marker = "o" if cloud.uniform else paper.look(cloud.number).marker
    return Line2D([], [], color=cloud.color, marker=marker, linestyle="", markersize=5)


def _draw_names(axis: Axes, clouds: Sequence[Cloud], lines: Sequence[Floats]) -> None:
    names = [
        PointLabel(
            paper.fit_name(cloud.name, _NAME_WIDTH, paper.SMALL) if len(clouds) <= _MOST_NAMED else f"{number}",
            float(x),
            float(y),
            style.darker(cloud.color),
        )
        for number, cloud in enumerate(clouds, start=1)
        for x, y in [cloud.mean]
    ]
    bars = [
        _along(np.array(ends))
        for cloud in clouds
        for run, low, high in zip(100 * cloud.runs, 100 * cloud.low, 100 * cloud.high, strict=True)
        for ends in (((low[0], run[1]), (high[0], run[1])), ((run[0], low[1]), (run[0], high[1])))
    ]
    obstacles = np.concatenate([*lines, *bars, *(cloud.mean[None] for cloud in clouds)])
    place_labels(axis, names, obstacles, paper.SMALL)


def _set_limits(axis: Axes, clouds: Sequence[Cloud]) -> None:
    ends = 100 * np.concatenate([part for cloud in clouds for part in (cloud.runs, cloud.low, cloud.high)])
    low, high = ends.min(axis=0), ends.max(axis=0)
    half = np.maximum((high - low) * 0.58, _LEAST_SPAN / 2)
    middle = (low + high) / 2
    axis.set_xlim(middle[0] - half[0], middle[0] + half[0])
    axis.set_ylim(middle[1] - half[1], middle[1] + half[1])


def _steps(points: Floats) -> Floats:
    """The corners of a line drawn as `steps-pre`."""
    corners = [corner for before, after in pairwise(points) for corner in ((before[0], after[1]), tuple(after))]
    return np.array([*points[:1].tolist(), *corners]).reshape(-1, 2)


def _along(corners: Floats) -> Floats:
    """Points `[k, 2]` along the line through `corners`: labels keep off points, so off lines, too."""
    if len(corners) < 2:
        return corners
    share = np.linspace(0, 1, 15)[:, None]
    return np.concatenate([start + share * (end - start) for start, end in pairwise(corners)])


@dataclass(frozen=True, slots=True)
class Pairs:
    """Radius and measured norm of samples of one run.

    Attributes:
        name: Of the run.
        number: Of its look.
        radius_px: `[n]`.
        norm_px: `[n]`; None where nothing fooled the network.
        searched_px: Up to where that was looked for; None: not known.
        correlation: Rank correlation; None: not known.
    """

    name: str
    number: int
    radius_px: Sequence[float]
    norm_px: Sequence[float | None]
    searched_px: float | None
    correlation: float | None


def radius_against_norm(runs: Sequence[Pairs]) -> Figure:
    """The radius of samples against the smallest measured norm that fools the network, one panel a run."""
    with paper.context():
        figure, axes = paper.panels(len(runs), 3, 2.4)
        room = figure.get_figwidth() / min(3, len(runs)) - 0.5
        for axis, run in zip(axes, runs, strict=True):
            _draw_pairs(axis, run, room)
        handles = [
            Line2D([], [], color=style.MUTED, linestyle=":", linewidth=0.9),
            Line2D([], [], color=style.INK, linestyle="", marker="o", markersize=2.5),
        ]
        names = ["radius = norm", "a sample"]
        if any(value is None for run in runs for value in run.norm_px):
            handles.append(Line2D([], [], color=style.INK, linestyle="", marker="^", markerfacecolor="white"))
            names.append("not fooled up to here")
        paper.legend_below(figure, handles, names)
        paper.settle(figure)
    return figure


def _draw_pairs(axis: Axes, run: Pairs, room: float) -> None:
    radius, norm, own = paper.finite(run.radius_px), paper.finite(run.norm_px), paper.look(run.number)
    held = np.isnan(norm)
    top = max([0.0, *radius[~np.isnan(radius)], *norm[~held], *([run.searched_px or 0.0] if held.any() else [])])
    axis.axline((0, 0), slope=1, color=style.MUTED, linestyle=":", linewidth=0.9, zorder=1)
    axis.plot(radius[~held], norm[~held], "o", color=own.color, markersize=2.5, markeredgewidth=0, alpha=0.45)
    axis.lines[-1].set_label("_fooled")
    if held.any():
        height = np.full(int(held.sum()), run.searched_px if run.searched_px is not None else top)
        axis.plot(radius[held], height, "^", color=own.color, markersize=3.5, markerfacecolor="white", clip_on=False)
        axis.lines[-1].set(label="_held", markeredgewidth=0.6)
    axis.set_xlim(left=0)
    axis.set_ylim(0, (top or 1) * 1.05)
    axis.set(xlabel="radius (px)", ylabel="smallest norm that fools (px)")
    known = run.correlation is not None and np.isfinite(run.correlation)
    rank = f"rank correlation {run.correlation:.2f}, " if known else ""
    axis.set_title(f"{paper.fit_name(run.name, room)}\n{rank}n = {len(radius):,}")
