"""Decode one image file, or a PIL image, to a uint8 tensor."""

import io
import os
import stat
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image, UnidentifiedImageError
from torch import Tensor

from iaat.data.formats import FORMATS, ONLY_BY_SUFFIX, kind_of_file, register_plugins
from iaat.data.image_geometry import Crop, centre_square, resized, resized_part, skip_detail, upright
from iaat.data.image_modes import WHITE, Colour, to_mode, to_tensor
from iaat.data.levels import check_colour_depth
from iaat.data.png import is_png, without_metadata
from iaat.data.sample_log import SampleReadError
from iaat.errors import UserError

# Their frames are an animation, or the pages of one document; of a camera's file they are previews.
_FORMATS_OF_FRAMES = ("GIF", "PNG", "WEBP", "TIFF", "AVIF")

MOST_PIXELS = 1 << 26
"""Pixels of an image, 8,192 x 8,192; of WebP and AVIF half as many. With the copies that decoding makes they take below
1 GB."""
_LONGEST_SIDE = 1 << 16
# Of some formats the whole file is read before it says how large the image is.
MOST_FILE_BYTES = 1 << 29
"""Bytes of an encoded image."""
# As long as a text that people are to read may be.
_REASON_LENGTH = 200


class _How(NamedTuple):
    """How an image is read: the arguments of `decode` of these names."""

    channels: int
    size: int | None
    resize: int | None
    crop: Crop | None
    background: Colour
    max_value: float | None


def decode(
    file: Path | bytes,
    *,
    channels: Literal[1, 3] = 3,
    size: int | None = None,
    resize: int | None = None,
    crop: Crop | None = None,
    background: Colour = WHITE,
    max_value: float | None = None,
    where: str | None = None,
    altered: set[str] | None = None,
) -> Tensor:
    """Read one image file.

    The orientation that a camera recorded is applied, palettes and CMYK are converted, transparent pixels are composed
    on a background, 16-bit grey is scaled to 8 bits, and of an animation the first frame is read. Damaged metadata
    costs no image.

    Args:
        file: The file, or what it holds.
        channels: 3 reads colour, 1 grey.
        size: Crop the centre square of so many pixels a side; None: as stored.
        resize: Before that, resize the shorter side to so many pixels, at least `size`; None: to `size`.
        crop: Chooses the part of the image that is resized to `size` x `size` in place of the centre square.
        background: Colour behind transparent pixels.
        max_value: Largest level there can be, which becomes 255; None: that of the format. See `to_mode`.
        where: Names the image in messages; None: the path does.
        altered: Receives what was altered of the image, as kinds of `iaat.data.notices`.

    Returns:
        `[channels, H, W]` uint8.

    Raises:
        SampleReadError: The file cannot be read as an image, or is too large; names the place.
        UserError: A level is above `max_value`; names the place.
    """
    path = where or (file if isinstance(file, Path) else "image")
    content = read_file(file) if isinstance(file, Path) else file
    noted = set[str]() if altered is None else altered
    register_plugins()
    by_suffix = ONLY_BY_SUFFIX.get(os.path.splitext(path)[1].lower())  # noqa: PTH122 (a Path takes as long as a small image)
    formats = FORMATS if by_suffix is None else (*FORMATS, by_suffix)
    how = _How(channels, size, resize, crop, background, max_value)
    try:
        return _pixels_in_spite_of_metadata(content, formats, how, noted)
    except UserError as error:
        raise type(error)(f"{path}: {error}") from error
    except Image.DecompressionBombError as error:
        raise SampleReadError(f"{path}: {_reason(error)}: resize the image") from error
    except MemoryError as error:
        raise SampleReadError(
            f"{path}: needs more memory than there is: resize the image, or remove the file"
        ) from error
    # A damaged file surfaces as whatever its decoder stumbles on: OSError, SyntaxError, struct.error, ValueError, ...
    except Exception as error:
        raise SampleReadError(f"{path}: {_what_is_wrong(content, error)}") from error


def _pixels_in_spite_of_metadata(content: bytes, formats: tuple[str, ...], how: _How, noted: set[str]) -> Tensor:
    """`_pixels`, without the texts of a PNG that cannot be read with them."""
    try:
        return _pixels(content, formats, how, noted)
    except (UserError, MemoryError, Image.DecompressionBombError):
        raise
    except Exception:
        # Pillow gives up an image for a text or a date in it that is damaged or large.
        if not is_png(content):
            raise
        return _pixels(without_metadata(content), formats, how, noted)


def _pixels(content: bytes, formats: tuple[str, ...], how: _How, noted: set[str]) -> Tensor:
    """`[channels, H, W]` uint8 of an encoded image; what was altered of it is added to `noted`."""
    size, crop = how.size, how.crop
    with Image.open(io.BytesIO(content), formats=formats) as image:
        _check_size(image, size, how.resize)
        sides = None if crop is None or size is None else skip_detail(image, crop, size)
        kind = image.format
        check_colour_depth(image, how.max_value, noted)
        converted = to_mode(
            upright(image),
            how.channels,
            file_format=kind,
            background=how.background,
            max_value=how.max_value,
            altered=noted,
        )
        if crop is not None and size is not None:
            converted = resized_part(converted, crop, sides or converted.size, size)
        elif size is not None:
            converted = centre_square(converted, size, how.resize or size)
        pixels = to_tensor(converted)
        if kind in _FORMATS_OF_FRAMES and _has_frames(image):
            noted.add("frames")
        return pixels


def _has_frames(image: Image.Image) -> bool:
    """Whether a file has more frames than the first; called last, because it moves the position in the file."""
    try:
        return bool(getattr(image, "is_animated", False))
    except MemoryError:
        raise
    except Exception:  # of damaged later frames, anything
        return True


def _what_is_wrong(content: bytes, error: Exception) -> str:
    """Reason why a file cannot be read, and the fix."""
    if isinstance(error, UnidentifiedImageError) and (name := kind_of_file(content)) is not None:
        return f"it is {name}, which is not read here: convert it to PNG or JPEG, or remove the file"
    return f"cannot be read as an image ({_reason(error)}): repair or remove the file"


def read_file(path: Path | str) -> bytes:
    """Read the bytes of an image file.

    Raises:
        SampleReadError: It is no regular file, too large, or may not be read; names it.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 (as below: of a path as text it takes a third of the time)
        if not stat.S_ISREG(status.st_mode):
            raise SampleReadError(f"{path}: is no regular file: remove it, or give it another suffix")
        if status.st_size > MOST_FILE_BYTES:
            raise SampleReadError(
                f"{path}: has {status.st_size:,} bytes, more than any image that is read here: resize the image"
            )
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return file.read()
    except FileNotFoundError as error:
        raise SampleReadError(
            f"{path}: there is no such file: put it back, or remove the link that leads nowhere"
        ) from error
    except OSError as error:
        raise SampleReadError(f"{path}: may not be read ({error.strerror}): change its permissions") from error


def _check_size(image: Image.Image, size: int | None, resize: int | None) -> None:
    """Refuse an image by the width and height in its header, before its pixels take memory."""
    width, height = image.size
    if width < 1 or height < 1:
        raise SampleReadError(f"the image has {width} x {height} pixels: remove the file")
    # Pillow's decoders of these keep several pictures of all pixels.
    most = MOST_PIXELS // 2 if image.format in ("WEBP", "AVIF", "HEIF") else MOST_PIXELS
    most = most if Image.MAX_IMAGE_PIXELS is None else min(most, Image.MAX_IMAGE_PIXELS)
    if width * height > most or max(width, height) > _LONGEST_SIDE:
        raise SampleReadError(
            f"the image has {width} x {height} = {width * height} pixels, more than the {most} (and {_LONGEST_SIDE} a"
            " side) that are read: resize the image"
        )
    if size is not None:
        key, shorter = ("size", size) if resize is None else ("resize", resize)
        wide, high = resized(image.size, shorter)
        if wide * high > MOST_PIXELS:
            raise SampleReadError(
                f"the image has {width} x {height} pixels, with its shorter side at data.{key}={shorter} {wide} x"
                f" {high}, more than {MOST_PIXELS}: crop the image, or set a smaller data.{key}"
            )


def _reason(error: Exception) -> str:
    """Message of a decoder on one line, without the path."""
    if isinstance(error, UnidentifiedImageError):
        return f"it is not {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:_REASON_LENGTH] or type(error).__name__
