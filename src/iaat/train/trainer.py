"""`Trainer`: the one training loop. It knows methods by their protocol alone."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from iaat.config.recipe import Recipe
from iaat.data import DataSplits, build_data
from iaat.errors import UserError
from iaat.runs.checkpoint import check_same_data, data_record
from iaat.runs.checkpoint_manager import CheckpointManager
from iaat.runs.epoch_record import EpochRecord
from iaat.runs.run_folder import RunFolder
from iaat.runs.trackers import Tracker, Trackers
from iaat.runtime.device import compute_deterministically, pick_device
from iaat.runtime.distributed import current, describe_processes
from iaat.runtime.passes import count_passes
from iaat.runtime.progress import Reporter
from iaat.runtime.signals import ELSEWHERE, Stop, Stopped
from iaat.train.batch_split import Parts, drop_unreadable, split_batch
from iaat.train.epoch_progress import EpochProgress
from iaat.train.epoch_summary import epoch_line, radius_statistics
from iaat.train.guard_checks import GuardChecks
from iaat.train.nonfinite import LAG, NonfiniteError, NonfiniteMonitor, describe_fault, fault_record
from iaat.train.skipped_samples import gather_sample_log, restore_skipped, save_skipped
from iaat.train.state import TrainState, build_state
from iaat.train.step import take_step
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
        run: RunFolder,
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
        self._checkpoints = CheckpointManager(run, recipe.train)
        self._resumed = self._noticed = False
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
            self.ranks.on_main(lambda: self.run.create(self.recipe, overwrite=overwrite))
        self._show_notices(at_start=True)
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
        restore_skipped(self.run, self.data)
        run, state, checkpoints = self.run, self.state, self._checkpoints
        saved = self.ranks.main_first(lambda: checkpoints.newest(self.device))
        self.ranks.check_same(
            f"epoch {saved['epoch']}, step {saved['tally']['steps']}", f"the checkpoints in {run.path}"
        )
        check_same_data(saved["data"], self.data, may_be_repaired=bool(self.recipe.data.skip_damaged))
        state.load_state_dict(saved)

        def clean_up() -> None:
            run.go_back_to(state.epoch, state.records)
            run.log_faults(state.faults)
            checkpoints.mend_best(self.device)
            checkpoints.tidy(state.epoch, state.progress.steps)

        self.ranks.on_main(clean_up)
        if changed := run.changed_versions():
            warnings.warn(
                f"{run.path} was started with other versions or hardware ({'; '.join(changed)}): it goes on, but may "
                "differ in the last bits from a run that was never interrupted",
                stacklevel=2,
            )
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
        with self.stop.deferred():
            record = self._train_steps()
            self.state.sync_radii()
        train_seconds = self._epoch_seconds()
        try:
            accuracy = self.validate()
        except (Stopped, UserError):  # the steps of the epoch are all done, and worth keeping
            self.save()
            raise
        with self.stop.deferred():
            record = self._end_epoch(record, accuracy, train_seconds)
        if self.ranks.several and self.ranks.any(self.stop.requested is not None)[0]:
            raise self._stopped()
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
        self.state.progress.steps += 1
        self._guard.after_step(self.ranks)

    def validate(self) -> ValidationAccuracy:
        """Evaluate the model that training is for on the validation samples.

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
        self._save_skipped()
        saved = self._checkpoint()
        saved["tally"] |= {"seconds": self._epoch_seconds()}
        self.ranks.on_main(lambda: self._checkpoints.save_within(saved))

    def _new_state(self, *, start_weights: bool) -> TrainState:
        steps = len(self._epoch_order(0))
        return build_state(self.recipe, self.data, steps, self.device, start_weights=start_weights, ranks=self.ranks)

    def _epoch_order(self, epoch: int) -> list[Tensor]:
        return self.data.order(self.recipe.train.batch_size, seed=self.recipe.seed, epoch=epoch)

    def _begin_epoch(self) -> None:
        recipe = self.recipe
        self._epoch_start = time.perf_counter()
        self._order = self._epoch_order(self.state.epoch)
        self._monitor = NonfiniteMonitor(1 if self.device.type == "cpu" else LAG, self.ranks)
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
        state.model.train()
        with count_passes(state.model, progress.passes):
            for parts in self._batches():
                self.train_step(parts)
                self._after_step()
        if progress.skipped == len(self._order):
            raise UserError(f"no step of epoch {state.epoch + 1} was finite: {_LOWER.format(lr=config.lr)}")
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
        stopping, due = self.ranks.any(
            self.stop.requested is not None, self.ranks.main and self._checkpoints.due(steps)
        )
        saving = stopping or (due and not ended)
        if saving or ended or self._monitor.due():
            self._handle_faults()
        if saving:
            self.save()
        if stopping:
            raise self._stopped()

    def _stopped(self) -> Stopped:
        return Stopped(self.stop.requested or ELSEWHERE)

    def _batches(self) -> Iterator[Parts]:
        """This process's micro-batches of the batches that are left of the epoch.

        Where the data fails or a stop comes, in whichever process, a checkpoint is saved first.
        """
        recipe, state = self.recipe, self.state
        rest = self._order[state.progress.steps :]
        if not rest:
            return
        steps = [split_batch(index, self.ranks, recipe.train.accumulate) for index in rest]
        own = [micro.index for parts in steps for micro in parts]
        batches = self.data.train.batches(own, augment=(recipe.seed, state.epoch))
        read = ([(micro, state.to_memory_format(next(batches))) for micro in parts] for parts in steps)
        tracked = self._tracked(read, rest, begun=state.progress.steps / len(self._order))
        while True:
            parts, problem = _next(tracked, self.stop)
            stopping, failing = self.ranks.any(isinstance(problem, Stopped), isinstance(problem, UserError))
            if (stopping or failing) and state.progress.steps:
                self._handle_faults()
                self.save()
            if stopping:
                raise self._stopped()
            self.ranks.raise_together(problem if isinstance(problem, UserError) else None)
            if parts is None:
                return
            if recipe.data.skip_damaged:
                left = drop_unreadable(parts, self.data.train.sample_log.unreadable, self.ranks)
                parts = parts if left is parts else [(micro, state.to_memory_format(batch)) for micro, batch in left]
            yield parts

    def _tracked(self, read: Iterator[Parts], rest: Sequence[Tensor], begun: float) -> Iterator[Parts]:
        """The steps that are left of an epoch, with a progress bar; `begun` is the fraction that was done before."""
        epoch, epochs = self.state.epoch, self.recipe.train.epochs
        span = (epoch + begun) / epochs, (epoch + 1) / epochs
        with self.reporter.part("epoch", epoch + 1, epochs, span):
            yield from self.reporter.track(read, total=sum(map(len, rest)), size=_samples, whole=True)

    def _handle_faults(self) -> None:
        """Log the steps that were not finite, and do what the recipe says.

        Raises:
            NonfiniteError: the recipe says stop or rollback.
            UserError: there were too many.
        """
        config, state = self.recipe.train, self.state
        for step, cause in self._monitor.read():
            record = fault_record(state.epoch, step, cause, self._order[step])
            state.faults.append(record)
            state.progress.skipped += 1
            self.ranks.on_main(lambda: self.run.log_faults(state.faults))
            text = describe_fault(record, self.data.train.paths)
            if config.nonfinite == "stop":
                raise NonfiniteError(
                    f"{text}. What the finished epochs left is kept: go on by --resume --train.nonfinite skip, or"
                    f" rollback, or {_LOWER.format(lr=config.lr)}"
                )
            if len(state.faults) >= config.nonfinite_limit:
                limit = f"train.nonfinite_limit is {config.nonfinite_limit}"
                raise UserError(f"{text}. That is one too many, {limit}: {_LOWER.format(lr=config.lr)}")
            self.reporter.say(text)
            if config.nonfinite == "rollback":
                raise NonfiniteError(text)

    def _roll_back(self) -> None:
        """Go back to the end of the last epoch, with a lower learning rate; the faults stay on record.

        Always to the end of an epoch, or to the beginning: when a checkpoint within an epoch was saved depends on the
        clock, and equal runs must end equal.
        """
        checkpoints = self._checkpoints
        faults, factor = self.state.faults, self.state.lr_factor * self.recipe.train.rollback_lr
        saved = self.ranks.main_first(lambda: checkpoints.last_epoch(self.device))
        self.state = self._new_state(start_weights=saved is None)
        if saved is not None:
            self.state.load_state_dict(saved)
        self.state.faults, self.state.lr_factor = faults, factor
        self.ranks.on_main(lambda: self.run.go_back_to(self.state.epoch, self.state.records))
        self.ranks.on_main(checkpoints.forget_within)
        self.reporter.say(f"back to the end of epoch {self.state.epoch}, on at {factor:g} of the learning rate")

    def _end_epoch(self, record: EpochRecord, accuracy: ValidationAccuracy, train_seconds: float) -> EpochRecord:
        """Complete the record of the epoch, log it and save the checkpoint; returns the record."""
        recipe, data, state = self.recipe, self.data, self.state
        state.epoch += 1
        trained_on = data.trained_index(recipe.train.batch_size, seed=recipe.seed, epochs=state.epoch)
        record = replace(record, validation_clean=accuracy.clean, validation_robust=accuracy.robust)
        if state.method.radii is not None:
            radii = state.method.radii.values
            mean, quantiles = radius_statistics(radii[trained_on.to(radii.device)])
            record = replace(record, radius_mean_px=mean, radius_quantiles_px=quantiles)
        score = accuracy.score(recipe.train.select)
        if state.epoch == recipe.train.natural_epochs + 1:
            state.best = -1.0  # scores of natural training do not compete
        best = score > state.best
        state.best = max(state.best, score)
        seconds = self._epoch_seconds()
        rate = data.samples(recipe.train.batch_size) / train_seconds
        state.records.append(record)
        state.progress = EpochProgress()
        timing = {"epoch": state.epoch, "seconds": seconds, "samples_per_second": rate}
        self._save_epoch(record, timing, trained_on, best=best)
        self.trackers.epoch(record)
        norm = getattr(recipe.method, "norm", recipe.evaluate.norm)
        self.reporter.say(epoch_line(record, recipe.train.epochs, norm, seconds, best=best))
        return record

    def _save_epoch(self, record: EpochRecord, timing: dict[str, Any], trained_on: Tensor, *, best: bool) -> None:
        config, state = self.recipe.train, self.state
        self._save_skipped()
        self._show_notices()
        saved = self._checkpoint()
        last = state.epoch == config.epochs
        snapshot = state.method.radii is not None and (last or state.epoch % config.snapshot_every == 0)
        radii = state.method.radii.values if snapshot and state.method.radii is not None else None

        def write() -> None:
            self.run.log_epoch(record, timing)
            if radii is not None:
                self.run.save_radii(state.epoch, radii, trained_on)
            # Last of all: until it is written the epoch has not happened, and a resumed run makes all its files again.
            self._checkpoints.save_epoch(saved, improved=best)

        self.ranks.on_main(write)

    def _checkpoint(self) -> dict[str, Any]:
        """The content of a checkpoint; all processes call it together."""
        return {**self.state.state_dict(), "recipe": self.recipe.to_dict(), "data": data_record(self.data)}

    def _save_skipped(self) -> None:
        """Share among all processes what each has found about samples, and list those that cannot be read."""
        gather_sample_log(self.data.train.sample_log, self.ranks)
        self.ranks.on_main(lambda: save_skipped(self.run, self.data))

    def _show_notices(self, *, at_start: bool = False) -> None:
        """Show once what was left out of the data or altered, and keep it: of streamed samples when all were read."""
        data, whole = self.data, self.data.all_read
        if self._noticed or not (at_start or whole):
            return
        self._noticed = whole
        notices = data.notices() if whole else data.listed

        def write() -> None:
            shown = self.reporter.shown_notices
            notices.log(self.reporter.say, known=None if at_start else data.listed, logged=shown)
            if whole or not self.state.epoch:
                self.run.save_notices(notices.to_records())

        self.ranks.on_main(write)


_LOWER = "start again with a lower train.lr ({lr:g}) or train.precision fp32, in another --out or with --overwrite"


def train(
    recipe: Recipe,
    run: RunFolder,
    reporter: Reporter,
    *,
    resume: bool = False,
    overwrite: bool = False,
    stop: Stop | None = None,
    trackers: Sequence[Tracker] = (),
) -> DataSplits:
    """Train to the last epoch of the recipe, leaving logs, checkpoints and radii in the run folder.

    Where several processes train together, all call this, inside of `iaat.runtime.launch.processes` or another set-up
    of PyTorch's default group, and one of them writes.

    Args:
        recipe: What to train.
        run: Where; a run that is there already is touched only once data and model are known to be good.
        reporter: Shows progress.
        resume: Go on from the newest whole checkpoint, if there is one, bit for bit as if never interrupted.
        overwrite: Replace the run in the folder.
        stop: Asked after every step whether to save and stop.
        trackers: Informed of the start and of every epoch, but not of the end: the run may be evaluated next.

    Returns:
        The data trained on, for the evaluation to reuse.

    Raises:
        UserError: a folder that holds another run or that another process trains in, bad data, a device this machine
            lacks, a checkpoint of other data, or numbers that are not finite.
        Stopped: a stop was asked for, and a checkpoint of this moment is written.
    """
    ranks = current()
    resume = ranks.any(ranks.main and resume and run.has_results())[0]

    def enter() -> None:
        if not resume:
            run.check_free(overwrite=overwrite)
        held.enter_context(run.training())

    with ExitStack() as held:
        ranks.on_main(enter)
        reporter = reporter if ranks.main else Reporter(quiet=True)
        data, device = _prepare(recipe, reporter)
        trainer = Trainer(
            recipe,
            data,
            run,
            device=device,
            reporter=reporter,
            stop=stop,
            trackers=trackers,
            start_weights=not resume,
        )
        if resume:
            trainer.resume()
        trainer.fit(overwrite=overwrite)
    return data


def _prepare(recipe: Recipe, reporter: Reporter) -> tuple[DataSplits, torch.device]:
    """Data and device of a recipe, the same in all processes."""
    ranks, device = current(), pick_device(recipe.train.device)
    if recipe.train.deterministic:
        compute_deterministically()
    if ranks.several:
        ranks.check_same(device.type, "the devices")
        reporter.say(describe_processes(ranks, device))
        ranks.check_same(recipe.to_yaml(), "the settings")
    reporter.say(f"reading data: {recipe.data.name}")
    data = ranks.main_first(lambda: build_data(recipe.data, seed=recipe.seed, device=device))
    ranks.check_same(data.train.fingerprint, "the training data")
    return data, device


def _samples(parts: Parts) -> int:
    """Samples of a step, over all processes."""
    return sum(micro.total for micro, _ in parts)


def _next(batches: Iterator[Parts], stop: Stop) -> tuple[Parts | None, UserError | Stopped | None]:
    """The next micro-batches, or what came in between, such as a stop; also where a file system hangs."""
    try:
        with stop.interruptible():
            return next(batches, None), None
    except (UserError, Stopped) as problem:
        return None, problem
