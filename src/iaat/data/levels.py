"""Levels of other ranges than 8 bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from iaat.errors import UserError

MOST_WORD = 65535
"""Largest level of 16 bits."""


def check_colour_depth(image: Image.Image, max_value: float | None, altered: set[str]) -> None:
    """Note an image of 16 bits in each of several channels, of which Pillow reads the upper 8.

    To be called before the pixels are decoded, which forgets it.

    Args:
        image: The image as it was opened.
        max_value: Largest level there can be.
        altered: Receives "depth".

    Raises:
        UserError: `max_value` is less than the file's range: most of its levels are in the bits that are not read.
    """
    top = max(map(_range_of, getattr(image, "tile", ())), default=0)
    if len(image.getbands()) == 1 or top <= 255:
        return
    altered.add("depth")
    if max_value is not None and max_value < top:
        raise UserError(
            f"has levels up to {top} in each of several channels, of which the upper 8 bits are read, so that"
            f" data.max_value={max_value:g} cannot be applied: convert its levels 0 to {max_value:g} to 8 bits"
        )


def _range_of(tile: Any) -> int:  # noqa: ANN401
    """Largest level of a part of a file that Pillow is about to decode, as far as it is above 255."""
    code = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
    if tile[0].startswith("ppm") and isinstance(code[-1], int):
        return code[-1]
    return MOST_WORD if any(isinstance(each, str) and ";16" in each for each in code) else 255


def scale_levels(levels: NDArray[Any], top: float) -> NDArray[np.uint8]:
    """Scale `[H, W]` levels from 0 to `top` to 8 bits.

    Row by row, because 64-bit numbers of all pixels could take GBs.

    Raises:
        UserError: A level is outside of 0 to `top`.
    """
    scaled = np.empty(levels.shape, dtype=np.uint8)
    whole = levels.dtype.kind in "iu" and float(top).is_integer()
    for row, values in enumerate(levels):
        if not (values.min(initial=0) >= 0 and values.max(initial=0) <= top):
            odd = next(value for value in values.tolist() if not 0 <= value <= top)
            raise UserError(f"has the level {odd:g}, outside of 0 to {top:g}: set data.max_value to the largest level")
        if whole:
            scaled[row] = (values.astype(np.int64) * 255 + int(top) // 2) // int(top)
        else:
            scaled[row] = np.rint(values.astype(np.float64) * (255 / top))
    return scaled
