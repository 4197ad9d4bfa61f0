"""Charts of the radii of runs: histograms over the epochs, quantiles of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from iaat.analysis import style
from iaat.analysis.figure_text import fit
from iaat.analysis.pictures.paper import look as paper

_MOST_ROWS = 10
_OVERLAP = 1.5
_MOST_CLASSES = 40
_NAME_WIDTH = 1.1


@dataclass(frozen=True, slots=True)
class Ridge:
    """Histograms of the radii of one run.

    Attributes:
        name: Of the run.
        epochs: Their numbers.
        edges_px: Of the bins, one more than there are.
        counts: Samples in each bin, for each epoch.
    """

    name: str
    epochs: Sequence[int]
    edges_px: Sequence[float]
    counts: Sequence[Sequence[int]]


def ridges(runs: Sequence[Ridge]) -> Figure:
    """Histograms of up to 10 epochs of each run, evenly chosen, each scaled to its own peak, the last at the foot."""
    with paper.context():
        rows = max(len(_chosen(len(run.epochs))) for run in runs)
        figure, axes = paper.panels(len(runs), 3, 0.75 + 0.19 * rows)
        room = figure.get_figwidth() / min(3, len(runs)) - 0.4
        for axis, run in zip(axes, runs, strict=True):
            _draw_ridge(axis, run)
            paper.panel_title(axis, run.name, room)
            axis.set_xlabel("radius (px)")
            if paper.first_in_row(axis):
                axis.set_ylabel("epoch")
        paper.settle(figure)
    return figure


def _draw_ridge(axis: Axes, run: Ridge) -> None:
    chosen = _chosen(len(run.epochs))
    for row, number in enumerate(chosen):
        counts = np.array(run.counts[number], dtype=np.float64)
        base = float(len(chosen) - 1 - row)
        share = (row + 1) / len(chosen)
        axis.stairs(
            base + counts / max(counts.max(initial=0), 1) * _OVERLAP,
            run.edges_px,
            baseline=base,
            fill=True,
            facecolor=paper.SHADES(0.25 + 0.4 * share),
            edgecolor="white",
            linewidth=0.5,
            zorder=2 + row,
        )
        axis.axhline(base, color=style.GRID, linewidth=0.5, zorder=1.9 + row)
    axis.set_yticks(range(len(chosen))[::-1], [f"{run.epochs[number]}" for number in chosen])
    axis.set_ylim(-0.15, len(chosen) - 1 + _OVERLAP + 0.1)
    axis.set_xlim(run.edges_px[0], run.edges_px[-1])
    axis.tick_params(axis="y", length=0)
    axis.grid(visible=False, axis="y")
    axis.spines["left"].set_visible(False)


def _chosen(count: int) -> list[int]:
    """Places of at most 10 of `count` epochs, first and last among them."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, _MOST_ROWS))})


@dataclass(frozen=True, slots=True)
class ByClass:
    """Quantiles of the radii of each class of one run.

    Attributes:
        name: Of the run.
        quantiles: For each class in px by level: `5`, `25`, `50`, `75`, `95`; None for a class without samples.
    """

    name: str
    quantiles: Sequence[Mapping[str, float] | None]


def class_quantiles(runs: Sequence[ByClass], classes: Sequence[str]) -> Figure:
    """The radii of each class, lowest median on top, a panel a run, all in one order.

    Of more than 40 classes the 20 lowest and the 20 highest medians are drawn.
    """
    order = _order(runs, len(classes))
    half = _MOST_CLASSES // 2
    shown = order if len(order) <= _MOST_CLASSES else order[:half] + order[-half:]
    with paper.context():
        figure, axes = paper.panels(len(runs), 3, 0.6 + 0.135 * len(shown), share_y=True)
        room = (figure.get_figwidth() - _NAME_WIDTH - 0.2) / min(3, len(runs)) - 0.15
        for axis, run in zip(axes, runs, strict=True):
            _draw_classes(axis, [run.quantiles[number] for number in shown])
            paper.panel_title(axis, run.name, room)
            axis.set_xlabel("radius (px)")
            if len(order) > len(shown):
                axis.axhline(half - 0.5, color=style.MUTED, linewidth=0.8, linestyle=":")
        axes[0].set_yticks(range(len(shown)), [fit(classes[number], _NAME_WIDTH, paper.FONT) for number in shown])
        axes[0].set_ylim(len(shown) - 0.4, -0.6)
        handles = [
            Line2D([], [], color=style.PALETTE["sky"], linewidth=1.4),
            Patch(color=style.PALETTE["blue"]),
            Line2D([], [], linestyle="", marker="o", color="white", markeredgecolor=style.INK),
        ]
        cut = f"{half} lowest and {half} highest medians of {len(order)} classes" if len(order) > len(shown) else None
        paper.legend_below(figure, handles, ["5\N{EN DASH}95 %", "25\N{EN DASH}75 %", "median"], cut)
        paper.settle(figure)
    return figure


def _order(runs: Sequence[ByClass], count: int) -> list[int]:
    """The classes that any run has samples of, by the mean of their medians."""
    medians = {
        number: [found["50"] for run in runs if (found := run.quantiles[number]) is not None] for number in range(count)
    }
    return sorted((number for number, found in medians.items() if found), key=lambda n: float(np.mean(medians[n])))


def _draw_classes(axis: Axes, quantiles: Sequence[Mapping[str, float] | None]) -> None:
    there = [(row, found) for row, found in enumerate(quantiles) if found is not None]
    rows = [row for row, _ in there]
    p5, p25, p50, p75, p95 = (np.array([found[level] for _, found in there]) for level in ("5", "25", "50", "75", "95"))
    axis.hlines(rows, p5, p95, color=style.PALETTE["sky"], linewidth=1.4, zorder=1.5)
    axis.barh(rows, p75 - p25, left=p25, height=0.55, color=style.PALETTE["blue"], zorder=2)
    axis.plot(p50, rows, "o", color="white", markeredgecolor=style.INK, markeredgewidth=0.7, label="median")
    axis.set_xlim(left=min(0.0, float(p5.min(initial=0))))
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)
