"""Augmentation of a whole batch on its device, keyed by (seed, epoch, sample index)."""

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal

import torch
from torch import Tensor

from iaat.data.color_jitter import jitter_color
from iaat.data.crop_flip import crop_flip
from iaat.data.cutout import cut_out
from iaat.data.warp import warp
from iaat.errors import UserError, check_choice, shown
from iaat.runtime.rng import derive_seed, keyed_uniform

_DRAWN_AT_ONCE = 1 << 16
# Which draws are for what. A draw depends on its column and not on how many are drawn, so crop and flip are the same
# whatever else is done, and done alone they cost no more than their own three.
_CROP_FLIP, _CENTRE, _COLOR, _WARP = slice(0, 3), slice(3, 5), slice(5, 8), slice(8, 10)
_COLUMNS = 10


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Augmentation of training images, in this order: rotate and zoom, crop and flip, color, cutout.

    Attributes:
        crop: Pixels padded on each side before a random crop of the original size; 0: no crop.
        padding: What the crop sees beyond the border: the mirrored image, or zeros.
        flip: Mirror left and right with probability 1/2.
        cutout: Side in pixels of a square that is made grey; 0: none.
        color: Strength in [0, 1] of random brightness, contrast and, of colour images, saturation.
        rotate: Largest rotation in degrees, either way.
        zoom: Largest relative change of size, either way, below 1.

    Raises:
        UserError: A value of another type or out of its range.
    """

    crop: int = 0
    padding: Literal["reflect", "zeros"] = "reflect"
    flip: bool = False
    cutout: int = 0
    color: float = 0.0
    rotate: float = 0.0
    zoom: float = 0.0

    def __post_init__(self) -> None:
        check_choice(self.padding, ("reflect", "zeros"), "padding")
        if not isinstance(self.flip, bool):
            raise UserError(f"flip = {shown(self.flip)}: give True or False")
        for key in ("crop", "cutout"):
            if not isinstance(value := getattr(self, key), Integral) or value < 0:
                raise UserError(f"{key} = {shown(value)}: give a whole number of pixels, 0 or more")
        for key, most in (("color", 1.0), ("rotate", 180.0), ("zoom", 1.0)):
            value = getattr(self, key)
            if not isinstance(value, Real) or not 0 <= float(value) <= most or (key == "zoom" and value == most):
                limit = "below 1" if key == "zoom" else f"to {most:g}"
                raise UserError(f"{key} = {shown(value)}: give a number from 0 {limit}")

    @property
    def active(self) -> bool:
        """Whether any augmentation is on."""
        return bool(self._active_keys())

    def _active_keys(self) -> list[str]:
        return [key for key in ("crop", "flip", "cutout", "color", "rotate", "zoom") if getattr(self, key)]

    def check(self, shape: tuple[int, ...]) -> None:
        """Check that inputs of this shape can be augmented.

        Args:
            shape: Shape of one input, `[C, H, W]` for images.

        Raises:
            UserError: The inputs are not images, smaller than the padding can mirror or than the square to cut out, or
                have channels that are no colours.
        """
        if not self.active:
            return
        if len(shape) != 3:
            key = f"data.{self._active_keys()[0]}"
            unset = "false" if key == "data.flip" else "0"
            raise UserError(
                f"{key} is set, but the inputs have shape {list(shape)}, not [C, H, W]: set {key} to {unset}"
            )
        smaller, size = min(shape[1:]), f"{shape[1]} x {shape[2]} pixels"
        if self.padding == "reflect" and self.crop >= smaller:
            raise UserError(
                f"data.crop is {self.crop}, but images of {size} can mirror at most {smaller - 1}: lower data.crop, or"
                " set data.padding=zeros"
            )
        if self.cutout > smaller:
            raise UserError(
                f"data.cutout is {self.cutout}, but the images are of {size}: give the side of a square of at most"
                f" {smaller}"
            )
        if self.color and shape[0] not in (1, 3):
            raise UserError(
                f"data.color is set, but the images have {shape[0]} channels, not 1 or 3: set data.color to 0"
            )


def augment(x: Tensor, augmentation: Augmentation, *, index: Tensor, seed: int, epoch: int) -> Tensor:
    """Augment a batch, each image by its own random draws.

    Args:
        x: Images `[B, C, H, W]`, uint8, or floats in [0, 1].
        augmentation: What to do.
        index: `[B]` int64 on the device of `x`, the stable index of each image.
        seed: The run's seed.
        epoch: The epoch; each draws anew.

    Returns:
        `[B, C, H, W]` of the same type: image `b` depends on `x[b]` and `(seed, epoch, index[b])` only.

    Raises:
        UserError: As `Augmentation.check`.
    """
    augmentation.check(tuple(x.shape[1:]))
    return apply_draws(x, augmentation, augmentation_draws(augmentation, index, (seed, epoch)))


def augmentation_draws(
    augmentation: Augmentation, index: Tensor, key: tuple[int, int] | None, visits: Tensor | None = None
) -> Tensor | None:
    """Random draws that decide how each sample is augmented.

    They are drawn for a whole epoch at once, because drawing for each batch costs more.

    Args:
        augmentation: What will be done.
        index: `[N]` int64, stable indices.
        key: The run's seed and the epoch; each epoch draws anew. None where nothing is to be augmented.
        visits: `[N]` on the CPU, how often the epoch has visited each before: the first keeps the draws of its epoch,
            later ones have draws of their own. None: none recurs.

    Returns:
        `[N, D]` float32 in [0, 1) on the device of `index`: for the vertical and the horizontal shift and for the flip
        (D = 3), and where more is done for the centre of the cutout, the three factors of the colours, rotation and
        zoom (D = 10); None where there is nothing to do. What a sample draws depends on the key, its index and its
        visit only.
    """
    if key is None or not augmentation.active:
        return None
    drawn = _draw(augmentation, index, key)
    if visits is not None and len(visits):
        _draw_anew(drawn, augmentation, index, key, visits)
    return drawn


def _draw_anew(drawn: Tensor, augmentation: Augmentation, index: Tensor, key: tuple[int, int], visits: Tensor) -> None:
    """Give later visits of an epoch draws of their own, in place."""
    for visit in range(1, int(visits.max()) + 1):
        again = (visits == visit).nonzero()[:, 0].to(drawn.device)
        drawn[again] = _draw(augmentation, index[again], (derive_seed(key[0], "visit", visit), key[1]))


def _draw(augmentation: Augmentation, index: Tensor, key: tuple[int, int]) -> Tensor:
    seed, epoch = derive_seed(key[0], "augment"), key[1]
    count = _COLUMNS if set(augmentation._active_keys()) - {"crop", "flip"} else _CROP_FLIP.stop
    # In parts, because the hash takes some 100 bytes a sample while it computes.
    return torch.cat([keyed_uniform(seed, epoch, part, count) for part in torch.split(index, _DRAWN_AT_ONCE)])


def apply_draws(x: Tensor, augmentation: Augmentation, draws: Tensor | None) -> Tensor:
    """Augment a batch by draws made before.

    Images stored as bytes stay bytes: crop, flip and cutout only move or overwrite them; colours and warps are
    computed in float32 and rounded to the nearest level before they are handed on.

    Args:
        x: Images `[B, C, H, W]`, uint8, or floats in [0, 1].
        augmentation: What to do.
        draws: `[B, D]` from `augmentation_draws`, on the device of `x`, or None.

    Returns:
        `[B, C, H, W]` of the same type, contiguous; `x` itself if there is nothing to do.
    """
    if draws is None or not len(x):
        return x
    how = augmentation
    if how.rotate or how.zoom:
        x = warp(x, draws[:, _WARP], degrees=how.rotate, zoom=how.zoom)
    if how.crop or how.flip:
        x = crop_flip(x, draws[:, _CROP_FLIP], crop=how.crop, padding=how.padding, flip=how.flip)
    if how.color:
        x = jitter_color(x, draws[:, _COLOR], strength=how.color)
    if how.cutout:
        x = cut_out(x, draws[:, _CENTRE], side=how.cutout)
    return x.contiguous()
