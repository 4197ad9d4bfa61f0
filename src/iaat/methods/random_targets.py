"""Random targets: one class other than the label for each sample, towards which an attack leads."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from iaat.runtime.rng import draw


def draw_targets(y: Tensor, generator: torch.Generator | None) -> Tensor:
    """A number in [0, 1) for each label of `y` `[B]`, on its device, which decides the class in `target_classes`."""
    return draw(torch.rand, y.shape, generator=generator, device=y.device, dtype=torch.float32)


def target_classes(y: Tensor, draws: Tensor, classes: int) -> Tensor:
    """One class other than the label for each sample, `[B]` int64, each as likely where draws are uniform.

    Args:
        y: Labels `[B]`, int64.
        draws: Numbers `[B]` in [0, 1).
        classes: Number of classes, at least 2.
    """
    # Just below 1 the product may round up to classes - 1, which would lead back to the label.
    ahead = (draws * (classes - 1)).long().clamp_max(classes - 2)
    return (y + 1 + ahead) % classes


def random_target_loss(logits: Tensor, y: Tensor, draws: Tensor) -> Tensor:
    """Minus the cross-entropy to each sample's target, `[B]`: the loss that an attack with random targets maximises.

    The target is chosen here because only the logits give the number of classes, without one more forward.

    Args:
        logits: `[B, classes]`.
        y: Labels `[B]`, int64.
        draws: Numbers `[B]` in [0, 1), which decide the targets.

    Source: Kurakin et al. 2017 (arXiv 1611.01236), the targets; Kannan et al. 2018 (arXiv 1803.06373) and Xie et al.
    2019 (arXiv 1812.03411), PGD on them.
    """
    return -F.cross_entropy(logits, target_classes(y, draws, logits.shape[1]), reduction="none")
