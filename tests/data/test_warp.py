"""Rotation and zoom of a batch against a loop over pixels, and against torchvision inside the image."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as vision

from iaat.data import Augmentation, augment
from iaat.data.warp import warp
from iaat.errors import UserError


def mirrored(place: float, size: int) -> float:
    """A place on the axis of pixels, reflected at the outer edges of the first and the last one."""
    place = (place + 0.5) % (2 * size)
    return min(max(min(place, 2 * size - place) - 0.5, 0.0), size - 1.0)


def slow_warp(image: Tensor, angle: float, size: float) -> Tensor:
    """One image `[C, H, W]` of floats, pixel by pixel: each is taken from where it was before turning and growing."""
    height, width = image.shape[1:]
    out = torch.zeros_like(image)
    for row in range(height):
        for column in range(width):
            across, down = column - (width - 1) / 2, row - (height - 1) / 2
            x = mirrored((math.cos(angle) * across - math.sin(angle) * down) / size + (width - 1) / 2, width)
            y = mirrored((math.sin(angle) * across + math.cos(angle) * down) / size + (height - 1) / 2, height)
            left, top = math.floor(x), math.floor(y)
            right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
            upper = (1 - (x - left)) * image[:, top, left] + (x - left) * image[:, top, right]
            lower = (1 - (x - left)) * image[:, bottom, left] + (x - left) * image[:, bottom, right]
            out[:, row, column] = (1 - (y - top)) * upper + (y - top) * lower
    return out


@given(
    degrees=st.sampled_from([0.0, 15.0, 180.0]),
    zoom=st.sampled_from([0.0, 0.2, 0.9]),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)),
    seed=st.integers(0, 10**6),
)
def test_equals_loop_over_pixels(degrees: float, zoom: float, shape: tuple[int, ...], seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    x, draws = torch.rand(shape, generator=source), torch.rand(shape[0], 2, generator=source)
    expected = [
        slow_warp(image, math.radians(degrees * (2 * turn - 1)), 1 + zoom * (2 * grow - 1))
        for image, (turn, grow) in zip(x, draws.tolist(), strict=True)
    ]
    # Zoomed out ten times, an error of 1e-7 in a coordinate weighs most.
    assert torch.allclose(warp(x, draws, degrees=degrees, zoom=zoom), torch.stack(expected), atol=2e-5)


def test_bytes_are_rounded_to_the_nearest_level() -> None:
    source = torch.Generator().manual_seed(0)
    x, draws = torch.randint(0, 256, (9, 3, 8, 6), generator=source).to(torch.uint8), torch.rand(9, 2, generator=source)
    out = warp(x, draws, degrees=20, zoom=0.1)
    assert out.dtype == torch.uint8
    exact = [
        slow_warp(image.float(), math.radians(20 * (2 * turn - 1)), 1 + 0.1 * (2 * grow - 1))
        for image, (turn, grow) in zip(x, draws.tolist(), strict=True)
    ]
    assert (out - torch.stack(exact)).abs().max() <= 0.501


def test_inside_the_image_it_is_torchvisions_affine() -> None:
    x = torch.rand(1, 3, 21, 21, generator=torch.Generator().manual_seed(0))
    out = warp(x, torch.tensor([[0.9, 0.75]]), degrees=25, zoom=0.2)[0]
    angle, size = 25 * 0.8, 1 + 0.2 * 0.5
    settings = {"translate": [0, 0], "shear": [0.0, 0.0], "interpolation": InterpolationMode.BILINEAR}
    theirs = [vision.affine(x[0], angle=turn, scale=size, **settings) for turn in (angle, -angle)]
    middle = slice(6, 15)
    errors = [float((out - each)[:, middle, middle].abs().max()) for each in theirs]
    assert min(errors) < 1e-4 < max(errors)


def test_angles_and_sizes_are_uniform_around_none() -> None:
    # On a plane that rises to the right the middle of the image shows the gradient, turned and stretched.
    x = (torch.arange(9) / 8).expand(4000, 1, 9, 9)
    out = augment(x, Augmentation(rotate=30, zoom=0.2), index=torch.arange(4000), seed=0, epoch=0)
    right, down = out[:, 0, 4, 5] - out[:, 0, 4, 4], out[:, 0, 5, 4] - out[:, 0, 4, 4]
    angle, size = torch.rad2deg(torch.atan2(-down, right)), 1 / (8 * torch.hypot(right, down))
    for values, low, high in ((angle, -30, 30), (size, 0.8, 1.2)):
        assert float(values.min()) == pytest.approx(low, abs=(high - low) / 100)
        assert float(values.max()) == pytest.approx(high, abs=(high - low) / 100)
        assert torch.histc(values, 5, low, high).tolist() == pytest.approx([800] * 5, rel=0.15)


def test_inputs_that_are_no_images_are_refused() -> None:
    for key in ("rotate", "zoom"):
        with pytest.raises(UserError, match=rf"data\.{key} is set, but the inputs have shape \[8, 8\].*set data\."):
            Augmentation(**{key: 0.5}).check((8, 8))
