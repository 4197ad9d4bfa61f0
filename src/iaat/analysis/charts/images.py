"""Charts of images: thumbnails with lines of text under each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from iaat.analysis.figure_text import fit_text
from iaat.analysis.style import INK, MUTED, PALETTE, Style
from iaat.errors import UserError
from iaat.units import Norm, unit_of

_COLUMNS = 10


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """An image and the text under it.

    Attributes:
        image: `[H, W]`, `[H, W, 1 or 3]` or `[1 or 3, H, W]`, values in [0, 1].
        lines: Text and its colour, line by line.
    """

    image: NDArray[Any]
    lines: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ImageBlock:
    """Thumbnails under one heading."""

    heading: str
    thumbnails: Sequence[Thumbnail]


def labelled_thumbnail(
    image: NDArray[Any], label: str, prediction: str | None, radius: float, norm: Norm = "linf"
) -> Thumbnail:
    """Return an image over its label, its prediction, vermillion where that is another class, and its radius.

    `radius` is in px; with `norm` `l2` it is an L2 norm, and is written without px.
    """
    color = PALETTE["blue" if label == prediction else "vermillion"]
    predicted = [] if prediction is None else [(f"\N{RIGHTWARDS ARROW} {prediction}", color)]
    return Thumbnail(image, [(label, INK), *predicted, (unit_of(norm).text(radius), INK)])


def draw_extremes(
    smallest: Sequence[Thumbnail],
    largest: Sequence[Thumbnail],
    *,
    style: Style,
    note: str = "",
    title: str | None = None,
) -> Figure:
    """Draw the images of the smallest and of the largest radii, as `labelled_thumbnail` makes them.

    Args:
        smallest: Images of the smallest radii.
        largest: Images of the largest radii; of the two lists one may be empty.
        style: Sizes of the figure.
        note: What the images are from, for the caption.
        title: A line above the figure.

    Raises:
        UserError: Both lists are empty, or an image has another shape or values outside [0, 1].
    """
    blocks = [ImageBlock("Smallest radii", smallest), ImageBlock("Largest radii", largest)]
    known = any(len(each.lines) > 2 for each in (*smallest, *largest))
    prediction = " \N{RIGHTWARDS ARROW} prediction (orange if misclassified)," if known else ""
    caption = f"Under each: label,{prediction} radius. {note}"
    return draw_image_blocks([block for block in blocks if block.thumbnails], caption, style=style, title=title)


def draw_image_blocks(blocks: Sequence[ImageBlock], caption: str, *, style: Style, title: str | None = None) -> Figure:
    """Draw images ten a row with text under each, one axes an image.

    Pixels of images that fit are enlarged a whole number of times: blurred or uneven pixels would hide the scale of
    perturbations that the figure is about.

    Args:
        blocks: At least one, none empty.
        caption: A line at the foot.
        style: Sizes of the figure.
        title: A line above the figure.

    Raises:
        UserError: No blocks, or an image has another shape or values outside [0, 1].
    """
    if not blocks:
        raise UserError("no images to draw: both lists are empty")
    sheet = _Sheet(style, lines=max(len(each.lines) for block in blocks for each in block.thumbnails))
    heights = [sheet.heading + -(-len(block.thumbnails) // _COLUMNS) * sheet.row for block in blocks]
    top = sheet.margin + (sheet.heading if title else 0)
    width = 2 * sheet.margin + _COLUMNS * sheet.cell
    height = top + sum(heights) + sheet.line + sheet.margin
    room = width - 2 * sheet.margin
    with style.context():
        figure = Figure(figsize=(width / style.dpi, height / style.dpi))
        if title:
            sheet.write(figure, title, (sheet.margin, sheet.margin), room, 1.2 * style.font, weight="bold")
        for block, taken in zip(blocks, heights, strict=True):
            sheet.write(figure, block.heading, (sheet.margin, top), room, style.font, weight="bold")
            for number, thumbnail in enumerate(block.thumbnails):
                down, across = divmod(number, _COLUMNS)
                at = (sheet.margin + across * sheet.cell, top + sheet.heading + down * sheet.row)
                sheet.draw(figure, thumbnail, at)
            top += taken
        sheet.write(figure, caption, (sheet.margin, top), room, style.small, color=MUTED)
    return figure


class _Sheet:
    """The layout of thumbnails, in whole pixels of the figure from its upper left corner."""

    def __init__(self, style: Style, lines: int) -> None:
        self._style = style
        self.box = style.thumbnail
        self.cell = self.box + self._pixels(0.04)
        self.line = self._pixels(0.0175 * style.small / style.scale)
        self.heading = self._pixels(0.155)
        self.margin = self._pixels(0.05)
        self.row = self.box + self._pixels(0.09) + lines * self.line

    def _pixels(self, inches: float) -> int:
        """Return the pixels of a distance given in inches of a style of 7 points."""
        return round(inches * self._style.scale * self._style.dpi)

    def write(
        self,
        figure: Figure,
        text: str,
        at: tuple[int, int],
        room: int,
        size: float,
        *,
        color: str = INK,
        weight: str = "normal",
    ) -> None:
        """Write a line with its upper left corner at (x, y), cut to `room`."""
        x, y = self._fractions(figure, at)
        fitted = fit_text(text, room / self._style.dpi, size, weight)
        figure.text(x, 1 - y, fitted, va="top", ha="left", size=size, color=color, weight=weight)

    def draw(self, figure: Figure, thumbnail: Thumbnail, at: tuple[int, int]) -> None:
        """Draw an image, and its lines under it, into the cell with its upper left corner at (x, y)."""
        x, y = at
        pixels = as_picture(thumbnail.image)
        height, width = (round(side * self._enlargement(pixels)) for side in pixels.shape[:2])
        left, bottom = self._fractions(figure, (x + (self.box - width) // 2, y + self.box))
        wide, high = self._fractions(figure, (width, height))
        show_pixels(figure.add_axes((left, 1 - bottom, wide, high), frame_on=False), pixels)
        below, room = y + self.box + self._pixels(0.03), self.cell - self._pixels(0.03)
        for number, (text, color) in enumerate(thumbnail.lines):
            self.write(figure, text, (x, below + number * self.line), room, self._style.small, color=color)

    def _fractions(self, figure: Figure, at: tuple[int, int]) -> tuple[float, float]:
        width, height = figure.get_size_inches() * self._style.dpi
        return at[0] / width, at[1] / height

    def _enlargement(self, pixels: NDArray[np.float64]) -> float:
        """Return the factor to the size drawn: whole when enlarging, so that every pixel comes out the same."""
        factor = self.box / max(pixels.shape[:2])
        return float(int(factor)) if factor >= 1 else factor


def as_picture(image: NDArray[Any]) -> NDArray[np.float64]:
    """Return an image of any of the accepted layouts as `[H, W]` or `[H, W, 3]`, float64 in [0, 1].

    Raises:
        UserError: Another shape, or values that are not in [0, 1].
    """
    pixels = np.asarray(image, dtype=np.float64)
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3):
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.size == 0 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise UserError(f"expected an image [H, W], [H, W, 1 or 3] or [1 or 3, H, W], got shape {list(image.shape)}")
    # Written so that not-a-number fails too; normalising forth and back leaves rounding behind, which is forgiven.
    if not (pixels.min() >= -1e-3 and pixels.max() <= 1 + 1e-3):
        raise UserError(f"image values must be in [0, 1], got {pixels.min():g} to {pixels.max():g}")
    return pixels.clip(0, 1)


def show_pixels(axis: Axes, pixels: NDArray[np.float64]) -> None:
    """Draw an image `[H, W]` or `[H, W, 3]` in [0, 1] into all of an axes; only a reduction is smoothed."""
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    figure = axis.get_figure(root=True)
    assert figure is not None
    room = axis.get_position().height * figure.get_figheight() * figure.dpi
    smoothing = "nearest" if pixels.shape[0] <= round(room) else "auto"
    axis.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation=smoothing, aspect="auto")
