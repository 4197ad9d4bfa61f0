"""Batched augmentation against a loop over images that pads, cuts and flips one at a time."""

from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from iaat.data import Augmentation, augment
from iaat.errors import UserError
from iaat.rng import derive_seed, keyed_uniform

paddings = st.sampled_from(["reflect", "zeros"])


def slow_augment(x: Tensor, how: Augmentation, index: Tensor, seed: int, epoch: int) -> Tensor:
    images = []
    for image, position in zip(x, index, strict=True):
        draws = keyed_uniform(derive_seed(seed, "augment"), epoch, position[None], 3)[0].tolist()
        crop = how.crop
        mode = "reflect" if how.padding == "reflect" else "constant"
        padded = F.pad(image, (crop, crop, crop, crop), mode=mode)
        top, left = (int(draw * (2 * crop + 1)) for draw in draws[:2])
        out = padded[:, top : top + x.shape[2], left : left + x.shape[3]]
        images.append(out.flip(2) if how.flip and draws[2] < 0.5 else out)
    return torch.stack(images)


@given(
    crop=st.integers(0, 4),
    padding=paddings,
    flip=st.booleans(),
    shape=st.tuples(st.integers(1, 8), st.integers(1, 3), st.integers(5, 9), st.integers(5, 9)),
    seed=st.integers(0, 10**9),
)
def test_equals_loop_over_images(
    crop: int, padding: Literal["reflect", "zeros"], flip: bool, shape: tuple[int, ...], seed: int
) -> None:
    x = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    index = torch.arange(shape[0]) * 7 + seed
    how = Augmentation(crop=crop, padding=padding, flip=flip)
    assert torch.equal(augment(x, how, index=index, seed=seed, epoch=2), slow_augment(x, how, index, seed, 2))


def test_zero_padding_wider_than_the_image() -> None:
    x = torch.rand(20, 1, 3, 3)
    how = Augmentation(crop=5, padding="zeros")
    index = torch.arange(20)
    assert torch.equal(augment(x, how, index=index, seed=0, epoch=0), slow_augment(x, how, index, 0, 0))


@given(crop=st.integers(1, 10**5))
def test_largest_draw_stays_inside(crop: int) -> None:
    # The oracle multiplies in float64; the batched code must not round up where float32 does not.
    largest = torch.tensor(1 - 2.0**-24)
    assert int(largest * (2 * crop + 1)) <= 2 * crop


def test_every_offset_and_both_sides_occur() -> None:
    x = torch.arange(25.0).view(1, 1, 5, 5).repeat(4000, 1, 1, 1)
    out = augment(x, Augmentation(crop=1, flip=True), index=torch.arange(4000), seed=0, epoch=0)
    counts = out.flatten(1).unique(dim=0, return_counts=True)[1]
    assert len(counts) == 3 * 3 * 2
    # 4000 / 18 = 222 each, with a standard deviation of 14.5.
    assert counts.min() > 150
    assert counts.max() < 295


def test_sample_is_augmented_alike_in_any_batch_and_anew_in_each_epoch() -> None:
    x = torch.rand(50, 3, 8, 8)
    index = torch.arange(50)
    how = Augmentation(crop=2, flip=True)
    whole = augment(x, how, index=index, seed=1, epoch=0)
    assert torch.equal(augment(x[30:33], how, index=index[30:33], seed=1, epoch=0), whole[30:33])
    assert not torch.equal(augment(x, how, index=index, seed=1, epoch=1), whole)
    assert not torch.equal(augment(x, how, index=index, seed=2, epoch=0), whole)


def test_input_is_left_alone_and_bytes_stay_bytes() -> None:
    x = torch.randint(0, 256, (9, 3, 6, 6), dtype=torch.uint8)
    before = x.clone()
    out = augment(x, Augmentation(crop=2, padding="zeros", flip=True), index=torch.arange(9), seed=0, epoch=0)
    assert out.dtype == torch.uint8
    assert out.is_contiguous()
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("how", "shape", "message"),
    [
        (Augmentation(crop=2), (64,), r"data\.crop is set, but the inputs have shape \[64\].*remove data\.crop"),
        (Augmentation(flip=True), (8, 8), r"data\.flip is set, but the inputs have shape \[8, 8\]"),
        (Augmentation(crop=8), (1, 8, 9), r"data\.crop is 8, but images of 8 x 9 pixels can mirror at most 7: .*zeros"),
    ],
)
def test_what_cannot_be_augmented_is_refused(how: Augmentation, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        how.check(shape)


def test_what_can_be_augmented_is_accepted() -> None:
    Augmentation().check((64,))
    Augmentation(crop=7).check((1, 8, 9))
    Augmentation(crop=8, padding="zeros", flip=True).check((1, 8, 9))
