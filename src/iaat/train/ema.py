"""Exponential moving average (EMA) of the weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

_SLOW_START = 10


class ModelEMA:
    """A copy of a model with the moving average of its weights and BatchNorm statistics.

    Step t keeps `min(decay, (1 + t) / (10 + t))` of the old average, t counted from 0, so that the weights of the first
    steps are soon forgotten. Running statistics are averaged with the same factors: the average of weights has about
    the average of the activations' statistics, and no further forward is needed.

    Args:
        model: The model in training; its copy is in eval mode and needs no gradients.
        decay: Fraction of the old average that is kept at each step, in (0, 1).

    Source: Polyak and Juditsky 1992 for averages of iterates; for robust models Gowal et al. 2020 (arXiv 2010.03593,
    section 4.3).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._steps = 0
        self._averaged = AveragedModel(model, multi_avg_fn=self._average, use_buffers=True)
        self.model.eval().requires_grad_(False)

    @property
    def model(self) -> nn.Module:
        """The model with the averaged weights."""
        module: nn.Module = self._averaged.module
        return module

    def update(self, model: nn.Module) -> None:
        """Move the average after an optimiser step; never waits for the device."""
        self._averaged.update_parameters(model)
        self._steps += 1

    @torch.no_grad()
    def _average(self, averages: Any, values: Any, _count: object) -> None:  # noqa: ANN401 - as torch.optim declares them
        keep = min(self._decay, (1 + self._steps) / (_SLOW_START + self._steps))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, values, 1 - keep)
        else:  # counters of batches
            torch._foreach_copy_(averages, values)

    def state_dict(self) -> dict[str, Any]:
        """State of the averaged model, and the number of steps in it."""
        return {"model": self.model.state_dict(), "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`."""
        self.model.load_state_dict(state["model"])
        self._steps = int(state["steps"])
        self._averaged.n_averaged.fill_(self._steps)
