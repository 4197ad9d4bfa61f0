"""Charts of numbers in cells: rank correlation of runs, accuracy on corruptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from iaat.analysis.charts.layout import finite, make_panels, settle
from iaat.analysis.figure_text import fit_name, fit_text, text_width
from iaat.analysis.style import SHADES, Style, ink_on

_MOST_RUNS = 40
_MOST_IN_FONT = 24
_LEAST_CELL_WITH_TEXT = 0.2
_NAME_WIDTH = 1.3
_RUN_WIDTH = 1.6
_FEW_RUNS = 4


def draw_rank_correlations(names: Sequence[str], values: Mapping[tuple[int, int], float], *, style: Style) -> Figure:
    """Draw the rank correlation of the radii of each pair of runs as shade and number, of at most 40 runs.

    Args:
        names: Names of the runs.
        values: Correlations by the positions of two runs in `names`.
        style: Sizes of the figure.
    """
    of, names = len(names), names[:_MOST_RUNS]
    matrix = np.full((len(names), len(names)), np.nan)
    for (first, second), value in values.items():
        if max(first, second) < len(names):
            matrix[first, second] = matrix[second, first] = value
    with style.context():
        size, scale = style.font if len(names) <= _MOST_IN_FONT else style.small, style.scale
        fitted = [f"{fit_name(name, _RUN_WIDTH * scale, size)}  {row}" for row, name in enumerate(names, start=1)]
        margin = max(text_width(name, size) for name in fitted) + 0.1 * scale
        room = (style.column if len(names) <= _FEW_RUNS else style.page) - margin - 0.75 * scale
        cell = min(0.5 * scale, room / len(names))
        width = max(margin + cell * len(names) + 0.75 * scale, 2.0 * scale)
        figure = Figure(figsize=(width, cell * len(names) + 0.5 * scale), layout="constrained")
        axis = figure.subplots()
        lowest = float(np.nanmin(matrix)) if np.isfinite(matrix).any() else 0.0
        norm = Normalize(min(0.0, lowest), 1)
        _draw_cells(axis, matrix, norm, 2, style, numbers=cell >= _LEAST_CELL_WITH_TEXT * scale)
        axis.set_aspect("equal")
        axis.set_xticks(range(len(names)), [str(row + 1) for row in range(len(names))], fontsize=size)
        axis.set_yticks(range(len(names)), fitted, fontsize=size)
        axis.set_title("rank correlation of radii" + (f", first {len(names)} of {of} runs" if of > len(names) else ""))
        bar = figure.colorbar(ScalarMappable(norm, SHADES), ax=axis, aspect=22, pad=0.02)
        bar.outline.set_visible(False)
        settle(figure)
    return figure


@dataclass(frozen=True, slots=True)
class CorruptionGrid:
    """Accuracy of one run or recipe on corruptions.

    Attributes:
        name: Name of the run or recipe.
        accuracy: Fractions by corruption, one for each severity.
        severities: The severities.
        mean: Mean over corruptions, a fraction.
        over: Over which corruptions it is.
        seeds: Number of runs it is the mean of.
    """

    name: str
    accuracy: Mapping[str, Sequence[float | None]]
    severities: Sequence[int]
    mean: float
    over: str
    seeds: int = 1


def draw_corruptions(runs: Sequence[CorruptionGrid], *, style: Style) -> Figure:
    """Draw accuracy by corruption and severity, a panel each with its mean as title.

    The bar says over which corruptions the means are.
    """
    kinds = list(dict.fromkeys(kind for run in runs for kind in run.accuracy))
    norm = Normalize(0, 100)
    with style.context():
        figure, axes = make_panels(len(runs), 0.75 + 0.145 * len(kinds), style=style, most=4, share_y=True)
        names = _NAME_WIDTH * style.scale
        room = (figure.get_figwidth() - names - 0.5 * style.scale) / min(4, len(runs)) - 0.1 * style.scale
        for axis, run in zip(axes, runs, strict=True):
            cells = np.full((len(kinds), len(run.severities)), np.nan)
            for row, kind in enumerate(kinds):
                values = finite(run.accuracy.get(kind, ()))
                cells[row, : len(values)] = 100 * values
            _draw_cells(axis, cells, norm, 0, style, numbers=True)
            axis.set_xticks(range(len(run.severities)), list(map(str, run.severities)))
            axis.set_xlabel("severity")
            of = f", {run.seeds} seeds" if run.seeds > 1 else ""
            axis.set_title(f"{fit_name(run.name, room, style.font)}\nmean {100 * run.mean:.1f} %{of}")
        axes[0].set_yticks(range(len(kinds)), [fit_text(kind.replace("_", " "), names, style.font) for kind in kinds])
        bar = figure.colorbar(ScalarMappable(norm, SHADES), ax=axes, aspect=30, pad=0.01)
        bar.set_label(f"accuracy (%); means of {' or '.join(dict.fromkeys(run.over for run in runs))} corruptions")
        bar.outline.set_visible(False)
        settle(figure)
    return figure


def _draw_cells(
    axis: Axes, cells: NDArray[np.float64], norm: Normalize, digits: int, style: Style, *, numbers: bool
) -> None:
    axis.grid(visible=False)
    axis.set_facecolor("#F2F2F2")
    down, across = (np.arange(size + 1) - 0.5 for size in cells.shape)
    shades = np.ma.masked_invalid(cells)
    axis.pcolormesh(across, down, shades, cmap=SHADES, norm=norm, edgecolors="white", linewidth=0.6 * style.scale)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    for (row, column), value in np.ndenumerate(cells):
        if numbers and np.isfinite(value):
            color = ink_on(float(norm(value)))
            text = f"{value:.{digits}f}"
            axis.text(column, row, text, ha="center", va="center", fontsize=style.small, color=color)
    axis.set_xlim(-0.5, cells.shape[1] - 0.5)
    axis.set_ylim(cells.shape[0] - 0.5, -0.5)
