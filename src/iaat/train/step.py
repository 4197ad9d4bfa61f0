"""One step of training: attack, gradient, optimiser, radii, taken whole or not at all."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from iaat.config.train_config import TrainConfig
from iaat.methods import StepContext
from iaat.runtime.device import autocast
from iaat.train.batch_split import Share
from iaat.train.gradient import descend
from iaat.train.nonfinite import Faults
from iaat.train.state import TrainState
from iaat.train.undo import Undo
from iaat.types import Batch, StepOutput

Parts = list[tuple[Share, Batch]]
"""What one process trains on in a step, part by part."""


def take_step(state: TrainState, parts: Parts, config: TrainConfig, device: torch.device, faults: Faults) -> None:
    """Train on one batch, or undo that on the device if its numbers are not finite.

    Args:
        state: What is trained.
        parts: This process's parts of the batch.
        config: Number format and perturbation of weights.
        device: Where to compute.
        faults: Judges the step.
    """
    computing = partial(autocast, config.precision, device)
    undo = Undo(state, torch.concat([batch.index for _, batch in parts]))
    state.optimizer.zero_grad(set_to_none=True)
    scale, outputs = state.scale(device), []
    for number, (share, batch) in enumerate(parts, start=1):
        context = StepContext(state.epoch, state.generator, share.own)
        with computing(), state.generator.sharing(share.rows, share.total):
            objective = state.method.prepare(state.model, batch, context)
        with state.exchange.held_back(number < len(parts)):
            output = descend(
                state.model,
                objective,
                awp=config.awp_in(state.epoch),
                factor=share.weight if scale is None else share.weight * scale,
                exchange=state.exchange,
                computing=computing,
            )
        state.method.learn(batch, output)
        outputs.append(output)
    state.step()
    loss = torch.stack([output.loss * share.weight for (share, _), output in zip(parts, outputs, strict=True)]).sum()
    finite = faults.judge(state.tally.steps, state.model, loss, scale)
    undo.unless(finite)
    for (share, batch), output in zip(parts, outputs, strict=True):
        _tally(state, share, batch, output, finite)


def _tally(state: TrainState, share: Share, batch: Batch, output: StepOutput, finite: Tensor) -> None:
    """Add up what the epoch's record has means of, copies left out."""
    averages, own = state.tally.averages, slice(share.own)
    averages.add("loss", output.loss.expand(share.own), finite)
    averages.add("train_accuracy", (output.logits.argmax(dim=1) == batch.y)[own], finite)
    if output.radius is not None:
        averages.add("trained_radius_px", output.radius[own] * 255, finite)
    for name, values in output.metrics.items():
        averages.add(name, values[own], finite)
