"""Histograms and quantiles of per-sample radii."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iaat.analysis.array_checks import as_labels, as_radii
from iaat.errors import UserError
from iaat.statistics import QUANTILES
from iaat.units import Norm, unit_of

_MOST_BINS = 48
_STEP_DIGITS = 5
"""Significant digits of the largest radius to which steps of radii are compared."""


@dataclass(frozen=True, slots=True)
class RadiusHistograms:
    """Histograms of the radii of one run over its epochs.

    Attributes:
        name: Name of the run.
        epochs: Epochs with kept radii, ascending.
        edges: Edges of the bins in px, one more than there are bins; L2 norms as they are where `norm` is `l2`.
        counts: Samples in each bin, for each epoch.
        medians: Median radius of each epoch in px, or in L2 likewise; None where it is not known.
        norm: Of the radii, `linf` or `l2`.
    """

    name: str
    epochs: Sequence[int]
    edges: Sequence[float]
    counts: Sequence[Sequence[int]]
    medians: Sequence[float | None]
    norm: Norm = "linf"


def radius_histograms(snapshots: Mapping[int, ArrayLike], name: str = "", *, norm: Norm = "linf") -> RadiusHistograms:
    """Count radii in bins, epoch by epoch.

    Args:
        snapshots: Epoch -> radii `[N]` on the [0, 1] image scale, none negative. N may differ.
        name: Name of the run.
        norm: Of the radii: they are counted in px in L-inf, and as they are in L2.

    Raises:
        UserError: No snapshot, an empty one, or a radius that is negative or not finite.
    """
    scale = unit_of(norm).scale
    radii = {epoch: as_radii(snapshots[epoch], f"radii of epoch {epoch}") * scale for epoch in sorted(snapshots)}
    if not radii or not all(values.size for values in radii.values()):
        raise UserError("no radii to count: there is no snapshot, or one of no samples")
    top = max(float(values.max()) for values in radii.values())
    edges = bin_edges(top, lattice_step(list(radii.values())))
    counts = [np.histogram(values, edges)[0].tolist() for values in radii.values()]
    return RadiusHistograms(
        name, list(radii), edges.tolist(), counts, [float(np.median(values)) for values in radii.values()], norm
    )


def lattice_step(snapshots: Sequence[NDArray[np.float64]]) -> float | None:
    """Return the step that most radii take between two epochs; None where they take no common one.

    Args:
        snapshots: Radii in one unit, epoch by epoch; only those of equal length are compared.
    """
    changes = [np.abs(after - before) for before, after in pairwise(snapshots) if len(before) == len(after)]
    top = max((float(values.max(initial=0)) for values in snapshots), default=0.0)
    if not changes or not top:
        return None
    steps = np.concatenate(changes).round(_STEP_DIGITS - 1 - math.floor(math.log10(top)))
    moved = steps[steps > 0]
    if not moved.size:
        return None
    values, counts = np.unique(moved, return_counts=True)
    return float(values[counts.argmax()]) if counts.max() > moved.size / 2 else None


def bin_edges(top: float, step: float | None = None) -> NDArray[np.float64]:
    """Return the edges of at most 48 bins, centred on multiples of a round width, that cover 0 to `top`.

    Radii that move in even steps then do not fall on the edges. With every radius at 0 the bins cover 0 to 1.

    Where all radii go up or down by one step in every epoch, they are on every second multiple of it, the others in the
    next epoch: finer bins would be empty in turn, and a map of them a checkerboard. A bin then holds an even number of
    such multiples, and its edges lie halfway between two.

    Args:
        top: The largest radius, in px or in L2.
        step: Step that most radii take between two epochs, in the same unit.
    """
    top = top or 1.0
    least = top / (_MOST_BINS - 1.5)
    if step is not None:
        width = 2 * step * math.ceil(least / (2 * step))
        count = math.floor((top + step / 2) / width + 1e-9) + 1
        return np.asarray(np.arange(count + 1) * width - step / 2, dtype=np.float64)
    power = 10.0 ** math.floor(math.log10(least))
    width = power * next(step for step in (1, 2, 2.5, 5, 10) if step * power >= least)
    # Where `top` sits on an edge, rounding must not put it beyond the last: it would be counted nowhere.
    count = math.floor(top / width + 0.5 + 1e-9) + 1
    return np.asarray((np.arange(count + 1) - 0.5) * width, dtype=np.float64)


def quantiles_by_class(
    radii: ArrayLike, labels: ArrayLike, classes: Sequence[str], *, norm: Norm = "linf"
) -> list[dict[str, float] | None]:
    """Return quantiles of the radii of each class by level: `5`, `25`, `50`, `75`, `95`; None without samples.

    Args:
        radii: `[N]`, on the [0, 1] image scale, none negative.
        labels: `[N]`, integers in `[0, len(classes))`.
        classes: Class names by label.
        norm: Of the radii: quantiles are in px in L-inf, and as they are in L2.

    Raises:
        UserError: Arrays that do not fit each other or are out of range.
    """
    values = as_radii(radii) * unit_of(norm).scale
    owners = as_labels(labels, "labels", len(values), classes)
    groups = (values[owners == number] for number in range(len(classes)))
    return [
        {str(level): float(np.percentile(group, level)) for level in QUANTILES} if group.size else None
        for group in groups
    ]
