"""Chart of loss surfaces: a row an image, a column a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from iaat.analysis.charts.images import as_picture, show_pixels
from iaat.analysis.charts.layout import legend_below, one_unit, settle
from iaat.analysis.figure_text import fit_name, fit_text
from iaat.analysis.style import INK, PALETTE, SHADES, Style
from iaat.units import Norm

_EDGE = PALETTE["vermillion"]


@dataclass(frozen=True, slots=True)
class LossPlane:
    """Loss of several runs around one image.

    Attributes:
        image: The image, as in `Thumbnail`; None where the input is none.
        lines: Text under the image.
        offsets: `[n]`, steps of both axes, in px; L2 norms as they are where `norm` is `l2`.
        losses: `[n, n]` by the position of the run: rows along the random direction.
        misclassified: `[n, n]` by the position of the run.
        radius: Radius at which ticks are, likewise.
        norm: Of offsets and radius, `linf` or `l2`; the same in all planes of a figure.
    """

    image: NDArray[Any] | None
    lines: Sequence[str]
    offsets: Sequence[float]
    losses: Mapping[int, NDArray[np.float64]]
    misclassified: Mapping[int, NDArray[np.bool_]]
    radius: float
    norm: Norm = "linf"


def draw_loss_planes(planes: Sequence[LossPlane], names: Sequence[str], *, style: Style) -> Figure:
    """Draw loss surfaces: a row an image, a column a run, one scale for all.

    Args:
        planes: At least one.
        names: Names of the runs, by their position.
        style: Sizes of the figure.

    Raises:
        UserError: Planes of several norms.
    """
    unit = one_unit([plane.norm for plane in planes])
    everything = np.concatenate([loss.ravel() for plane in planes for loss in plane.losses.values()])
    known = everything[np.isfinite(everything)]
    norm = PowerNorm(0.5, vmin=0, vmax=float(known.max(initial=0)) or 1.0)
    scale, last = style.scale, len(planes) - 1
    with style.context():
        side = min(1.45 * scale, (style.page - 1.6 * scale) / len(names))
        width = min(style.page, max(1.6 * scale + side * len(names), style.column))
        figure = Figure(figsize=(width, 0.55 * scale + (side + 0.08 * scale) * len(planes)), layout="constrained")
        ratios = [0.62 * scale / side, *[1.0] * len(names)]
        axes = figure.subplots(len(planes), len(ratios), squeeze=False, width_ratios=ratios)
        for row, plane in enumerate(planes):
            _draw_sample(axes[row, 0], plane, style)
            for column in range(len(names)):
                axis = axes[row, column + 1]
                _draw_plane(axis, plane, column, norm, style)
                axis.tick_params(labelleft=column == 0, labelbottom=row == last)
            axes[row, 1].set_ylabel(unit.of("random"))
        for axis, top, name in zip(axes[last, 1:], axes[0, 1:], names, strict=True):
            axis.set_xlabel(unit.of("adversarial"))
            top.set_title(fit_name(name, side - 0.1 * scale, style.font))
        bar = figure.colorbar(ScalarMappable(norm, SHADES), ax=axes[:, 1:], aspect=28, pad=0.01)
        bar.set_label("loss")
        bar.outline.set_visible(False)
        edge = Line2D([], [], color=_EDGE, linewidth=scale)
        legend_below(figure, [edge, _centre(style)], ["edge of the label's class", "the image"], style=style)
        settle(figure)
    return figure


def _centre(style: Style) -> Line2D:
    size = 5 * style.scale
    return Line2D([0], [0], linestyle="", marker="+", color=INK, markersize=size, markeredgewidth=style.scale)


def _draw_sample(axis: Axes, plane: LossPlane, style: Style) -> None:
    axis.set_anchor("W")
    for spine in axis.spines.values():
        spine.set_visible(False)
    if plane.image is None:
        axis.set(xticks=[], yticks=[])
        axis.grid(visible=False)
    else:
        show_pixels(axis, as_picture(plane.image))
        axis.set_aspect("equal")
    text = "\n".join(fit_text(line, 0.75 * style.scale, style.small) for line in plane.lines)
    axis.set_xlabel(text, fontsize=style.small, loc="left")


def _draw_plane(axis: Axes, plane: LossPlane, position: int, norm: Normalize, style: Style) -> None:
    axis.grid(visible=False)
    if position not in plane.losses:
        axis.set_axis_off()
        return
    at = np.array(plane.offsets)
    loss = np.ma.masked_invalid(plane.losses[position])
    axis.pcolormesh(at, at, loss, cmap=SHADES, norm=norm, shading="nearest", rasterized=True)
    outside = plane.misclassified[position]
    if outside.any() and not outside.all():
        axis.contour(at, at, outside.astype(np.float64), levels=[0.5], colors=[_EDGE], linewidths=style.scale)
    axis.add_line(_centre(style))
    axis.set_aspect("equal")
    ticks = [-plane.radius, 0, plane.radius]
    names = [f"{tick:.4g}".replace("-", "\N{MINUS SIGN}") for tick in ticks]
    axis.set_xticks(ticks, names)
    axis.set_yticks(ticks, names)
    axis.set_xlim(at[0], at[-1])
    axis.set_ylim(at[0], at[-1])
