"""Images as text for a page: sprite sheets of thumbnails, single pictures, amplified perturbations."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, features
from torch import Tensor

from iaat.data import Source, sequential_order
from iaat.errors import UserError

SIDE = 64
"""Longest side of a thumbnail in px."""

SHEET_BUDGET = 3_400_000
"""Characters that all sheets of a page may take before they lose detail: a page of 10,000 images stays below 8 MB."""

_SHEET_SIDE = 2048  # browsers decode a sheet whole, and some refuse pictures of more than 4096 px
_AT_ONCE = 256
_QUALITIES = (95, 85, 75)
_WEBP = bool(features.check("webp"))

Images = Tensor | NDArray[Any]
"""Uint8 in 0..255, or floats in [0, 1]."""

Picture = NDArray[np.uint8]
"""An image `[C, H, W]`, C 1 or 3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sprites:
    """Thumbnails of one size, row by row on one or more sheets; all sheets but the last are full.

    Records of images extend it by what is known of each.

    Attributes:
        sheets: The pictures as `data:` URIs, WebP or PNG; none where there is nothing to draw.
        width: Of a thumbnail, in px.
        height: Of a thumbnail, in px.
        columns: Thumbnails in a row of a sheet.
        rows: Rows of a full sheet.
    """

    sheets: tuple[str, ...] = ()
    width: int = 0
    height: int = 0
    columns: int = 1
    rows: int = 1

    def tile(self, place: int) -> tuple[int, int, int]:
        """Return sheet, row and column of a thumbnail."""
        sheet, position = divmod(place, self.columns * self.rows)
        return sheet, *divmod(position, self.columns)


def why_no_picture(shape: Sequence[int]) -> str | None:
    """Return why inputs of a shape cannot be drawn, as text; None where they can: `(1 or 3, H, W)`."""
    if len(shape) == 3 and shape[0] in (1, 3) and min(shape) > 0:
        return None
    return f"inputs of shape {list(shape)} are not drawn: pictures are [1 or 3, height, width]"


def source_sprites(source: Source, index: Tensor, *, budget: int = SHEET_BUDGET) -> Sprites:
    """Return thumbnails of samples, in the order of `index` `[N]`; without sheets where they are no images.

    Images are read in batches and kept as thumbnails; `budget` is that of `sprites`.

    Raises:
        UserError: as `sprites`; or an index is outside the data set.
    """
    if why_no_picture(source.shape) is not None:
        return Sprites()
    parts = [shrink(batch.x) for batch in source.batches(sequential_order(index, _AT_ONCE))]
    return sprites(np.concatenate(parts), budget=budget) if parts else Sprites()


def sprites(images: Images, *, side: int = SIDE, budget: int = SHEET_BUDGET) -> Sprites:
    """Pack images `[N, C, H, W]` into sheets: none where they are no images (`why_no_picture` of one says why).

    Sheets are lossless, WebP or PNG, whichever is smaller, as long as all of them fit the budget. Where they do not,
    they are lossy WebP of quality 95, 85 or 75, the best that fits, or else the last; its colours are of half the
    resolution, which shows on images of 32 px and hardly on larger ones.

    Args:
        images: Uint8, or floats in [0, 1]; values outside are clipped, NaN is black.
        side: Longest side of a thumbnail; larger images are scaled down, smaller ones stay as they are.
        budget: Characters of all sheets together.

    Raises:
        UserError: a side below 1 or above 2048, or values that are neither bytes nor floats.
    """
    if why_no_picture(images.shape[1:]) is not None or not len(images):
        return Sprites()
    thumbnails = shrink(images, side=side)
    height, width = thumbnails.shape[2:]
    columns = min(len(thumbnails), _SHEET_SIDE // width)
    rows = min(-(-len(thumbnails) // columns), _SHEET_SIDE // height)
    each = columns * rows
    pictures = [_sheet(thumbnails[start : start + each], columns) for start in range(0, len(thumbnails), each)]
    sheets = [_lossless(picture) for picture in pictures]
    for quality in _QUALITIES if _WEBP else ():
        if sum(map(len, sheets)) <= budget:
            break
        sheets = [_encoded(picture, "WEBP", quality=quality, method=4) for picture in pictures]
    return Sprites(sheets=tuple(sheets), width=width, height=height, columns=columns, rows=rows)


def shrink(images: Images, *, side: int = SIDE) -> NDArray[np.uint8]:
    """Return images `[N, C, H, W]` as bytes `[N, C, h, w]`, scaled down to at most `side` px where they are larger.

    Images that fit keep their bytes. Larger ones are averaged, by a triangle filter as wide as the reduction.

    Raises:
        UserError: a side below 1 or above 2048, or values that are neither bytes nor floats.
    """
    if not 1 <= side <= _SHEET_SIDE:
        raise UserError(f"side = {side}: thumbnails are of 1 to {_SHEET_SIDE} px")
    count, channels, *size = images.shape
    scale = min(1.0, side / max(size))
    height, width = (max(1, round(side * scale)) for side in size)
    small = np.empty((count, channels, height, width), dtype=np.uint8)
    for start in range(0, count, _AT_ONCE):
        part = images[start : start + _AT_ONCE]
        if scale < 1:
            part = F.interpolate(_floats(part), (height, width), mode="bilinear", antialias=True, align_corners=False)
        small[start : start + _AT_ONCE] = as_bytes(part)
    return small


def as_bytes(images: Images) -> NDArray[np.uint8]:
    """Return inputs of any shape as bytes on the CPU: floats in [0, 1] are rounded to the nearest of 256 levels.

    Values outside are clipped, and NaN becomes 0.

    Raises:
        UserError: values that are neither bytes nor floats.
    """
    tensor = _tensor(images)
    if tensor.dtype == torch.uint8:
        return tensor.cpu().numpy()
    pixels: NDArray[np.uint8] = _floats(tensor).mul(255).round().to(torch.uint8).cpu().numpy()
    return pixels


def picture_uri(image: Images) -> str:
    """Return one image `[C, H, W]` of C 1 or 3, as bytes or floats, as a PNG in a `data:` URI.

    Raises:
        UserError: it is no image, or holds neither bytes nor floats.
    """
    reason = why_no_picture(image.shape)
    if reason is not None:
        raise UserError(reason)
    return _encoded(_picture(as_bytes(image)), "PNG", optimize=True)


def lossless_uri(image: Images) -> str:
    """Return one image `[C, H, W]` of C 1 or 3 as a `data:` URI, WebP or PNG, whichever is smaller.

    Raises:
        UserError: as `picture_uri`.
    """
    reason = why_no_picture(image.shape)
    if reason is not None:
        raise UserError(reason)
    return _lossless(_picture(as_bytes(image)))


def picture_of(uri: str) -> Image.Image:
    """Return the picture in a `data:` URI, of mode L if it is grey and else RGB."""
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as picture:
        return picture.convert("L" if picture.mode == "L" else "RGB")


def perturbation_picture(delta: Images) -> tuple[Picture, float]:
    """Return a picture of a perturbation at full contrast around mid-grey, and the factor of its contrast.

    The picture is `1/2 + factor * delta`: bytes 128 where nothing changed, 0 and 255 where most did.

    Args:
        delta: `[C, H, W]` of differences on the [0, 1] scale; entries that are not finite count as 0.

    Returns:
        Bytes `[C, H, W]` and `1 / (2 max |delta|)`; for a perturbation of zeros plain grey and 1.
    """
    delta = _tensor(delta).detach().to(torch.float32).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    most = float(delta.abs().max()) if delta.numel() else 0.0
    # Scaled by the maximum first: the factor of a perturbation of denormal numbers would overflow.
    shown = delta / most if most > 0 else delta
    return as_bytes(shown / 2 + 0.5), 0.5 / most if most > 0 else 1.0


def _tensor(images: Images) -> Tensor:
    # A copy of an array, because a tensor on one that is read-only is warned of.
    return images.detach() if isinstance(images, Tensor) else torch.from_numpy(np.array(images))


def _floats(images: Images) -> Tensor:
    """Return a copy of inputs as float32 in [0, 1]."""
    tensor = _tensor(images)
    if tensor.dtype == torch.uint8:
        return tensor.to(torch.float32) / 255
    if not tensor.is_floating_point():
        raise UserError(f"images of {tensor.dtype}: pass uint8 in 0..255 or floats in [0, 1]")
    return tensor.to(torch.float32).nan_to_num(nan=0.0).clamp(0, 1)


def _sheet(thumbnails: NDArray[np.uint8], columns: int) -> Image.Image:
    """Return a picture of thumbnails `[n, C, h, w]` row by row, filled up with black."""
    count, channels, height, width = thumbnails.shape
    rows = -(-count // columns)
    places = np.zeros((rows * columns, channels, height, width), dtype=np.uint8)
    places[:count] = thumbnails
    grid = places.reshape(rows, columns, channels, height, width).transpose(2, 0, 3, 1, 4)
    return _picture(grid.reshape(channels, rows * height, columns * width))


def _picture(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _lossless(picture: Image.Image) -> str:
    png = _encoded(picture, "PNG", optimize=True)
    if not _WEBP:
        return png
    # Method 6 takes 25 times as long for a file 0.3 % smaller.
    return min(_encoded(picture, "WEBP", lossless=True, method=4), png, key=len)


def _encoded(picture: Image.Image, kind: str, **options: object) -> str:
    """Return a picture as a `data:` URI."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
