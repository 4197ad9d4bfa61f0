"""Cutout against a loop over pixels."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iaat.data import Augmentation, augment
from iaat.data.cutout import cut_out
from iaat.errors import UserError
from iaat.runtime.rng import derive_seed, keyed_uniform


def slow_cutout(x: Tensor, draws: Tensor, side: int, grey: float) -> Tensor:
    """The square of DeVries and Taylor (2017), pixel by pixel: `side` pixels from `side // 2` before the centre."""
    out = x.clone()
    height, width = x.shape[2:]
    for image, (down, right) in zip(out, draws.tolist(), strict=True):
        top, left = int(down * height) - side // 2, int(right * width) - side // 2
        for row in range(height):
            for column in range(width):
                if 0 <= row - top < side and 0 <= column - left < side:
                    image[:, row, column] = grey
    return out


@given(
    side=st.integers(1, 6),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(6, 9), st.integers(6, 9)),
    bytes_=st.booleans(),
    seed=st.integers(0, 10**9),
)
def test_equals_loop_over_pixels(side: int, shape: tuple[int, ...], bytes_: bool, seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, shape, generator=source).to(torch.uint8)
    x, grey = (x, 128.0) if bytes_ else (x / 255, 0.5)
    draws = torch.rand(shape[0], 2, generator=source)
    out = cut_out(x, draws, side=side)
    assert out.dtype == x.dtype
    assert torch.equal(out, slow_cutout(x, draws, side, grey))


def test_draws_are_those_of_the_sample() -> None:
    x = torch.rand(20, 3, 8, 8)
    index = torch.arange(20) * 11
    draws = keyed_uniform(derive_seed(4, "augment"), 6, index, 5)[:, 3:]
    out = augment(x, Augmentation(cutout=4), index=index, seed=4, epoch=6)
    assert torch.equal(out, slow_cutout(x, draws, 4, 0.5))


def test_centre_is_uniform_over_the_pixels_and_the_square_cut_at_the_border() -> None:
    x = torch.zeros(8000, 1, 4, 4)
    out = augment(x, Augmentation(cutout=3), index=torch.arange(8000), seed=0, epoch=0)
    covered = (out[:, 0] == 0.5).sum((1, 2))
    # Of 16 centres 4 lie in a corner (4 pixels covered), 8 at a border (6) and 4 inside (9).
    share = torch.bincount(covered, minlength=10) / 8000
    assert share.nonzero().flatten().tolist() == [4, 6, 9]
    assert share[[4, 6, 9]].tolist() == pytest.approx([0.25, 0.5, 0.25], abs=0.02)


@given(size=st.integers(1, 10**5))
def test_largest_draw_stays_inside(size: int) -> None:
    assert int(torch.tensor(1 - 2.0**-24) * size) == size - 1


def test_square_larger_than_the_images_is_refused() -> None:
    with pytest.raises(UserError, match=r"data\.cutout is 9, but the images are of 8 x 12 pixels: .*at most 8"):
        Augmentation(cutout=9).check((3, 8, 12))
    with pytest.raises(
        UserError, match=r"data\.cutout is set, but the inputs have shape \[64\].*set data\.cutout to 0"
    ):
        Augmentation(cutout=2).check((64,))
    Augmentation(cutout=8).check((3, 8, 12))
