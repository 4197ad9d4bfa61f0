"""Build the state of training before the first step."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import torch
from torch.amp import GradScaler

from iaat.config.recipe import Recipe
from iaat.data import DataSplits
from iaat.methods import Method, make_method
from iaat.models import build_model, supports_channels_last
from iaat.models.double_normalization import warn_of_double_normalization
from iaat.runtime import rng
from iaat.runtime.distributed import ALONE, Ranks
from iaat.train.awp import check_perturbable
from iaat.train.ddp import GradientSync, sync_batchnorm
from iaat.train.ema import ModelEMA
from iaat.train.frozen_modules import frozen_modules
from iaat.train.nonfinite import unbounded_buffers
from iaat.train.optim import build_optimizer, build_schedule
from iaat.train.state import TrainState


def build_state(
    recipe: Recipe,
    data: DataSplits,
    steps_per_epoch: int,
    device: torch.device,
    *,
    start_weights: bool = True,
    ranks: Ranks = ALONE,
) -> TrainState:
    """The state before the first step.

    Args:
        recipe: What to train.
        data: The data of the run.
        steps_per_epoch: Training steps of an epoch.
        device: Where to train.
        start_weights: Load the weights that the recipe starts from; a checkpoint makes them unnecessary.
        ranks: The processes that train.
    """
    config = recipe.model if start_weights else recipe.model.without_start()
    shape, classes = data.shape, len(data.classes)
    # One process downloads weights, the others find them.
    model = ranks.main_first(
        lambda: build_model(config, shape=shape, classes=classes, mean=data.mean, std=data.std, seed=recipe.seed)
    ).to(device)
    if recipe.train.awp_in(recipe.train.epochs - 1):
        check_perturbable(model)
    if start_weights and ranks.main:
        warn_of_double_normalization(model, config)
    channels_last = recipe.train.channels_last and len(data.shape) == 3
    if channels_last and not supports_channels_last(model, data.shape):
        warnings.warn(f"model {recipe.model.name} fails in train.channels_last: trained without it", stacklevel=2)
        channels_last = False
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    model = sync_batchnorm(model, ranks, device, wanted=recipe.train.sync_batchnorm)
    unbounded = unbounded_buffers(model)
    optimizer = build_optimizer(model, recipe.train)
    # Layers such as dropout, and code of the user, have no stream of their own: they draw from the global generators.
    rng.seed_globals(recipe.seed, "layers", *([] if ranks.main else [ranks.rank]))
    return TrainState(
        model=model,
        method=_method(recipe, data, device, ranks, begins=start_weights),
        optimizer=optimizer,
        schedule=build_schedule(optimizer, recipe.train, steps_per_epoch),
        generator=rng.batch_generator(recipe.seed, "attack", device=device),
        gradient_sync=GradientSync(model, ranks),
        ema=ModelEMA(model, recipe.train.ema, unbounded) if recipe.train.ema else None,
        scaler=GradScaler(device.type) if recipe.train.precision == "fp16" else None,
        channels_last=channels_last,
        clip_grad=recipe.train.clip_grad,
        seed=recipe.seed,
        frozen=frozen_modules(model),
        unbounded=unbounded,
    )


def _method(recipe: Recipe, data: DataSplits, device: torch.device, ranks: Ranks, *, begins: bool) -> Method:
    """The method, with its radii where the recipe wants them."""
    visits = data.extra_visits(recipe.train.batch_size)
    method = make_method(
        recipe.method_name,
        recipe.run_method,
        size=len(data.train),
        device=device,
        natural_epochs=recipe.train.natural_epochs,
        class_counts=data.class_counts(recipe.train.batch_size),
        begins=begins,
        recurring=(int(data.extra_index[0]), visits) if visits > 1 else None,
    )
    if method.radii is not None:
        if recipe.train.radii == "sharded":
            method.radii.shard()
        if recipe.train.radii_folder is not None:
            method.radii.map_to(Path(recipe.train.radii_folder) / f"iaat-{os.getpid()}-{ranks.rank}.radii")
    return method
