"""Random rotation and zoom of a batch."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def warp(x: Tensor, draws: Tensor, *, degrees: float, zoom: float) -> Tensor:
    """Rotate each image about its centre and enlarge or shrink it, with bilinear interpolation.

    Beyond its border an image is continued by its mirror image, the pixels at the border repeated.

    Args:
        x: Images `[B, C, H, W]`, uint8, or floats in [0, 1].
        draws: `[B, 2]` in [0, 1): for the angle, uniform in ± degrees, and for the size, uniform in 1 ± zoom.
        degrees: Largest rotation.
        zoom: Largest change of the size, below 1.

    Returns:
        `[B, C, H, W]` of the same type, uint8 rounded to the nearest level.
    """
    turn, grow = (2 * draws - 1).unbind(1)
    grid = _source_places(turn * math.radians(degrees), 1 + grow * zoom, x.shape[2], x.shape[3])
    image = F.grid_sample(x.to(torch.float32), grid, padding_mode="reflection", align_corners=False)
    return image.round_().to(torch.uint8) if x.dtype == torch.uint8 else image.clamp_(0, 1)


def _source_places(angle: Tensor, size: Tensor, height: int, width: int) -> Tensor:
    """Source of each pixel of the warped image, `[B, H, W, 2]`, in the units of `grid_sample`.

    The places are computed in pixels, where a rotation is one for images that are not square, too, and element by
    element: the matrix product in `affine_grid` may round differently from batch to batch.
    """
    across = torch.arange(width, device=angle.device) - (width - 1) / 2
    down = torch.arange(height, device=angle.device)[:, None] - (height - 1) / 2
    cos, sin = ((function(angle) / size)[:, None, None] for function in (torch.cos, torch.sin))
    column, row = cos * across - sin * down, sin * across + cos * down
    return torch.stack([column * (2 / width), row * (2 / height)], 3)
