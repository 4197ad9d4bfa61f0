"""A step is taken whole or not at all, decided on the device."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from iaat.train.state import TrainState


class Undo:
    """What one training step changes, as it was before: weights, buffers, optimiser, average, radii of the batch.

    The host never learns whether the step is undone, so it need not wait for the device. Costs a copy of these tensors
    and one pass over them. What a method keeps beside radii is not undone.

    Args:
        state: The training state before the step, attacks included.
        index: Stable indices `[B]` of the samples of the step.
    """

    def __init__(self, state: TrainState, index: Tensor) -> None:
        self._state, self._index = state, index
        self._places = list(_tensors(state))
        self._optimizer_is_new = not state.optimizer.state
        self._kept = [place.clone() for place in self._places]
        self._radii = None if state.method.radii is None else state.method.radii[index]

    @torch.no_grad()
    def unless(self, finite: Tensor) -> None:
        """Put everything back unless `finite`, a single bool on the device, is True."""
        for place, kept in zip(self._places, self._kept, strict=True):
            torch.where(finite, place, kept, out=place)
        if self._optimizer_is_new:  # momentum that is 0 and one that is not there yet take the same next step
            for place in _momenta(self._state):
                torch.where(finite, place, torch.zeros_like(place), out=place)
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
    if state.averaged is not None:
        yield from (weights.detach() for weights in state.averaged.model.parameters())
        yield from state.averaged.model.buffers()


def _momenta(state: TrainState) -> Iterator[Tensor]:
    for values in state.optimizer.state.values():
        yield from (value for value in values.values() if isinstance(value, Tensor))
