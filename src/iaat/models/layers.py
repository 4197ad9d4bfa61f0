"""Layers of the built-in models, and their initialisation."""

from torch import Tensor, nn

from iaat.errors import UserError
from iaat.models.model_config import NormLayer

MAX_GROUPS = 8


def make_norm(kind: NormLayer, channels: int) -> nn.Module:
    """Normalisation layer for `channels` feature maps.

    Raises:
        UserError: if `kind` is neither "batch" nor "group".
    """
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "group":
        return nn.GroupNorm(group_count(channels), channels)
    raise UserError(f"model.norm is {kind!r}; it must be 'batch' or 'group'")


def group_count(channels: int) -> int:
    """Largest number of groups, at most 8, that divides `channels` into groups of two or more.

    A group of one channel would be constant after a 1x1 feature map is normalised, so it is left to one channel alone.
    """
    most = max(1, min(MAX_GROUPS, channels // 2))
    return next(groups for groups in range(most, 0, -1) if channels % groups == 0)


def norm_relu(kind: NormLayer, channels: int) -> nn.Sequential:
    """Normalisation followed by a ReLU."""
    return nn.Sequential(make_norm(kind, channels), nn.ReLU(inplace=True))


def conv(in_channels: int, out_channels: int, *, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """Convolution without bias that keeps the image size at stride 1."""
    return nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False)


def global_average(features: Tensor) -> Tensor:
    """Average feature maps `[B, C, H, W]` over the image: `[B, C]`."""
    return features.mean(dim=(2, 3))


def init_weights(network: nn.Module) -> None:
    """Draw convolutions from the Kaiming normal of the fan-out and set the biases of linear layers to zero.

    Source: He et al. 2015 (arXiv 1502.01852), in the fan-out form of the ResNet and WideResNet code.
    """
    for module in network.modules():
        # On the meta device there is nothing to draw, and PyTorch would import its compiler to do so.
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
