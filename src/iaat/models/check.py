"""Weights from a seed, and the one forward that tells whether a network fits the data."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from iaat.errors import UserError


def check_logits(model: nn.Module, name: str, *, shape: tuple[int, ...], classes: int) -> None:
    """Raise `UserError` unless two inputs of `shape` give logits `[2, classes]`; modes are left as they were."""
    weight = next(model.parameters(), None)
    inputs = torch.full((2, *shape), 0.5, device=None if weight is None else weight.device)
    try:
        with evaluating(model), torch.no_grad():
            logits = model(inputs)
    except Exception as error:  # whatever a network of others raises, the recipe is what has to change
        raise UserError(
            f"model.name {name!r} cannot take inputs of shape {list(inputs.shape)}: {type(error).__name__}: {error}; "
            "choose another network or size the inputs or the network (model.options) to match"
        ) from error
    got = f"logits of shape {list(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
    if not isinstance(logits, Tensor) or logits.shape != (2, classes):
        raise UserError(
            f"model.name {name!r} returned {got} for inputs of shape {list(inputs.shape)}; "
            f"it must return logits of shape {[2, classes]}"
        )


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
