"""A first phase of natural training before any method."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from iaat.methods.adversarial import cross_entropy_at
from iaat.methods.base import BaseMethod, Method, MethodConfig, Objective, StepContext
from iaat.runtime.passes import Passes
from iaat.types import Batch, StepOutput


class AfterNatural(BaseMethod):
    """A method that begins after some epochs of natural training, in which radii stay as they are.

    The method counts its epochs, such as those of a ramp or a warm-up, from its own beginning. Its guard rests in
    natural training, where every attack succeeds.

    Args:
        method: What begins then.
        epochs: Epochs of natural training.
        config: The method's settings: natural training smooths labels as they say.

    Source: the order of the phases is that of AET (arXiv 2506.15685).
    """

    def __init__(self, method: Method, epochs: int, config: Any) -> None:  # noqa: ANN401
        self._method, self._epochs, self._begun = method, epochs, False
        self.config = config if isinstance(config, MethodConfig) else MethodConfig()
        self.radii = method.radii
        self.objective_cost = method.objective_cost  # type: ignore[misc]  # of a class elsewhere, here of one method

    def prepare(self, model: nn.Module, batch: Batch, context: StepContext) -> Objective:
        """The cross-entropy of the clean batch, or what the method makes of it."""
        self._begun = context.epoch >= self._epochs
        self.guard = self._method.guard if self._begun else None
        if not self._begun:
            return cross_entropy_at(batch.x, batch.y, None, self.config)
        return self._method.prepare(model, batch, replace(context, epoch=context.epoch - self._epochs))

    def learn(self, batch: Batch, output: StepOutput) -> None:
        """Nothing in natural training."""
        if self._begun:
            self._method.learn(batch, output)

    def cost(self, epoch: int) -> Passes:
        """One forward and one backward, then those of the method."""
        return Passes(1, 1) if epoch < self._epochs else self._method.cost(epoch - self._epochs)

    def state_dict(self) -> dict[str, Any]:
        """That of the method."""
        return self._method.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of `state_dict`."""
        self._method.load_state_dict(state)
