"""Clean accuracy against robust accuracy, one marker per run."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from iaat.analysis import style
from iaat.analysis.labels import PointLabel, place_labels
from iaat.analysis.text import fit, put_title
from iaat.errors import UserError

_COLORS = list(style.PALETTE.values())[:-1]
_MARKERS = "osD^vPX<"
_NAME_WIDTH = 2.4
_FONT = 9.5
# Percentage points the axes span at least: the noise of one run must not fill the picture.
_LEAST_SPAN = 4.0


@dataclass(frozen=True, slots=True)
class TradeoffPoint:
    """One run.

    Attributes:
        label: Its group: runs of the same label are repetitions with other seeds.
        clean: Accuracy on clean inputs, a fraction.
        robust: Accuracy under attack, a fraction.
    """

    label: str
    clean: float
    robust: float


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
    sample standard deviation along both axes.

    Args:
        points: The runs, at least one.
        path: Where to write: .png, .svg or .pdf.
        robust_name: What the robust accuracy is, for the axis: attack and radius.
        joined: Labels whose means a thin line joins in this order, such as uniform radii: the curve to beat.
        title: A line above the picture.

    Returns:
        The figure that was written.

    Raises:
        UserError: No point, an accuracy outside [0, 1], a joined label that no point has; or the suffix is unknown.
    """
    groups = _groups(points)
    unknown = [label for label in joined if label not in groups]
    if unknown:
        raise UserError(f"joined: no point is labelled {unknown[0]!r}; there are {', '.join(map(repr, groups))}")
    with style.context():
        figure = Figure(figsize=(style.WIDTH, 5.0), layout="constrained")
        axis = figure.subplots()
        curve = np.array([groups[label].mean(axis=0) for label in joined]).reshape(-1, 2)
        axis.plot(*curve.T, color=style.MUTED, linewidth=1, zorder=1, label="_joined")
        names = [_draw_group(axis, number, label, runs) for number, (label, runs) in enumerate(groups.items())]
        axis.set(xlabel="clean accuracy (%)", ylabel=f"{robust_name} (%)")
        _set_limits(axis, np.concatenate(list(groups.values())))
        put_title(figure, title)
        if any(len(runs) > 1 for runs in groups.values()):
            axis.set_title("bars: \N{PLUS-MINUS SIGN} one standard deviation over seeds", size=9, weight="normal")
        place_labels(axis, names, np.concatenate([_along(curve), *map(_inked, groups.values())]), _FONT)
        style.save(figure, path)
    return figure


def _groups(points: Sequence[TradeoffPoint]) -> dict[str, NDArray[np.float64]]:
    """Return label -> `[runs, 2]` clean and robust accuracy in percent, in the order of the points."""
    if not points:
        raise UserError("no trade-off to draw: there are no points")
    groups: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        if not (0 <= point.clean <= 1 and 0 <= point.robust <= 1):
            raise UserError(
                f"{point.label}: accuracies are fractions in [0, 1], got clean={point.clean}, robust={point.robust}"
            )
        groups.setdefault(point.label, []).append((point.clean * 100, point.robust * 100))
    return {label: np.array(runs) for label, runs in groups.items()}


def _draw_group(axis: Axes, number: int, label: str, runs: NDArray[np.float64]) -> PointLabel:
    color, marker = _COLORS[number % len(_COLORS)], _MARKERS[number % len(_MARKERS)]
    clean, robust = runs.mean(axis=0)
    if len(runs) > 1:
        axis.plot(*runs.T, marker, color=color, alpha=0.3, markersize=5, markeredgewidth=0, label="_run")
        spread_clean, spread_robust = runs.std(axis=0, ddof=1)
        axis.errorbar(clean, robust, spread_robust, spread_clean, color=color, elinewidth=1.1, capsize=2.5, zorder=2)
    axis.plot(clean, robust, marker, color=color, markeredgecolor="white", markersize=8.5, label=label, zorder=3)
    return PointLabel(fit(label, _NAME_WIDTH, _FONT), float(clean), float(robust), style.darker(color))


def _set_limits(axis: Axes, runs: NDArray[np.float64]) -> None:
    low, high = runs.min(axis=0), runs.max(axis=0)
    half = np.maximum((high - low) * 0.62, _LEAST_SPAN / 2)
    middle = (low + high) / 2
    axis.set_xlim(middle[0] - half[0], middle[0] + half[0])
    axis.set_ylim(middle[1] - half[1], middle[1] + half[1])


def _inked(runs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points `[K, 2]` on all that is drawn of a group: runs, mean and bars."""
    mean: NDArray[np.float64] = runs.mean(axis=0, keepdims=True)
    if len(runs) == 1:
        return mean
    spreads = np.diag(runs.std(axis=0, ddof=1))
    bars = [_along(np.concatenate([mean - spread, mean + spread])) for spread in spreads]
    return np.concatenate([runs, *bars])


def _along(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points `[K, 2]` along the line through `corners` `[M, 2]`: labels keep off points, so off lines too."""
    if len(corners) < 2:
        return corners
    share = np.linspace(0, 1, 25)[:, None]
    return np.concatenate([np.asarray(start + share * (end - start)) for start, end in pairwise(corners)])
