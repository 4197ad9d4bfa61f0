"""Validation after an epoch: clean accuracy, accuracy under PGD, and the score that selects the best checkpoint."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import nn

from iaat.config.evaluate_config import EvaluateConfig
from iaat.config.train_config import TrainConfig
from iaat.data import DataSplits
from iaat.evaluate.robust_accuracy import attack_samples
from iaat.evaluate.stages import pgd_stage
from iaat.runtime import rng
from iaat.runtime.device import autocast
from iaat.runtime.distributed import current
from iaat.runtime.signals import Stop


class ValidationAccuracy(NamedTuple):
    """Accuracies on validation samples, fractions: on clean samples and under PGD."""

    clean: float
    robust: float

    def score(self, select: Literal["mean", "robust", "clean"]) -> float:
        """The accuracy that selects the best checkpoint, as `train.select` says."""
        return {"clean": self.clean, "robust": self.robust, "mean": (self.clean + self.robust) / 2}[select]


def validation_attack(train: TrainConfig, evaluate: EvaluateConfig) -> EvaluateConfig:
    """Settings of the PGD on validation samples: that of the evaluation with steps of its own."""
    return dataclasses.replace(evaluate, steps=train.validation_steps, step_size=None, restarts=1)


def validate(
    model: nn.Module,
    data: DataSplits,
    train: TrainConfig,
    evaluate: EvaluateConfig,
    *,
    seed: int,
    device: torch.device,
    stop: Stop,
) -> ValidationAccuracy:
    """Evaluate a model on the validation samples, without and under PGD.

    Args:
        model: The model.
        data: The data of the run.
        train: How many validation samples are attacked, in how many steps; the first of a fixed random order.
        evaluate: Radius, norm and batch size of the attack.
        seed: Seed of the attack.
        device: Where the model is.
        stop: Asked after every batch whether to stop.

    Raises:
        Stopped: a stop was asked for.
        UserError: samples cannot be read.
    """
    config = validation_attack(train, evaluate)
    index = data.validation_index[rng.permutation(len(data.validation_index), seed=0, epoch=0)]
    accuracy = partial(
        attack_samples,
        model,
        data.train,
        radius=config.radius,
        norm=config.norm,
        batch_size=config.batch_size,
        seed=seed,
        ranks=current(),
        stop=stop,
    )
    stage = pgd_stage(config)
    with autocast(train.precision, device):
        clean = accuracy(index=index, stages=())
        robust = accuracy(index=index[: train.validation_n], stages=[stage])
    return ValidationAccuracy(clean.accuracy("clean"), robust.accuracy(stage.name))
