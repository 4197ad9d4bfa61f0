"""Adversarial weight perturbation (AWP)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from iaat.errors import UserError
from iaat.runtime.text import first_few

_TINY = 1e-20
_NAMED = 3


def perturbable(model: nn.Module) -> list[nn.Parameter]:
    """The weights that are perturbed: those of two or more dimensions that are trained."""
    return [weight for weight in model.parameters() if weight.requires_grad and weight.ndim > 1]


def check_perturbable(model: nn.Module) -> None:
    """Refuse a model in which nothing can be perturbed.

    Raises:
        UserError: with the names of frozen weights.
    """
    if perturbable(model):
        return
    names = [name for name, weight in model.named_parameters() if weight.ndim > 1]
    some = first_few(names, _NAMED, how_many=False)
    state = f"all of these are frozen: {some}; set requires_grad of some" if names else "the model has none"
    raise UserError(f"train.awp perturbs weights of two or more dimensions, and {state}, or leave train.awp out")


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
