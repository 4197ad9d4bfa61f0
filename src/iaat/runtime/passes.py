"""The unit of cost: forward and backward passes per sample, stated by methods and counted on the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from iaat.errors import UserError
from iaat.runtime.distributed import unwrap_ddp
from iaat.runtime.json_files import NonNegative
from iaat.runtime.model_output import describe_output


@dataclass(slots=True)
class Passes:
    """Forwards and backwards through the whole model, in samples or per sample.

    Attributes:
        forward: Number of forwards, at least 0; the unit of cost with `backward`.
        backward: Number of backwards, at least 0.

    Source: this project; a step of adversarial training with K attack steps takes K + 1 of each a sample.

    Example:
        >>> from iaat import Passes
        >>> str(Passes(forward=11, backward=11))
        '11F 11B'
    """

    forward: NonNegative = 0.0
    backward: NonNegative = 0.0

    def __str__(self) -> str:
        return f"{round(self.forward, 1):g}F {round(self.backward, 1):g}B"


@contextmanager
def count_passes(
    model: nn.Module, so_far: Passes | None = None, each: Callable[[], None] | None = None
) -> Iterator[Passes]:
    """Count the samples that go forward and backward through `model` while the context is open, on top of `so_far`.

    A backward is counted when a gradient reaches the model's output, whichever gradients it goes on to form.

    Args:
        model: Maps inputs `[B, ...]` to a tensor `[B, ...]`; of a `DistributedDataParallel` its module is counted.
        so_far: What has been counted before; it is added to. None: nothing.
        each: Called after every forward, such as to show progress.

    Returns:
        A context that gives the count, in samples.

    Raises:
        UserError: within the context, where the model returns no tensor.

    Source: this project; see `Passes`.

    Example:
        >>> import torch
        >>> from iaat import count_passes, pgd
        >>> model = torch.nn.Linear(6, 3)
        >>> with count_passes(model) as passes:
        ...     x_adv = pgd(model, torch.rand(4, 6), torch.tensor([0, 1, 2, 0]), radius=0.1, steps=10)
        >>> str(passes)
        '40F 40B'
    """
    passes = Passes() if so_far is None else so_far

    def count_backward(gradient: Tensor) -> None:
        passes.backward += len(gradient)

    def count_forward(_module: nn.Module, _inputs: object, output: object) -> None:
        if not isinstance(output, Tensor):
            raise UserError(
                f"the model returns {describe_output(output)}, and passes are counted on a tensor [B, ...]: let the "
                "forward of a module of yours around it return the logits alone"
            )
        passes.forward += len(output)
        if output.requires_grad:
            output.register_hook(count_backward)  # type: ignore[no-untyped-call]
        if each is not None:
            each()

    # Attacks call the module of a DistributedDataParallel, and its own forward calls it, too.
    handle = unwrap_ddp(model).register_forward_hook(count_forward)
    try:
        yield passes
    finally:
        handle.remove()
