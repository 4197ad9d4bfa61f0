"""Decode one image file, or a PIL image, to a uint8 tensor."""

import io
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from iaat.data.resized_crop import Box
from iaat.errors import UserError

# Modes of 16-bit grey. "I" (32 bit) is what Pillow makes of 16 bits in some formats.
_WORDS = ("I;16", "I;16L", "I;16B", "I;16N")
_FORMATS_WITH_16_BIT_I = ("PNG", "PPM")

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What is read, whatever the suffix says: Pillow knows some fifty more, and runs Ghostscript for one of them."""
MOST_PIXELS = 1 << 26
"""Pixels of an image, 8,192 x 8,192; of WebP half as many. With the copies that decoding makes they take below 1 GB."""
_LONGEST_SIDE = 1 << 16
# Of some formats the whole file is read before it says how large the image is.
MOST_FILE_BYTES = 1 << 29
"""Bytes of an encoded image."""
# As long as a text that people are to read may be.
_REASON_LENGTH = 200
# A part that is shrunk to less than half of this is first shrunk by a fast rule, to not below this many times the final
# size; of a photograph of several megapixels that saves half of the time, and moves pixels by a level or two.
_GAP = 3.0
_SIDEWAYS = (5, 6, 7, 8)
"""Orientations in which a camera was held upright, so that stored rows are columns."""

Crop = Callable[[int, int], Box]
"""Chooses a part of an image by its width and height."""


def decode(
    file: Path | bytes,
    *,
    channels: Literal[1, 3] = 3,
    size: int | None = None,
    resize: int | None = None,
    crop: Crop | None = None,
    where: str | None = None,
) -> Tensor:
    """Read one image file.

    The orientation that a camera recorded is applied, palettes and CMYK are converted, transparency is dropped, 16-bit
    grey is scaled to 8 bits, and of an animation the first frame is read.

    Args:
        file: The file, or what it holds.
        channels: 3 reads colour, 1 grey.
        size: Crop the centre square of so many pixels a side; None: as stored.
        resize: Before that, resize the shorter side to so many pixels, at least `size`; None: to `size`.
        crop: Chooses the part of the image that is resized to `size` x `size` in place of the centre square.
        where: Names the image in messages; None: the path does.

    Returns:
        `[channels, H, W]` uint8.

    Raises:
        UserError: The file cannot be read as an image, or is too large; names the place.
    """
    path = where or (file if isinstance(file, Path) else "image")
    try:
        with Image.open(_opened(file), formats=FORMATS) as image:
            _check_size(image, size, resize)
            sides = None if crop is None or size is None else _skip_detail(image, crop, size)
            ImageOps.exif_transpose(image, in_place=True)
            converted = to_mode(image, channels, file_format=image.format)
            if crop is not None and size is not None:
                converted = _resized_part(converted, crop, sides or converted.size, size)
            elif size is not None:
                converted = _centre_square(converted, size, resize or size)
            return to_tensor(converted)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: {_reason(error)}: resize the image") from error
    except MemoryError as error:
        raise UserError(f"{path}: needs more memory than there is: resize the image, or remove the file") from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file: put it back, or remove the link that leads nowhere") from error
    except PermissionError as error:
        raise UserError(f"{path}: may not be read ({error.strerror}): change its permissions") from error
    # A damaged file surfaces as whatever its decoder stumbles on: OSError, SyntaxError, struct.error, ValueError, ...
    except Exception as error:
        raise UserError(f"{path}: cannot be read as an image ({_reason(error)}): repair or remove the file") from error


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
        image = Image.fromarray(_bytes_of_words(np.asarray(image)))
    elif image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode} have no defined range, convert them to 8 or 16 bits")
    elif image.mode == "P" and "transparency" in image.info:
        # Pillow warns about each such image unless its transparency is made explicit first.
        image = image.convert("RGBA")
    # Of an image in its mode already, `convert` makes a copy.
    return image if image.mode == mode else image.convert(mode)


def _bytes_of_words(words: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale `[H, W]` 16-bit values to 8 bits, to the nearest, row by row: wide integers of all would take gigabytes."""
    scaled = np.empty(words.shape, dtype=np.uint8)
    for row, values in enumerate(words):
        scaled[row] = (np.clip(values, 0, 65535).astype(np.int64) * 255 + 32767) // 65535
    return scaled


def to_tensor(image: Image.Image) -> Tensor:
    """`[C, H, W]` uint8 of an image of mode L or RGB."""
    pixels = np.array(image)
    # numpy, because per image the overhead of torch's operations would outweigh the decoding of a small JPEG.
    return torch.from_numpy(pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _centre_square(image: Image.Image, size: int, shorter: int) -> Image.Image:
    width, height = _resized(image.size, shorter)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))


def _resized(sides: tuple[int, int], shorter: int) -> tuple[int, int]:
    """Width and height that bring the shorter side to `shorter`."""
    scale = shorter / min(sides)
    width, height = (max(shorter, round(side * scale)) for side in sides)
    return width, height


def _resized_part(image: Image.Image, crop: Crop, sides: tuple[int, int], size: int) -> Image.Image:
    """The part that is chosen by the image's full width and height, which it need not have any more."""
    across, down = (now / full for now, full in zip(image.size, sides, strict=True))
    left, top, right, bottom = crop(*sides)
    box = (round(left * across), round(top * down), round(right * across), round(bottom * down))
    # Cut out before it is resized, as torchvision does: by itself, the filter would look beyond the box.
    return image.crop(box).resize((size, size), Image.Resampling.BILINEAR, reducing_gap=_GAP)


def _skip_detail(image: Image.Image, crop: Crop, size: int) -> tuple[int, int] | None:
    """Have a large JPEG decoded at a half, a quarter or an eighth of its size if the part to keep needs no more.

    Returns:
        The full width and height, upright; None for other formats.
    """
    if image.format not in ("JPEG", "MPO"):
        return None
    width, height = image.size
    sideways = image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
    full = (height, width) if sideways else (width, height)
    left, top, right, bottom = crop(*full)
    shrink = max(1, int(min(right - left, bottom - top) / (_GAP * size)))
    image.draft(None, (width // shrink, height // shrink))
    return full


def _opened(file: Path | bytes) -> Path | io.BytesIO:
    if isinstance(file, bytes):
        return io.BytesIO(file)
    _check_file(file)
    return file


def _check_file(path: Path) -> None:
    """Refuse what would be read for ever, or into all memory."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UserError("is no regular file: remove it, or give it another suffix")
    if status.st_size > MOST_FILE_BYTES:
        raise UserError(f"has {status.st_size:,} bytes, more than any image that is read here: resize the image")


def _check_size(image: Image.Image, size: int | None, resize: int | None) -> None:
    """Refuse an image by the width and height that its file states, before memory is taken for its pixels."""
    width, height = image.size
    if width < 1 or height < 1:
        raise UserError(f"the image has {width} x {height} pixels: remove the file")
    # Pillow's decoder of WebP keeps several pictures of all pixels.
    most = MOST_PIXELS // 2 if image.format == "WEBP" else MOST_PIXELS
    most = most if Image.MAX_IMAGE_PIXELS is None else min(most, Image.MAX_IMAGE_PIXELS)
    if width * height > most or max(width, height) > _LONGEST_SIDE:
        raise UserError(
            f"the image has {width} x {height} = {width * height} pixels, more than the {most} (and {_LONGEST_SIDE} a"
            " side) that are read: resize the image"
        )
    if size is not None:
        key, shorter = ("size", size) if resize is None else ("resize", resize)
        wide, high = _resized(image.size, shorter)
        if wide * high > MOST_PIXELS:
            raise UserError(
                f"the image has {width} x {height} pixels, with its shorter side at data.{key}={shorter} {wide} x"
                f" {high}, more than {MOST_PIXELS}: crop the image, or set a smaller data.{key}"
            )


def _reason(error: Exception) -> str:
    """What a decoder said, on one line, without the path that is said anyway."""
    if isinstance(error, UnidentifiedImageError):
        return f"it is not {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:_REASON_LENGTH] or type(error).__name__
