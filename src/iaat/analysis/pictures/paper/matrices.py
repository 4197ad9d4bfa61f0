"""Charts of numbers in cells: how alike runs are, accuracy on corruptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from iaat.analysis.figure_text import fit, text_width
from iaat.analysis.pictures.paper import look as paper

_MOST_RUNS = 40
_LEAST_CELL_WITH_TEXT = 0.2
_NAME_WIDTH = 1.3
_RUN_WIDTH = 1.6
_FEW_RUNS = 4


def pair_matrix(names: Sequence[str], values: Mapping[tuple[int, int], float], label: str) -> Figure:
    """A value of each pair of runs, numbered, as shade and number; of more than 40 runs those of the first 40.

    Args:
        names: Of the runs.
        values: By their places in `names`.
        label: What the values are.
    """
    of, names = len(names), names[:_MOST_RUNS]
    matrix = np.full((len(names), len(names)), np.nan)
    for (first, second), value in values.items():
        if max(first, second) < len(names):
            matrix[first, second] = matrix[second, first] = value
    with paper.context():
        few = len(names) <= _FEW_RUNS
        size = paper.FONT if len(names) <= 24 else paper.SMALL
        fitted = [f"{paper.fit_name(name, _RUN_WIDTH, size)}  {row}" for row, name in enumerate(names, start=1)]
        margin = max(text_width(name, size) for name in fitted) + 0.1
        cell = min(0.5, ((paper.COLUMN if few else paper.PAGE) - margin - 0.75) / len(names))
        width = max(margin + cell * len(names) + 0.75, 2.0)
        figure = Figure(figsize=(width, cell * len(names) + 0.5), layout="constrained")
        axis = figure.subplots()
        lowest = float(np.nanmin(matrix)) if np.isfinite(matrix).any() else 0.0
        norm = Normalize(min(0.0, lowest), 1)
        _draw_cells(axis, matrix, norm, 2, numbers=cell >= _LEAST_CELL_WITH_TEXT)
        axis.set_aspect("equal")
        axis.set_xticks(range(len(names)), [str(row + 1) for row in range(len(names))], fontsize=size)
        axis.set_yticks(range(len(names)), fitted, fontsize=size)
        axis.set_title(label + (f", first {len(names)} of {of} runs" if of > len(names) else ""))
        bar = figure.colorbar(ScalarMappable(norm, paper.SHADES), ax=axis, aspect=22, pad=0.02)
        bar.outline.set_visible(False)
        paper.settle(figure)
    return figure


@dataclass(frozen=True, slots=True)
class Grid:
    """Accuracy on corruptions.

    Attributes:
        name: Of the run or recipe.
        accuracy: Shares by corruption, one a severity.
        seeds: Runs it is the mean of.
    """

    name: str
    accuracy: Mapping[str, Sequence[float | None]]
    seeds: int = 1


def severity_maps(runs: Sequence[Grid]) -> Figure:
    """Accuracy by corruption and severity, a panel each, with the mean of all in its title."""
    kinds = list(dict.fromkeys(kind for run in runs for kind in run.accuracy))
    severities = max(len(values) for run in runs for values in run.accuracy.values())
    norm = Normalize(0, 100)
    with paper.context():
        figure, axes = paper.panels(len(runs), 4, 0.75 + 0.145 * len(kinds), share_y=True)
        columns = min(4, len(runs))
        room = (figure.get_figwidth() - _NAME_WIDTH - 0.5) / columns - 0.1
        for axis, run in zip(axes, runs, strict=True):
            cells = np.full((len(kinds), severities), np.nan)
            for row, kind in enumerate(kinds):
                values = paper.finite(run.accuracy.get(kind, ()))
                cells[row, : len(values)] = 100 * values
            _draw_cells(axis, cells, norm, 0, numbers=True)
            axis.set_xticks(range(severities), [str(number + 1) for number in range(severities)])
            axis.set_xlabel("severity")
            mean = f"mean {np.nanmean(cells):.1f} %" if np.isfinite(cells).any() else "no values"
            of = f", {run.seeds} seeds" if run.seeds > 1 else ""
            axis.set_title(f"{paper.fit_name(run.name, room)}\n{mean}{of}")
        axes[0].set_yticks(range(len(kinds)), [fit(kind.replace("_", " "), _NAME_WIDTH, paper.FONT) for kind in kinds])
        bar = figure.colorbar(ScalarMappable(norm, paper.SHADES), ax=axes, aspect=30, pad=0.01)
        bar.set_label("accuracy (%)")
        bar.outline.set_visible(False)
        paper.settle(figure)
    return figure


def _draw_cells(axis: Axes, cells: NDArray[np.float64], norm: Normalize, digits: int, *, numbers: bool) -> None:
    axis.grid(visible=False)
    axis.set_facecolor("#F2F2F2")
    down, across = (np.arange(size + 1) - 0.5 for size in cells.shape)
    shades = np.ma.masked_invalid(cells)
    axis.pcolormesh(across, down, shades, cmap=paper.SHADES, norm=norm, edgecolors="white", linewidth=0.6)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    for (row, column), value in np.ndenumerate(cells):
        if numbers and np.isfinite(value):
            color = paper.ink_on(float(norm(value)))
            text = f"{value:.{digits}f}"
            axis.text(column, row, text, ha="center", va="center", fontsize=paper.SMALL, color=color)
    axis.set_xlim(-0.5, cells.shape[1] - 0.5)
    axis.set_ylim(cells.shape[0] - 0.5, -0.5)
