"""Chart of clean against robust accuracy: runs, their means over seeds, intervals, the curve of uniform radii."""

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

from iaat.analysis.charts.layout import legend_below, settle
from iaat.analysis.figure_text import fit_name, fit_text
from iaat.analysis.label_placement import PointLabel, place_labels
from iaat.analysis.style import INK, MUTED, Style, darker, series_style
from iaat.errors import UserError
from iaat.runtime.text import cut

_FEW = 6
"""Groups up to which the figure is of one column."""

_FAINT_UP_TO = 10
"""Groups up to which single runs without intervals are drawn, too."""

_MOST_NAMED = 14
"""Families up to which each group is named beside its point; more are numbered."""

_NAME_WIDTH = 1.3
# Percentage points the axes span at least: the noise of one run must not fill the figure.
_LEAST_SPAN = 4.0


@dataclass(frozen=True, slots=True)
class TradeoffPoint:
    """Accuracies of one run, as fractions.

    Attributes:
        label: Its group: runs of the same label are repetitions with other seeds.
        clean: Accuracy on clean inputs.
        robust: Accuracy under attack.
        family: Groups of one family share colour and marker, and a thin line joins them in the order of the points; the
            label by default, so that every group is a family of its own.
        hollow: Draw its group hollow: raw weights beside their EMA, joined to the solid group of its label.
        number: Number of its series style; that of its family in the order of the points by default.
        clean_interval: Low and high end of an interval of the clean accuracy.
        robust_interval: Low and high end of an interval of the robust accuracy; all points have intervals or none.
    """

    label: str
    clean: float
    robust: float
    family: str | None = None
    hollow: bool = False
    number: int | None = None
    clean_interval: tuple[float, float] | None = None
    robust_interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class _Group:
    """The runs of one label, in percent: `runs` `[n, 2]` are clean and robust accuracy, `low` and `high` their ends.

    `number` is that of its series style; -1 on the curve, where groups have the colour of the curve.
    """

    label: str
    family: str
    number: int
    hollow: bool
    runs: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        return np.asarray(self.runs.mean(axis=0))

    @property
    def spread(self) -> NDArray[np.float64] | None:
        """Sample standard deviation over the runs; None of one run, or where the runs have intervals."""
        return self.runs.std(axis=0, ddof=1) if len(self.runs) > 1 and not self.has_intervals else None

    @property
    def has_intervals(self) -> bool:
        return bool((self.low < self.high).any())

    @property
    def color(self) -> str:
        return series_style(self.number).color if self.number >= 0 else MUTED

    @property
    def marker(self) -> str:
        return series_style(self.number).marker if self.number >= 0 else "o"


def draw_tradeoff(
    points: Sequence[TradeoffPoint],
    *,
    style: Style,
    robust_name: str = "robust accuracy",
    joined: Sequence[str] = (),
    frontier: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Figure:
    """Draw clean against robust accuracy in percent, one marker for the mean of each label.

    Bars are the intervals of the points, or else one sample standard deviation over the runs of a label. Of a family
    the first group has its whole label and the others what they add to the family's name.

    Args:
        points: The runs, at least one.
        style: Sizes of the figure.
        robust_name: What the robust accuracy is, for the axis: attack and radius.
        joined: Labels of the curve of uniform radii: a line joins their means in this order. A band around it is one
            standard deviation of the robust accuracies. What is further from it than its own extent is left out of the
            figure and named above it.
        frontier: Labels of the frontier's corners: steps join their means, from the highest clean accuracy on.
        notes: Lines above the figure: attacks, weights.

    Raises:
        UserError: No point, an accuracy outside [0, 1], or a label of curve or frontier that no point has.
    """
    groups = _groups(points, joined)
    labels = list(dict.fromkeys(group.label for group in groups))
    for name, wanted in (("joined", joined), ("frontier", frontier)):
        if unknown := [label for label in wanted if label not in labels]:
            raise UserError(f"{name}: no point is labelled {unknown[0]!r}; there are {', '.join(map(repr, labels))}")
    groups, outside = _framed(groups, _in_order(groups, joined, hollow=False))
    corners = np.array([group.mean for group in _in_order(groups, frontier, hollow=False)][::-1]).reshape(-1, 2)
    with style.context():
        width, height = (style.column, 2.7) if len(groups) <= _FEW else (style.page, 4.0)
        figure = Figure(figsize=(width, height * style.scale), layout="constrained")
        axis = figure.subplots()
        curves = [_in_order(groups, joined, hollow) for hollow in (False, True)]
        lines = [
            _draw_curve(axis, curve, style, hollow=hollow) for curve, hollow in zip(curves, (False, True), strict=True)
        ]
        lines += _draw_families(axis, groups, joined, style)
        lines.append(_draw_frontier(axis, corners, style))
        for group in groups:
            _draw_group(axis, group, style, faint=len(groups) <= _FAINT_UP_TO)
        axis.set(xlabel="clean accuracy (%)", ylabel=f"{robust_name} (%)")
        _set_limits(axis, np.concatenate([each for group in groups for each in _ends(group)]))
        _write_notes(axis, [*notes, *_left_out(outside)], style)
        _draw_key(figure, groups, curve=bool(curves[0]), frontier=len(corners) > 1, style=style)
        settle(figure)
        place_labels(axis, _names(groups, style), np.concatenate([*lines, *map(_inked, groups)]), style.small)
    return figure


def _groups(points: Sequence[TradeoffPoint], joined: Sequence[str]) -> list[_Group]:
    """Return the runs of each label, solid and hollow apart, in the order of the points."""
    if not points:
        raise UserError("no trade-off to draw: there are no points")
    members: dict[tuple[str, str, bool], list[TradeoffPoint]] = {}
    for point in points:
        if not (0 <= point.clean <= 1 and 0 <= point.robust <= 1):
            raise UserError(
                f"{point.label}: accuracies are fractions in [0, 1], got clean={point.clean}, robust={point.robust}"
            )
        members.setdefault((point.label, point.family or point.label, point.hollow), []).append(point)
    curve = {family for label, family, _ in members if label in joined}
    others = list(dict.fromkeys(family for _, family, _ in members if family not in curve))
    return [
        _group(label, family, hollow, found, -1 if family in curve else others.index(family))
        for (label, family, hollow), found in members.items()
    ]


def _group(label: str, family: str, hollow: bool, points: Sequence[TradeoffPoint], number: int) -> _Group:
    runs = np.array([(point.clean, point.robust) for point in points])
    ends = np.array(
        [(point.clean_interval or (point.clean,) * 2, point.robust_interval or (point.robust,) * 2) for point in points]
    )
    own = points[0].number
    series = number if number < 0 or own is None else own
    return _Group(label, family, series, hollow, 100 * runs, 100 * ends[:, :, 0], 100 * ends[:, :, 1])


def _in_order(groups: Sequence[_Group], labels: Sequence[str], hollow: bool) -> list[_Group]:
    found = {group.label: group for group in groups if group.hollow == hollow}
    return [found[label] for label in labels if label in found]


def _framed(groups: Sequence[_Group], curve: Sequence[_Group]) -> tuple[list[_Group], list[_Group]]:
    """Return the groups near the curve, and those so far off that the figure would be of empty space."""
    if len(curve) < 2:
        return list(groups), []
    means = np.array([group.mean for group in curve])
    low, high = means.min(axis=0), means.max(axis=0)
    room = np.maximum(high - low, _LEAST_SPAN)
    near = [bool(((low - room <= group.mean) & (group.mean <= high + room)).all()) for group in groups]
    pairs = list(zip(groups, near, strict=True))
    return [group for group, is_near in pairs if is_near], [group for group, is_near in pairs if not is_near]


def _draw_curve(axis: Axes, groups: Sequence[_Group], style: Style, *, hollow: bool) -> NDArray[np.float64]:
    """Draw the line through the means and the band of their spread; return points `[K, 2]` along the line."""
    means = np.array([group.mean for group in groups]).reshape(-1, 2)
    (line,) = axis.plot(*means.T, color=MUTED, linewidth=style.scale, zorder=1)
    line.set(linestyle=(0, (4, 3)) if hollow else "-", label="_joined hollow" if hollow else "_joined")
    spreads = [group.spread for group in groups]
    if not hollow and any(spread is not None for spread in spreads):
        half = np.array([0.0 if spread is None else spread[1] for spread in spreads])
        band = (means[:, 0], means[:, 1] - half, means[:, 1] + half)
        axis.fill_between(*band, color=MUTED, alpha=0.13, linewidth=0, zorder=0.5)
    return _along(means)


def _draw_families(
    axis: Axes, groups: Sequence[_Group], joined: Sequence[str], style: Style
) -> list[NDArray[np.float64]]:
    """Join the groups of each family, and every hollow group to its solid one; return points along the lines."""
    solid = {group.label: group for group in groups if not group.hollow}
    families: dict[str, list[_Group]] = {}
    for group in solid.values():
        if group.label not in joined:
            families.setdefault(group.family, []).append(group)
    pairs = [(solid[group.label], group) for group in groups if group.hollow and group.label in solid]
    return [
        *(_draw_thin(axis, members, "_family", "-", style) for members in families.values() if len(members) > 1),
        *(_draw_thin(axis, pair, "_pair", ":", style) for pair in pairs),
    ]


def _draw_thin(axis: Axes, groups: Sequence[_Group], label: str, dash: str, style: Style) -> NDArray[np.float64]:
    means = np.array([group.mean for group in groups])
    width = 0.6 * style.scale
    axis.plot(*means.T, dash, color=groups[0].color, linewidth=width, alpha=0.7, zorder=1, label=label)
    return _along(means)


def _draw_frontier(axis: Axes, frontier: NDArray[np.float64], style: Style) -> NDArray[np.float64]:
    """Draw the frontier as steps, where it has several corners; return points along it."""
    if len(frontier) < 2:
        return np.empty((0, 2))
    axis.plot(*frontier.T, color=INK, linewidth=0.8 * style.scale, linestyle=":", drawstyle="steps-pre", zorder=2.5)
    axis.lines[-1].set_label("_frontier")
    corners = [corner for before, after in pairwise(frontier) for corner in ((before[0], after[1]), tuple(after))]
    return _along(np.array([tuple(frontier[0]), *corners]))


def _draw_group(axis: Axes, group: _Group, style: Style, *, faint: bool) -> None:
    """Draw the mean with its bars, and the single runs: with their intervals, or where there is room (`faint`)."""
    scale, several = style.scale, len(group.runs) > 1
    if group.has_intervals:
        ends = np.stack([group.runs - group.low, group.high - group.runs]).clip(0)
        _draw_bars(axis, group, group.runs, ends, (0.5 if several else 0.7) * scale, 0.45 if several else 1.0)
    if several and (faint or group.has_intervals):
        axis.plot(*group.runs.T, group.marker, color=group.color, alpha=0.4, markersize=2.5 * scale, label="_run")
        axis.lines[-1].set_markeredgewidth(0)
    if group.spread is not None:
        ends = np.stack([group.spread[None]] * 2)
        _draw_bars(axis, group, group.mean[None], ends, (0.8 if faint else 0.6) * scale, 1.0 if faint else 0.6)
    inside, edge, size = ("white", group.color, 5.0) if group.hollow else (group.color, "white", 5.5)
    (mark,) = axis.plot(*group.mean, group.marker, color=group.color, label=group.label, zorder=3)
    mark.set(markerfacecolor=inside, markeredgecolor=edge, markersize=size * scale, markeredgewidth=0.6 * scale)


def _draw_bars(
    axis: Axes, group: _Group, at: NDArray[np.float64], ends: NDArray[np.float64], width: float, alpha: float
) -> None:
    """Draw bars at points `[n, 2]`; `ends` `[2, n, 2]` is how far they reach down and up."""
    axis.errorbar(
        at[:, 0],
        at[:, 1],
        xerr=ends[:, :, 0],
        yerr=ends[:, :, 1],
        fmt="none",
        ecolor=group.color,
        elinewidth=width,
        alpha=alpha,
        zorder=2,
    )


def _write_notes(axis: Axes, notes: Sequence[str], style: Style) -> None:
    figure = axis.get_figure(root=True)
    assert figure is not None
    fitted = [fit_text(note, figure.get_figwidth() - 0.6 * style.scale, style.small) for note in notes]
    axis.set_title("\n".join(fitted), fontsize=style.small, color=MUTED)


def _left_out(groups: Sequence[_Group]) -> list[str]:
    away = [
        f"{cut(group.label)}{' (hollow)' if group.hollow else ''} at {group.mean[0]:.1f}, {group.mean[1]:.1f}"
        for group in groups
    ]
    return [f"off the picture: {'; '.join(away)}"] if away else []


def _draw_key(figure: Figure, groups: Sequence[_Group], *, curve: bool, frontier: bool, style: Style) -> None:
    """Write what bars, line and markers mean, as far as there are any, and the numbers of groups."""
    scale = style.scale
    key: list[tuple[Artist, str]] = []
    if any(group.has_intervals for group in groups):
        key.append((Line2D([], [], color=MUTED, marker="|", linewidth=0.7 * scale), "95 % interval of a run"))
    if any(group.spread is not None for group in groups):
        key.append(
            (
                Line2D([], [], color=MUTED, marker="|", linewidth=0.7 * scale),
                "\N{PLUS-MINUS SIGN} one standard deviation over seeds",
            )
        )
    if any(len(group.runs) > 1 for group in groups):
        key.append((Line2D([], [], color=MUTED, marker="o", linestyle=""), "mean over seeds"))
    if curve:
        key.append((Line2D([], [], color=MUTED, linewidth=scale, marker="o", markersize=3 * scale), "uniform radii"))
    if frontier:
        key.append(
            (Line2D([], [], color=INK, linewidth=0.8 * scale, linestyle=":"), "frontier of differences that hold")
        )
    if any(group.hollow for group in groups):
        mark = Line2D([], [], color=MUTED, marker="o", markerfacecolor="white", linestyle="")
        key.append((mark, "hollow: raw weights, not their EMA"))
    if _numbered(groups):
        key += [(_mark(group), f"{number} {label}") for label, (number, group) in _by_label(groups).items()]
    if key:
        legend_below(figure, [handle for handle, _ in key], [name for _, name in key], style=style)


def _mark(group: _Group) -> Line2D:
    return Line2D([], [], color=group.color, marker=group.marker, linestyle="")


def _numbered(groups: Sequence[_Group]) -> bool:
    return len({group.family for group in groups}) > _MOST_NAMED


def _by_label(groups: Sequence[_Group]) -> dict[str, tuple[int, _Group]]:
    """Return number and group of each label: its solid group, or its hollow one where there is no other."""
    found: dict[str, _Group] = {}
    for group in sorted(groups, key=lambda group: group.hollow):
        found.setdefault(group.label, group)
    return {label: (number, group) for number, (label, group) in enumerate(found.items(), start=1)}


def _names(groups: Sequence[_Group], style: Style) -> list[PointLabel]:
    begun: set[str] = set()
    names = []
    for label, (number, group) in _by_label(groups).items():
        text = label.removeprefix(f"{group.family}-") if group.family in begun else label
        begun.add(group.family)
        shown = f"{number}" if _numbered(groups) else fit_name(text, _NAME_WIDTH * style.scale, style.small)
        x, y = group.mean
        names.append(PointLabel(shown, float(x), float(y), darker(group.color)))
    return names


def _ends(group: _Group) -> list[NDArray[np.float64]]:
    """Return the ends of all bars of a group: intervals of its runs, and the deviation around their mean."""
    around = [] if group.spread is None else [(group.mean + sign * group.spread)[None] for sign in (-1, 1)]
    return [group.low, group.high, *around]


def _set_limits(axis: Axes, ends: NDArray[np.float64]) -> None:
    low, high = ends.min(axis=0), ends.max(axis=0)
    half = np.maximum((high - low) * 0.6, _LEAST_SPAN / 2)
    middle = (low + high) / 2
    axis.set_xlim(middle[0] - half[0], middle[0] + half[0])
    axis.set_ylim(middle[1] - half[1], middle[1] + half[1])


def _inked(group: _Group) -> NDArray[np.float64]:
    """Return points `[K, 2]` on all that is drawn of a group: mean, runs and bars."""
    at, low, high = group.runs, group.low, group.high
    if group.spread is not None:
        at, low, high = group.mean[None], group.mean[None] - group.spread, group.mean[None] + group.spread
    bars = [
        _along(np.array(ends))
        for (x, y), (left, down), (right, up) in zip(at, low, high, strict=True)
        for ends in (((left, y), (right, y)), ((x, down), (x, up)))
    ]
    return np.concatenate([group.mean[None], group.runs, *bars])


def _along(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points `[K, 2]` along the line through `corners` `[M, 2]`: labels keep off points, so off lines too."""
    if len(corners) < 2:
        return corners
    fractions = np.linspace(0, 1, 25)[:, None]
    return np.concatenate([start + fractions * (end - start) for start, end in pairwise(corners)])
