"""Charts of images: thumbnails with lines of text under each, loss surfaces side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from iaat.analysis import style
from iaat.analysis.figure_text import fit
from iaat.analysis.pictures.paper import look as paper

# In inches. At 300 dpi the box is of 192 px, a multiple of 8, 16, 32, 48 and 64: image pixels come out the same size.
_BOX, _CELL, _LINE, _HEADING, _MARGIN = 0.64, 0.68, 0.105, 0.15, 0.05
_COLUMNS = 10


@dataclass(frozen=True, slots=True)
class Picture:
    """An image and what stands under it.

    Attributes:
        pixels: Bytes `[H, W]` or `[H, W, 3]`.
        lines: Text and its colour.
    """

    pixels: NDArray[np.uint8]
    lines: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Block:
    """Images under one heading."""

    heading: str
    pictures: Sequence[Picture]


def image_blocks(blocks: Sequence[Block], caption: str) -> Figure:
    """Images ten a row with text under each; one axes an image."""
    lines = max(len(picture.lines) for block in blocks for picture in block.pictures)
    row = _BOX + 0.03 + lines * _LINE + 0.06
    heights = [_HEADING + -(-len(block.pictures) // _COLUMNS) * row for block in blocks]
    height = sum(heights) + _LINE + 2 * _MARGIN
    with paper.context():
        figure = Figure(figsize=(paper.PAGE, round(height * paper.DPI) / paper.DPI))
        top = height - _MARGIN
        for block, room in zip(blocks, heights, strict=True):
            _write(figure, block.heading, _MARGIN, top, paper.PAGE - 2 * _MARGIN, paper.FONT, style.INK, "bold")
            for number, picture in enumerate(block.pictures):
                down, across = divmod(number, _COLUMNS)
                _draw_picture(figure, picture, _MARGIN + across * _CELL, top - _HEADING - down * row)
            top -= room
        _write(figure, caption, _MARGIN, top, paper.PAGE - 2 * _MARGIN, paper.SMALL, style.MUTED)
    return figure


def _write(
    figure: Figure, text: str, x: float, y: float, room: float, size: float, color: str, weight: str = "normal"
) -> None:
    """Write a line whose upper left corner is at (x, y) inches, cut to `room`."""
    wide, high = figure.get_size_inches()
    fitted = fit(text, room, size, weight)
    figure.text(x / wide, y / high, fitted, va="top", ha="left", size=size, color=color, weight=weight)


def _draw_picture(figure: Figure, picture: Picture, x: float, top: float) -> None:
    wide, high = figure.get_size_inches()
    scale = _BOX / max(picture.pixels.shape[:2])
    height, width = (side * scale for side in picture.pixels.shape[:2])
    left = round((x + (_BOX - width) / 2) * paper.DPI) / paper.DPI
    bottom = round((top - _BOX) * paper.DPI) / paper.DPI
    axis = figure.add_axes((left / wide, bottom / high, width / wide, height / high), frame_on=False)
    _show(axis, picture.pixels)
    for number, (text, color) in enumerate(picture.lines):
        _write(figure, text, x, top - _BOX - 0.03 - number * _LINE, _CELL - 0.03, paper.SMALL, color)


def _show(axis: Axes, pixels: NDArray[np.uint8]) -> None:
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    axis.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto")


@dataclass(frozen=True, slots=True)
class Plane:
    """Loss of several runs around one image.

    Attributes:
        pixels: The image; None where it is none.
        lines: What stands under the image.
        offsets_px: `[n]`.
        losses: `[n, n]` by the place of the run: rows along the random direction.
        wrong: `[n, n]` by the place: whether the prediction is not the label.
        radius_px: Where ticks are.
    """

    pixels: NDArray[np.uint8] | None
    lines: Sequence[str]
    offsets_px: Sequence[float]
    losses: Mapping[int, NDArray[np.float64]]
    wrong: Mapping[int, NDArray[np.bool_]]
    radius_px: float


def loss_planes(planes: Sequence[Plane], names: Sequence[str]) -> Figure:
    """Loss surfaces: a row an image, a column a run, one scale for all.

    Args:
        planes: At least one.
        names: Of the runs, by their place.
    """
    everything = np.concatenate([loss.ravel() for plane in planes for loss in plane.losses.values()])
    known = everything[np.isfinite(everything)]
    norm = PowerNorm(0.5, vmin=0, vmax=float(known.max(initial=0)) or 1.0)
    with paper.context():
        side = min(1.45, (paper.PAGE - 1.6) / len(names))
        width = min(paper.PAGE, max(1.6 + side * len(names), paper.COLUMN))
        figure = Figure(figsize=(width, 0.55 + (side + 0.08) * len(planes)), layout="constrained")
        shares = [0.62 / side, *[1.0] * len(names)]
        axes = figure.subplots(len(planes), len(shares), squeeze=False, width_ratios=shares)
        for row, plane in enumerate(planes):
            _draw_sample(axes[row, 0], plane)
            for column in range(len(names)):
                axis = axes[row, column + 1]
                _draw_plane(axis, plane, column, norm)
                axis.tick_params(labelleft=column == 0, labelbottom=row == len(planes) - 1)
                if column == 0:
                    axis.set_ylabel("random (px)")
                if row == len(planes) - 1:
                    axis.set_xlabel("adversarial (px)")
        for axis, name in zip(axes[0, 1:], names, strict=True):
            paper.panel_title(axis, name, side - 0.1)
        bar = figure.colorbar(ScalarMappable(norm, paper.SHADES), ax=axes[:, 1:], aspect=28, pad=0.01)
        bar.set_label("loss")
        bar.outline.set_visible(False)
        edge = Line2D([], [], color=style.PALETTE["vermillion"], linewidth=1)
        paper.legend_below(figure, [edge, _centre()], ["edge of the label's class", "the image"])
        paper.settle(figure)
    return figure


def _centre() -> Line2D:
    return Line2D([0], [0], linestyle="", marker="+", color=style.INK, markersize=5, markeredgewidth=1)


def _draw_sample(axis: Axes, plane: Plane) -> None:
    axis.set_anchor("W")
    for spine in axis.spines.values():
        spine.set_visible(False)
    if plane.pixels is None:
        axis.set(xticks=[], yticks=[])
        axis.grid(visible=False)
    else:
        _show(axis, plane.pixels)
        axis.set_aspect("equal")
    text = "\n".join(fit(line, 0.75, paper.SMALL) for line in plane.lines)
    axis.set_xlabel(text, fontsize=paper.SMALL, loc="left")


def _draw_plane(axis: Axes, plane: Plane, place: int, norm: Normalize) -> None:
    axis.grid(visible=False)
    if place not in plane.losses:
        axis.set_axis_off()
        return
    at = np.array(plane.offsets_px)
    loss = np.ma.masked_invalid(plane.losses[place])
    axis.pcolormesh(at, at, loss, cmap=paper.SHADES, norm=norm, shading="nearest", rasterized=True)
    wrong = plane.wrong[place]
    if wrong.any() and not wrong.all():
        color = style.PALETTE["vermillion"]
        axis.contour(at, at, wrong.astype(np.float64), levels=[0.5], colors=[color], linewidths=1)
    axis.add_line(_centre())
    axis.set_aspect("equal")
    ticks = [-plane.radius_px, 0, plane.radius_px]
    names = [f"{tick:g}".replace("-", "\N{MINUS SIGN}") for tick in ticks]
    axis.set_xticks(ticks, names)
    axis.set_yticks(ticks, names)
    axis.set_xlim(at[0], at[-1])
    axis.set_ylim(at[0], at[-1])
