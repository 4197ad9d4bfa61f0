"""Gradient averaging (DDP) and BatchNorm buffers across ranks."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from iaat.errors import UserError
from iaat.methods import Objective
from iaat.runtime.device import device_of
from iaat.runtime.distributed import ALONE, Ranks
from iaat.types import StepOutput


class GradientSync:
    """Averages gradients and BatchNorm statistics over the processes that train one model; with one process, nothing.

    Only the loss goes through PyTorch's `DistributedDataParallel`, which averages the gradients of the weights while
    the backward pass still forms them. Attacks get the model itself: they need no gradient of the weights, and a
    wrapper in training mode would move its statistics. The whole objective is one forward of the wrapper, however often
    it calls the model.

    Args:
        model: The model in training, equal in all processes.
        ranks: The processes.
    """

    def __init__(self, model: nn.Module, ranks: Ranks = ALONE) -> None:
        self.ranks = ranks
        self._model = model
        self._ddp: DistributedDataParallel | None = None
        if ranks.several:
            ranks.barrier()
            # Buffers are averaged here: the wrapper would copy them in place between two forwards of one graph.
            self._ddp = DistributedDataParallel(_ObjectiveModule(model), forward_sync_buffers=False)

    def evaluate(self, objective: Objective) -> StepOutput:
        """Evaluate the objective; the backward pass of its loss averages gradients over processes."""
        if self._ddp is None:
            return objective(self._model)
        if self._ddp.require_backward_grad_sync and device_of(self._model).type == "cpu":
            # The wrapper's own all-reduce keeps the main thread from signals while others are missing.
            self.ranks.barrier()
        try:
            output: StepOutput = self._ddp(objective)
        except RuntimeError as error:
            if "finished reduction in the prior iteration" not in str(error):
                raise
            raise UserError(
                "the model has weights that the loss does not depend on, which several processes cannot average: freeze"
                " them (requires_grad_(False)) or remove them"
            ) from error
        return output

    def no_sync(self, *, enabled: bool = True) -> AbstractContextManager[None]:
        """Context in which gradients add up in each process; the next step outside averages their sum."""
        if self._ddp is None or not enabled:
            return nullcontext()
        context: AbstractContextManager[None] = self._ddp.no_sync()  # type: ignore[no-untyped-call,unused-ignore]
        return context

    @torch.no_grad()
    def average_(self, gradients: tuple[Tensor | None, ...]) -> None:
        """Average gradients over processes in place, where they have not gone through `evaluate`."""
        present = [gradient for gradient in gradients if gradient is not None]
        if self.ranks.several and present:
            flat = self.ranks.mean_(torch.concat([gradient.flatten() for gradient in present]))
            for gradient, mean in zip(present, torch.split(flat, [each.numel() for each in present]), strict=True):
                gradient.copy_(mean.view_as(gradient))

    @torch.no_grad()
    def sync_buffers(self) -> None:
        """Give all processes the same buffers, which attacks, evaluation and checkpoints read.

        BatchNorm's running statistics, which each process has moved by its own samples, are averaged, each process
        counting alike; other buffers of floats are those of the main process.
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


class _ObjectiveModule(nn.Module):
    """A model as a function of the objective that is evaluated on it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, objective: Objective) -> StepOutput:
        return objective(self.model)


def sync_batchnorm(model: nn.Module, ranks: Ranks, device: torch.device, *, wanted: bool) -> nn.Module:
    """The model with BatchNorm over the samples of all processes, where PyTorch has it: on GPUs."""
    return convert_sync_batchnorm(model) if wanted and ranks.several and device.type == "cuda" else model


_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def convert_sync_batchnorm(model: nn.Module) -> nn.Module:
    """The model with `SyncBatchNorm` in place of PyTorch's own BatchNorm; its weights and functions stay.

    PyTorch's conversion also replaces classes derived from BatchNorm, and drops what they add, such as the activation
    in timm's. Those are left as they are, with a warning.
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
                setattr(module, name, convert_sync_batchnorm(child))
    return model
