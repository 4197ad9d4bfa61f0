"""Random brightness, contrast and saturation of a batch."""

import torch
from torch import Tensor

# Weights of red, green and blue in grey (ITU-R BT.601), as torchvision and Pillow have it.
_LUMA = (0.2989, 0.587, 0.114)
_FINE = 2**16


def jitter_color(x: Tensor, draws: Tensor, *, strength: float) -> Tensor:
    """Change brightness, contrast and saturation of each image, in this order, by random factors.

    A factor f blends the image with black (brightness), with its mean grey (contrast) or with itself in grey
    (saturation): f * image + (1 - f) * other, cut to the range of images.

    Args:
        x: Images `[B, C, H, W]` with C 1 or 3, uint8, or floats in [0, 1]. Grey images have no saturation.
        draws: `[B, 3]` in [0, 1), one for each factor, which is uniform in 1 ± strength / 2.
        strength: In [0, 1].

    Returns:
        `[B, C, H, W]` of the same type, uint8 rounded to the nearest level.
    """
    top = 255.0 if x.dtype == torch.uint8 else 1.0
    brightness, contrast, saturation = (1 + strength * (draws - 0.5)).view(-1, 3, 1, 1, 1).unbind(1)
    # Multiplications and additions one by one: fused ones round differently in the last elements of a tensor, and a
    # sample must not depend on its place in the batch.
    image = (x.to(torch.float32) * brightness).clamp_(max=top)
    image = _blend(image, _mean(_grey(image)), contrast, top)
    if image.shape[1] == 3:
        image = _blend(image, _grey(image), saturation, top)
    return image.round_().to(torch.uint8) if x.dtype == torch.uint8 else image


def _blend(image: Tensor, other: Tensor, factor: Tensor, top: float) -> Tensor:
    return (image * factor + other * (1 - factor)).clamp_(0, top)


def _grey(image: Tensor) -> Tensor:
    """`[B, 1, H, W]` of `[B, 1 or 3, H, W]`."""
    if image.shape[1] == 1:
        return image
    red, green, blue = (weight * image[:, channel, None] for channel, weight in enumerate(_LUMA))
    return red + green + blue


def _mean(grey: Tensor) -> Tensor:
    """`[B, 1, 1, 1]` mean of each image, summed in whole numbers: exact, so in any order the same."""
    return (grey * _FINE).round().long().sum((1, 2, 3), keepdim=True).to(torch.float32) / (_FINE * grey[0].numel())
