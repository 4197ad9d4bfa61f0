"""The images with the smallest and with the largest radii."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from iaat.analysis import style
from iaat.analysis.figure_text import fit
from iaat.errors import UserError
from iaat.units import format_px

MOST_PER_BLOCK = 20

# A layout in px of the saved picture, so that each image pixel becomes a whole number of them: blurred or uneven pixels
# would hide the very perturbation scale the picture is about. 128 is a multiple of 8, 16, 32 and 64.
_BOX = 128
_CELL_WIDTH, _CELL_HEIGHT = 148, 214
_MARGIN, _HEADING, _LINE = 14, 44, 22
_COLUMNS, _LEAST_COLUMNS = 10, 5
_FONT = 9
_CAPTION = "Under each: label, \N{RIGHTWARDS ARROW} prediction (orange if wrong), radius."


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """One image of the gallery.

    Attributes:
        image: `[H, W]`, `[H, W, 1 or 3]` or `[1 or 3, H, W]`, values in [0, 1].
        label: Name of its class; any text.
        prediction: Name of the predicted class.
        radius: Its radius on the [0, 1] image scale.
    """

    image: NDArray[np.floating[Any]]
    label: str
    prediction: str
    radius: float


def extremes(
    smallest: Sequence[Thumbnail],
    largest: Sequence[Thumbnail],
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
) -> Figure:
    """Draw the images of the smallest and of the largest radii, with label, prediction and radius under each.

    The first 20 of each list are drawn, in the order given; an empty list leaves its block out.

    Args:
        smallest: Images of the smallest radii.
        largest: Images of the largest radii.
        path: Where to write: .png, .svg or .pdf.
        title: A line above the picture.

    Returns:
        The figure that was written; one axes per image.

    Raises:
        UserError: Both lists are empty, or an image has another shape or values outside [0, 1]; or the suffix is
            unknown.
    """
    blocks = [("Smallest radii", smallest[:MOST_PER_BLOCK]), ("Largest radii", largest[:MOST_PER_BLOCK])]
    blocks = [(heading, thumbnails) for heading, thumbnails in blocks if thumbnails]
    if not blocks:
        raise UserError("no images to draw: both lists are empty")
    columns = min(_COLUMNS, max(len(thumbnails) for _, thumbnails in blocks))
    width = 2 * _MARGIN + max(columns, _LEAST_COLUMNS) * _CELL_WIDTH
    top = _MARGIN + (_HEADING if title else 0)
    height = top + sum(_block_height(len(thumbnails), columns) for _, thumbnails in blocks) + _HEADING
    with style.context():
        page = _Page(Figure(figsize=(width / style.DPI, height / style.DPI)), width, height)
        if title:
            page.write(title, _MARGIN, _MARGIN, width - 2 * _MARGIN, size=13, weight="bold")
        for heading, thumbnails in blocks:
            page.write(heading, _MARGIN, top, width - 2 * _MARGIN, size=11.5, weight="bold")
            for position, thumbnail in enumerate(thumbnails):
                row, column = divmod(position, columns)
                page.draw(thumbnail, _MARGIN + column * _CELL_WIDTH, top + _HEADING + row * _CELL_HEIGHT)
            top += _block_height(len(thumbnails), columns)
        page.write(_CAPTION, _MARGIN, top, width - 2 * _MARGIN, size=_FONT, color=style.MUTED)
        style.save(page.figure, path)
    return page.figure


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


def _block_height(images: int, columns: int) -> int:
    return _HEADING + -(-images // columns) * _CELL_HEIGHT + _MARGIN


@dataclass(frozen=True, slots=True)
class _Page:
    """A figure addressed in px from its upper left corner."""

    figure: Figure
    width: int
    height: int

    def write(
        self, text: str, x: int, y: int, room: int, *, size: float, weight: str = "normal", color: str = style.INK
    ) -> None:
        """Write one line whose upper left corner is at (x, y), cut to `room` px."""
        fitted = fit(text, room / style.DPI, size, weight)
        self.figure.text(
            x / self.width, 1 - y / self.height, fitted, va="top", ha="left", size=size, weight=weight, color=color
        )

    def draw(self, thumbnail: Thumbnail, x: int, y: int) -> None:
        """Draw an image, and its three lines under it, into the cell whose upper left corner is at (x, y)."""
        pixels = as_picture(thumbnail.image)
        tall, wide = (round(side * _scale(pixels)) for side in pixels.shape[:2])
        left, top = x + (_BOX - wide) // 2, y + (_BOX - tall)
        bottom = self.height - top - tall
        axis = self.figure.add_axes(
            (left / self.width, bottom / self.height, wide / self.width, tall / self.height), frame_on=False
        )
        axis.set(xticks=[], yticks=[])
        sharp = max(pixels.shape[:2]) <= _BOX
        axis.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest" if sharp else "auto", aspect="auto")
        right = thumbnail.label == thumbnail.prediction
        color = style.PALETTE["blue"] if right else style.PALETTE["vermillion"]
        below = y + _BOX + 6
        self.write(thumbnail.label, x, below, _CELL_WIDTH - 8, size=_FONT)
        self.write(
            f"\N{RIGHTWARDS ARROW} {thumbnail.prediction}", x, below + _LINE, _CELL_WIDTH - 8, size=_FONT, color=color
        )
        self.write(format_px(thumbnail.radius), x, below + 2 * _LINE, _CELL_WIDTH - 8, size=_FONT, weight="bold")


def _scale(pixels: NDArray[np.float64]) -> float:
    """Return the factor to the size drawn: whole when enlarging, so that every pixel comes out the same."""
    factor = _BOX / max(pixels.shape[:2])
    return float(int(factor)) if factor >= 1 else factor
