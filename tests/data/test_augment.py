"""Batched augmentation against a loop over images that pads, cuts and flips one at a time."""

import hashlib
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from iaat.data import Augmentation, augment
from iaat.data.augment import augmentation_draws
from iaat.errors import UserError
from iaat.runtime.rng import derive_seed, keyed_uniform

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


@given(
    flip=st.booleans(),
    padding=paddings,
    shape=st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)),
)
def test_images_of_a_few_pixels_cropped_as_far_as_they_can_be(
    flip: bool, padding: Literal["reflect", "zeros"], shape: tuple[int, ...]
) -> None:
    x = torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))
    how = Augmentation(crop=min(shape[2:]) - 1, padding=padding, flip=flip)
    index = torch.arange(shape[0])
    assert torch.equal(augment(x, how, index=index, seed=3, epoch=1), slow_augment(x, how, index, 3, 1))


@pytest.mark.parametrize("padding", ["reflect", "zeros"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_memory_order_of_the_input_does_not_matter(padding: Literal["reflect", "zeros"], dtype: torch.dtype) -> None:
    x = torch.randint(0, 256, (6, 3, 7, 5), generator=torch.Generator().manual_seed(0)).to(dtype)
    how = Augmentation(crop=3, padding=padding, flip=True)
    key = {"index": torch.arange(6), "seed": 0, "epoch": 0}
    expected = slow_augment(x.float(), how, torch.arange(6), 0, 0).to(dtype)
    orders = (
        x,
        x.contiguous(memory_format=torch.channels_last),
        x.transpose(0, 1).contiguous().transpose(0, 1),
        x[:, :1].expand(6, 3, 7, 5),
    )
    for order in orders[:3]:
        assert torch.equal(augment(order, how, **key), expected)
    assert torch.equal(augment(orders[3], how, **key), expected[:, :1].expand(6, 3, 7, 5))


@pytest.mark.parametrize(
    ("padding", "digest"),
    [
        ("reflect", "ac7fa29163402614a1547ea60f95ee82adb51334c4f1c75fd030c51eff8b85ba"),
        ("zeros", "9911ad44cde7090e444d891bbd7239c08fa4a9988ce2859c82346a84245b1fc1"),
    ],
)
def test_augmentation_of_a_seed_epoch_and_index_never_changes(
    padding: Literal["reflect", "zeros"], digest: str
) -> None:
    # Runs are resumed under newer versions: they must go on with the same images.
    x = (torch.arange(64 * 3 * 8 * 8) * 2654435761 % 251).to(torch.uint8).view(64, 3, 8, 8)
    how = Augmentation(crop=3, padding=padding, flip=True)
    out = augment(x, how, index=torch.arange(64) * 1_000_003, seed=5, epoch=7)
    assert hashlib.sha256(out.numpy().tobytes()).hexdigest() == digest


def test_draws_of_an_epoch_are_those_of_its_samples() -> None:
    index = torch.arange(70_000) * 3  # more than are drawn at once
    how = Augmentation(crop=1)
    whole = augmentation_draws(how, index, (1, 2))
    assert torch.equal(whole, keyed_uniform(derive_seed(1, "augment"), 2, index, 3))
    assert torch.equal(augmentation_draws(how, index[66_000:66_001], (1, 2)), whole[66_000:66_001])
    assert augmentation_draws(how, index[:0], (1, 2)).shape == (0, 3)


@pytest.mark.parametrize("padding", ["reflect", "zeros"])
def test_batch_of_no_images(padding: Literal["reflect", "zeros"]) -> None:
    how = Augmentation(crop=1, padding=padding, flip=True)
    assert augment(torch.empty(0, 3, 4, 4), how, index=torch.arange(0), seed=0, epoch=0).shape == (0, 3, 4, 4)


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
        (Augmentation(crop=2), (64,), r"data\.crop is set, but the inputs have shape \[64\].*set data\.crop to 0"),
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


EVERYTHING = Augmentation(crop=2, flip=True, cutout=3, color=0.7, rotate=20, zoom=0.2)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_strong_augmentation_of_a_sample_is_the_same_in_any_batch(dtype: torch.dtype, channels: int) -> None:
    x = torch.randint(0, 256, (53, channels, 11, 9), generator=torch.Generator().manual_seed(0)).to(dtype)
    x = x if dtype == torch.uint8 else x / 255
    index = torch.arange(53) * 5
    whole = augment(x, EVERYTHING, index=index, seed=1, epoch=3)
    assert whole.dtype == dtype
    for rows in (torch.tensor([52]), torch.tensor([7, 30]), torch.randperm(53), torch.arange(10, 41)):
        assert torch.equal(augment(x[rows], EVERYTHING, index=index[rows], seed=1, epoch=3), whole[rows])
    assert not torch.equal(augment(x, EVERYTHING, index=index, seed=1, epoch=4), whole)


def test_steps_follow_each_other_and_crop_and_flip_draw_as_they_do_alone() -> None:
    x = torch.randint(0, 256, (30, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    out = x
    steps = ({"rotate": 20, "zoom": 0.2}, {"crop": 2, "flip": True}, {"color": 0.7}, {"cutout": 3})
    for step in steps:
        before = out
        out = augment(before, Augmentation(**step), index=torch.arange(30), seed=1, epoch=0)
        assert not torch.equal(out, before)
    assert torch.equal(augment(x, EVERYTHING, index=torch.arange(30), seed=1, epoch=0), out)


@pytest.mark.parametrize("key", ["cutout", "color", "rotate", "zoom"])
def test_strong_augmentation_leaves_its_input_alone_and_takes_no_images(key: str) -> None:
    x = torch.randint(0, 256, (9, 3, 6, 6)).to(torch.uint8).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    how = Augmentation(**{key: 1 if key == "cutout" else 0.5})
    assert how.active
    out = augment(x, how, index=torch.arange(9), seed=0, epoch=0)
    assert torch.equal(x, before)
    assert out.is_contiguous()
    assert torch.equal(out, augment(x.contiguous(), how, index=torch.arange(9), seed=0, epoch=0))
    assert augment(x[:0], how, index=torch.arange(0), seed=0, epoch=0).shape == (0, 3, 6, 6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"padding": "foo"}, r"padding 'foo' is not known; use reflect, zeros"),
        ({"flip": "no"}, r"flip = 'no': give True or False"),
        ({"crop": -2}, r"crop = -2: give a whole number of pixels, 0 or more"),
        ({"cutout": 1.5}, r"cutout = 1\.5: give a whole number"),
        ({"color": 2}, r"color = 2: give a number from 0 to 1"),
        ({"rotate": float("nan")}, r"rotate = nan: give a number from 0 to 180"),
        ({"zoom": 1.0}, r"zoom = 1\.0: give a number from 0 below 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Augmentation(**settings)


def test_images_are_checked_where_they_are_augmented():
    """A crop of 12 pixels around images of 8 would mix neighbours."""
    with pytest.raises(UserError, match=r"data\.crop is 12, but images of 8 x 8 pixels can mirror at most 7"):
        augment(torch.rand(2, 3, 8, 8), Augmentation(crop=12), index=torch.arange(2), seed=0, epoch=0)
