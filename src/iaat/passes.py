"""The unit of cost: forward and backward passes per sample, stated by methods and counted on the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(slots=True)
class Passes:
    """Forwards and backwards through the whole network, in samples or per sample."""

    forward: float = 0.0
    backward: float = 0.0

    def __str__(self) -> str:
        return f"{self.forward:g}F {self.backward:g}B"


@contextmanager
def count_passes(model: nn.Module, so_far: Passes | None = None) -> Iterator[Passes]:
    """Count the samples that go forward and backward through `model` while the context is open, on top of `so_far`.

    A backward is counted when a gradient reaches the model's output, whichever gradients it goes on to form.
    """
    passes = Passes() if so_far is None else so_far

    def count_backward(gradient: Tensor) -> None:
        passes.backward += len(gradient)

    def count_forward(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        passes.forward += len(output)
        if output.requires_grad:
            output.register_hook(count_backward)  # type: ignore[no-untyped-call]

    handle = model.register_forward_hook(count_forward)
    try:
        yield passes
    finally:
        handle.remove()
