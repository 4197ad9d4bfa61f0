"""An exponential moving average of the weights, kept beside the ones that are trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

_SLOW_START = 10


class AveragedWeights:
    """A copy of a network whose weights and BatchNorm statistics follow the trained ones as a moving average.

    Step t keeps `min(decay, (1 + t) / (10 + t))` of the old average, t counted from 0, so that the weights of the first
    steps are soon forgotten. Running statistics are averaged by the same shares: those of the trained network belong to
    its own weights, and the average of weights has about the average of the activations' statistics, at no pass.

    Args:
        model: The network that is trained; its copy is in eval mode and needs no gradients.
        decay: Share of the old average kept at each step, in (0, 1).

    Source: Polyak and Juditsky 1992 for averages of iterates; for robust networks Gowal et al. 2020 (arXiv 2010.03593,
    section 4.3).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._steps = 0
        self._averaged = AveragedModel(model, multi_avg_fn=self._average, use_buffers=True)
        self.model.eval().requires_grad_(False)

    @property
    def model(self) -> nn.Module:
        """The averaged network."""
        module: nn.Module = self._averaged.module
        return module

    def update(self, model: nn.Module) -> None:
        """Take in the weights after an optimiser step; never waits for the device."""
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
        """The averaged network's state and the number of steps in it."""
        return {"model": self.model.state_dict(), "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of `state_dict`."""
        self.model.load_state_dict(state["model"])
        self._steps = int(state["steps"])
        self._averaged.n_averaged.fill_(self._steps)
