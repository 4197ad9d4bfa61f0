"""When a method's guard checks the model, and on which validation samples."""

from __future__ import annotations

import json

import torch

from iaat.config.train_config import TrainConfig
from iaat.data import DataSplits
from iaat.runtime import rng
from iaat.runtime.device import autocast
from iaat.runtime.distributed import Ranks
from iaat.runtime.passes import count_passes
from iaat.runtime.progress import Reporter
from iaat.train.state import TrainState
from iaat.types import Batch


class GuardChecks:
    """Runs the checks of a method's guard, where it has one, in the course of one epoch.

    The validation samples are the same at every check, so that two checks differ in the model alone, and are not
    augmented. Random numbers of a check depend on the seed and the step alone, so no other stream is moved. Every
    process makes the checks, and the main one decides.

    Args:
        config: Number format.
        seed: Seed of the run.
        data: The data of the run.
        state: Model and method.
        steps: Training steps of an epoch.
        device: Where random numbers are drawn.
        reporter: Where the guard's news is shown.
    """

    def __init__(
        self,
        config: TrainConfig,
        seed: int,
        data: DataSplits,
        state: TrainState,
        steps: int,
        device: torch.device,
        reporter: Reporter,
    ) -> None:
        self._config, self._seed, self._data, self._state = config, seed, data, state
        self._device, self._reporter = device, reporter
        self._before = state.epoch * steps
        self._batch: Batch | None = None

    def after_step(self, ranks: Ranks) -> None:
        """Log the attack that the last step was trained with, and check the model where a check is due."""
        guard, log = self._state.method.guard, self._state.progress.guard
        if guard is None:
            return
        log.backed_off += guard.backed_off
        step = self._before + self._state.progress.steps
        if not guard.due(step):
            return
        generator = rng.generator(self._seed, "guard", step, device=self._device)
        with autocast(self._config.precision, self._device), count_passes(self._state.model) as passes:
            finding = guard.check(self._state.model, self._validation_batch(guard.samples), generator)
        log.passes.forward += passes.forward
        log.passes.backward += passes.backward
        # Processes may differ in the last bits of what they compute; the main one decides for all.
        guard.load_state_dict(json.loads(ranks.broadcast_text(json.dumps(guard.state_dict()))))
        log.gaps.append(json.loads(ranks.broadcast_text(json.dumps(finding.gap))))
        if finding.news is not None:
            self._reporter.say(f"epoch {self._state.epoch + 1}: {finding.news}")

    def _validation_batch(self, count: int) -> Batch:
        if self._batch is None:
            index = self._data.validation_index
            index = index[rng.permutation(len(index), seed=0, epoch=0)][:count]
            (batch,) = self._data.train.batches([index])
            rows = self._data.train.sample_log.readable_rows(batch.index).to(batch.x.device)
            if len(rows) < len(index):
                batch = batch.rows(rows)
            self._batch = self._state.to_memory_format(batch)
        return self._batch
