"""Histograms and quantiles of per-sample radii."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iaat.analysis.array_checks import PX_PER_UNIT, as_labels, as_radii
from iaat.errors import UserError
from iaat.runs.epoch_record import RADIUS_QUANTILES

_MOST_BINS = 48


@dataclass(frozen=True, slots=True)
class RadiusHistograms:
    """Histograms of the radii of one run over its epochs.

    Attributes:
        name: Name of the run.
        epochs: Epochs with kept radii, ascending.
        edges_px: Edges of the bins in px, one more than there are bins.
        counts: Samples in each bin, for each epoch.
        medians_px: Median radius of each epoch in px; None where it is not known.
    """

    name: str
    epochs: Sequence[int]
    edges_px: Sequence[float]
    counts: Sequence[Sequence[int]]
    medians_px: Sequence[float | None]


def radius_histograms(snapshots: Mapping[int, ArrayLike], name: str = "") -> RadiusHistograms:
    """Count radii in bins, epoch by epoch.

    Args:
        snapshots: Epoch -> radii `[N]` on the [0, 1] image scale, none negative. N may differ.
        name: Name of the run.

    Raises:
        UserError: No snapshot, an empty one, or a radius that is negative or not finite.
    """
    radii = {epoch: as_radii(snapshots[epoch], f"radii of epoch {epoch}") * PX_PER_UNIT for epoch in sorted(snapshots)}
    if not radii or not all(values.size for values in radii.values()):
        raise UserError("no radii to count: there is no snapshot, or one of no samples")
    edges = bin_edges(max(float(values.max()) for values in radii.values()))
    counts = [np.histogram(values, edges)[0].tolist() for values in radii.values()]
    return RadiusHistograms(
        name, list(radii), edges.tolist(), counts, [float(np.median(values)) for values in radii.values()]
    )


def bin_edges(top: float) -> NDArray[np.float64]:
    """Return the edges of at most 48 bins, centred on multiples of a round width, that cover 0 to `top` px.

    Radii that move in even steps then do not fall on the edges. With every radius at 0 the bins cover 0 to 1.
    """
    top = top or 1.0
    least = top / (_MOST_BINS - 1.5)
    power = 10.0 ** math.floor(math.log10(least))
    width = power * next(step for step in (1, 2, 2.5, 5, 10) if step * power >= least)
    # Where `top` sits on an edge, rounding must not put it beyond the last: it would be counted nowhere.
    count = math.floor(top / width + 0.5 + 1e-9) + 1
    return np.asarray((np.arange(count + 1) - 0.5) * width, dtype=np.float64)


def quantiles_by_class(radii: ArrayLike, labels: ArrayLike, classes: Sequence[str]) -> list[dict[str, float] | None]:
    """Return quantiles of the radii of each class in px, by level: `5`, `25`, `50`, `75`, `95`; None without samples.

    Args:
        radii: `[N]`, on the [0, 1] image scale, none negative.
        labels: `[N]`, integers in `[0, len(classes))`.
        classes: Class names by label.

    Raises:
        UserError: Arrays that do not fit each other or are out of range.
    """
    values = as_radii(radii) * PX_PER_UNIT
    owners = as_labels(labels, "labels", len(values), classes)
    groups = (values[owners == number] for number in range(len(classes)))
    return [
        {str(level): float(np.percentile(group, level)) for level in RADIUS_QUANTILES} if group.size else None
        for group in groups
    ]
