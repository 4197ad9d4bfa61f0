"""Wide residual networks."""

import re

from iaat.errors import UserError
from iaat.models.model_config import NormLayer
from iaat.models.resnet import PreActResNet

EXAMPLES = ("wrn-16-4", "wrn-28-4", "wrn-28-10", "wrn-32-10", "wrn-34-10", "wrn-34-20", "wrn-70-16")


class WideResNet(PreActResNet):
    """WRN-depth-widen (Zagoruyko & Komodakis 2016, arXiv 1605.07146): three stages of pre-activation blocks.

    The stem has 16 channels, the stages 16, 32 and 64 times `widen`; there is no dropout. Two ways to count the depth
    of n blocks a stage are in use, and both are understood: `6n + 4` of the paper counts every convolution with the
    three 1x1 shortcuts and not the linear layer; `6n + 2` of Madry et al. (1706.06083) and of IAAT (1910.08051) counts
    the stem, the 3x3 convolutions and the linear layer. So wrn-32-10 and wrn-34-10 are the same model of
    n = 5, with 46,160,474 parameters for 3 input channels and 10 classes; wrn-28-10 has 36,479,194.

    The models of Madry et al. and of the authors of IAAT have as many blocks, but average pooling with zero
    channels in place of the 1x1 shortcuts; the latter also a stem of 160 channels, normalisation without scale and
    shift, and a normalised 1x1 convolution as classifier. Their weights do not load here.

    Args:
        in_channels: Channels of the images.
        classes: Number of classes.
        depth: 6n + 4 or 6n + 2, n at least 1.
        widen: Factor on the channels of the stages, at least 1.
        norm: "batch" or "group".

    Raises:
        UserError: for another depth or a factor below 1.
    """

    def __init__(self, in_channels: int, classes: int, *, depth: int, widen: int, norm: NormLayer = "batch") -> None:
        if widen < 1:
            raise UserError(f"model.name: the width of wrn-{depth}-{widen} is {widen}; it must be at least 1")
        widths = (16 * widen, 32 * widen, 64 * widen)
        super().__init__(in_channels, classes, stem=16, widths=widths, blocks=blocks_per_stage(depth), norm=norm)


def blocks_per_stage(depth: int) -> int:
    """Blocks a stage, n of a depth of 6n + 4 or 6n + 2.

    Raises:
        UserError: for another depth, naming the nearest that exist.
    """
    if is_depth(depth):
        return (depth - 2) // 6
    around = filter(is_depth, range(max(8, depth - 5), max(8, depth) + 6))
    low, high = sorted(sorted(around, key=lambda valid: abs(valid - depth))[:2])
    raise UserError(
        f"model.name: no WideResNet has depth {depth}; nearest are {low} and {high} "
        "(6n + 4 as in wrn-28-10, or 6n + 2 as in wrn-32-10)"
    )


def is_depth(depth: int) -> bool:
    """Whether `depth` is 6n + 4 or 6n + 2 of a whole n of at least 1."""
    return depth >= 8 and depth % 6 in (2, 4)


def parse_wrn(name: str) -> tuple[int, int] | None:
    """Depth and widening factor of a name like wrn-28-10; None for other names."""
    match = re.fullmatch(r"wrn-(\d{1,9})-(\d{1,9})", name)
    return (int(match[1]), int(match[2])) if match else None
