"""Decode one image file, or a PIL image, to a uint8 tensor."""

import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from iaat.data.formats import FORMATS, ONLY_BY_SUFFIX, kind_of_file, register_plugins
from iaat.data.levels import MOST_WORD, check_colour_depth, scale_levels
from iaat.data.png import is_png, without_metadata
from iaat.data.resized_crop import Box
from iaat.data.sample_log import SampleReadError
from iaat.errors import UserError

# Modes of 16-bit grey. "I" (32 bit) is what Pillow makes of 16 bits in some formats.
_WORDS = ("I;16", "I;16L", "I;16B", "I;16N")
_FORMATS_WITH_16_BIT_I = ("PNG", "PPM")
GREY_MODES = ("1", "L", "LA", "La", "I", "F", *_WORDS)
# Their frames are an animation, or the pages of one document; of a camera's file they are previews.
_FORMATS_OF_FRAMES = ("GIF", "PNG", "WEBP", "TIFF", "AVIF")

Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)

MOST_PIXELS = 1 << 26
"""Pixels of an image, 8,192 x 8,192; of WebP and AVIF half as many. With the copies that decoding makes they take below
1 GB."""
_LONGEST_SIDE = 1 << 16
# Of some formats the whole file is read before it says how large the image is.
MOST_FILE_BYTES = 1 << 29
"""Bytes of an encoded image."""
# As long as a text that people are to read may be.
_REASON_LENGTH = 200
# A part that is shrunk to less than half of this is first shrunk by a fast rule, to not below this many times the final
# size; of a photograph of several megapixels that saves half of the time, and moves pixels by a level or two.
_GAP = 3.0
_DARK = 32
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Transpositions that make an image upright, by the orientation that the camera recorded."""
_SIDEWAYS = (5, 6, 7, 8)
"""Orientations where the stored rows are columns of the upright image."""

Crop = Callable[[int, int], Box]
"""Chooses a part of an image by its width and height."""


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

    def read(content: bytes) -> Tensor:
        with Image.open(io.BytesIO(content), formats=formats) as image:
            _check_size(image, size, resize)
            sides = None if crop is None or size is None else _skip_detail(image, crop, size)
            kind = image.format
            check_colour_depth(image, max_value, noted)
            converted = to_mode(
                _upright(image), channels, file_format=kind, background=background, max_value=max_value, altered=noted
            )
            if crop is not None and size is not None:
                converted = _resized_part(converted, crop, sides or converted.size, size)
            elif size is not None:
                converted = _centre_square(converted, size, resize or size)
            pixels = to_tensor(converted)
            if kind in _FORMATS_OF_FRAMES and _has_frames(image):
                noted.add("frames")
            return pixels

    try:
        try:
            return read(content)
        except (UserError, MemoryError, Image.DecompressionBombError):
            raise
        except Exception:
            # Pillow gives up an image for a text or a date in it that is damaged or large.
            if not is_png(content):
                raise
            return read(without_metadata(content))
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


def _has_frames(image: Image.Image) -> bool:
    """Whether a file has more frames than the first; called last, because it moves the position in the file."""
    try:
        return bool(getattr(image, "is_animated", False))
    except MemoryError:
        raise
    except Exception:  # of damaged later frames, anything
        return True


def _orientation(image: Image.Image) -> int:
    """Orientation that a camera recorded, 1 to 8; 1 where it cannot be read."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except MemoryError:
        raise
    except Exception:  # of damaged metadata, anything
        return 1


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # which turns those of some formats
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _what_is_wrong(content: bytes, error: Exception) -> str:
    """Reason why a file cannot be read, and the fix."""
    if isinstance(error, UnidentifiedImageError) and (name := kind_of_file(content)) is not None:
        return f"it is {name}, which is not read here: convert it to PNG or JPEG, or remove the file"
    return f"cannot be read as an image ({_reason(error)}): repair or remove the file"


def to_tensor(image: Image.Image) -> Tensor:
    """`[C, H, W]` uint8 of an image of mode L or RGB."""
    pixels = np.asarray(image)  # read only, so it is copied
    # numpy, because per image the overhead of torch's operations would outweigh the decoding of a small JPEG.
    return torch.from_numpy(np.array(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1), order="C"))


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
    """Cut out and resize the part that `crop` chooses; the image may be decoded at a reduced size."""
    across, down = (now / full for now, full in zip(image.size, sides, strict=True))
    left, top, right, bottom = crop(*sides)
    box = (round(left * across), round(top * down), round(right * across), round(bottom * down))
    # Cut out before it is resized, as torchvision does: by itself, the filter would look beyond the box.
    return image.crop(box).resize((size, size), Image.Resampling.BILINEAR, reducing_gap=_GAP)


def _skip_detail(image: Image.Image, crop: Crop, size: int) -> tuple[int, int] | None:
    """Decode a large JPEG at a half, a quarter or an eighth of its size if the crop needs no more.

    Returns:
        The full width and height, upright; None for other formats.
    """
    if image.format not in ("JPEG", "MPO"):
        return None
    width, height = image.size
    sideways = _orientation(image) in _SIDEWAYS
    full = (height, width) if sideways else (width, height)
    left, top, right, bottom = crop(*full)
    shrink = max(1, int(min(right - left, bottom - top) / (_GAP * size)))
    image.draft(None, (width // shrink, height // shrink))
    return full


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
        wide, high = _resized(image.size, shorter)
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
