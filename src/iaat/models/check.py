"""Weights from a seed, modes that are given back, and what a network is able to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import nn

from iaat.errors import UserError


def check_weights(model: nn.Module, name: str) -> None:
    """Raise `UserError` if no weight of the model takes a gradient; call it once lazy layers have seen an input."""
    weights = list(model.parameters())
    if not any(weight.requires_grad for weight in weights):
        why = f"all {len(weights)} are frozen: set requires_grad" if weights else "it holds no torch.nn.Parameter"
        raise UserError(f"model.name {name!r} has no weights to train ({why}): choose another network")


def supports_channels_last(model: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether a network can be run on images laid out channels last: one that calls `.view` on them cannot.

    A copy of the model is run forward and backward on two inputs, on the model's device and in evaluation mode; the
    model itself and torch's global generators are left as they were.

    Args:
        model: A network that has passed `iaat.models.outputs.check_fits`.
        shape: Shape of one input without the batch; False unless it is `[C, H, W]`.
    """
    if len(shape) != 3:
        return False
    try:
        with seeded(0), torch.inference_mode(False), torch.enable_grad():
            copy = deepcopy(model).eval().to(memory_format=torch.channels_last)
            weight = next(copy.parameters(), None)
            inputs = torch.full((2, *shape), 0.5, device=None if weight is None else weight.device)
            inputs = inputs.contiguous(memory_format=torch.channels_last).requires_grad_()
            copy(inputs).sum().backward()
    except (RuntimeError, TypeError):  # a TypeError is a network that cannot be copied
        return False
    return True


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode and give every module its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's generators of the CPU and of the current GPU, if one is in use, and put them back after."""
    # torch.manual_seed would reseed every GPU, and wake up those of other processes to save their states.
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed(seed)
        yield
