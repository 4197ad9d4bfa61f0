"""The distribution of the radii over the epochs."""

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from iaat.analysis import style
from iaat.analysis.checks import PX_PER_UNIT, as_radii
from iaat.analysis.figure_text import put_title
from iaat.errors import UserError

Floats = NDArray[np.float64]

_MOST_BINS = 48
_MEDIAN, _REFERENCE = style.PALETTE["orange"], style.PALETTE["vermillion"]
_BARS = "#8FC3E6"
_DENSITY = LinearSegmentedColormap.from_list("density", ["#F4F9FD", _BARS, style.PALETTE["blue"], "#00263F"])
_HEADROOM = 1.05


def radius_histogram(
    snapshots: Mapping[int, ArrayLike],
    path: str | os.PathLike[str],
    *,
    reference_px: float | None = None,
    title: str | None = None,
) -> Figure:
    """Draw the distribution of the radii over the epochs, and the last epoch's as a histogram beside it.

    A column of the map is one snapshot; its colour is the share of the samples in each bin. One snapshot alone is drawn
    as a histogram. Bins are centred on multiples of their width, so that radii which move in even steps do not fall on
    the edges.

    Args:
        snapshots: Epoch -> radii `[N]` on the [0, 1] image scale, none negative. N may differ.
        path: Where to write: .png, .svg or .pdf.
        reference_px: A uniform radius to compare with, in px, drawn as a line.
        title: A line above the picture.

    Returns:
        The figure that was written.

    Raises:
        UserError: No snapshot, an empty one, or a radius that is negative or not finite; or the suffix is unknown.
    """
    radii = {epoch: as_radii(snapshots[epoch], f"radii of epoch {epoch}") * PX_PER_UNIT for epoch in sorted(snapshots)}
    if not radii or not all(values.size for values in radii.values()):
        raise UserError("no radii to draw: there is no snapshot, or one of no samples")
    edges = bin_edges(max(float(values.max()) for values in radii.values()))
    with style.context():
        figure = Figure(figsize=(style.WIDTH, 3.6), layout="constrained")
        if len(radii) == 1:
            _draw_alone(figure.subplots(), radii, edges, reference_px)
        else:
            by_epoch, at_end = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1])
            _draw_map(by_epoch, radii, edges, reference_px)
            _draw_end(at_end, radii, edges, reference_px)
        put_title(figure, title)
        style.save(figure, path)
    return figure


def bin_edges(top: float) -> Floats:
    """Return the edges of at most 48 bins, centred on multiples of a round width, that cover 0 to `top` px.

    With every radius at 0 they cover 0 to 1.
    """
    top = top or 1.0
    least = top / (_MOST_BINS - 1.5)
    power = 10.0 ** math.floor(math.log10(least))
    width = power * next(step for step in (1, 2, 2.5, 5, 10) if step * power >= least)
    # Where `top` sits on an edge, rounding must not put it beyond the last: it would be counted nowhere.
    count = math.floor(top / width + 0.5 + 1e-9) + 1
    return np.asarray((np.arange(count + 1) - 0.5) * width, dtype=np.float64)


def _draw_map(axis: Axes, radii: Mapping[int, Floats], edges: Floats, reference_px: float | None) -> None:
    share = np.stack([np.histogram(values, edges)[0] * 100 / values.size for values in radii.values()])
    # An epoch where all radii are equal is one bin at 100 %: bounding the scale there would pale all the others.
    darkest = float(np.quantile(share.max(axis=1), 0.8))
    mesh = axis.pcolormesh(
        _columns(list(radii)),
        edges,
        np.ma.masked_equal(share.T, 0),
        cmap=_DENSITY,
        norm=PowerNorm(0.6, vmin=0, vmax=darkest, clip=True),
        rasterized=True,
    )
    medians = [float(np.median(values)) for values in radii.values()]
    axis.plot(list(radii), medians, color=_MEDIAN, marker="o", markersize=2.5, label="median")
    _draw_reference(axis.axhline, reference_px)
    axis.set(xlabel="epoch", ylabel="radius (px)", title="radii by epoch", ylim=_limits(edges, reference_px))
    axis.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axis.grid(visible=False)
    # Above the map: inside, no corner is sure to be free.
    axis.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, borderaxespad=0)
    beyond = "max" if share.max() > darkest else "neither"
    bar = axis.figure.colorbar(mesh, ax=axis, pad=0.01, aspect=30, extend=beyond, ticks=MaxNLocator(5))
    bar.set_label("samples in the bin (%)", size=9)
    bar.outline.set_visible(False)


def _draw_end(axis: Axes, radii: Mapping[int, Floats], edges: Floats, reference_px: float | None) -> None:
    epoch, values = list(radii.items())[-1]
    axis.hist(values, bins=edges.tolist(), orientation="horizontal", color=_BARS)
    axis.axhline(float(np.median(values)), color=_MEDIAN)
    _draw_reference(axis.axhline, reference_px)
    axis.set(xlabel="samples", title=f"epoch {epoch}")
    axis.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True, min_n_ticks=1))
    axis.tick_params(left=False)


def _draw_alone(axis: Axes, radii: Mapping[int, Floats], edges: Floats, reference_px: float | None) -> None:
    epoch, values = next(iter(radii.items()))
    axis.hist(values, bins=edges.tolist(), color=_BARS)
    axis.axvline(float(np.median(values)), color=_MEDIAN, label="median")
    _draw_reference(axis.axvline, reference_px)
    axis.set(xlabel="radius (px)", ylabel="samples", title=f"radii at epoch {epoch}")
    axis.set_xlim(_limits(edges, reference_px))
    axis.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    # Beside the bars, not on them: one tall bar is the common case.
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))


def _draw_reference(draw: Callable[..., Any], reference_px: float | None) -> None:
    if reference_px is not None:
        draw(reference_px, color=_REFERENCE, linestyle="--", linewidth=1.4, label=f"uniform {reference_px:g} px")


def _columns(epochs: list[int]) -> Floats:
    """Return the edges between unevenly spaced epochs: midways, and half an epoch out at both ends."""
    at = np.array(epochs, dtype=np.float64)
    return np.concatenate([[at[0] - 0.5], (at[1:] + at[:-1]) / 2, [at[-1] + 0.5]])


def _limits(edges: Floats, reference_px: float | None) -> tuple[float, float]:
    return float(edges[0]), max(float(edges[-1]), reference_px or 0.0) * _HEADROOM
