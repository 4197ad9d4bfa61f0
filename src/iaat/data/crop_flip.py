"""Random crop and flip of a batch by copying runs of pixels."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def crop_flip(x: Tensor, draws: Tensor, *, crop: int, padding: Literal["reflect", "zeros"], flip: bool) -> Tensor:
    """Pad each image, crop it to its size at a random place, and flip it at random.

    Args:
        x: Images `[B, C, H, W]` of any type.
        draws: `[B, 3]` in [0, 1): for the vertical and the horizontal shift and for the flip.
        crop: Pixels padded on each side.
        padding: What is padded: the mirrored image, or zeros.
        flip: Whether to mirror left and right where the third draw is below 1/2.

    Returns:
        `[B, C, H, W]` of the same type, contiguous.
    """
    # floor(u * n) stays below n: the largest draw is 1 - 2**-24, which float32 does not round up to n for an odd n.
    down, right = ((draws[:, :2] * (2 * crop + 1)).long() - crop).unbind(1)
    flipped = draws[:, 2] < 0.5 if flip else torch.zeros_like(draws[:, 2], dtype=torch.bool)
    if padding == "reflect":
        return _cut_mirrored(x, down, right, flipped)
    return _cut_zero_padded(x, down, right, flipped, crop)


def _cut_mirrored(x: Tensor, down: Tensor, right: Tensor, flip: Tensor) -> Tensor:
    """Crops of mirror-padded images, shifted by `down`, `right` `[B]`, then flipped where `flip` `[B]`.

    Mirrored at both borders, a row repeats itself after `2 * width - 2` pixels and reads the same from either end. So a
    window of "forwards, backwards, forwards" is any shifted row, flipped or not: which, is a matter of where it starts.
    """
    height, width = x.shape[2:]
    lines = torch.cat([x, x.flip(3)[..., 1:-1], x], 3)
    column = torch.where(flip, width - 1 - right, right) % max(2 * width - 2, 1)
    row = torch.arange(height, device=x.device) + down[:, None]
    row = height - 1 - (height - 1 - row.abs()).abs()
    return _windows(lines, row, column, width)


def _cut_zero_padded(x: Tensor, down: Tensor, right: Tensor, flip: Tensor, crop: int) -> Tensor:
    """Crops of zero-padded images: as `_cut_mirrored`, from "forwards, backwards" of each padded row."""
    height, width = x.shape[2:]
    padded = F.pad(x, (crop, crop, crop, crop))
    lines = torch.cat([padded, padded.flip(3)], 3)
    column = crop + torch.where(flip, padded.shape[3] - right, right)
    row = torch.arange(crop, crop + height, device=x.device) + down[:, None]
    return _windows(lines, row, column, width)


def _windows(lines: Tensor, row: Tensor, column: Tensor, width: int) -> Tensor:
    """Runs of pixels `[B, C, H, width]` of `lines` `[B, C, R, L]`: rows `row` `[B, H]` from `column` `[B]` on.

    One `index_select` of whole runs of pixels from a view of all places where a run can start: a memory copy a row. A
    gather of single pixels would read an int64 for each, several times the bytes of the image.
    """
    batch, channels, rows, length = lines.shape
    plane = torch.arange(batch * channels, device=lines.device).view(batch, channels, 1) * (rows * length)
    start = plane + (row * length + column[:, None])[:, None]
    runs = lines.flatten().unfold(0, width, 1).index_select(0, start.flatten())
    return runs.view(batch, channels, -1, width)
