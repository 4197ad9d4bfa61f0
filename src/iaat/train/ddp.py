"""How a step's gradient and statistics come to be those of all processes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from iaat.errors import UserError
from iaat.methods import Objective
from iaat.runtime.device import device_of
from iaat.runtime.distributed import ALONE, Ranks
from iaat.types import StepOutput


class Exchange:
    """What the processes that train one network exchange in a step; alone there is nothing to exchange.

    Only the loss goes through PyTorch's `DistributedDataParallel`, which averages the weights' gradients while they are
    still being formed. Attacks see the network itself: they want no gradient of the weights, and a wrapper in training
    mode would move its statistics. The whole objective is one forward of the wrapper, however often it calls the
    network.

    Args:
        model: The network in training, equal in all processes.
        ranks: The processes.
    """

    def __init__(self, model: nn.Module, ranks: Ranks = ALONE) -> None:
        self.ranks = ranks
        self._model = model
        self._shared: DistributedDataParallel | None = None
        if ranks.several:
            ranks.meet()
            # Buffers are exchanged here: the wrapper would copy them in place between two forwards of one graph.
            self._shared = DistributedDataParallel(_Evaluated(model), forward_sync_buffers=False)

    def evaluate(self, objective: Objective) -> StepOutput:
        """The outcome of the objective, whose backward averages gradients over processes."""
        if self._shared is None:
            return objective(self._model)
        if self._shared.require_backward_grad_sync and device_of(self._model).type == "cpu":
            # The wrapper's own exchange lets the main thread hear no signal while others are missing.
            self.ranks.meet()
        try:
            output: StepOutput = self._shared(objective)
        except RuntimeError as error:
            if "finished reduction in the prior iteration" not in str(error):
                raise
            raise UserError(
                "the model has weights that the loss does not depend on, which several processes cannot average: freeze"
                " them (requires_grad_(False)) or remove them"
            ) from error
        return output

    @contextmanager
    def held_back(self, held: bool) -> Iterator[None]:
        """While the context is open gradients add up in each process; the next step outside averages their sum."""
        if self._shared is None or not held:
            yield
            return
        with self._shared.no_sync():
            yield

    @torch.no_grad()
    def average_(self, gradients: tuple[Tensor | None, ...]) -> None:
        """Average over processes gradients that have not gone through `evaluate`."""
        there = [gradient for gradient in gradients if gradient is not None]
        if self.ranks.several and there:
            flat = self.ranks.mean_(torch.concat([gradient.flatten() for gradient in there]))
            for gradient, mean in zip(there, torch.split(flat, [each.numel() for each in there]), strict=True):
                gradient.copy_(mean.view_as(gradient))

    @torch.no_grad()
    def share_buffers(self) -> None:
        """Have all processes have the same buffers: attacks, evaluation and checkpoints take them.

        BatchNorm's running statistics, of which each process has moved its own by its own samples, are averaged, each
        process counting alike; other buffers of floats are those of the main process.
        """
        buffers = [buffer for buffer in self._model.buffers() if buffer.is_floating_point()]
        if not (self.ranks.several and buffers):
            return
        norms = [module for module in self._model.modules() if isinstance(module, _BatchNorm)]
        averaged = {id(buffer) for norm in norms for buffer in (norm.running_mean, norm.running_var)}
        main, world = self.ranks.main, self.ranks.world
        parts = [
            buffer / world if id(buffer) in averaged else buffer if main else torch.zeros_like(buffer)
            for buffer in buffers
        ]
        whole = self.ranks.sum_(torch.concat([part.flatten() for part in parts]))
        for buffer, new in zip(buffers, torch.split(whole, [each.numel() for each in buffers]), strict=True):
            buffer.copy_(new.view_as(buffer))


class _Evaluated(nn.Module):
    """A network as a function of what is to be evaluated on it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, objective: Objective) -> StepOutput:
        return objective(self.network)


def synchronized(model: nn.Module, ranks: Ranks, device: torch.device, *, wanted: bool) -> nn.Module:
    """The network with BatchNorm that normalises by the samples of all processes, where PyTorch has it: on GPUs."""
    return with_sync_batchnorm(model) if wanted and ranks.several and device.type == "cuda" else model


def with_sync_batchnorm(model: nn.Module) -> nn.Module:
    """The network with `SyncBatchNorm` in place of PyTorch's own BatchNorm; its weights and functions stay.

    PyTorch's conversion replaces classes derived from BatchNorm, too, and what they do beside it is gone, such as the
    activation in timm's. Those are left as they are, and told.
    """
    if type(model) in _PLAIN:
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    others = {type(module).__name__ for module in model.modules() if isinstance(module, _BatchNorm)}
    others -= {kind.__name__ for kind in (*_PLAIN, nn.SyncBatchNorm)}
    if others:
        warnings.warn(
            f"train.sync_batchnorm: {', '.join(sorted(others))} are BatchNorm and more, and stay as they are: each "
            "process normalises by its own samples there",
            stacklevel=2,
        )
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) in _PLAIN:
                setattr(module, name, with_sync_batchnorm(child))
    return model


_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
