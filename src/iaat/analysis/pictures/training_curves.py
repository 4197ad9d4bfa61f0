"""Training curves: loss, accuracies, radius and learning rate by epoch."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from iaat.analysis import style
from iaat.analysis.figure_text import put_title
from iaat.errors import UserError

Metrics = Sequence[Mapping[str, Any]]


class _Line(NamedTuple):
    key: str
    name: str
    color: str
    dash: str = "-"


class _Panel(NamedTuple):
    title: str
    lines: tuple[_Line, ...]
    scale: float = 1.0


_COLORS = style.PALETTE
_QUANTILES = "radius_quantiles_px"
_RADIUS = _Panel("radius (px)", (_Line("radius_mean_px", "mean", _COLORS["green"]),))
_PANELS = (
    _Panel("loss", (_Line("loss", "loss", _COLORS["blue"]),)),
    _Panel(
        "accuracy (%)",
        (
            _Line("train_accuracy", "training inputs", _COLORS["orange"], "--"),
            _Line("holdout_clean", "hold-out, clean", _COLORS["blue"]),
            _Line("holdout_robust", "hold-out, robust", _COLORS["vermillion"]),
        ),
        scale=100,
    ),
    _RADIUS,
    _Panel("learning rate", (_Line("lr", "learning rate", _COLORS["purple"]),)),
)
_MARKERS_UP_TO = 40


def training_curves(metrics: Metrics, path: str | os.PathLike[str], *, title: str | None = None) -> Figure:
    """Draw how training went, one panel each for loss, accuracies, radius and learning rate.

    A panel without any data is left out. A value that is missing or None is skipped; one that is not finite leaves a
    gap in its line.

    Args:
        metrics: One record per epoch. Keys, all optional: `epoch` (by default the record's position); `loss`;
            `train_accuracy` (on the inputs the method trained on), `holdout_clean` and `holdout_robust`, fractions;
            `radius_mean_px`; `radius_quantiles_px`, a mapping whose "5" and "95" bound a band; `lr`.
        path: Where to write: .png, .svg or .pdf.
        title: A line above the panels.

    Returns:
        The figure that was written.

    Raises:
        UserError: No record holds anything to draw, or the suffix is unknown.
    """
    panels = [panel for panel in _PANELS if _has_data(metrics, panel)]
    if not panels:
        known = ", ".join(line.key for panel in _PANELS for line in panel.lines)
        raise UserError(f"no training curves to draw: no record has one of {known}")
    rows, columns = (2, 2) if len(panels) == 4 else (1, len(panels))
    with style.context():
        figure = Figure(figsize=(min(style.WIDTH, 5.0 * columns), 2.5 * rows + 0.5), layout="constrained")
        axes = figure.subplots(rows, columns, sharex=True, squeeze=False)
        for axis, panel in zip(axes.flat, panels, strict=True):
            _draw(axis, metrics, panel)
        for axis in axes[-1]:
            axis.set_xlabel("epoch")
        put_title(figure, title)
        style.save(figure, path)
    return figure


def _draw(axis: Axes, metrics: Metrics, panel: _Panel) -> None:
    if panel is _RADIUS:
        _draw_band(axis, metrics)
    for line in panel.lines:
        epochs, values = _series(metrics, line.key)
        if epochs:
            marker = "o" if len(epochs) <= _MARKERS_UP_TO else ""
            scaled = [value * panel.scale for value in values]
            axis.plot(epochs, scaled, line.dash, color=line.color, marker=marker, markersize=3, label=line.name)
    axis.set_title(panel.title)
    # One grid for all panels shares the epochs' limits: two epochs must not read "1.25".
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    if panel.title == "learning rate" or panel is _RADIUS:
        axis.set_ylim(bottom=0)
    if len(axis.get_legend_handles_labels()[1]) > 1:
        axis.legend(loc="best")


def _draw_band(axis: Axes, metrics: Metrics) -> None:
    bounds = [{**(record.get(_QUANTILES) or {}), "epoch": epoch} for epoch, record in _by_epoch(metrics)]
    epochs, low = _series(bounds, "5")
    upper_epochs, high = _series(bounds, "95")
    if epochs and epochs == upper_epochs:
        label = "5\N{EN DASH}95 % of the samples"
        axis.fill_between(epochs, low, high, color=_COLORS["green"], alpha=0.18, linewidth=0, label=label)


def _has_data(metrics: Metrics, panel: _Panel) -> bool:
    return any(math.isfinite(value) for line in panel.lines for value in _series(metrics, line.key)[1])


def _series(metrics: Metrics, key: str) -> tuple[list[float], list[float]]:
    """Return the epochs that have a value, in order, and the values; not-a-number for each that is not finite."""
    present = [(epoch, float(record[key])) for epoch, record in _by_epoch(metrics) if record.get(key) is not None]
    return [epoch for epoch, _ in present], [value if math.isfinite(value) else math.nan for _, value in present]


def _by_epoch(metrics: Metrics) -> list[tuple[float, Mapping[str, Any]]]:
    numbered = [(record.get("epoch", position), record) for position, record in enumerate(metrics)]
    return sorted(numbered, key=lambda pair: pair[0])
