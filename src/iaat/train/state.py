"""All that changes while training, saved and loaded as one."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from iaat import rng
from iaat.config import Recipe
from iaat.data import DataBundle
from iaat.methods import Method, find_method
from iaat.models import build_model, supports_channels_last
from iaat.train.averaging import AveragedWeights
from iaat.train.optim import build_optimizer, build_schedule
from iaat.train.tally import Tally
from iaat.types import Batch


@dataclass(slots=True)
class TrainState:
    """Model, method, optimiser, schedule, random streams and how far training has come.

    Attributes:
        generator: Source of the attacks' random starts.
        averaged: Moving average of the weights, where the recipe asks for one.
        channels_last: Whether the model takes batches in that memory order; a fact of the model, not saved.
        epoch: Epochs finished.
        best: Highest selection accuracy so far, and -1 before the first epoch.
        tally: What the epoch that is going on has come to.
        records: What the log says of each finished epoch.
        faults: Steps that were not finite, oldest first.
        lr_share: Share of the schedule's learning rate that is trained with: below 1 after a return for faults.
    """

    model: nn.Module
    method: Method
    optimizer: Optimizer
    schedule: LRScheduler
    generator: torch.Generator
    averaged: AveragedWeights | None = None
    channels_last: bool = False
    epoch: int = 0
    best: float = -1.0
    tally: Tally = field(default_factory=Tally)
    records: list[dict[str, Any]] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    lr_share: float = 1.0

    @property
    def result(self) -> nn.Module:
        """The network that training is for: the average of the weights where there is one, else the trained one."""
        return self.model if self.averaged is None else self.averaged.model

    def laid_out(self, batch: Batch) -> Batch:
        """The batch in the memory order the model takes."""
        if not self.channels_last:
            return batch
        return replace(batch, x=batch.x.contiguous(memory_format=torch.channels_last))

    def step(self) -> None:
        """Take the optimiser's and the schedule's step, at the share of the rate that faults have left."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * self.lr_share
        self.optimizer.step()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self.schedule.step()
        if self.averaged is not None:
            self.averaged.update(self.model)

    def state_dict(self) -> dict[str, Any]:
        """Everything, as tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
            "globals": rng.globals_state(),
            "epoch": self.epoch,
            "best": self.best,
            "tally": self.tally.state_dict(),
            "records": self.records,
            "faults": self.faults,
            "lr_share": self.lr_share,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where the saved state was."""
        self.model.load_state_dict(state["model"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["generator"].cpu())
        rng.set_globals_state(state["globals"])
        self.tally = Tally.from_state(state["tally"])
        self.epoch, self.best, self.lr_share = state["epoch"], state["best"], state["lr_share"]
        self.records, self.faults = list(state["records"]), list(state["faults"])


def build_state(
    recipe: Recipe, data: DataBundle, steps_per_epoch: int, device: torch.device, *, resumed: bool = False
) -> TrainState:
    """The state before the first step; a resumed run needs no weights to start by, because its checkpoint has them."""
    config = replace(recipe.model, weights=None) if resumed else recipe.model
    model = build_model(
        config, shape=data.shape, classes=len(data.classes), mean=data.mean, std=data.std, seed=recipe.seed
    ).to(device)
    channels_last = recipe.train.channels_last and len(data.shape) == 3
    if channels_last and not supports_channels_last(model, data.shape):
        warnings.warn(f"model {recipe.model.name} fails in train.channels_last: trained without it", stacklevel=2)
        channels_last = False
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(model, recipe.train)
    # Layers such as dropout, and code of the user's, have no stream of their own: they draw from the global generators.
    rng.seed_globals(recipe.seed, "layers")
    return TrainState(
        model=model,
        method=find_method(recipe.method_name)(recipe.method, size=len(data.train), device=device),
        optimizer=optimizer,
        schedule=build_schedule(optimizer, recipe.train, steps_per_epoch),
        generator=rng.generator(recipe.seed, "attack", device=device),
        averaged=AveragedWeights(model, recipe.train.ema) if recipe.train.ema else None,
        channels_last=channels_last,
    )
