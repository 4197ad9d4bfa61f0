"""`Method`, the protocol between training methods and the training loop, and `BaseMethod`, a base to derive from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import nn

from iaat.attacks.inputs import check_batch
from iaat.methods.guard import Guard
from iaat.methods.method_config import MethodConfig
from iaat.radius import RadiusMemory
from iaat.runtime.distributed import unwrap_ddp
from iaat.runtime.passes import Passes
from iaat.types import Batch, StepOutput

Objective = Callable[[nn.Module], StepOutput]
"""The loss of one batch as a function of the model; it changes nothing but BatchNorm's running statistics."""


@dataclass(frozen=True, slots=True)
class StepContext:
    """The epoch of a training step, and the random stream that its attacks draw from (part of the training state).

    Attributes:
        epoch: Epochs finished before this one, from 0.
        generator: Source of every random start; PyTorch's global one if None.
        own: Number of samples of the batch that count, the first ones; the rest are copies that pad the micro-batch of
            one of several processes. None: all count.
        teacher: The model with the EMA of the weights, where the run has one; methods that ask it say so by
            `MethodConfig.needs_ema`.
    """

    epoch: int
    generator: torch.Generator | None = None
    own: int | None = None
    teacher: nn.Module | None = None


class Method(Protocol):
    """Protocol of a training method: it forms the loss of one batch.

    A class with a `Config` (a keyword-only dataclass, the recipe's `method` section) and a constructor
    `(config, *, size, device)`. `config` is the result of `Config.over` for the epochs of the run, and `size` the
    number of samples that indices run over. For each batch the loop calls `prepare`, evaluates the objective it returns
    (twice where weights are perturbed), calls `update` with the outcome at the unperturbed weights, and does backward
    and the optimiser's step. If the method has a guard, the loop also gives it validation samples when it is due. The
    loop calls nothing else while training.
    """

    Config: ClassVar[type[Any]]
    objective_cost: ClassVar[Passes]
    radii: RadiusMemory | None
    guard: Guard | None

    def __init__(self, config: Any, *, size: int, device: torch.device | str) -> None:  # noqa: ANN401
        ...

    def prepare(self, model: nn.Module, batch: Batch, context: StepContext) -> Objective:
        """Attack the batch, with the model in its training mode; returns the loss to minimise.

        Nothing of the model has changed afterwards.
        """
        ...

    def update(self, batch: Batch, output: StepOutput) -> None:
        """Update the state of the method, such as radii, by the outcome of the training forward; once a batch."""
        ...

    def cost(self, epoch: int) -> Passes:
        """Passes per sample of a step in this epoch, backward included; the most, where samples differ."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All state beyond the weights, of tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`."""
        ...


class BaseMethod:
    """Base of methods with no state beyond radii and a guard; `prepare` and `cost` are theirs to define.

    Args:
        config: The method's settings.
        size: Number of samples that indices run over.
        device: Where training computes.

    Raises:
        UserError: settings that do not know the number of epochs, or class weights without `for_classes`.
    """

    Config: ClassVar[type[Any]] = MethodConfig
    objective_cost: ClassVar[Passes] = Passes(1, 1)
    """Passes per sample of one evaluation of the objective, its backward included: a part of `cost`."""
    radii: RadiusMemory | None = None
    guard: Guard | None = None

    def __init__(self, config: Any, *, size: int, device: torch.device | str) -> None:  # noqa: ANN401
        if isinstance(config, MethodConfig):
            config.check_complete()
        self.config = config

    def prepare(self, model: nn.Module, batch: Batch, context: StepContext) -> Objective:
        """Attack the batch and return the loss to minimise."""
        raise NotImplementedError

    def update(self, batch: Batch, output: StepOutput) -> None:
        """Update the state of the method by the outcome of the training forward; here there is nothing to update."""

    def step(self, model: nn.Module, batch: Batch, context: StepContext) -> StepOutput:
        """The loss of one batch for a loop of your own: `prepare`, the objective, `update`; backward is left to you.

        Of a `DistributedDataParallel` its module is attacked; the objective goes through the wrapper. Labels may be of
        any integer type.

        Raises:
            UserError: inputs that are no floats or infinite, or labels that are not one class number a sample.
        """
        check_batch(batch.x, batch.y, bounds=None)
        batch = replace(batch, y=batch.y.long())
        self._check_first(batch)
        output = self.prepare(unwrap_ddp(model), batch, context)(model)
        self.update(batch, output)
        return output

    def begin(self) -> None:
        """Read what a run needs where it begins; not called for one that goes on from a checkpoint."""

    def _check_first(self, batch: Batch) -> None:
        """Refuse files that the first batch shows to be of other data; a run has compared them with all its data."""

    if TYPE_CHECKING:  # each method has its own

        def cost(self, epoch: int) -> Passes:
            """Passes per sample of a step in this epoch."""
            ...

    def state_dict(self) -> dict[str, Any]:
        """The radii and the state of the guard, as far as there are any."""
        parts = {"radii": self.radii, "guard": self.guard}
        return {name: part.state_dict() for name, part in parts.items() if part is not None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`."""
        if self.radii is not None:
            self.radii.load_state_dict(state["radii"])
        if self.guard is not None:
            self.guard.load_state_dict(state["guard"])
