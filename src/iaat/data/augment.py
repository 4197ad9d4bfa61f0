"""Random crop and flip of a whole batch on its device, keyed by (seed, epoch, sample index)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from iaat.errors import UserError
from iaat.rng import derive_seed, keyed_uniform


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is done to training images.

    Attributes:
        crop: Pixels padded on each side before a random crop of the original size; 0: no crop.
        padding: What the crop sees beyond the border: the mirrored image, or zeros.
        flip: Mirror left and right with probability 1/2.
    """

    crop: int = 0
    padding: Literal["reflect", "zeros"] = "reflect"
    flip: bool = False

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return self.crop > 0 or self.flip

    def check(self, shape: tuple[int, ...]) -> None:
        """Check that it can be applied to inputs of this shape.

        Args:
            shape: Shape of one input, `[C, H, W]` for images.

        Raises:
            UserError: The inputs are not images, or smaller than the padding can mirror.
        """
        if not self.active:
            return
        if len(shape) != 3:
            key = "data.crop" if self.crop else "data.flip"
            raise UserError(f"{key} is set, but the inputs have shape {list(shape)}, not [C, H, W]: remove {key}")
        if self.padding == "reflect" and self.crop >= min(shape[1:]):
            raise UserError(
                f"data.crop is {self.crop}, but images of {shape[1]} x {shape[2]} pixels can mirror at most"
                f" {min(shape[1:]) - 1}: lower data.crop, or set data.padding=zeros"
            )


def augment(x: Tensor, augmentation: Augmentation, *, index: Tensor, seed: int, epoch: int) -> Tensor:
    """Crop and flip each image by its own draw.

    Args:
        x: Images `[B, C, H, W]` of any type.
        augmentation: What to do.
        index: `[B]` int64 on the device of `x`, the stable index of each image.
        seed: The run's seed.
        epoch: The epoch; each draws anew.

    Returns:
        `[B, C, H, W]` of the same type: image `b` depends on `x[b]` and `(seed, epoch, index[b])` only.
    """
    if not augmentation.active:
        return x
    height, width = x.shape[2:]
    draws = keyed_uniform(derive_seed(seed, "augment"), epoch, index, 3)
    # floor(u * n) stays below n: the largest draw is 1 - 2**-24, which float32 does not round up to n for an odd n.
    offset = (draws[:, :2] * (2 * augmentation.crop + 1)).long() - augmentation.crop
    rows = torch.arange(height, device=x.device) + offset[:, :1]
    columns = torch.arange(width, device=x.device).expand(len(x), width)
    if augmentation.flip:
        # The crop comes first: mirroring it means reading its columns from right to left.
        columns = torch.where(draws[:, 2:] < 0.5, columns.flip(1), columns)
    return _read(x, rows, columns + offset[:, 1:2], augmentation.padding)


def _read(x: Tensor, rows: Tensor, columns: Tensor, padding: str) -> Tensor:
    """Pixels `x[b, :, rows[b, i], columns[b, j]]`, with coordinates beyond the border mirrored or read as zero."""
    batch, channels, height, width = x.shape
    # One gather over flattened pixels keeps the result contiguous; indexing by three tensors would move the channels.
    flat = _mirror(rows, height)[:, :, None] * width + _mirror(columns, width)[:, None, :]
    out = x.flatten(2).gather(2, flat.view(batch, 1, -1).expand(-1, channels, -1)).view(x.shape)
    if padding == "reflect":
        return out
    inside = _inside(rows, height)[:, None, :, None] & _inside(columns, width)[:, None, None, :]
    return out.masked_fill_(~inside, 0)


def _mirror(position: Tensor, size: int) -> Tensor:
    # The clamp only matters for zero padding, whose far positions are masked afterwards.
    return (size - 1 - (size - 1 - position.abs()).abs()).clamp_(0, size - 1)


def _inside(position: Tensor, size: int) -> Tensor:
    return (position >= 0) & (position < size)
