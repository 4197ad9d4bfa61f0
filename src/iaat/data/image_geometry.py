"""Orientation, crops and sizes of PIL images."""

from collections.abc import Callable

from PIL import ExifTags, Image

from iaat.data.resized_crop import Box

# A part that is shrunk to less than half of this is first shrunk by a fast rule, to not below this many times the final
# size; of a photograph of several megapixels that saves half of the time, and moves pixels by a level or two.
_GAP = 3.0
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


def orientation(image: Image.Image) -> int:
    """Orientation that a camera recorded, 1 to 8; 1 where it cannot be read."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except MemoryError:
        raise
    except Exception:  # of damaged metadata, anything
        return 1


def upright(image: Image.Image) -> Image.Image:
    """The pixels of an image, turned as the camera recorded."""
    image.load()  # which turns those of some formats
    turn = _TURNS.get(orientation(image))
    return image if turn is None else image.transpose(turn)


def centre_square(image: Image.Image, size: int, shorter: int) -> Image.Image:
    """The centre square of `size` pixels a side, after the shorter side was brought to `shorter`."""
    width, height = resized(image.size, shorter)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))


def resized(sides: tuple[int, int], shorter: int) -> tuple[int, int]:
    """Width and height that bring the shorter side to `shorter`."""
    scale = shorter / min(sides)
    width, height = (max(shorter, round(side * scale)) for side in sides)
    return width, height


def resized_part(image: Image.Image, crop: Crop, sides: tuple[int, int], size: int) -> Image.Image:
    """Cut out and resize the part that `crop` chooses; the image may be decoded at a reduced size."""
    across, down = (now / full for now, full in zip(image.size, sides, strict=True))
    left, top, right, bottom = crop(*sides)
    box = (round(left * across), round(top * down), round(right * across), round(bottom * down))
    # Cut out before it is resized, as torchvision does: by itself, the filter would look beyond the box.
    return image.crop(box).resize((size, size), Image.Resampling.BILINEAR, reducing_gap=_GAP)


def skip_detail(image: Image.Image, crop: Crop, size: int) -> tuple[int, int] | None:
    """Decode a large JPEG at a half, a quarter or an eighth of its size if the crop needs no more.

    Returns:
        The full width and height, upright; None for other formats.
    """
    if image.format not in ("JPEG", "MPO"):
        return None
    width, height = image.size
    sideways = orientation(image) in _SIDEWAYS
    full = (height, width) if sideways else (width, height)
    left, top, right, bottom = crop(*full)
    shrink = max(1, int(min(right - left, bottom - top) / (_GAP * size)))
    image.draft(None, (width // shrink, height // shrink))
    return full
