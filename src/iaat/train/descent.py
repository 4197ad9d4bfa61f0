"""The gradient of one training step: of the loss itself, or where the weights are perturbed for the worse (AWP)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from iaat.attacks import standing_statistics
from iaat.methods import Objective
from iaat.types import StepOutput

_TINY = 1e-20


def descend(
    model: nn.Module,
    objective: Objective,
    *,
    awp: float = 0.0,
    computing: Callable[[], AbstractContextManager[object]],
) -> StepOutput:
    """Evaluate the objective and leave the gradient of its loss in the weights' `.grad`.

    With `awp` the gradient is taken at weights moved up the loss, each tensor of more than one dimension by `awp` times
    its own norm, and the weights are put back exactly before the optimiser sees them. The adversarial examples are
    those already made. BatchNorm's running statistics move once, at the weights as they are.

    Args:
        model: The network in training.
        objective: The loss of the batch as a function of the network.
        awp: Relative size of the perturbation of weights; 0 for none.
        computing: Makes the context the network is called in. Each evaluation has one of its own, because autocast
            keeps copies of the weights for as long as it is open.

    Returns:
        The outcome at the weights as they are.

    Source: Wu, Xia, Wang 2020 (arXiv 2004.05884), eq. 8 to 10 and algorithm 1.
    """
    with computing():
        output = objective(model)
    if not awp:
        output.loss.backward()  # type: ignore[no-untyped-call]
        return output
    weights = [weight for weight in model.parameters() if weight.requires_grad and weight.ndim > 1]
    gradients = torch.autograd.grad(output.loss, weights, allow_unused=True)
    with perturbed(weights, gradients, awp), standing_statistics(model):
        with computing():
            worse = objective(model)
        worse.loss.backward()  # type: ignore[no-untyped-call]
    return output


@contextmanager
def perturbed(weights: list[nn.Parameter], gradients: tuple[Tensor | None, ...], size: float) -> Iterator[None]:
    """Weights moved along their gradients, each tensor by `size` times its own norm; put back bit for bit on exit."""
    kept = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:
                weight.add_(gradient * (size * weight.norm() / (gradient.norm() + _TINY)))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, own in zip(weights, kept, strict=True):
                weight.copy_(own)
