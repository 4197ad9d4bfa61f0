"""Exponential moving average (EMA) of the weights."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

_SLOW_START = 10


class ModelEMA:
    """A copy of a model with the moving average of its weights and BatchNorm statistics.

    Step t keeps `min(decay, (1 + t) / (10 + t))` of the old average, t counted from 0, so that the weights of the first
    steps are soon forgotten. Running statistics are averaged with the same factors: the average of weights has about
    the average of the activations' statistics, and no further forward is needed.

    Args:
        model: The model in training; its copy is in eval mode and needs no gradients.
        decay: Fraction of the old average that is kept at each step, in (0, 1).
        copied: Names of buffers that have no average, such as masks of -inf, and are copied.

    PyTorch's `AveragedModel` keeps its count of updates on the CPU and copies it to a GPU in every update, which waits
    for the device; hence this class.

    Attributes:
        model: The model with the averaged weights.

    Source: Polyak and Juditsky 1992 for averages of iterates; for robust models Gowal et al. 2020 (arXiv 2010.03593,
    section 4.3).
    """

    def __init__(self, model: nn.Module, decay: float, copied: Collection[str] = ()) -> None:
        self._decay, self._copied = decay, copied
        self._steps = 0
        self.model = deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average after an optimiser step; never waits for the device."""
        moving: list[tuple[Tensor, Tensor]] = []
        copied: list[tuple[Tensor, Tensor]] = []  # counters of batches; all where the average begins
        for (name, average), (_, value) in zip(_tensors(self.model), _tensors(model), strict=True):
            averaged = self._steps and average.is_floating_point() and name not in self._copied
            (moving if averaged else copied).append((average, value))
        if moving:
            keep = min(self._decay, (1 + self._steps) / (_SLOW_START + self._steps))
            averages, values = zip(*moving, strict=True)
            torch._foreach_lerp_(averages, values, 1 - keep)
        if copied:
            averages, values = zip(*copied, strict=True)
            torch._foreach_copy_(averages, values)
        self._steps += 1

    def state_dict(self) -> dict[str, Any]:
        """State of the averaged model, and the number of steps in it."""
        return {"model": self.model.state_dict(), "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`."""
        self.model.load_state_dict(state["model"])
        self._steps = int(state["steps"])


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers, by name."""
    return itertools.chain(model.named_parameters(), model.named_buffers())
