"""Clean accuracy against robust accuracy: runs, their means over seeds, and the curve to beat."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from iaat.analysis import style
from iaat.analysis.figure_text import fit, put_title
from iaat.analysis.label_placement import PointLabel, place_labels
from iaat.errors import UserError

_COLORS = list(style.PALETTE.values())[:-1]
_MARKERS = "osD^vPX<"
_NAME_WIDTH = 2.4
_FONT = 9.5
_FEW = 10
"""Groups up to which single runs are drawn, too, in a picture of the usual height."""
# Percentage points the axes span at least: the noise of one run must not fill the picture.
_LEAST_SPAN = 4.0


@dataclass(frozen=True, slots=True)
class TradeoffPoint:
    """One run.

    Attributes:
        label: Its group: runs of the same label are repetitions with other seeds.
        clean: Accuracy on clean inputs, a fraction.
        robust: Accuracy under attack, a fraction.
        family: Groups of one family share colour and marker, and a thin line joins them in the order of the points; the
            label by default, so that every group is a family of its own.
        hollow: Draw its group hollow: the trained weights beside their average, joined to the solid group of its label.
    """

    label: str
    clean: float
    robust: float
    family: str | None = None
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class _Group:
    """The runs of one label: `runs` `[n, 2]` are clean and robust accuracy in percent.

    `number` is that of its family, by which it gets colour and marker; -1 of the curve's, which looks like the curve.
    """

    label: str
    family: str
    number: int
    hollow: bool
    runs: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        mean: NDArray[np.float64] = self.runs.mean(axis=0)
        return mean

    @property
    def spread(self) -> NDArray[np.float64] | None:
        spread: NDArray[np.float64] | None = self.runs.std(axis=0, ddof=1) if len(self.runs) > 1 else None
        return spread

    @property
    def color(self) -> str:
        return _COLORS[self.number % len(_COLORS)] if self.number >= 0 else style.MUTED

    @property
    def marker(self) -> str:
        return _MARKERS[self.number % len(_MARKERS)] if self.number >= 0 else _MARKERS[0]


def tradeoff(
    points: Sequence[TradeoffPoint],
    path: str | os.PathLike[str],
    *,
    robust_name: str = "robust accuracy",
    joined: Sequence[str] = (),
    title: str | None = None,
) -> Figure:
    """Draw clean accuracy against robust accuracy, in percent.

    Runs of one label share a colour and a marker: with several, each is faint and their mean solid, with bars of one
    sample standard deviation along both axes. Of a family the first group has its whole label and the others what they
    add to the family's name.

    Args:
        points: The runs, at least one.
        path: Where to write: .png, .svg or .pdf.
        robust_name: What the robust accuracy is, for the axis: attack and radius.
        joined: Labels whose means a line joins in this order, such as uniform radii: the curve to beat. A band around
            it has the standard deviation of the robust accuracies. What is further from it than its own extent is
            left out of the picture and named above it.
        title: A line above the picture.

    Returns:
        The figure that was written.

    Raises:
        UserError: No point, an accuracy outside [0, 1], a joined label that no point has; or the suffix is unknown.
    """
    groups = _groups(points, joined)
    labels = list(dict.fromkeys(group.label for group in groups))
    unknown = [label for label in joined if label not in labels]
    if unknown:
        raise UserError(f"joined: no point is labelled {unknown[0]!r}; there are {', '.join(map(repr, labels))}")
    groups, outside = _framed(groups, _in_order(groups, joined, hollow=False))
    with style.context():
        figure = Figure(figsize=(style.WIDTH, 5.0 if len(labels) <= _FEW else 6.4), layout="constrained")
        axis = figure.subplots()
        lines = [_draw_curve(axis, _in_order(groups, joined, hollow), hollow) for hollow in (False, True)]
        lines += _draw_families(axis, groups, joined)
        for group in groups:
            _draw_group(axis, group, faint=len(groups) <= _FEW)
        axis.set(xlabel="clean accuracy (%)", ylabel=f"{robust_name} (%)")
        _set_limits(axis, np.concatenate([group.runs for group in groups]))
        put_title(figure, title)
        axis.set_title(_key(groups, joined, outside), size=9, weight="normal")
        place_labels(axis, _names(groups), np.concatenate([*lines, *map(_inked, groups)]), _FONT)
        style.save(figure, path)
    return figure


def _groups(points: Sequence[TradeoffPoint], joined: Sequence[str]) -> list[_Group]:
    """The runs of each label, solid and hollow apart, in the order of the points."""
    if not points:
        raise UserError("no trade-off to draw: there are no points")
    runs: dict[tuple[str, str, bool], list[tuple[float, float]]] = {}
    for point in points:
        if not (0 <= point.clean <= 1 and 0 <= point.robust <= 1):
            raise UserError(
                f"{point.label}: accuracies are fractions in [0, 1], got clean={point.clean}, robust={point.robust}"
            )
        key = (point.label, point.family or point.label, point.hollow)
        runs.setdefault(key, []).append((point.clean * 100, point.robust * 100))
    curve = {family for label, family, _ in runs if label in joined}
    others = list(dict.fromkeys(family for _, family, _ in runs if family not in curve))
    numbers = {family: number for number, family in enumerate(others)} | dict.fromkeys(curve, -1)
    return [
        _Group(label, family, numbers[family], hollow, np.array(values))
        for (label, family, hollow), values in runs.items()
    ]


def _in_order(groups: Sequence[_Group], labels: Sequence[str], hollow: bool) -> list[_Group]:
    found = {group.label: group for group in groups if group.hollow == hollow}
    return [found[label] for label in labels if label in found]


def _draw_curve(axis: Axes, groups: Sequence[_Group], hollow: bool) -> NDArray[np.float64]:
    """Draw the line through the means and the band of their spread; returns points `[K, 2]` along the line."""
    means = np.array([group.mean for group in groups]).reshape(-1, 2)
    dashes = (0, (4, 3)) if hollow else "solid"
    label = "_joined hollow" if hollow else "_joined"
    axis.plot(*means.T, color=style.MUTED, linewidth=1.2, linestyle=dashes, zorder=1, label=label)
    spreads = [group.spread for group in groups]
    if groups and not hollow and any(spread is not None for spread in spreads):
        half = np.array([0.0 if spread is None else spread[1] for spread in spreads])
        band = (means[:, 0], means[:, 1] - half, means[:, 1] + half)
        axis.fill_between(*band, color=style.MUTED, alpha=0.13, linewidth=0, zorder=0.5)
    return _along(means)


def _draw_families(axis: Axes, groups: Sequence[_Group], joined: Sequence[str]) -> list[NDArray[np.float64]]:
    """Join the groups of each family, and every hollow group to its solid one; returns points along the lines."""
    solid = {group.label: group for group in groups if not group.hollow}
    families: dict[str, list[_Group]] = {}
    for group in solid.values():
        if group.label not in joined:
            families.setdefault(group.family, []).append(group)
    pairs = [(solid[group.label], group) for group in groups if group.hollow and group.label in solid]
    return [
        *(_thin(axis, members, "_family", "-") for members in families.values() if len(members) > 1),
        *(_thin(axis, pair, "_pair", ":") for pair in pairs),
    ]


def _thin(axis: Axes, groups: Sequence[_Group], label: str, line: str) -> NDArray[np.float64]:
    means = np.array([group.mean for group in groups])
    axis.plot(*means.T, line, color=groups[0].color, linewidth=0.8, alpha=0.7, zorder=1, label=label)
    return _along(means)


def _draw_group(axis: Axes, group: _Group, *, faint: bool) -> None:
    """Draw the mean and its bars, and the single runs where there is room for `faint` points."""
    clean, robust = group.mean
    color, spread = group.color, group.spread
    if spread is not None:
        if faint:
            runs = group.runs.T
            axis.plot(*runs, group.marker, color=color, alpha=0.3, markersize=5, markeredgewidth=0, label="_run")
        wide, caps, alpha = (1.1, 2.5, 1.0) if faint else (0.8, 0.0, 0.6)
        bars = axis.errorbar(clean, robust, spread[1], spread[0], color=color, elinewidth=wide, capsize=caps, zorder=2)
        for line in (*bars.lines[1], *bars.lines[2]):
            line.set_alpha(alpha)
    inside, edge, size = ("white", color, 7.5) if group.hollow else (color, "white", 8.5)
    (mark,) = axis.plot(clean, robust, group.marker, color=color, markersize=size, label=group.label, zorder=3)
    mark.set(markerfacecolor=inside, markeredgecolor=edge)


def _names(groups: Sequence[_Group]) -> list[PointLabel]:
    """Labels of the solid groups, or of all where none is solid."""
    named: set[str] = set()
    begun: set[str] = set()
    names = []
    for group in sorted(groups, key=lambda group: group.hollow):
        if group.label in named:
            continue
        text = group.label
        if group.family in begun and text.startswith(f"{group.family}-"):
            text = text.removeprefix(f"{group.family}-")
        named.add(group.label)
        begun.add(group.family)
        clean, robust = group.mean
        text = fit(text, _NAME_WIDTH, _FONT)
        names.append(PointLabel(text, float(clean), float(robust), style.darker(group.color)))
    return names


def _key(groups: Sequence[_Group], joined: Sequence[str], outside: Sequence[_Group]) -> str:
    """What bars, line and hollow markers mean, as far as there are any, and what is not in the picture."""
    bars = "bars: \N{PLUS-MINUS SIGN} one standard deviation over seeds"
    parts = [bars] if any(group.spread is not None for group in groups) else []
    parts += ["grey line: the curve to beat"] if joined else []
    parts += ["hollow: trained weights, not their average"] if any(group.hollow for group in groups) else []
    away = [
        f"{group.label}{' (hollow)' if group.hollow else ''} at {group.mean[0]:.1f}, {group.mean[1]:.1f}"
        for group in outside
    ]
    key = ";  ".join(parts)
    return f"{key}\n{fit('off the picture: ' + '; '.join(away), style.WIDTH - 1, 9)}" if away else key


def _framed(groups: Sequence[_Group], curve: Sequence[_Group]) -> tuple[list[_Group], list[_Group]]:
    """The groups near the curve, and those so far off that the picture would be of empty space: natural training."""
    if len(curve) < 2:
        return list(groups), []
    means = np.array([group.mean for group in curve])
    low, high = means.min(axis=0), means.max(axis=0)
    room = np.maximum(high - low, _LEAST_SPAN)
    near = [bool(((low - room <= group.mean) & (group.mean <= high + room)).all()) for group in groups]
    return [g for g, is_near in zip(groups, near, strict=True) if is_near], [
        g for g, is_near in zip(groups, near, strict=True) if not is_near
    ]


def _set_limits(axis: Axes, runs: NDArray[np.float64]) -> None:
    low, high = runs.min(axis=0), runs.max(axis=0)
    half = np.maximum((high - low) * 0.62, _LEAST_SPAN / 2)
    middle = (low + high) / 2
    axis.set_xlim(middle[0] - half[0], middle[0] + half[0])
    axis.set_ylim(middle[1] - half[1], middle[1] + half[1])


def _inked(group: _Group) -> NDArray[np.float64]:
    """Return points `[K, 2]` on all that is drawn of a group: runs, mean and bars."""
    mean, spread = group.mean[None], group.spread
    if spread is None:
        return mean
    bars = [_along(np.concatenate([mean - along, mean + along])) for along in np.diag(spread)]
    return np.concatenate([group.runs, *bars])


def _along(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points `[K, 2]` along the line through `corners` `[M, 2]`: labels keep off points, so off lines too."""
    if len(corners) < 2:
        return corners
    share = np.linspace(0, 1, 25)[:, None]
    return np.concatenate([np.asarray(start + share * (end - start)) for start, end in pairwise(corners)])
