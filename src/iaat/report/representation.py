"""Inputs of a model's last linear layer: the space in which nearest neighbours are taken."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iaat.attacks import attack_mode, full_precision
from iaat.runtime.device import device_of
from iaat.types import Batch


def last_linear(model: nn.Module, x: Tensor) -> nn.Linear | None:
    """Find the linear layer that computes the logits of inputs `[B, ...]`, the last that runs; None if there is none.

    Found by running the model, because the order of its modules need not be that of its computation.
    """
    ran: list[tuple[nn.Linear, tuple[int, ...]]] = []

    def note(module: nn.Module, inputs: tuple[object, ...], output: Tensor) -> None:
        if isinstance(module, nn.Linear) and inputs:
            ran.append((module, tuple(output.shape)))

    handles = [module.register_forward_hook(note) for module in model.modules() if isinstance(module, nn.Linear)]
    try:
        shape = tuple(eval_logits(model, x).shape)
    finally:
        for handle in handles:
            handle.remove()
    return next((layer for layer, found in reversed(ran) if found == shape), None)


def represent(model: nn.Module, x: Tensor, head: nn.Module | None) -> tuple[Tensor, Tensor]:
    """Return logits `[B, classes]`, and the inputs `[B, D]` of a layer when it last ran, or `x` itself if None.

    Both float32.
    """
    seen: list[Tensor] = []
    handles = [] if head is None else [head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))]
    try:
        logits = eval_logits(model, x)
    finally:
        for handle in handles:
            handle.remove()
    return logits, (seen[-1] if seen else x).detach().flatten(1).to(torch.float32)


def on_model_device(batch: Batch, model: nn.Module) -> tuple[Tensor, Tensor]:
    """Return inputs in float32 and labels of a batch, on the device of a model."""
    device = device_of(model)
    return batch.x.to(device, torch.float32), batch.y.to(device)


def eval_logits(model: nn.Module, x: Tensor) -> Tensor:
    """Return logits `[B, classes]` in float32, without gradients, the model in eval mode."""
    with attack_mode(model, "eval"), torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        return full_precision(model(x))
