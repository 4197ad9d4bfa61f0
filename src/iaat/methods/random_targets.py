"""Random targets: the one other class that an attack leads each sample to, picked where the classes are counted."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from iaat.runtime.rng import draw


def draw_picks(y: Tensor, generator: torch.Generator) -> Tensor:
    """A number in [0, 1) for each label of `y` `[B]`, on its device, by which `targets` picks."""
    return draw(torch.rand, y.shape, generator=generator, device=y.device, dtype=torch.float32)


def targets(y: Tensor, picks: Tensor, classes: int) -> Tensor:
    """One class other than the label for each sample, `[B]`, every one as likely where picks are uniform.

    Args:
        y: Labels `[B]`.
        picks: Numbers `[B]` in [0, 1).
        classes: Number of classes, at least 2.
    """
    # Just below 1 the product may round up to classes - 1, which would lead back to the label.
    ahead = (picks * (classes - 1)).long().clamp_max(classes - 2)
    return (y + 1 + ahead) % classes


def towards_target(logits: Tensor, y: Tensor, picks: Tensor) -> Tensor:
    """Minus the cross-entropy to each sample's target, `[B]`: what an attack with random targets climbs.

    The target is picked here because only the logits tell how many classes there are, without a forward more.

    Args:
        logits: `[B, classes]`.
        y: Labels `[B]`.
        picks: Numbers `[B]` in [0, 1), which decide the targets.

    Source: Kurakin et al. 2017 (arXiv 1611.01236), the targets; Kannan et al. 2018 (arXiv 1803.06373) and Xie et al.
    2019 (arXiv 1812.03411), PGD on them.
    """
    return -F.cross_entropy(logits, targets(y, picks, logits.shape[1]), reduction="none")
