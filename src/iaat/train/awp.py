"""Adversarial weight perturbation (AWP)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_TINY = 1e-20


@contextmanager
def perturbed_weights(
    weights: Sequence[nn.Parameter], gradients: Sequence[Tensor | None], size: float
) -> Iterator[None]:
    """Context in which weights are moved along their gradients, up the loss; restored bit for bit on exit.

    Args:
        weights: The weights to move.
        gradients: Gradient of the loss for each; None leaves a weight where it is.
        size: Norm of the perturbation of each weight tensor, relative to the tensor's own norm.

    Source: Wu, Xia, Wang 2020 (arXiv 2004.05884), eq. 8 and 9.
    """
    originals = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:
                weight.add_(gradient * (size * weight.norm() / (gradient.norm() + _TINY)))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, original in zip(weights, originals, strict=True):
                weight.copy_(original)
