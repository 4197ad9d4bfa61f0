"""The only training loop; it knows methods by their protocol."""

from __future__ import annotations

import dataclasses
import time
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from iaat import rng
from iaat.checkpoint import check_same_data, data_record, load_checkpoint, save_checkpoint
from iaat.config import Recipe
from iaat.data import DataBundle, build_data
from iaat.device import autocast, pick_device
from iaat.errors import UserError
from iaat.evaluate.attackers import pgd_stage
from iaat.evaluate.robust import attack_samples
from iaat.methods import StepContext
from iaat.passes import count_passes
from iaat.progress import Reporter
from iaat.run import RunFolder
from iaat.train.averages import Averages
from iaat.train.descent import descend
from iaat.train.state import TrainState, build_state
from iaat.train.watch import Watch

QUANTILES = (5, 25, 50, 75, 95)


def train(
    recipe: Recipe, run: RunFolder, reporter: Reporter, *, resume: bool = False, overwrite: bool = False
) -> DataBundle:
    """Train to the last epoch of the recipe, leaving logs, checkpoints and radii in the run folder.

    Args:
        recipe: What to train.
        run: Where; a run that is there already is touched only once data and model are known to be good.
        reporter: Shows progress.
        resume: Go on from the last checkpoint, if there is one, bit for bit as if never interrupted.
        overwrite: Replace the run in the folder.

    Returns:
        The data trained on, for the evaluation to reuse.

    Raises:
        UserError: a folder that holds another run, bad data, a device this machine lacks, a checkpoint of other data,
            or a loss that is not finite.
    """
    resume = resume and run.has_results()
    if not resume:
        run.check_free(overwrite=overwrite)
    device = pick_device(recipe.train.device)
    reporter.say(f"reading data: {recipe.data.name}")
    data = build_data(recipe.data, seed=recipe.seed, device=device)
    steps = len(data.order(recipe.train.batch_size, seed=recipe.seed, epoch=0))
    state = build_state(recipe, data, steps, device, resumed=resume)
    if resume:
        saved = load_checkpoint(run.checkpoint("last"), device)
        check_same_data(saved["data"], data)
        state.load_state_dict(saved)
        run.forget_after(state.epoch)
        reporter.say(f"resumed after epoch {state.epoch} of {recipe.train.epochs}")
    else:
        run.create(recipe, overwrite=overwrite)
    while state.epoch < recipe.train.epochs:
        _epoch(recipe, run, data, state, device, reporter)
    return data


def _epoch(
    recipe: Recipe, run: RunFolder, data: DataBundle, state: TrainState, device: torch.device, reporter: Reporter
) -> None:
    begun = time.perf_counter()
    record = {"epoch": state.epoch + 1, **_steps(recipe, data, state, device, reporter)}
    trained = time.perf_counter() - begun
    state.epoch += 1
    trained_on = data.trained_index(recipe.train.batch_size, seed=recipe.seed, epochs=state.epoch)
    record |= _holdout(recipe, data, state, device) | _radius_record(state, trained_on)
    accuracy = _selection(record, recipe.train.select)
    improved = accuracy > state.best
    state.best = max(state.best, accuracy)
    seconds = time.perf_counter() - begun
    rate = data.samples(recipe.train.batch_size) / trained
    timing = {"epoch": state.epoch, "seconds": seconds, "samples_per_second": rate}
    run.log_epoch(record, timing)
    _save(recipe, run, data, state, trained_on, improved)
    reporter.say(_line(recipe, record, seconds, improved))


def _steps(
    recipe: Recipe, data: DataBundle, state: TrainState, device: torch.device, reporter: Reporter
) -> dict[str, Any]:
    """One pass over the training set: the record of its means."""
    model, epoch = state.model, state.epoch
    order = data.order(recipe.train.batch_size, seed=recipe.seed, epoch=epoch)
    batches = data.train.batches(order, augment=(recipe.seed, epoch))
    context = StepContext(epoch, state.generator)
    averages, watch = Averages(), Watch(recipe, data, state, len(order), device, reporter)
    lr, awp = state.optimizer.param_groups[0]["lr"], recipe.train.awp_in(epoch)
    computing = partial(autocast, recipe.train.precision, device)
    model.train()
    what, count = f"epoch {epoch + 1}/{recipe.train.epochs}", data.samples(recipe.train.batch_size)
    with count_passes(model) as passes:
        for batch in reporter.track(batches, total=count, what=what, size=lambda b: len(b.y)):
            state.optimizer.zero_grad(set_to_none=True)
            batch = state.laid_out(batch)
            with computing():
                objective = state.method.prepare(model, batch, context)
            output = descend(model, objective, awp=awp, computing=computing)
            state.method.learn(batch, output)
            state.optimizer.step()
            state.schedule.step()
            if state.averaged is not None:
                state.averaged.update(state.model)
            averages.add("loss", output.loss.expand(len(batch.y)))
            averages.add("train_accuracy", output.logits.argmax(dim=1) == batch.y)
            if output.radius is not None:
                averages.add("trained_radius_px", output.radius * 255)
            for name, values in output.metrics.items():
                averages.add(name, values)
            watch.after_step()
    means = averages.means()
    if not means["loss"] < float("inf"):
        raise UserError(
            f"the training loss of epoch {epoch + 1} is not finite: start again with a lower train.lr "
            f"({recipe.train.lr:g}) or train.precision fp32, in another --out or with --overwrite; what the finished "
            "epochs left is kept"
        )
    forwards, backwards = passes.forward - watch.passes.forward, passes.backward - watch.passes.backward
    record = {**means, "lr": lr, "forwards": forwards / count, "backwards": backwards / count}
    return record | watch.record(count)


def _holdout(recipe: Recipe, data: DataBundle, state: TrainState, device: torch.device) -> dict[str, float]:
    """Clean accuracy on all hold-out samples and PGD accuracy on the first `holdout_n` of a fixed random order."""
    config = dataclasses.replace(recipe.evaluate, steps=recipe.train.holdout_steps, step_size=None, restarts=1)
    index = data.holdout_index[rng.permutation(len(data.holdout_index), seed=0, epoch=0)]
    attacked = index[: recipe.train.holdout_n]
    judge = partial(
        attack_samples,
        state.result,
        data.train,
        radius=config.radius,
        norm=config.norm,
        batch_size=config.batch_size,
        seed=recipe.seed,
    )
    stage = pgd_stage(config)
    with autocast(recipe.train.precision, device):
        clean = judge(index=index, stages=())
        robust = judge(index=attacked, stages=[stage])
    return {"holdout_clean": clean.accuracy("clean"), "holdout_robust": robust.accuracy(stage.name)}


def _selection(record: dict[str, Any], select: str) -> float:
    clean, robust = float(record["holdout_clean"]), float(record["holdout_robust"])
    return {"clean": clean, "robust": robust, "mean": (clean + robust) / 2}[select]


def _radius_record(state: TrainState, index: Tensor) -> dict[str, Any]:
    if state.method.radii is None:
        return {}
    px = state.method.radii[index].double() * 255
    # torch.quantile refuses more than 16 million values.
    values = np.quantile(px.cpu().numpy(), np.array(QUANTILES) / 100)
    quantiles = {str(level): float(value) for level, value in zip(QUANTILES, values, strict=True)}
    return {"radius_mean_px": float(px.mean()), "radius_quantiles_px": quantiles}


def _save(
    recipe: Recipe, run: RunFolder, data: DataBundle, state: TrainState, trained_on: Tensor, improved: bool
) -> None:
    epoch, last = state.epoch, state.epoch == recipe.train.epochs
    if state.method.radii is not None and (last or epoch % recipe.train.snapshot_every == 0):
        run.save_radii(epoch, state.method.radii.values, trained_on)
    saved = {**state.state_dict(), "recipe": recipe.to_dict(), "data": data_record(data)}
    if improved:
        save_checkpoint(run.checkpoint("best"), saved)
    # Last of all: until it is written the epoch has not happened, and a resumed run makes all its files again.
    save_checkpoint(run.checkpoint("last"), saved)


def _line(recipe: Recipe, record: dict[str, Any], seconds: float, improved: bool) -> str:
    radius = f"  radius {record['radius_mean_px']:.2f}px" if "radius_mean_px" in record else ""
    return (
        f"epoch {record['epoch']:3d}/{recipe.train.epochs}  loss {record['loss']:.3f}  "
        f"train {record['train_accuracy']:6.1%}  hold-out clean {record['holdout_clean']:6.1%} "
        f"robust {record['holdout_robust']:6.1%}{radius}  {seconds:.1f} s{'  best' if improved else ''}"
    )
