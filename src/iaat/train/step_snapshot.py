"""Undoing a training step that was not finite, decided on the device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from iaat.train.state import TrainState

_JOINED = 1 << 24
"""Numbers from which on a group is not joined by further tensors: what is joined is in memory twice."""


class StepSnapshot:
    """All that one training step changes, as it was before: weights, buffers, optimiser, EMA, radii of the batch.

    The host need not know whether the step is undone, so it waits for a GPU in the first step alone, and for
    optimisers that keep numbers on the host. Costs a copy of these tensors, and on a GPU three passes over them, in few
    kernels in place of two for every tensor. What a method keeps beside radii is not restored.

    Args:
        state: The training state before the step, attacks included.
        index: Stable indices `[B]` of the samples of the step.
    """

    def __init__(self, state: TrainState, index: Tensor) -> None:
        self._state, self._index = state, index
        self._groups = list(_groups(_tensors(state)))
        self._optimizer_is_new = not state.optimizer.state
        self._copies = [_joined(group) for group in self._groups]
        self._radii = None if state.method.radii is None else state.method.radii[index]

    @torch.no_grad()
    def restore_unless(self, finite: Tensor) -> None:
        """Restore everything unless `finite`, a single bool on the device, is True."""
        if finite.device.type == "cpu" and bool(finite):
            return
        for group, copy in zip(self._groups, self._copies, strict=True):
            finite_there = finite.to(copy.device)
            if len(group) == 1:
                torch.where(finite_there, group[0], copy, out=group[0])
            else:
                kept = torch.where(finite_there, torch.cat(group), copy)
                torch._foreach_copy_(group, list(torch.split(kept, [len(each) for each in group])))
        if self._optimizer_is_new and not bool(finite):  # waits for the device, in the first step alone
            self._state.optimizer.state.clear()
        if self._radii is not None:
            assert self._state.method.radii is not None
            now = self._state.method.radii[self._index]
            self._state.method.radii[self._index] = torch.where(finite, now, self._radii)


def _groups(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """The numbers of the tensors as views, in groups of one type that can be joined."""
    kinds: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    sizes = Counter[tuple[torch.device, torch.dtype]]()
    for tensor in tensors:
        flat = None if tensor.device.type == "cpu" else _flat(tensor)  # a CPU launches no kernels
        kind = tensor.device, tensor.dtype
        if flat is None:
            yield [tensor]
            continue
        if sizes[kind] and sizes[kind] + len(flat) > _JOINED:
            yield kinds.pop(kind)
            sizes[kind] = 0
        kinds.setdefault(kind, []).append(flat)
        sizes[kind] += len(flat)
    yield from kinds.values()


def _flat(tensor: Tensor) -> Tensor | None:
    """The numbers of a tensor as a view `[N]` in the order of its memory; None where there are gaps between them."""
    if tensor.is_contiguous():
        return tensor.view(-1)
    if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return tensor.permute(0, 2, 3, 1).view(-1)
    return None


def _joined(group: list[Tensor]) -> Tensor:
    """A copy of the numbers of a group: `[N]`, or of the shape of its only tensor."""
    return torch.cat(group) if len(group) > 1 else group[0].clone()


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
