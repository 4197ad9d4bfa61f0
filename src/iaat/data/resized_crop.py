"""Random-resized crop of ImageNet training: a part of random area and shape, resized to one size."""

import math
from collections.abc import Sequence

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels, the last two outside."""

_ATTEMPTS = 10
_RATIOS = (3 / 4, 4 / 3)
DRAWS = 2 * _ATTEMPTS + 2
"""Uniform draws that decide a box: area and ratio of each attempt, then the place."""


def crop_box(width: int, height: int, draws: Sequence[float], *, smallest: float) -> Box:
    """Box of a random crop.

    Its fraction of the area is uniform in [`smallest`, 1], the logarithm of its width over height between those of 3/4
    and 4/3. The first of ten attempts that fits is placed at random. If none does, it is the largest box of these
    ratios in the centre. This is torchvision's `RandomResizedCrop`, after Szegedy et al. 2015 (arXiv 1409.4842),
    section 6.

    Args:
        width: Width of the image in pixels.
        height: Its height.
        draws: `DRAWS` numbers in [0, 1).
        smallest: Smallest fraction of the area, in (0, 1].

    Returns:
        The box, at least one pixel wide and high and within the image.
    """
    low, high = map(math.log, _RATIOS)
    for attempt in range(_ATTEMPTS):
        area = width * height * (smallest + (1 - smallest) * draws[2 * attempt])
        ratio = math.exp(low + (high - low) * draws[2 * attempt + 1])
        wide, tall = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < tall <= height:
            left, top = int(draws[-2] * (width - wide + 1)), int(draws[-1] * (height - tall + 1))
            return left, top, left + wide, top + tall
    return _centre(width, height)


def _centre(width: int, height: int) -> Box:
    narrowest, widest = _RATIOS
    wide = min(width, max(1, round(height * widest)))
    tall = min(height, max(1, round(width / narrowest)))
    left, top = (width - wide) // 2, (height - tall) // 2
    return left, top, left + wide, top + tall
