"""Gradient of one micro-batch: of its loss, or at adversarially perturbed weights (AWP)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from iaat.attacks import frozen_running_stats
from iaat.methods import Objective
from iaat.train.awp import perturbable, perturbed_weights
from iaat.train.ddp import GradientSync
from iaat.types import StepOutput


def accumulate_gradient(
    model: nn.Module,
    objective: Objective,
    *,
    awp: float = 0.0,
    factor: float | Tensor = 1.0,
    gradient_sync: GradientSync | None = None,
    computing: Callable[[], AbstractContextManager[object]],
) -> StepOutput:
    """Evaluate the objective and add the gradient of its loss to the weights' `.grad`.

    With `awp` the gradient is taken at weights perturbed up the loss, and the weights are restored exactly before the
    optimiser uses them. The adversarial examples are those already made. BatchNorm's running statistics move once, at
    the weights as they are.

    Args:
        model: The model in training.
        objective: The loss of the batch as a function of the model.
        awp: Norm of the weight perturbation, relative to the norm of the weights; 0 for none.
        factor: Factor on the loss for its gradient: the weight of this micro-batch, and the loss scale of fp16.
        gradient_sync: Averages the gradient over processes; None where there is one process.
        computing: Makes the context the model is called in. Each evaluation has one of its own, because autocast keeps
            copies of the weights for as long as it is open.

    Returns:
        The output at the weights as they are.

    Source: Wu, Xia, Wang 2020 (arXiv 2004.05884), eq. 8 to 10 and algorithm 1.
    """
    gradient_sync = gradient_sync or GradientSync(model)
    if not awp:
        with computing():
            output = gradient_sync.evaluate(objective)
        (output.loss * factor).backward()  # type: ignore[no-untyped-call]
        return output
    with computing():
        output = objective(model)
    weights = perturbable(model)
    gradients = torch.autograd.grad(output.loss * factor, weights, allow_unused=True)
    gradient_sync.average_(gradients)
    with perturbed_weights(weights, gradients, awp), frozen_running_stats(model):
        with computing():
            perturbed = gradient_sync.evaluate(objective)
        (perturbed.loss * factor).backward()  # type: ignore[no-untyped-call]
    return output
