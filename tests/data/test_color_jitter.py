"""Brightness, contrast and saturation of a batch against torchvision's functions, image by image."""

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from iaat.data import Augmentation, augment
from iaat.data.color_jitter import jitter_color
from iaat.errors import UserError


def slow_jitter(x: Tensor, factors: Tensor) -> Tensor:
    """torchvision on each image as floats in [0, 1]."""
    out = []
    for image, (brightness, contrast, saturation) in zip(x, factors.tolist(), strict=True):
        changed = vision.adjust_contrast(vision.adjust_brightness(image, brightness), contrast)
        out.append(vision.adjust_saturation(changed, saturation) if len(image) == 3 else changed)
    return torch.stack(out)


def images(channels: int, dtype: torch.dtype) -> Tensor:
    """`[40, channels, 7, 9]`: dark, bright and flat ones among them, so that both ends of the range are cut off."""
    source = torch.Generator().manual_seed(channels)
    x = torch.rand(40, channels, 7, 9, generator=source) * torch.linspace(0.1, 1, 40).view(-1, 1, 1, 1)
    x[::4] += 0.6
    x[5] = 0.3
    levels = (x.clamp(0, 1) * 255).round()
    return levels.to(torch.uint8) if dtype == torch.uint8 else levels / 255


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("strength", [0.4, 1.0])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_equals_torchvision_image_by_image(channels: int, strength: float, dtype: torch.dtype) -> None:
    x = images(channels, dtype)
    draws = torch.rand(40, 3, generator=torch.Generator().manual_seed(1))
    factors = 1 - strength / 2 + strength * draws
    out = jitter_color(x, draws, strength=strength)
    assert out.dtype == dtype
    if dtype == torch.uint8:
        exact = slow_jitter(x / 255, factors) * 255
        assert (out - exact).abs().max() <= 0.501
        assert (out - x.float()).abs().max() > 20
    else:
        assert torch.allclose(out, slow_jitter(x, factors), atol=2e-5)


@pytest.mark.parametrize("column", [0, 1, 2])
def test_each_draw_moves_its_own_factor(column: int) -> None:
    x = images(3, torch.uint8)
    draws = torch.full((40, 3), 0.5)
    draws[:, column] = 0.9
    factor = 1 + 0.8 * 0.4
    adjust = (vision.adjust_brightness, vision.adjust_contrast, vision.adjust_saturation)[column]
    # torchvision cuts bytes off where this rounds.
    expected = torch.stack([adjust(image, factor) for image in x])
    assert (jitter_color(x, draws, strength=0.8).int() - expected.int()).abs().max() <= 1


def test_draws_of_a_half_change_nothing() -> None:
    x = images(3, torch.uint8)
    assert torch.equal(jitter_color(x, torch.full((40, 3), 0.5), strength=1.0), x)


def test_factors_are_uniform_around_one() -> None:
    x = torch.full((5000, 1, 1, 1), 0.5)
    out = augment(x, Augmentation(color=0.6), index=torch.arange(5000), seed=0, epoch=0).flatten()
    # Of one grey pixel only brightness shows: 0.5 times a factor of 0.7 to 1.3.
    assert out.min() == pytest.approx(0.35, abs=1e-3)
    assert out.max() == pytest.approx(0.65, abs=1e-3)
    assert torch.histc(out, 6, 0.35, 0.65).tolist() == pytest.approx([5000 / 6] * 6, rel=0.12)


def test_channels_that_are_no_colours_are_refused() -> None:
    with pytest.raises(UserError, match=r"data\.color is set, but the images have 2 channels, not 1 or 3"):
        Augmentation(color=0.1).check((2, 8, 8))
    with pytest.raises(UserError, match=r"data\.color is set, but the inputs have shape \[64\]"):
        Augmentation(color=0.1).check((64,))
    Augmentation(color=0.1).check((1, 8, 8))
