"""`Trainer`: the training loop, the same for all methods."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from iaat.config.recipe import Recipe
from iaat.data import DataSplits
from iaat.errors import UserError
from iaat.runs.epoch_record import EpochRecord
from iaat.runs.run_store import RunStore
from iaat.runs.training_log import EpochTiming
from iaat.runtime.device import pick_device
from iaat.runtime.distributed import current
from iaat.runtime.progress import Reporter
from iaat.runtime.signals import Stop, Stopped
from iaat.train.batch_split import Parts
from iaat.train.build_state import build_state
from iaat.train.epoch_batches import epoch_batches
from iaat.train.epoch_progress import EpochProgress
from iaat.train.epoch_summary import epoch_heading, epoch_legend, epoch_line, with_outcome
from iaat.train.frozen_modules import describe_frozen
from iaat.train.guard_checks import GuardChecks
from iaat.train.nonfinite import (
    LAG,
    NonfiniteError,
    NonfiniteMonitor,
    apply_policy,
    describe_fault,
    fault_record,
    lower_rate,
)
from iaat.train.run_writer import RunWriter
from iaat.train.state import TrainState
from iaat.train.step import take_step
from iaat.train.trackers import Tracker, Trackers
from iaat.train.validation import ValidationAccuracy, validate


class Trainer:
    """Trains a model by a recipe, and leaves logs, checkpoints and radii in a run folder.

    `train` builds one and runs it to the end; use it directly to drive epochs yourself. Several processes each have
    one, make the same calls, and the main one writes.

    Args:
        recipe: What to train.
        data: What to train on.
        run: Where to write.
        device: Where to compute; the recipe's device by default.
        reporter: Shows progress; quiet by default.
        stop: Asked after every step whether to save and stop.
        trackers: Informed of the start and of every epoch.
        start_weights: Load the weights that the recipe starts from; False for a run that `resume` restores.

    Attributes:
        state: All that changes while training.

    Example:
        >>> from pathlib import Path
        >>> from iaat.config.load_recipe import load_recipe
        >>> from iaat.data import build_data
        >>> from iaat.runs.run_folder import RunFolder
        >>> recipe = load_recipe("quickstart", ["--train.device", "cpu"])
        >>> data = build_data(recipe.data, seed=recipe.seed, device="cpu")
        >>> trainer = Trainer(recipe, data, RunFolder(Path("runs/mine")))
        >>> trainer.fit()  # doctest: +SKIP
    """

    def __init__(
        self,
        recipe: Recipe,
        data: DataSplits,
        run: RunStore,
        *,
        device: torch.device | None = None,
        reporter: Reporter | None = None,
        stop: Stop | None = None,
        trackers: Sequence[Tracker] = (),
        start_weights: bool = True,
    ) -> None:
        self.recipe, self.data, self.run = recipe, data, run
        self.device = pick_device(recipe.train.device) if device is None else device
        self.reporter = Reporter(quiet=True) if reporter is None else reporter
        self.stop = Stop() if stop is None else stop
        self.trackers = Trackers(trackers)
        self.ranks = current()
        self.state = self._new_state(start_weights=start_weights)
        self._writer = RunWriter(recipe, data, run, self.device, self.ranks, self.reporter)
        self._resumed = self._headed = False
        self._begin_epoch()

    def fit(self, *, overwrite: bool = False) -> None:
        """Train to the last epoch of the recipe.

        Args:
            overwrite: Replace the run in the folder; a run that `resume` has restored goes on.

        Raises:
            UserError: the folder holds another run, the data fails, or numbers are not finite.
            Stopped: a stop was asked for, and a checkpoint of this moment is written.
        """
        if not self._resumed:
            self._writer.create(overwrite=overwrite)
        self._writer.show_notices(self.state, at_start=True)
        notice = describe_frozen(self.state.frozen, as_given=self.state.frozen_as_given)
        if notice and self.ranks.main:
            warnings.warn(notice, stacklevel=2)  # a quiet call, too: who has not meant it trains another model
        self.trackers.started(self.recipe.to_dict(), self.run.path, self.state.records)
        # Several processes stop by agreement alone: one that left in the middle would leave the others waiting.
        with self.stop.deferred() if self.ranks.several else nullcontext():
            while self.state.epoch < self.recipe.train.epochs:
                try:
                    self.train_epoch()
                except NonfiniteError:
                    if self.recipe.train.nonfinite != "rollback":
                        raise
                    self._roll_back()

    def resume(self) -> None:
        """Restore the newest whole checkpoint of the run folder, to go on bit for bit as if never interrupted.

        Raises:
            UserError: there is none, or it is of other data.
        """
        self._writer.restore(self.state)
        state = self.state
        within = f" and step {state.progress.steps} of the next" if state.progress.steps else ""
        self.reporter.say(f"resumed after epoch {state.epoch} of {self.recipe.train.epochs}{within}")
        self._resumed = True

    def train_epoch(self) -> EpochRecord:
        """Train one epoch, or the rest of it; validate, log it and save a checkpoint.

        Raises:
            NonfiniteError: a step was not finite, and the recipe does not skip it.
            Stopped, UserError: as `fit`.
        """
        self._begin_epoch()
        epoch, record = self.state.epoch, None
        try:
            with self.stop.deferred():
                record = self._train_steps()
                self.state.sync_radii()
            train_seconds = self._epoch_seconds()
            accuracy = self.validate()
            with self.stop.deferred():
                record = self._end_epoch(record, accuracy, train_seconds)
        except (Stopped, UserError):
            # The steps of the epoch are all done, and worth keeping; what stopped before has saved what is to be kept.
            if record is not None and self.state.epoch == epoch:
                self.save()
            raise
        if self.ranks.several and self.ranks.any(self.stop.requested is not None)[0]:
            raise self.stop.stopped()
        return record

    def train_step(self, parts: Parts) -> None:
        """Train on one batch.

        Args:
            parts: Micro-batches of this process; none where no sample of the batch can be read.
        """
        if parts:
            take_step(self.state, parts, self.recipe.train, self.device, self._monitor)
        else:
            self.state.schedule.step()
        if self._visits is not None:  # an image that comes again, perhaps to another process, has to find its radius
            self.state.sync_radii()
        self.state.progress.steps += 1
        self._guard.after_step(self.ranks)

    def validate(self) -> ValidationAccuracy:
        """Evaluate the model, with the EMA of its weights if there is one, on the validation samples.

        Raises:
            Stopped, UserError: as `fit`.
        """
        recipe = self.recipe
        return validate(
            self.state.result,
            self.data,
            recipe.train,
            recipe.evaluate,
            seed=recipe.seed,
            device=self.device,
            stop=self.stop,
        )

    def save(self) -> None:
        """Save a checkpoint of this moment within the epoch; all processes call it together."""
        self._writer.save_within(self.state, self._epoch_seconds())

    def _new_state(self, *, start_weights: bool) -> TrainState:
        steps = len(self._epoch_order(0))
        return build_state(self.recipe, self.data, steps, self.device, start_weights=start_weights, ranks=self.ranks)

    def _epoch_order(self, epoch: int) -> list[Tensor]:
        return self.data.order(self.recipe.train.batch_size, seed=self.recipe.seed, epoch=epoch)

    def _begin_epoch(self) -> None:
        recipe = self.recipe
        self._epoch_start = time.perf_counter()
        self._order = self._epoch_order(self.state.epoch)
        self._visits = self.data.earlier_visits(self._order)
        lag = 1 if self.device.type == "cpu" else LAG
        self._monitor = NonfiniteMonitor(lag, self.ranks, self.state.unbounded)
        self._guard = GuardChecks(
            recipe.train, recipe.seed, self.data, self.state, len(self._order), self.device, self.reporter
        )

    def _epoch_seconds(self) -> float:
        """Seconds spent on the epoch so far, by earlier processes too."""
        return self.state.progress.seconds + time.perf_counter() - self._epoch_start

    def _train_steps(self) -> EpochRecord:
        """Train on the batches that are left of the epoch; returns the record of all of it."""
        config, state = self.recipe.train, self.state
        progress = state.progress
        if progress.lr is None:
            progress.lr = state.optimizer.param_groups[0]["lr"] * state.lr_factor
        state.train_mode()
        with state.count_passes(progress.passes):
            for parts in self._batches():
                self.train_step(parts)
                self._after_step()
        if progress.skipped == len(self._order):
            lower = lower_rate(config, in_memory=self.run.in_memory)
            raise UserError(f"no step of epoch {state.epoch + 1} was finite: {lower}")
        return progress.reduced(self.ranks).record(
            state.epoch + 1,
            self.data.samples(config.batch_size),
            guarded=state.method.guard is not None,
            loss_scale=None if state.scaler is None else state.scaler.get_scale(),
        )

    def _after_step(self) -> None:
        """Report faults, save a checkpoint and stop, where one of these is due."""
        steps = self.state.progress.steps
        ended = steps == len(self._order)
        stopping, due = self.ranks.any(self.stop.requested is not None, self._writer.due(steps))
        saving = stopping or (due and not ended)
        if saving or ended or self._monitor.due():
            self._handle_faults()
        if saving:
            self.save()
        if stopping:
            raise self.stop.stopped()

    def _batches(self) -> Iterator[Parts]:
        """This process's micro-batches of the batches that are left of the epoch."""

        def before_leaving() -> None:
            self._handle_faults()
            self.save()

        return epoch_batches(
            self.recipe,
            self.data,
            self.state,
            self._order,
            visits=self._visits,
            ranks=self.ranks,
            reporter=self.reporter,
            stop=self.stop,
            before_leaving=before_leaving,
        )

    def _handle_faults(self) -> None:
        """Log the steps that were not finite, and do what the recipe says.

        Raises:
            NonfiniteError: the recipe says stop or rollback.
            UserError: there were too many.
        """
        config, state, in_memory = self.recipe.train, self.state, self.run.in_memory
        for step, cause in self._monitor.read():
            record = fault_record(state.epoch, step, cause, self._order[step])
            state.faults.append(record)
            state.progress.skipped += 1
            self._writer.log_faults(state)
            fault = describe_fault(record, self.data.train.paths, in_memory=in_memory)
            apply_policy(fault, len(state.faults), config, self.reporter.say, in_memory=in_memory)

    def _roll_back(self) -> None:
        """Go back to the end of the last epoch, with a lower learning rate; the faults stay on record.

        Always to the end of an epoch, or to the beginning: when a checkpoint within an epoch was saved depends on the
        clock, and equal runs must end equal.
        """
        faults, factor = self.state.faults, self.state.lr_factor * self.recipe.train.rollback_lr
        frozen = list(self.state.frozen)
        saved = self._writer.last_epoch()
        self.state = self._new_state(start_weights=saved is None)
        if saved is not None:
            self.state.load_state_dict(saved)
        self.state.freeze(frozen)
        self.state.faults, self.state.lr_factor = faults, factor
        self._writer.go_back_to(self.state)
        self.reporter.say(
            f"rolled back to the end of epoch {self.state.epoch}; the learning rate is {factor:g} of the schedule's"
        )

    def _end_epoch(self, record: EpochRecord, accuracy: ValidationAccuracy, train_seconds: float) -> EpochRecord:
        """Complete the record of the epoch, log it and save the checkpoint; returns the record."""
        recipe, data, state = self.recipe, self.data, self.state
        state.epoch += 1
        trained_on = data.trained_index(recipe.train.batch_size, seed=recipe.seed, epochs=state.epoch)
        radii = None if state.method.radii is None else state.method.radii.values
        record = with_outcome(record, accuracy, None if radii is None else radii[trained_on.to(radii.device)])
        score = accuracy.score(recipe.train.select)
        if state.epoch == recipe.train.natural_epochs + 1:
            state.best = -1.0  # scores of natural training do not compete
        best = score > state.best
        state.best = max(state.best, score)
        seconds = self._epoch_seconds()
        rate = data.samples(recipe.train.batch_size) / train_seconds
        state.records.append(record)
        state.progress = EpochProgress()
        timing = EpochTiming(state.epoch, seconds, rate)
        self._writer.save_epoch(state, record, timing, trained_on, best=best)
        self.trackers.epoch(record)
        self._show_epoch(record, seconds, best=best)
        return record

    def _show_epoch(self, record: EpochRecord, seconds: float, *, best: bool) -> None:
        """Print the line of an epoch, the first below its heading."""
        recipe = self.recipe
        if not self._headed:
            radii = record.radius_mean_px is not None
            for line in epoch_legend(recipe, len(self.data.validation_index), radii=radii):
                self.reporter.say_once(line)
            self.reporter.say(epoch_heading(recipe.train.epochs, radii=radii))
            self._headed = True
        norm = recipe.radius_norm
        self.reporter.say(epoch_line(record, recipe.train.epochs, norm, seconds, best=best))
