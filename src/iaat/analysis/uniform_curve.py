"""Distance of a method from the curve of uniform radii, in robust accuracy at the same clean accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean
from typing import NamedTuple

from iaat.statistics import Spread, spread


class Point(NamedTuple):
    """Clean and robust accuracy of a run, or the means of several, in percent."""

    clean: float
    robust: float


Runs = Mapping[int, Point]
"""The runs of one recipe by their seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """Distance of a recipe from the curve, in points of robust accuracy at the same clean accuracy.

    Attributes:
        by_seed: For each seed; None where its clean accuracy is outside the curve's.
        spread: Over the seeds that are inside; None where none is.
        verdict: `above` or `below` where the 95 % t-interval over seeds excludes 0, else `tie` where the mean is within
            one standard deviation of 0, and `undecided` beyond it: the seeds are too few to say. `one seed` where only
            one is inside, and `outside` where none is.
    """

    by_seed: dict[int, float | None]
    spread: Spread | None = None
    verdict: str


def above_curve(curve: Sequence[Point], clean: float, robust: float) -> float | None:
    """Return the distance of a point above the curve through `curve`, linear between its points; None outside them.

    The points are joined in the order of their clean accuracy; of several with the same, the most robust counts. A
    concave curve lies above its chords, so between measured points the distance to it is smaller than this.
    """
    best: dict[float, float] = {}
    for point in curve:
        best[point.clean] = max(point.robust, best.get(point.clean, point.robust))
    knots = sorted(best.items())
    if not knots or not knots[0][0] <= clean <= knots[-1][0]:
        return None
    if clean in best:
        return robust - best[clean]
    (x0, y0), (x1, y1) = next((left, right) for left, right in pairwise(knots) if left[0] < clean < right[0])
    return robust - (y0 + (y1 - y0) * (clean - x0) / (x1 - x0))


def distance(runs: Runs, curve: Sequence[Runs]) -> Distance:
    """Compare each run with the curve of its own seed, or with the mean curve where its seed has no whole curve.

    Runs of one seed have the same initial weights and order of data, so pairs differ less than seeds do. The
    mean curve's own uncertainty is not part of the spread.

    Args:
        runs: The recipe to compare, at least one run.
        curve: The recipes of the curve, each with at least one run.
    """
    by_seed = {seed: above_curve(_curve_of(seed, curve), *point) for seed, point in sorted(runs.items())}
    inside = [value for value in by_seed.values() if value is not None]
    over = spread(inside) if inside else None
    return Distance(by_seed=by_seed, spread=over, verdict=_verdict(over))


def _curve_of(seed: int, curve: Sequence[Runs]) -> list[Point]:
    if all(seed in runs for runs in curve):
        return [runs[seed] for runs in curve]
    return [mean_point(runs) for runs in curve]


def mean_point(runs: Runs) -> Point:
    """Return the means over seeds."""
    return Point(mean(point.clean for point in runs.values()), mean(point.robust for point in runs.values()))


def _verdict(over: Spread | None) -> str:
    if over is None:
        return "outside"
    if over.interval is None:
        return "one seed"
    low, high = over.interval
    if low > 0 or high < 0:
        return "above" if low > 0 else "below"
    return "tie" if over.sd is None or abs(over.mean) <= over.sd else "undecided"
