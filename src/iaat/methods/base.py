"""What a training method is: the protocol the loop knows, and what most methods have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iaat.errors import UserError
from iaat.radius import RadiusMemory
from iaat.runtime.passes import Passes
from iaat.types import Batch, StepOutput

if TYPE_CHECKING:
    from iaat.methods.guard import Guard

Objective = Callable[[nn.Module], StepOutput]
"""The loss of one batch as a function of the network; it changes nothing but BatchNorm's running statistics."""


@dataclass(frozen=True, slots=True)
class StepContext:
    """Where training stands, and the random stream attacks draw from (part of the training state).

    Attributes:
        epoch: Epochs finished before this one, from 0.
        generator: Source of every random start.
        own: How many samples of the batch count, the first ones; the rest are copies that fill up the share of one of
            several processes. None: all do.
    """

    epoch: int
    generator: torch.Generator
    own: int | None = None


class Method(Protocol):
    """A way of forming the loss of one batch.

    A class with a `Config` (a keyword-only dataclass, the recipe's `method` section) and a constructor
    `(config, *, size, device)`, where `config` is what `Config.over` makes of the settings for the epochs of the run,
    and `size` the number of samples that indices run over. For each batch the loop
    calls `prepare`, evaluates the objective it returns (twice where weights are perturbed), calls `learn` with the
    outcome at the unperturbed weights, and does backward and the optimiser's step. Beside that it shows the method's
    guard, if it has one, held-out samples when the guard asks for them; it calls nothing else while training.
    """

    Config: ClassVar[type[Any]]
    objective_cost: ClassVar[Passes]
    radii: RadiusMemory | None
    guard: Guard | None

    def __init__(self, config: Any, *, size: int, device: torch.device | str) -> None:  # noqa: ANN401
        ...

    def prepare(self, model: nn.Module, batch: Batch, context: StepContext) -> Objective:
        """Attack the batch, the model being in its training mode; the loss to be minimised for it.

        Nothing of the model has changed afterwards.
        """
        ...

    def learn(self, batch: Batch, output: StepOutput) -> None:
        """Take note of the outcome of the training forward, such as in radii; called once a batch."""
        ...

    def cost(self, epoch: int) -> Passes:
        """Passes per sample that a step takes in this epoch, backward included; the most, where samples differ."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All state beyond the weights, of tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of `state_dict`."""
        ...


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """Settings that every method has."""

    label_smoothing: float = 0.0
    """Share of the label's probability that cross-entropy spreads evenly over all classes, in [0, 1)."""

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise UserError(f"method.label_smoothing = {self.label_smoothing:g}: a share in [0, 1)")

    def over(self, epochs: int) -> Self:
        """These settings with what follows from the number of epochs filled in; a method is built from the result.

        Args:
            epochs: Epochs of the whole run, at least 1.

        Raises:
            UserError: settings that do not fit so many epochs.
        """
        return self

    def without_effect(self) -> dict[str, str]:
        """Settings that change nothing beside the others, each with what they belong to."""
        return {}

    def seldom_acts(self) -> dict[str, str]:
        """Settings that act in special moments of a run only, each with the moment."""
        return {}

    def largest_radius(self, epochs: int) -> float | None:
        """Largest radius of a training attack in a run of so many epochs, on the [0, 1] scale; None without attack."""
        return None

    def cross_entropy(self, logits: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy `[B]` of each sample, with the label smoothing of the settings (Szegedy et al. 2016, §7)."""
        return F.cross_entropy(logits, y, reduction="none", label_smoothing=self.label_smoothing)


class BaseMethod:
    """What the protocol asks for beyond `prepare` and `cost`, for methods whose state is radii and a guard at most.

    Args:
        config: The method's settings.
        size: Number of samples that indices run over.
        device: Where training computes.
    """

    Config: ClassVar[type[Any]] = MethodConfig
    objective_cost: ClassVar[Passes] = Passes(1, 1)
    """Passes per sample that one evaluation of the objective takes, its backward included: a part of `cost`."""
    radii: RadiusMemory | None = None
    guard: Guard | None = None

    def __init__(self, config: Any, *, size: int, device: torch.device | str) -> None:  # noqa: ANN401
        self.config = config

    def prepare(self, model: nn.Module, batch: Batch, context: StepContext) -> Objective:
        """Attack the batch and return the loss to be minimised for it."""
        raise NotImplementedError

    def learn(self, batch: Batch, output: StepOutput) -> None:
        """Take note of the outcome of the training forward: of nothing, unless a method says otherwise."""

    def step(self, model: nn.Module, batch: Batch, context: StepContext) -> StepOutput:
        """The loss of one batch for a loop of your own: `prepare`, its objective, `learn`; backward is left to you."""
        output = self.prepare(model, batch, context)(model)
        self.learn(batch, output)
        return output

    def state_dict(self) -> dict[str, Any]:
        """The radii and the state of the guard, as far as there are any."""
        parts = {"radii": self.radii, "guard": self.guard}
        return {name: part.state_dict() for name, part in parts.items() if part is not None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of `state_dict`."""
        if self.radii is not None:
            self.radii.load_state_dict(state["radii"])
        if self.guard is not None:
            self.guard.load_state_dict(state["guard"])
