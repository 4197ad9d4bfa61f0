"""Decode one image file, or a PIL image, to a uint8 tensor."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from iaat.errors import UserError

# Modes of 16-bit grey. "I" (32 bit) is what Pillow makes of 16 bits in some formats.
_WORDS = ("I;16", "I;16L", "I;16B", "I;16N")
_FORMATS_WITH_16_BIT_I = ("PNG", "PPM")


def decode(path: Path, *, channels: Literal[1, 3] = 3, size: int | None = None) -> Tensor:
    """Read one image file.

    The orientation that a camera recorded is applied, palettes and CMYK are converted, transparency is dropped, 16-bit
    grey is scaled to 8 bits, and of an animation the first frame is read.

    Args:
        path: The file.
        channels: 3 reads colour, 1 grey.
        size: Resize the shorter side to so many pixels and crop the centre square; None: as stored.

    Returns:
        `[channels, H, W]` uint8.

    Raises:
        UserError: The file cannot be read as an image; names the path.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            converted = to_mode(upright, channels, file_format=image.format)
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{path}: {error}: resize the image, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust it"
        ) from error
    except MemoryError:
        raise
    # A damaged file surfaces as whatever its decoder stumbles on: OSError, SyntaxError, struct.error, ValueError, ...
    except Exception as error:
        raise UserError(f"{path}: cannot be read as an image ({error}): repair or remove the file") from error
    return to_tensor(converted if size is None else _centre_square(converted, size))


def to_mode(image: Image.Image, channels: int, *, file_format: str | None = None) -> Image.Image:
    """Convert an image of any mode to 8-bit colour or grey.

    Args:
        image: The image.
        channels: 3 for RGB, 1 for L.
        file_format: Pillow's name of the format it was read from, if any.

    Raises:
        ValueError: The mode has no defined range.
    """
    mode = "RGB" if channels == 3 else "L"
    if image.mode in _WORDS or (image.mode == "I" and file_format in _FORMATS_WITH_16_BIT_I):
        # Pillow's own conversion clips at 255 instead of scaling.
        words = np.asarray(image).astype(np.int64)
        image = Image.fromarray(((words * 255 + 32767) // 65535).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode} have no defined range, convert them to 8 or 16 bits")
    elif image.mode == "P" and "transparency" in image.info:
        # Pillow warns about each such image unless its transparency is made explicit first.
        image = image.convert("RGBA")
    return image.convert(mode)


def to_tensor(image: Image.Image) -> Tensor:
    """`[C, H, W]` uint8 of an image of mode L or RGB."""
    pixels = np.array(image)
    # numpy, because per image the overhead of torch's operations would outweigh the decoding of a small JPEG.
    return torch.from_numpy(pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _centre_square(image: Image.Image, size: int) -> Image.Image:
    width, height = image.size
    scale = size / min(width, height)
    if scale != 1:
        width, height = max(size, round(width * scale)), max(size, round(height * scale))
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))
