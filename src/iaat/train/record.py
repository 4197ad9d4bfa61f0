"""What an epoch came to: hold-out accuracy, radii, and the line that says so."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from iaat.config.recipe import Recipe
from iaat.data import DataSplits
from iaat.evaluate.robust_accuracy import attack_samples
from iaat.evaluate.stages import pgd_stage
from iaat.runtime import rng
from iaat.runtime.device import autocast
from iaat.runtime.distributed import current
from iaat.runtime.signals import Stop
from iaat.train.state import TrainState
from iaat.units import format_radius

QUANTILES = (5, 25, 50, 75, 95)


def hold_out(recipe: Recipe, data: DataSplits, state: TrainState, device: torch.device, stop: Stop) -> dict[str, float]:
    """Clean accuracy on all hold-out samples and PGD accuracy on the first `holdout_n` of a fixed random order."""
    config = dataclasses.replace(recipe.evaluate, steps=recipe.train.holdout_steps, step_size=None, restarts=1)
    index = data.validation_index[rng.permutation(len(data.validation_index), seed=0, epoch=0)]
    attacked = index[: recipe.train.holdout_n]
    judge = partial(
        attack_samples,
        state.result,
        data.train,
        radius=config.radius,
        norm=config.norm,
        batch_size=config.batch_size,
        seed=recipe.seed,
        ranks=current(),
        stop=stop,
    )
    stage = pgd_stage(config)
    with autocast(recipe.train.precision, device):
        clean = judge(index=index, stages=())
        robust = judge(index=attacked, stages=[stage])
    return {"holdout_clean": clean.accuracy("clean"), "holdout_robust": robust.accuracy(stage.name)}


def selection(record: dict[str, Any], select: str) -> float:
    """The accuracy that decides which epoch is kept as best, as `train.select` says."""
    clean, robust = float(record["holdout_clean"]), float(record["holdout_robust"])
    return {"clean": clean, "robust": robust, "mean": (clean + robust) / 2}[select]


def radius_record(state: TrainState, index: Tensor) -> dict[str, Any]:
    """Mean and quantiles, in px, of the radii of the samples `index`; nothing for a method without."""
    if state.method.radii is None:
        return {}
    radii = state.method.radii.values
    px = radii[index.to(radii.device)].double() * 255
    # torch.quantile refuses more than 16 million values.
    values = np.quantile(px.cpu().numpy(), np.array(QUANTILES) / 100)
    quantiles = {str(level): float(value) for level, value in zip(QUANTILES, values, strict=True)}
    return {"radius_mean_px": float(px.mean()), "radius_quantiles_px": quantiles}


def epoch_line(recipe: Recipe, record: dict[str, Any], seconds: float, *, improved: bool) -> str:
    """An epoch in one line for people."""
    norm = getattr(recipe.method, "norm", recipe.evaluate.norm)
    radius = f"  radius {format_radius(record['radius_mean_px'] / 255, norm)}" if "radius_mean_px" in record else ""
    return (
        f"epoch {record['epoch']:3d}/{recipe.train.epochs}  loss {record['loss']:.3f}  "
        f"train {record['train_accuracy']:6.1%}  hold-out clean {record['holdout_clean']:6.1%} "
        f"robust {record['holdout_robust']:6.1%}{radius}  {seconds:.1f} s{'  best' if improved else ''}"
    )
