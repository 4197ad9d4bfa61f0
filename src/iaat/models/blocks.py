"""Residual blocks and the stages made of them."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from iaat.models.layers import conv, make_norm, norm_relu
from iaat.models.model_config import NormLayer


class BasicBlock(nn.Module):
    """`relu(residual(x) + shortcut(x))`, a residual of two 3x3 convolutions (He et al. 2015, arXiv 1512.03385, fig. 2).

    The shortcut is the identity, or a 1x1 convolution with normalisation where the shape changes (option B there).
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, norm: NormLayer) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            conv(in_channels, out_channels, stride=stride),
            norm_relu(norm, out_channels),
            conv(out_channels, out_channels),
            make_norm(norm, out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if changes_shape(in_channels, out_channels, stride):
            self.shortcut = nn.Sequential(
                conv(in_channels, out_channels, kernel=1, stride=stride), make_norm(norm, out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        return F.relu(self.residual(x) + self.shortcut(x), inplace=True)


class PreActBlock(nn.Module):
    """`residual(a) + shortcut` with `a = relu(norm(x))` (He et al. 2016, arXiv 1603.05027, fig. 1b).

    The shortcut is x itself, or a bare 1x1 convolution of `a` where the shape changes.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, norm: NormLayer) -> None:
        super().__init__()
        self.activate = norm_relu(norm, in_channels)
        self.residual = nn.Sequential(
            conv(in_channels, out_channels, stride=stride),
            norm_relu(norm, out_channels),
            conv(out_channels, out_channels),
        )
        self.shortcut: nn.Module | None = None
        if changes_shape(in_channels, out_channels, stride):
            self.shortcut = conv(in_channels, out_channels, kernel=1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        activated: Tensor = self.activate(x)
        shortcut: Tensor = x if self.shortcut is None else self.shortcut(activated)
        residual: Tensor = self.residual(activated)
        return residual + shortcut


def changes_shape(in_channels: int, out_channels: int, stride: int) -> bool:
    """Whether a block changes the shape of its input, so that the shortcut needs a convolution."""
    return stride != 1 or in_channels != out_channels


def make_stages(
    block: Callable[..., nn.Module], *, stem: int, widths: Sequence[int], blocks: int, norm: NormLayer
) -> nn.Sequential:
    """Build one stage for each of `widths`, of `blocks` blocks each; every stage but the first halves the image.

    Args:
        block: `BasicBlock` or `PreActBlock`.
        stem: Channels that enter the first stage.
        widths: Channels that leave each stage.
        blocks: Blocks in a stage.
        norm: "batch" or "group".
    """
    stages = nn.Sequential()
    channels = stem
    for number, width in enumerate(widths):
        stride = 1 if number == 0 else 2
        first = block(channels, width, stride=stride, norm=norm)
        rest = (block(width, width, stride=1, norm=norm) for _ in range(blocks - 1))
        stages.append(nn.Sequential(first, *rest))
        channels = width
    return stages
