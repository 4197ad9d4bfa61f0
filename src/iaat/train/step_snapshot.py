"""Undoing a training step that was not finite, decided on the device."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from iaat.train.state import TrainState


class StepSnapshot:
    """All that one training step changes, as it was before: weights, buffers, optimiser, EMA, radii of the batch.

    The host need not know whether the step is undone, so it waits for the device in the first step alone, and for
    optimisers that keep numbers on the host. Costs a copy of these tensors
    and one pass over them. What a method keeps beside radii is not restored.

    Args:
        state: The training state before the step, attacks included.
        index: Stable indices `[B]` of the samples of the step.
    """

    def __init__(self, state: TrainState, index: Tensor) -> None:
        self._state, self._index = state, index
        self._tensors = list(_tensors(state))
        self._optimizer_is_new = not state.optimizer.state
        self._copies = [tensor.clone() for tensor in self._tensors]
        self._radii = None if state.method.radii is None else state.method.radii[index]

    @torch.no_grad()
    def restore_unless(self, finite: Tensor) -> None:
        """Restore everything unless `finite`, a single bool on the device, is True."""
        for tensor, copy in zip(self._tensors, self._copies, strict=True):
            torch.where(finite.to(tensor.device), tensor, copy, out=tensor)
        if self._optimizer_is_new and not bool(finite):  # waits for the device, in the first step alone
            self._state.optimizer.state.clear()
        if self._radii is not None:
            assert self._state.method.radii is not None
            now = self._state.method.radii[self._index]
            self._state.method.radii[self._index] = torch.where(finite, now, self._radii)


def _tensors(state: TrainState) -> Iterator[Tensor]:
    for weights in state.model.parameters():
        if weights.requires_grad:
            yield weights.detach()
    yield from state.model.buffers()
    yield from _momenta(state)
    if state.ema is not None:
        yield from (weights.detach() for weights in state.ema.model.parameters())
        yield from state.ema.model.buffers()


def _momenta(state: TrainState) -> Iterator[Tensor]:
    for values in state.optimizer.state.values():
        yield from (value for value in values.values() if isinstance(value, Tensor))
