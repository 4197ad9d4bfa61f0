"""Natural training for some epochs before a method begins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from iaat.methods.adversarial_training import cross_entropy_at
from iaat.methods.base import BaseMethod, Method, Objective, StepContext
from iaat.methods.method_config import MethodConfig
from iaat.runtime.passes import Passes
from iaat.types import Batch, StepOutput

_OVER = "natural_epochs_over"
"""Key of the state: whether the method has begun."""


class NaturalPretraining(BaseMethod):
    """A method that begins after some epochs of natural training, in which radii stay as they are.

    The method counts its epochs, such as those of a ramp or a warm-up, from its own beginning. Its guard rests in
    natural training, where every attack succeeds.

    Args:
        method: The method that begins then.
        epochs: Epochs of natural training.
        config: The method's settings, by which natural training smooths labels.

    Source: the order of the phases is that of AET (arXiv 2506.15685).
    """

    def __init__(self, method: Method, epochs: int, config: Any) -> None:  # noqa: ANN401
        self._method, self._epochs, self._begun = method, epochs, False
        self._checked = False
        self.config = config if isinstance(config, MethodConfig) else MethodConfig()
        self.radii = method.radii
        self.objective_cost = method.objective_cost  # type: ignore[misc]  # of a class elsewhere, here of one method

    def prepare(self, model: nn.Module, batch: Batch, context: StepContext) -> Objective:
        """The cross-entropy of the clean batch, or the loss of the method once it has begun."""
        self._set_begun(begun=context.epoch >= self._epochs)
        if not self._begun:
            return cross_entropy_at(batch.x, batch.y, None, self.config)
        return self._method.prepare(model, batch, replace(context, epoch=context.epoch - self._epochs))

    def update(self, batch: Batch, output: StepOutput) -> None:
        """Update the method once it has begun."""
        if self._begun:
            self._method.update(batch, output)

    def cost(self, epoch: int) -> Passes:
        """One forward and one backward, then those of the method."""
        return Passes(1, 1) if epoch < self._epochs else self._method.cost(epoch - self._epochs)

    def _check_first(self, batch: Batch) -> None:
        if not self._checked and isinstance(self._method, BaseMethod):
            self._method._check_first(batch)
        self._checked = True

    def _set_begun(self, *, begun: bool) -> None:
        self._begun = begun
        self.guard = self._method.guard if begun else None

    def state_dict(self) -> dict[str, Any]:
        """The state of the method, and whether it has begun."""
        return {**self._method.state_dict(), _OVER: self._begun}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`."""
        self._method.load_state_dict({key: value for key, value in state.items() if key != _OVER})
        self._set_begun(begun=state.get(_OVER, False))  # files of older versions do not have it
