"""All that changes while training, saved and loaded as one."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from iaat.config.recipe import Recipe
from iaat.data import DataSplits
from iaat.errors import shown
from iaat.methods import Method, make_method
from iaat.models import build_model, supports_channels_last
from iaat.runs.checkpoint_fields import check_alike, using
from iaat.runtime import rng
from iaat.runtime.distributed import ALONE, Ranks
from iaat.train.ddp import Exchange, synchronized
from iaat.train.ema import AveragedWeights
from iaat.train.optim import build_optimizer, build_schedule
from iaat.train.tally import Tally
from iaat.types import Batch


@dataclass(slots=True)
class TrainState:
    """Model, method, optimiser, schedule, random streams and how far training has come.

    Attributes:
        generator: Source of the attacks' random starts; equal in all processes.
        exchange: How a step's gradient becomes that of all processes.
        averaged: Moving average of the weights, where the recipe asks for one.
        scaler: Finds what the loss is multiplied by in fp16, so that gradients neither vanish nor overflow.
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
    generator: rng.BatchGenerator
    exchange: Exchange
    averaged: AveragedWeights | None = None
    scaler: GradScaler | None = None
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

    def scale(self, device: torch.device) -> Tensor | None:
        """What the loss is to be multiplied by for its gradient; None: nothing."""
        return None if self.scaler is None else self.scaler.scale(torch.ones((), device=device))

    def step(self) -> None:
        """Take the optimiser's and the schedule's step, at the share of the rate that faults have left."""
        self.exchange.share_buffers()
        if self.scaler is not None:
            # Not the scaler's own step, which waits for the device: a step that overflows is undone as any other is.
            self.scaler.unscale_(self.optimizer)
            self.scaler.update()
        rates = [group["lr"] for group in self.optimizer.param_groups]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * self.lr_share
        self.optimizer.step()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self.schedule.step()
        if self.averaged is not None:
            self.averaged.update(self.model)

    def share_radii(self) -> None:
        """Have all processes know what each has learned of its samples."""
        if self.method.radii is not None:
            self.method.radii.synchronize()

    def state_dict(self) -> dict[str, Any]:
        """Everything, as tensors and plain values: what several processes have learned together.

        All of them must ask for it at the same time; how many they are does not show but in the random states of
        layers, of which each has its own.
        """
        ranks = self.exchange.ranks
        self.share_radii()
        own, *others = ranks.gather_states(rng.globals_state())
        return {
            "model": self.model.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "generator": self.generator.get_state(),
            "globals": own,
            "globals_of_others": others,
            "epoch": self.epoch,
            "best": self.best,
            "tally": self.tally.over(ranks).state_dict(),
            "records": self.records,
            "faults": self.faults,
            "lr_share": self.lr_share,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where the saved state was."""
        parts = {
            "model": self.model,
            "averaged": self.averaged,
            "method": self.method,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "scaler": self.scaler,
        }
        for key, part in parts.items():
            if part is not None:
                with using(key, state):
                    part.load_state_dict(_checked(key, state[key], part))
        with using("generator", state):
            self.generator.set_state(state["generator"].cpu())
        with using("globals", state):
            self._take_globals([state["globals"], *state.get("globals_of_others", [])])
        with using("tally", state):
            self.tally = Tally.from_state(state["tally"])
        if not self.exchange.ranks.main:
            self.tally.clear_own()
        self.epoch, self.best, self.lr_share = state["epoch"], state["best"], state["lr_share"]
        self.records, self.faults = list(state["records"]), list(state["faults"])

    def _take_globals(self, states: list[dict[str, Any]]) -> None:
        """Go on in this process's own random state; one that was not there begins a new one at every resume."""
        rank = self.exchange.ranks.rank
        if rank < len(states):
            rng.set_globals_state(states[rank])


_PROGRESS = ("last_epoch", "_step_count", "_last_lr")
"""What a schedule has come to; the rest of its state is the recipe's."""


def _checked(key: str, new: dict[str, Any], part: Any) -> dict[str, Any]:  # noqa: ANN401
    """The state of a part; optimiser, schedule and scaler would take anything, and stumble on it at the next step.

    Raises:
        ValueError: it does not fit the part as it was built.
    """
    if key == "schedule":
        new = {name: new[name] for name in _PROGRESS}
        check_alike(new, part.state_dict())
        if not 0 <= new["last_epoch"] <= getattr(part, "total_steps", new["last_epoch"]):
            raise ValueError(f"last_epoch is {shown(new['last_epoch'])}")
        new = {**part.state_dict(), **new}  # LambdaLR asks for its functions, too
    elif key == "scaler":
        check_alike(new, part.state_dict())
    elif key == "optimizer":
        own = part.state_dict()["param_groups"]
        check_alike(new["param_groups"], own, "param_groups")
        # All settings but the rate, which the schedule moves, are the recipe's.
        groups = [{**settings, "lr": group["lr"]} for settings, group in zip(own, new["param_groups"], strict=True)]
        new = {**new, "param_groups": groups}
        weights = [weight for group in part.param_groups for weight in group["params"]]
        for number, buffers in new["state"].items():
            tensors = {name: value for name, value in buffers.items() if value is not None}
            check_alike(tensors, dict.fromkeys(tensors, weights[number]), f"state.{number}")
    return new


def build_state(
    recipe: Recipe,
    data: DataSplits,
    steps_per_epoch: int,
    device: torch.device,
    *,
    resumed: bool = False,
    ranks: Ranks = ALONE,
) -> TrainState:
    """The state before the first step; a resumed run needs no weights to start by, because its checkpoint has them."""
    config = replace(recipe.model, weights=None, pretrained=False) if resumed else recipe.model
    shape, classes = data.shape, len(data.classes)
    # One process downloads weights, the others find them.
    model = ranks.main_first(
        lambda: build_model(config, shape=shape, classes=classes, mean=data.mean, std=data.std, seed=recipe.seed)
    ).to(device)
    channels_last = recipe.train.channels_last and len(data.shape) == 3
    if channels_last and not supports_channels_last(model, data.shape):
        warnings.warn(f"model {recipe.model.name} fails in train.channels_last: trained without it", stacklevel=2)
        channels_last = False
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    model = synchronized(model, ranks, device, wanted=recipe.train.sync_batchnorm)
    optimizer = build_optimizer(model, recipe.train)
    # Layers such as dropout, and code of the user's, have no stream of their own: they draw from the global generators.
    rng.seed_globals(recipe.seed, "layers", *([] if ranks.main else [ranks.rank]))
    return TrainState(
        model=model,
        method=_method(recipe, len(data.train), device, ranks),
        optimizer=optimizer,
        schedule=build_schedule(optimizer, recipe.train, steps_per_epoch),
        generator=rng.batch_generator(recipe.seed, "attack", device=device),
        exchange=Exchange(model, ranks),
        averaged=AveragedWeights(model, recipe.train.ema) if recipe.train.ema else None,
        scaler=GradScaler(device.type) if recipe.train.precision == "fp16" else None,
        channels_last=channels_last,
    )


def _method(recipe: Recipe, size: int, device: torch.device, ranks: Ranks) -> Method:
    """The method, with its radii where the recipe wants them."""
    first = recipe.train.natural_epochs
    method = make_method(recipe.method_name, recipe.run_method, size=size, device=device, natural_epochs=first)
    if method.radii is not None:
        if recipe.train.radii == "sharded":
            method.radii.shard()
        if recipe.train.radii_folder is not None:
            method.radii.map_to(Path(recipe.train.radii_folder) / f"iaat-{os.getpid()}-{ranks.rank}.radii")
    return method
