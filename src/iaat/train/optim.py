"""Optimiser and learning-rate schedule of a recipe: PyTorch's own."""

from __future__ import annotations

import inspect
import math
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, MultiStepLR, OneCycleLR

from iaat.config.train_config import OWN_ARGUMENTS, SGD, TrainConfig
from iaat.errors import UserError, did_you_mean
from iaat.runtime.text import first_line


def build_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """The optimiser of the recipe over the weights that are to be trained.

    Raises:
        UserError: it does not take an argument or these weights; the message is its own.
    """
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kind: type[Optimizer] = torch.optim.SGD if config.optimizer == SGD else getattr(torch.optim, config.optimizer)
    known = inspect.signature(kind).parameters
    for key in config.optimizer_options:
        if key not in known:
            raise UserError(f"train.optimizer_options: {kind.__name__} has no {key}{did_you_mean(key, known)}")
    try:
        return kind(weights, **_arguments(kind, config, weights[0].device))
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"train.optimizer {config.optimizer}: {first_line(error)}") from error


def _arguments(kind: type[Optimizer], config: TrainConfig, device: torch.device) -> dict[str, Any]:
    known, options = inspect.signature(kind).parameters, config.optimizer_options
    own = OWN_ARGUMENTS if config.optimizer == SGD else ("lr", "weight_decay")
    arguments = {key: getattr(config, key) for key in own if key in known}
    # Else some count their steps on the host, which would have to wait for a GPU to undo one that was not finite.
    counts = device.type == "cuda" and "capturable" in known and not options.get("fused")
    further = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    return {**arguments, **({"capturable": True} if counts else {}), **further}


def build_schedule(optimizer: Optimizer, config: TrainConfig, steps_per_epoch: int) -> LRScheduler:
    """The schedule, to be stepped after every optimiser step."""
    total = config.epochs * steps_per_epoch
    if config.warmup_epochs:
        return LambdaLR(optimizer, warmed_up(config, steps_per_epoch))
    match config.schedule:
        case "onecycle":
            # Momentum stays what the recipe says: cycling it as well is a second change few expect.
            return OneCycleLR(optimizer, config.lr, total_steps=max(total, 2), pct_start=0.3, cycle_momentum=False)
        case "cosine":
            return CosineAnnealingLR(optimizer, total)
        case "multistep":
            milestones = [epoch * steps_per_epoch for epoch in config.milestones]
            return MultiStepLR(optimizer, milestones, gamma=config.lr_drop)
        case "constant":
            return LambdaLR(optimizer, lambda _: 1.0)


def warmed_up(config: TrainConfig, steps_per_epoch: int) -> Callable[[int], float]:
    """Factor on the rate in a step, counted from 0: a linear rise, and then the schedule.

    Cosine falls to 0 over the steps after the rise; milestones count from the beginning.

    Source: Goyal et al. 2017 (arXiv 1706.02677), section 2.2, with a rise from 0.
    """
    total, rise = config.epochs * steps_per_epoch, max(1, round(config.warmup_epochs * steps_per_epoch))
    milestones = [epoch * steps_per_epoch for epoch in config.milestones]

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        if config.schedule == "cosine":
            return (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, total - rise)))) / 2
        return config.lr_drop ** bisect_right(milestones, step)

    return factor
