"""Modes and levels of images: any mode to 8-bit colour or grey."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from iaat.data.levels import MOST_WORD, scale_levels
from iaat.errors import UserError

# Modes of 16-bit grey. "I" (32 bit) is what Pillow makes of 16 bits in some formats.
_WORDS = ("I;16", "I;16L", "I;16B", "I;16N")
_FORMATS_WITH_16_BIT_I = ("PNG", "PPM")
GREY_MODES = ("1", "L", "LA", "La", "I", "F", *_WORDS)

Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)
_DARK = 32  # an eighth of the levels


def to_mode(
    image: Image.Image,
    channels: int,
    *,
    file_format: str | None,
    background: Colour,
    max_value: float | None,
    altered: set[str],
) -> Image.Image:
    """Convert an image of any mode to 8-bit colour or grey.

    Args:
        image: The image.
        channels: 3 for RGB, 1 for L.
        file_format: Pillow's name of the format it was read from, if any.
        background: Colour behind transparent pixels.
        max_value: Largest level there can be, which becomes 255; None: 255 of 8 bits, 65535 of 16 bits, and no other
            image has a range. Images of 8 bits are left as they are by one above 255.
        altered: Receives what was altered of the image, as kinds of `iaat.data.notices`.

    Raises:
        ValueError: The mode has no defined range.
        UserError: A level is above `max_value`.
    """
    mode = "RGB" if channels == 3 else "L"
    if channels == 1 and image.mode not in GREY_MODES:
        altered.add("grey")
    if image.mode in _WORDS or (image.mode == "I" and file_format in _FORMATS_WITH_16_BIT_I):
        # Pillow's own conversion clips at 255 instead of scaling.
        image = _of_words(image, background, max_value, altered)
    elif image.mode in ("I", "F"):
        if max_value is None:
            raise ValueError(
                f"pixels of mode {image.mode} have no defined range, convert them to 8 or 16 bits or set data.max_value"
            )
        image = Image.fromarray(scale_levels(np.asarray(image), max_value))
    else:
        if image.has_transparency_data:
            image = _composed(image, mode, background, altered)
        if max_value is not None and max_value <= 255 and image.mode != "1":
            image = _stretched(image if image.mode in ("L", "RGB") else image.convert(mode), max_value)
        elif image.mode in ("L", "RGB") and _is_dark(image):
            altered.add("dark")
    # Of an image in its mode already, `convert` makes a copy.
    return image if image.mode == mode else image.convert(mode)


def _of_words(image: Image.Image, background: Colour, max_value: float | None, altered: set[str]) -> Image.Image:
    """Reduce an image of 16-bit levels to 8 bits."""
    words = np.asarray(image)
    altered.add("depth")
    if max_value is None and words.max(initial=0) < (MOST_WORD + 1) // 4:
        altered.add("levels")
    levels = scale_levels(words, MOST_WORD if max_value is None else max_value)
    clear = image.info.get("transparency")
    if isinstance(clear, int) and bool((hidden := words == clear).any()):
        altered.add("transparent")
        levels[hidden] = _grey_of(background)
    return Image.fromarray(levels)


def _stretched(image: Image.Image, top: float) -> Image.Image:
    """Stretch the levels 0 to `top` of an 8-bit image to 0 to 255."""
    if (largest := _largest(image)) > top:
        raise UserError(f"has the level {largest}, above {top:g}: set data.max_value to the largest level there is")
    return image.point([min(255, round(level * 255 / top)) for level in range(256)] * len(image.getbands()))


def _is_dark(image: Image.Image) -> bool:
    """Whether an image of mode L or RGB, not all black, uses less than an eighth of its levels."""
    centre: Any = image.getpixel((image.width // 2, image.height // 2))
    if (centre if image.mode == "L" else max(centre)) >= _DARK:  # spares most images the other pixels
        return False
    return 0 < _largest(image) < _DARK


def _largest(image: Image.Image) -> int:
    """Largest level of an image of mode L or RGB."""
    found: Any = image.getextrema()
    return int(found[1] if image.mode == "L" else max(high for _, high in found))


def _composed(image: Image.Image, mode: str, background: Colour, altered: set[str]) -> Image.Image:
    """Compose an image with transparent pixels on a background."""
    if image.mode not in ("RGBA", "LA"):
        image = image.convert("RGBA")  # Pillow warns about palettes unless their transparency is made explicit
    alpha = image.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return image
    altered.add("transparent")
    grey = mode == "L" or (image.mode == "LA" and len(set(background)) == 1)
    flat = Image.new("L", image.size, _grey_of(background)) if grey else Image.new("RGB", image.size, background)
    flat.paste(image.convert(flat.mode), mask=alpha)
    return flat


def _grey_of(colour: Colour) -> int:
    """Grey level of a colour, as Pillow converts it."""
    return int(Image.new("RGB", (1, 1), colour).convert("L").getpixel((0, 0)))  # type: ignore[arg-type]


def to_tensor(image: Image.Image) -> Tensor:
    """`[C, H, W]` uint8 of an image of mode L or RGB."""
    pixels = np.asarray(image)  # read only, so it is copied
    # numpy, because per image the overhead of torch's operations would outweigh the decoding of a small JPEG.
    return torch.from_numpy(np.array(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1), order="C"))
