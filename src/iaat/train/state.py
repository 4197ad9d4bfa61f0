"""`TrainState`: all that changes while training, saved and restored as one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from iaat.errors import shown
from iaat.methods import Method
from iaat.runs.checkpoint_schema import using
from iaat.runs.epoch_record import EpochRecord
from iaat.runtime import rng
from iaat.runtime.passes import Passes, count_passes
from iaat.train.ddp import GradientSync
from iaat.train.ema import ModelEMA
from iaat.train.epoch_progress import EpochProgress
from iaat.train.frozen_modules import modules_named
from iaat.train.restored_parts import checked_part
from iaat.types import Batch


@dataclass(slots=True)
class TrainState:
    """Model, method, optimiser, schedule, random streams and the progress of training.

    Attributes:
        generator: Source of the attacks' random starts; equal in all processes.
        gradient_sync: Averages gradients and buffers over processes.
        ema: Moving average of the weights, where the recipe asks for one.
        scaler: Finds the loss scale of fp16, with which gradients neither vanish nor overflow.
        channels_last: Whether the model takes batches in that memory order; a fact of the model, not saved.
        epoch: Epochs finished.
        best: Highest validation score so far, and -1 before the first epoch.
        progress: The epoch that is going on.
        records: The log of the finished epochs.
        faults: Steps that were not finite, oldest first.
        lr_factor: Factor on the schedule's learning rate: below 1 after a rollback.
        clip_grad: Largest norm of the gradient; 0: any.
        seed: The run's seed.
        frozen: Modules that stay in eval mode while the model trains, by name.
        frozen_as_given: Whether the model came with these in eval mode; not saved.
        unbounded: Names of buffers that are infinite or very large, as they should be; not saved.
    """

    model: nn.Module
    method: Method
    optimizer: Optimizer
    schedule: LRScheduler
    generator: rng.BatchGenerator
    gradient_sync: GradientSync
    ema: ModelEMA | None = None
    scaler: GradScaler | None = None
    channels_last: bool = False
    epoch: int = 0
    best: float = -1.0
    progress: EpochProgress = field(default_factory=EpochProgress)
    records: list[EpochRecord] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    lr_factor: float = 1.0
    clip_grad: float = 0.0
    seed: int = 0
    frozen: dict[str, nn.Module] = field(default_factory=dict)
    frozen_as_given: bool = True
    unbounded: frozenset[str] = frozenset()

    @property
    def result(self) -> nn.Module:
        """The model to evaluate: with the EMA of the weights where there is one, else as it is trained."""
        return self.model if self.ema is None else self.ema.model

    def train_mode(self) -> None:
        """Put the model into train mode, but for what its owner has frozen."""
        self.model.train()
        for module in self.frozen.values():
            module.training = False

    def freeze(self, names: Sequence[str]) -> None:
        """Let the modules of these names stay in eval mode, and no others, whatever the model came with."""
        given, self.frozen = self.frozen, modules_named(self.model, names)
        self.frozen_as_given = given.keys() == self.frozen.keys()

    @contextmanager
    def count_passes(self, so_far: Passes | None = None) -> Iterator[Passes]:
        """Count the passes of steps, on top of `so_far`: those of the model, and of the EMA where it is a teacher."""
        passes = Passes() if so_far is None else so_far
        of_teacher = nullcontext() if self.ema is None else count_passes(self.ema.model, passes)
        with count_passes(self.model, passes), of_teacher:
            yield passes

    def to_memory_format(self, batch: Batch) -> Batch:
        """The batch in the memory order the model takes."""
        if not self.channels_last:
            return batch
        return replace(batch, x=batch.x.contiguous(memory_format=torch.channels_last))

    def loss_scale(self, device: torch.device) -> Tensor | None:
        """Factor on the loss for its gradient in fp16; None for other number formats."""
        return None if self.scaler is None else self.scaler.scale(torch.ones((), device=device))

    def step(self) -> None:
        """Take the step of the optimiser and of the schedule, at `lr_factor` of the learning rate."""
        self.gradient_sync.sync_buffers()
        if self.scaler is not None:
            # Not the scaler's own step, which waits for the device: a step that overflows is undone as any other is.
            self.scaler.unscale_(self.optimizer)
            self.scaler.update()
        if self.clip_grad:
            clip_grad_norm_(self.model.parameters(), self.clip_grad)
        rates = [group["lr"] for group in self.optimizer.param_groups]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * self.lr_factor
        self.optimizer.step()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self.schedule.step()
        if self.ema is not None:
            self.ema.update(self.model)

    def sync_radii(self) -> None:
        """Exchange radii, so that all processes have those of all samples."""
        if self.method.radii is not None:
            self.method.radii.synchronize()

    def state_dict(self) -> dict[str, Any]:
        """Everything, as tensors and plain values.

        All processes call it together. Their number shows only in the random states of layers, of which each process
        has its own.
        """
        ranks = self.gradient_sync.ranks
        self.sync_radii()
        own, *others = ranks.all_gather_states(rng.globals_state())
        return {
            "model": self.model.state_dict(),
            "averaged": None if self.ema is None else self.ema.state_dict(),
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "generator": self.generator.get_state(),
            "generator_device": self.generator.device.type,
            "globals": own,
            "globals_of_others": others,
            "epoch": self.epoch,
            "best": self.best,
            "tally": self.progress.reduced(ranks).state_dict(),
            "records": [record.to_json() for record in self.records],
            "faults": self.faults,
            "lr_share": self.lr_factor,
            "frozen": list(self.frozen),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`, to go on exactly from there."""
        parts = {
            "model": self.model,
            "averaged": self.ema,
            "method": self.method,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "scaler": self.scaler,
        }
        for key, part in parts.items():
            if part is not None:
                with using(key, state):
                    part.load_state_dict(checked_part(key, state[key], part))
        with using("globals", state):
            self._restore_globals([state["globals"], *state.get("globals_of_others", [])])
        with using("tally", state):
            self.progress = EpochProgress.from_state(state["tally"])
        if not self.gradient_sync.ranks.main:
            self.progress.clear_sums()
        with using("records", state):
            self.records = [EpochRecord.from_json(record) for record in state["records"]]
        self.epoch, self.best, self.lr_factor = state["epoch"], state["best"], state["lr_share"]
        with using("generator", state):
            self._restore_generator(state["generator"].cpu(), state.get("generator_device"))
        self.faults = list(state["faults"])
        # A finished or interrupted call has left the module in eval mode. Earlier versions trained all of a model.
        with using("frozen", state):
            self.freeze(state.get("frozen", []))

    def _restore_generator(self, saved: Tensor, saved_on: str | None) -> None:
        """Restore the generator of attacks; one of another kind of device cannot go on here, and begins anew.

        Args:
            saved: Its state.
            saved_on: Kind of device it is of; None in checkpoints of earlier versions, where it is of this kind if it
                has the size.
        """
        here = self.generator.device.type
        fits = len(saved) == len(self.generator.get_state()) if saved_on is None else saved_on == here
        if fits:
            self.generator.set_state(saved)
            return
        self.generator.manual_seed(rng.derive_seed(self.seed, "attack", self.epoch, self.progress.steps))
        there = "another device" if saved_on is None else shown(saved_on)
        warnings.warn(
            f"the checkpoint was made on {there}, this is {here!r}: the random numbers of attacks begin anew from "
            "seed, epoch and step",
            stacklevel=2,
        )

    def _restore_globals(self, states: list[dict[str, Any]]) -> None:
        """Restore this process's own random state; a process that was not there begins a new one at every resume."""
        rank = self.gradient_sync.ranks.rank
        if rank < len(states):
            rng.set_globals_state(states[rank])
