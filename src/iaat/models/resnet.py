"""ResNets for small images: a 3x3 stem at stride 1 and no max pooling."""

from collections.abc import Sequence

from torch import Tensor, nn

from iaat.models.blocks import BasicBlock, PreActBlock, make_stages
from iaat.models.layers import conv, global_average, init_weights, norm_relu
from iaat.models.model_config import NormLayer


class ResNet(nn.Module):
    """Residual network of `BasicBlock` (He et al. 2015, arXiv 1512.03385).

    Args:
        in_channels: Channels of the images.
        classes: Number of classes.
        widths: Channels of each stage; the stem has those of the first.
        blocks: Blocks in a stage.
        norm: "batch" or "group".
    """

    def __init__(
        self, in_channels: int, classes: int, *, widths: Sequence[int], blocks: int, norm: NormLayer = "batch"
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(in_channels, widths[0]), norm_relu(norm, widths[0]))
        self.stages = make_stages(BasicBlock, stem=widths[0], widths=widths, blocks=blocks, norm=norm)
        self.head = nn.Linear(widths[-1], classes)
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[B, classes]` of images `[B, C, H, W]`."""
        logits: Tensor = self.head(global_average(self.stages(self.stem(x))))
        return logits


class PreActResNet(nn.Module):
    """Pre-activation residual network (He et al. 2016, arXiv 1603.05027), ended by normalisation and ReLU.

    Args:
        in_channels: Channels of the images.
        classes: Number of classes.
        stem: Channels of the first convolution.
        widths: Channels of each stage.
        blocks: Blocks in a stage.
        norm: "batch" or "group".
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        stem: int,
        widths: Sequence[int],
        blocks: int,
        norm: NormLayer = "batch",
    ) -> None:
        super().__init__()
        self.stem = conv(in_channels, stem)
        self.stages = make_stages(PreActBlock, stem=stem, widths=widths, blocks=blocks, norm=norm)
        self.activate = norm_relu(norm, widths[-1])
        self.head = nn.Linear(widths[-1], classes)
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[B, classes]` of images `[B, C, H, W]`."""
        features = self.activate(self.stages(self.stem(x)))
        logits: Tensor = self.head(global_average(features))
        return logits


def resnet18(in_channels: int, classes: int, *, width: int = 64, norm: NormLayer = "batch") -> ResNet:
    """ResNet-18 for small images: stages of width, 2, 4 and 8 times that, two blocks each.

    At width 64, 3 input channels and 10 classes it has 11,173,962 parameters.
    """
    return ResNet(in_channels, classes, widths=stage_widths(width), blocks=2, norm=norm)


def preactresnet18(in_channels: int, classes: int, *, width: int = 64, norm: NormLayer = "batch") -> PreActResNet:
    """Pre-activation ResNet-18 for small images, of the widths of `resnet18`.

    At width 64, 3 input channels and 10 classes it has 11,172,170 parameters. Public code that leaves out the final
    normalisation of the paper has 1,024 fewer: 11,171,146.
    """
    return PreActResNet(in_channels, classes, stem=width, widths=stage_widths(width), blocks=2, norm=norm)


def stage_widths(width: int) -> tuple[int, int, int, int]:
    """Channels of the four stages."""
    return width, 2 * width, 4 * width, 8 * width
