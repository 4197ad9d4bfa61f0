"""Held-out samples for a method's guard: which, when, and what becomes of its findings."""

from __future__ import annotations

import json
from typing import Any

import torch

from iaat.config.recipe import Recipe
from iaat.data import DataSplits
from iaat.runtime import rng
from iaat.runtime.device import autocast
from iaat.runtime.distributed import ALONE, Ranks
from iaat.runtime.passes import count_passes
from iaat.runtime.progress import Reporter
from iaat.train.state import TrainState
from iaat.train.tally import Tally
from iaat.types import Batch


class Watch:
    """Shows the guard of a method, where it has one, held-out samples in the course of one epoch.

    They are the same ones at every check, so that two checks differ in the network alone, and come without
    augmentation; their random numbers depend on the seed and the step alone, so no other stream is touched.

    Args:
        recipe: Seed and number format.
        data: Where the held-out samples are.
        state: Model and method.
        steps: Training steps of an epoch.
        device: Where the random numbers are drawn.
        reporter: Says what the guard has noticed.
        ranks: The processes that train; each makes the checks, and the main one decides.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: DataSplits,
        state: TrainState,
        steps: int,
        device: torch.device,
        reporter: Reporter,
        ranks: Ranks = ALONE,
    ) -> None:
        self._ranks = ranks
        self._recipe, self._data, self._state, self._device, self._reporter = recipe, data, state, device, reporter
        self._before = state.epoch * steps
        self._batch: Batch | None = None

    def after_step(self) -> None:
        """Take note of what the step, the last one of the tally, trained with, and check if it is time to."""
        guard, log = self._state.method.guard, self._state.tally.watch
        if guard is None:
            return
        log.backed_off += guard.backed_off
        step = self._before + self._state.tally.steps
        if not guard.due(step):
            return
        generator = rng.generator(self._recipe.seed, "guard", step, device=self._device)
        with autocast(self._recipe.train.precision, self._device), count_passes(self._state.model) as passes:
            finding = guard.check(self._state.model, self._held_out(guard.samples), generator)
        log.passes.forward += passes.forward
        log.passes.backward += passes.backward
        # Processes may differ in the last bits of what they compute; one of them decides for all.
        guard.load_state_dict(json.loads(self._ranks.told(json.dumps(guard.state_dict()))))
        log.gaps.append(json.loads(self._ranks.told(json.dumps(finding.gap))))
        if finding.news is not None:
            self._reporter.say(f"epoch {self._state.epoch + 1}: {finding.news}")

    def _held_out(self, count: int) -> Batch:
        if self._batch is None:
            index = self._data.validation_index
            index = index[rng.permutation(len(index), seed=0, epoch=0)][:count]
            (batch,) = self._data.train.batches([index])
            rows = self._data.train.sample_log.readable_rows(batch.index).to(batch.x.device)
            if len(rows) < len(index):
                batch = Batch(batch.x[rows], batch.y[rows], batch.index[rows])
            self._batch = self._state.laid_out(batch)
        return self._batch

    def record(self, tally: Tally, samples: int) -> dict[str, Any]:
        """What the epoch's record says of the guard; nothing for a method without.

        Args:
            tally: What the epoch has come to, in all processes.
            samples: Samples trained on in the epoch, which the passes of the checks are shared out to.

        Returns:
            The largest gap seen, if there was a check; the share of steps trained with the guard's remedy; forwards and
            backwards of its checks per sample.
        """
        if self._state.method.guard is None:
            return {}
        log = tally.watch
        return {
            **({"guard_gap": max(log.gaps)} if log.gaps else {}),
            "guard_backed_off": log.backed_off / tally.steps,
            "guard_forwards": log.passes.forward / samples,
            "guard_backwards": log.passes.backward / samples,
        }
