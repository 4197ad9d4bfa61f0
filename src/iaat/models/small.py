"""Small CNN for first runs, tests and machines without a GPU."""

from itertools import pairwise

from torch import Tensor, nn

from iaat.models.layers import conv, global_average, init_weights, norm_relu
from iaat.models.model_config import NormLayer

STRIDES = (1, 1, 2, 1, 2, 1)


class SmallCNN(nn.Module):
    """Six 3x3 convolutions of widths w, 2w, 2w, 4w, 4w, 8w, each with normalisation and ReLU, then a linear layer.

    The 3rd and 5th convolution halve the image; global average pooling makes any size from 4x4 up work. At width 16,
    3 input channels and 10 classes it has 145,242 parameters.

    Args:
        in_channels: Channels of the images.
        classes: Number of classes.
        width: w above.
        norm: "batch" or "group".
    """

    def __init__(self, in_channels: int, classes: int, *, width: int = 16, norm: NormLayer = "batch") -> None:
        super().__init__()
        channels = (in_channels, *(factor * width for factor in (1, 2, 2, 4, 4, 8)))
        layers: list[nn.Module] = []
        for (before, after), stride in zip(pairwise(channels), STRIDES, strict=True):
            layers += [conv(before, after, stride=stride), norm_relu(norm, after)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels[-1], classes)
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[B, classes]` of images `[B, C, H, W]`."""
        logits: Tensor = self.head(global_average(self.features(x)))
        return logits
