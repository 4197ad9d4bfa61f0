"""Random crop and flip of a whole batch on its device, keyed by (seed, epoch, sample index)."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from iaat.errors import UserError
from iaat.rng import derive_seed, keyed_uniform

_DRAWN_AT_ONCE = 1 << 16


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
    return apply_draws(x, augmentation, augmentation_draws(augmentation, index, (seed, epoch)))


def augmentation_draws(augmentation: Augmentation, index: Tensor, key: tuple[int, int] | None) -> Tensor | None:
    """What decides how each sample is augmented; drawn for a whole epoch at once it costs a batch nothing.

    Args:
        augmentation: What will be done.
        index: `[N]` int64, stable indices.
        key: The run's seed and the epoch; each epoch draws anew. None where nothing is to be augmented.

    Returns:
        `[N, 3]` float32 in [0, 1) on the device of `index`: for the vertical and the horizontal shift and for the flip;
        None where there is nothing to do. The draws of a sample depend on the key and its own index only.
    """
    if key is None or not augmentation.active:
        return None
    seed, epoch = derive_seed(key[0], "augment"), key[1]
    # In parts, because the hash takes some 100 bytes a sample while it computes.
    return torch.cat([keyed_uniform(seed, epoch, part, 3) for part in torch.split(index, _DRAWN_AT_ONCE)])


def apply_draws(x: Tensor, augmentation: Augmentation, draws: Tensor | None) -> Tensor:
    """Crop and flip images as drawn.

    Args:
        x: Images `[B, C, H, W]` of any type.
        augmentation: What to do.
        draws: `[B, 3]` from `augmentation_draws`, on the device of `x`, or None.

    Returns:
        `[B, C, H, W]` of the same type, contiguous; `x` itself if there is nothing to do.
    """
    if draws is None or not len(x):
        return x
    crop = augmentation.crop
    # floor(u * n) stays below n: the largest draw is 1 - 2**-24, which float32 does not round up to n for an odd n.
    down, right = ((draws[:, :2] * (2 * crop + 1)).long() - crop).unbind(1)
    flip = draws[:, 2] < 0.5 if augmentation.flip else torch.zeros_like(draws[:, 2], dtype=torch.bool)
    if augmentation.padding == "reflect":
        return _cut_mirrored(x, down, right, flip)
    return _cut_zero_padded(x, down, right, flip, crop)


def _cut_mirrored(x: Tensor, down: Tensor, right: Tensor, flip: Tensor) -> Tensor:
    """Windows of the images continued by mirroring, shifted by `down`, `right` `[B]`, then flipped where `flip` `[B]`.

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
    """As `_cut_mirrored`, of images with `crop` zeros on each side: "forwards, backwards" of each padded row."""
    height, width = x.shape[2:]
    padded = F.pad(x, (crop, crop, crop, crop))
    lines = torch.cat([padded, padded.flip(3)], 3)
    column = crop + torch.where(flip, padded.shape[3] - right, right)
    row = torch.arange(crop, crop + height, device=x.device) + down[:, None]
    return _windows(lines, row, column, width)


def _windows(lines: Tensor, row: Tensor, column: Tensor, width: int) -> Tensor:
    """`[B, C, H, width]` of `lines` `[B, C, R, L]`: the lines `row` `[B, H]` of each image from `column` `[B]` on.

    One `index_select` of whole runs of pixels from a view of all places where a run can start: a memory copy a row. A
    gather of single pixels would read an int64 for each, several times the bytes of the image.
    """
    batch, channels, rows, length = lines.shape
    plane = torch.arange(batch * channels, device=lines.device).view(batch, channels, 1) * (rows * length)
    start = plane + (row * length + column[:, None])[:, None]
    runs = lines.flatten().unfold(0, width, 1).index_select(0, start.flatten())
    return runs.view(batch, channels, -1, width)
