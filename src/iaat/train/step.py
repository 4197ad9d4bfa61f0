"""One training step: attack, gradient, optimiser, radii; taken whole or not at all."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from iaat.config.train_config import TrainConfig
from iaat.methods import StepContext
from iaat.runtime.device import autocast
from iaat.train.batch_split import MicroBatch, Parts
from iaat.train.epoch_progress import EpochProgress
from iaat.train.gradient import accumulate_gradient
from iaat.train.nonfinite import NonfiniteMonitor
from iaat.train.state import TrainState
from iaat.train.step_snapshot import StepSnapshot
from iaat.types import Batch, StepOutput
from iaat.units import PX_PER_UNIT


def take_step(
    state: TrainState, parts: Parts, config: TrainConfig, device: torch.device, monitor: NonfiniteMonitor
) -> None:
    """Train on one batch, and undo that on the device if a number is not finite.

    Args:
        state: The training state.
        parts: Micro-batches of this process.
        config: Number format and weight perturbation.
        device: Where to compute.
        monitor: Checks the step.
    """
    computing = partial(autocast, config.precision, device)
    snapshot = StepSnapshot(state, torch.concat([batch.index for _, batch in parts]))
    state.optimizer.zero_grad(set_to_none=True)
    scale, outputs = state.loss_scale(device), []
    teacher = None if state.ema is None else state.ema.model
    for number, (micro, batch) in enumerate(parts, start=1):
        context = StepContext(state.epoch, state.generator, micro.own, teacher)
        with computing(), state.generator.drawing_rows(micro.rows, micro.total):
            objective = state.method.prepare(state.model, batch, context)
        with state.gradient_sync.no_sync(enabled=number < len(parts)):
            output = accumulate_gradient(
                state.model,
                objective,
                awp=config.awp_in(state.epoch),
                factor=micro.weight if scale is None else micro.weight * scale,
                gradient_sync=state.gradient_sync,
                computing=computing,
            )
        state.method.update(batch, output)
        outputs.append(output)
    state.step()
    loss = torch.stack([output.loss * micro.weight for (micro, _), output in zip(parts, outputs, strict=True)]).sum()
    finite = monitor.check(state.progress.steps, state.model, loss, scale)
    snapshot.restore_unless(finite)
    for (micro, batch), output in zip(parts, outputs, strict=True):
        _add_to_meters(state.progress, micro, batch, output, finite)


def _add_to_meters(
    progress: EpochProgress, micro: MicroBatch, batch: Batch, output: StepOutput, finite: Tensor
) -> None:
    """Add the values of one micro-batch to the means of the epoch, without copies."""
    meters, own = progress.meters, slice(micro.own)
    meters.add("loss", output.loss.expand(micro.own), finite)
    meters.add("train_accuracy", (output.logits.argmax(dim=1) == batch.y)[own], finite)
    if output.radius is not None:
        meters.add("trained_radius_px", output.radius[own] * PX_PER_UNIT, finite)
    for name, values in output.metrics.items():
        meters.add(name, values[own], finite)
