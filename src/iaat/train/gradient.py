"""The gradient of one training step: of the loss itself, or where the weights are perturbed for the worse (AWP)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from iaat.attacks import frozen_running_stats
from iaat.methods import Objective
from iaat.train.ddp import Exchange
from iaat.types import StepOutput

_TINY = 1e-20


def descend(
    model: nn.Module,
    objective: Objective,
    *,
    awp: float = 0.0,
    factor: float | Tensor = 1.0,
    exchange: Exchange | None = None,
    computing: Callable[[], AbstractContextManager[object]],
) -> StepOutput:
    """Evaluate the objective and add the gradient of its loss to the weights' `.grad`.

    With `awp` the gradient is taken at weights moved up the loss, each tensor of more than one dimension by `awp` times
    its own norm, and the weights are put back exactly before the optimiser sees them. The adversarial examples are
    those already made. BatchNorm's running statistics move once, at the weights as they are.

    Args:
        model: The network in training.
        objective: The loss of the batch as a function of the network.
        awp: Relative size of the perturbation of weights; 0 for none.
        factor: What the loss is multiplied by for its gradient: the weight of this part of a batch, and a scale.
        exchange: Averages the gradient over processes; None: there are no others.
        computing: Makes the context the network is called in. Each evaluation has one of its own, because autocast
            keeps copies of the weights for as long as it is open.

    Returns:
        The outcome at the weights as they are.

    Source: Wu, Xia, Wang 2020 (arXiv 2004.05884), eq. 8 to 10 and algorithm 1.
    """
    exchange = exchange or Exchange(model)
    if not awp:
        with computing():
            output = exchange.evaluate(objective)
        (output.loss * factor).backward()  # type: ignore[no-untyped-call]
        return output
    with computing():
        output = objective(model)
    weights = [weight for weight in model.parameters() if weight.requires_grad and weight.ndim > 1]
    gradients = torch.autograd.grad(output.loss * factor, weights, allow_unused=True)
    exchange.average_(gradients)
    with perturbed(weights, gradients, awp), frozen_running_stats(model):
        with computing():
            worse = exchange.evaluate(objective)
        (worse.loss * factor).backward()  # type: ignore[no-untyped-call]
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
