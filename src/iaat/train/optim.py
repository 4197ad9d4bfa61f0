"""Optimiser and learning-rate schedule of a recipe: PyTorch's own."""

from __future__ import annotations

from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, MultiStepLR, OneCycleLR

from iaat.config.train_config import TrainConfig


def build_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """SGD over the weights that are to be trained."""
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return SGD(
        weights,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
    )


def build_schedule(optimizer: Optimizer, config: TrainConfig, steps_per_epoch: int) -> LRScheduler:
    """The schedule, to be stepped after every optimiser step."""
    total = config.epochs * steps_per_epoch
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
