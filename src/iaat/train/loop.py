"""The only training loop; it knows methods by their protocol."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from iaat.config.recipe import Recipe
from iaat.data import DataSplits, build_data
from iaat.errors import UserError
from iaat.runs.checkpoint import check_same_data, data_record
from iaat.runs.checkpoint_manager import Keeper
from iaat.runs.run_folder import RunFolder
from iaat.runs.trackers import Tracker, Trackers
from iaat.runtime.device import compute_deterministically, pick_device
from iaat.runtime.distributed import Ranks, current, described
from iaat.runtime.passes import count_passes
from iaat.runtime.progress import Reporter
from iaat.runtime.signals import ELSEWHERE, Stop, Stopped
from iaat.train.batch_split import readable, shares
from iaat.train.examined import keep_unreadable, recall_unreadable, share_findings
from iaat.train.nonfinite import LAG, Faults, NotFinite, fault_record, told
from iaat.train.record import epoch_line, hold_out, radius_record, selection
from iaat.train.state import TrainState, build_state
from iaat.train.step import Parts, take_step
from iaat.train.tally import Tally
from iaat.train.watch import Watch


@dataclass(slots=True)
class _Training:
    """What one call of `train` works with."""

    recipe: Recipe
    run: RunFolder
    data: DataSplits
    state: TrainState
    device: torch.device
    reporter: Reporter
    stop: Stop
    keeper: Keeper
    ranks: Ranks
    trackers: Trackers
    epoch_begun: float = 0.0
    told: bool = False

    def epoch_seconds(self) -> float:
        """Seconds spent on the epoch so far, by earlier processes too."""
        return self.state.tally.seconds + time.perf_counter() - self.epoch_begun


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
        trackers: Told of the start and of every epoch, but not that the run is finished: it may be evaluated next.

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
        return _train(recipe, run, reporter, stop or Stop(), Trackers(trackers), resume=resume, overwrite=overwrite)


def _train(
    recipe: Recipe,
    run: RunFolder,
    reporter: Reporter,
    stop: Stop,
    trackers: Trackers,
    *,
    resume: bool,
    overwrite: bool,
) -> DataSplits:
    ranks, device = current(), pick_device(recipe.train.device)
    if recipe.train.deterministic:
        compute_deterministically()
    if ranks.several:
        ranks.check_same(device.type, "the devices")
        reporter = reporter if ranks.main else Reporter(quiet=True)
        reporter.say(described(ranks, device))
        ranks.check_same(recipe.to_yaml(), "the settings")
    reporter.say(f"reading data: {recipe.data.name}")
    data = ranks.main_first(lambda: build_data(recipe.data, seed=recipe.seed, device=device))
    ranks.check_same(data.train.fingerprint, "the training data")
    state = _fresh_state(recipe, data, device, resumed=resume)
    training = _Training(recipe, run, data, state, device, reporter, stop, Keeper(run, recipe.train), ranks, trackers)
    if resume:
        recall_unreadable(run, data)
        _go_on(training)
    else:
        ranks.on_main(lambda: run.create(recipe, overwrite=overwrite))
    _tell(training, at_start=True)
    trackers.started(recipe.to_dict(), run.path, state.records)
    # Several stop by agreement alone: one that left in the middle would leave the others waiting.
    with stop.deferred() if ranks.several else nullcontext():
        while training.state.epoch < recipe.train.epochs:
            try:
                _epoch(training)
            except NotFinite:
                if recipe.train.nonfinite != "rollback":
                    raise
                _roll_back(training)
    return data


def _tell(training: _Training, *, at_start: bool = False) -> None:
    """Say once what was left out of the data or altered, and keep it: of streamed samples once all were read."""
    data, whole = training.data, training.data.all_read
    if training.told or not (at_start or whole):
        return
    training.told = whole
    notices = data.notices() if whole else data.listed

    def write() -> None:
        told = training.reporter.told
        notices.log(training.reporter.say, known=None if at_start else data.listed, logged=told)
        if whole or not training.state.epoch:
            training.run.keep_notices(notices.to_records())

    training.ranks.on_main(write)


def _fresh_state(recipe: Recipe, data: DataSplits, device: torch.device, *, resumed: bool) -> TrainState:
    steps = len(data.order(recipe.train.batch_size, seed=recipe.seed, epoch=0))
    return build_state(recipe, data, steps, device, resumed=resumed, ranks=current())


def _go_on(training: _Training) -> None:
    """Take over the newest whole checkpoint."""
    run, state, ranks = training.run, training.state, training.ranks
    saved = ranks.main_first(lambda: training.keeper.newest(training.device))
    ranks.check_same(f"epoch {saved['epoch']}, step {saved['tally']['steps']}", f"the checkpoints in {run.path}")
    repaired = bool(training.recipe.data.skip_damaged)
    check_same_data(saved["data"], training.data, may_be_repaired=repaired)
    state.load_state_dict(saved)

    def clean_up() -> None:
        run.go_back_to(state.epoch, state.records)
        run.log_faults(state.faults)
        training.keeper.mend_best(training.device)
        training.keeper.tidy(state.epoch, state.tally.steps)

    ranks.on_main(clean_up)
    if changed := run.changed_versions():
        warnings.warn(
            f"{run.path} was started with other versions or hardware ({'; '.join(changed)}): it goes on, but may "
            "differ in the last bits from a run that was never interrupted",
            stacklevel=2,
        )
    within = f" and step {state.tally.steps} of the next" if state.tally.steps else ""
    training.reporter.say(f"resumed after epoch {state.epoch} of {training.recipe.train.epochs}{within}")


def _roll_back(training: _Training) -> None:
    """Go back to the end of the last epoch, with a lower learning rate; the faults stay on record.

    Always to the end of an epoch, or to the beginning: when the moments within an epoch were saved hangs on the clock,
    and equal runs must end equal.
    """
    faults, share = training.state.faults, training.state.lr_share * training.recipe.train.rollback_lr
    saved = training.ranks.main_first(lambda: training.keeper.last_epoch(training.device))
    training.state = _fresh_state(training.recipe, training.data, training.device, resumed=saved is not None)
    if saved is not None:
        training.state.load_state_dict(saved)
    training.state.faults, training.state.lr_share = faults, share
    training.ranks.on_main(lambda: training.run.go_back_to(training.state.epoch, training.state.records))
    training.ranks.on_main(training.keeper.forget_within)
    training.reporter.say(f"back to the end of epoch {training.state.epoch}, on at {share:g} of the learning rate")


def _epoch(training: _Training) -> None:
    recipe, data, state = training.recipe, training.data, training.state
    training.epoch_begun = time.perf_counter()
    with training.stop.deferred():
        means = _steps(training)
        state.share_radii()
    trained = training.epoch_seconds()
    try:
        held_out = hold_out(recipe, data, state, training.device, training.stop)
    except (Stopped, UserError):  # the steps of the epoch are all done, and worth keeping
        _save_within(training)
        raise
    with training.stop.deferred():
        state.epoch += 1
        trained_on = data.trained_index(recipe.train.batch_size, seed=recipe.seed, epochs=state.epoch)
        record = {"epoch": state.epoch, **means, **held_out, **radius_record(state, trained_on)}
        accuracy = selection(record, recipe.train.select)
        if state.epoch == recipe.train.natural_epochs + 1:
            state.best = -1.0  # what natural training reached does not compete
        improved = accuracy > state.best
        state.best = max(state.best, accuracy)
        seconds = training.epoch_seconds()
        rate = data.samples(recipe.train.batch_size) / trained
        timing = {"epoch": state.epoch, "seconds": seconds, "samples_per_second": rate}
        state.records.append(record)
        state.tally = Tally()
        _save_epoch(training, record, timing, trained_on, improved=improved)
        training.trackers.epoch(record)
        training.reporter.say(epoch_line(recipe, record, seconds, improved=improved))
    if training.ranks.several and training.ranks.any(training.stop.requested is not None)[0]:
        raise Stopped(training.stop.requested or ELSEWHERE)


def _steps(training: _Training) -> dict[str, Any]:
    """The rest of one pass over the training set: the record of the means of all of it."""
    recipe, data, state = training.recipe, training.data, training.state
    order = data.order(recipe.train.batch_size, seed=recipe.seed, epoch=state.epoch)
    tally = state.tally
    if tally.lr is None:
        tally.lr = state.optimizer.param_groups[0]["lr"] * state.lr_share
    watch = Watch(recipe, data, state, len(order), training.device, training.reporter, training.ranks)
    faults = Faults(1 if training.device.type == "cpu" else LAG, training.ranks)
    state.model.train()
    with count_passes(state.model, tally.passes):
        for parts in _batches(training, order, faults):
            if parts:
                take_step(state, parts, recipe.train, training.device, faults)
            else:  # none of its samples can be read
                state.schedule.step()
            tally.steps += 1
            watch.after_step()
            ended = tally.steps == len(order)
            stopping, due = training.ranks.any(
                training.stop.requested is not None, training.ranks.main and training.keeper.due(tally.steps)
            )
            saving = stopping or (due and not ended)
            if saving or ended or faults.due():
                _note(training, faults, order)
            if saving:
                _save_within(training)
            if stopping:
                raise Stopped(training.stop.requested or ELSEWHERE)
    if tally.skipped == len(order):
        raise UserError(f"no step of epoch {state.epoch + 1} was finite: {_LOWER.format(lr=recipe.train.lr)}")
    return _means(training, watch)


def _means(training: _Training, watch: Watch) -> dict[str, Any]:
    """The record of an epoch's steps, from what all processes have added up."""
    count, scaler = training.data.samples(training.recipe.train.batch_size), training.state.scaler
    tally = training.state.tally.over(training.ranks)
    checks = tally.watch.passes
    forwards, backwards = tally.passes.forward - checks.forward, tally.passes.backward - checks.backward
    return {
        **tally.averages.means(),
        "lr": tally.lr,
        "forwards": forwards / count,
        "backwards": backwards / count,
        **watch.record(tally, count),
        **({"skipped_steps": tally.skipped} if tally.skipped else {}),
        **({"loss_scale": scaler.get_scale()} if scaler is not None else {}),
    }


def _batches(training: _Training, order: list[Tensor], faults: Faults) -> Iterator[Parts]:
    """This process's parts of the batches of the epoch that are left.

    Where the data fails or a stop comes, in whichever process, what was trained is saved first.
    """
    recipe, state = training.recipe, training.state
    rest = order[state.tally.steps :]
    if not rest:
        return
    steps = [shares(index, training.ranks, recipe.train.accumulate) for index in rest]
    own = [share.index for parts in steps for share in parts]
    batches = training.data.train.batches(own, augment=(recipe.seed, state.epoch))
    read = ([(share, state.laid_out(next(batches))) for share in parts] for parts in steps)
    tracked = _shown(training, read, rest, begun=state.tally.steps / len(order))
    while True:
        parts, problem = _next(tracked, training.stop)
        stopping, failing = training.ranks.any(isinstance(problem, Stopped), isinstance(problem, UserError))
        if (stopping or failing) and state.tally.steps:
            _note(training, faults, order)
            _save_within(training)
        if stopping:
            raise Stopped(training.stop.requested or ELSEWHERE)
        training.ranks.raise_together(problem if isinstance(problem, UserError) else None)
        if parts is None:
            return
        if recipe.data.skip_damaged:
            left = readable(parts, training.data.train.sample_log.unreadable, training.ranks)
            parts = parts if left is parts else [(share, state.laid_out(batch)) for share, batch in left]
        yield parts


def _shown(training: _Training, read: Iterator[Parts], rest: Sequence[Tensor], begun: float) -> Iterator[Parts]:
    """The steps that are left of an epoch, of which a fraction was done before, while the progress is shown."""
    epoch, epochs = training.state.epoch, training.recipe.train.epochs
    share = (epoch + begun) / epochs, (epoch + 1) / epochs
    with training.reporter.part("epoch", epoch + 1, epochs, share):
        yield from training.reporter.track(read, total=sum(map(len, rest)), size=_samples, whole=True)


def _samples(parts: Parts) -> int:
    """Samples of a step, over all processes."""
    return sum(share.total for share, _ in parts)


def _next(batches: Iterator[Parts], stop: Stop) -> tuple[Parts | None, UserError | Stopped | None]:
    """What to train on next; or else what came in between, such as a stop, also of a file system that hangs."""
    try:
        with stop.interruptible():
            return next(batches, None), None
    except (UserError, Stopped) as problem:
        return None, problem


def _note(training: _Training, faults: Faults, order: list[Tensor]) -> None:
    """Write down the steps that were not finite, and do about them what the recipe says.

    Raises:
        NotFinite: the recipe says stop or rollback.
        UserError: there were too many.
    """
    config, state = training.recipe.train, training.state
    for step, cause in faults.read():
        record = fault_record(state.epoch, step, cause, order[step])
        state.faults.append(record)
        state.tally.skipped += 1
        training.ranks.on_main(lambda: training.run.log_faults(state.faults))
        text = told(record, training.data.train.paths)
        if config.nonfinite == "stop":
            raise NotFinite(
                f"{text}. What the finished epochs left is kept: go on by --resume --train.nonfinite skip, or rollback,"
                f" or {_LOWER.format(lr=config.lr)}"
            )
        if len(state.faults) >= config.nonfinite_limit:
            limit = f"train.nonfinite_limit is {config.nonfinite_limit}"
            raise UserError(f"{text}. That is one too many, {limit}: {_LOWER.format(lr=config.lr)}")
        training.reporter.say(text)
        if config.nonfinite == "rollback":
            raise NotFinite(text)


_LOWER = "start again with a lower train.lr ({lr:g}) or train.precision fp32, in another --out or with --overwrite"


def _save_epoch(
    training: _Training, record: dict[str, Any], timing: dict[str, Any], trained_on: Tensor, *, improved: bool
) -> None:
    recipe, run, state = training.recipe, training.run, training.state
    _share(training)
    _tell(training)
    saved = _saved(training)
    last = state.epoch == recipe.train.epochs
    snapshot = state.method.radii is not None and (last or state.epoch % recipe.train.snapshot_every == 0)
    radii = state.method.radii.values if snapshot and state.method.radii is not None else None

    def write() -> None:
        run.log_epoch(record, timing)
        if radii is not None:
            run.save_radii(state.epoch, radii, trained_on)
        # Last of all: until it is written the epoch has not happened, and a resumed run makes all its files again.
        training.keeper.save_epoch(saved, improved=improved)

    training.ranks.on_main(write)


def _save_within(training: _Training) -> None:
    """Keep this moment of the epoch."""
    _share(training)
    saved = _saved(training)
    saved["tally"] |= {"seconds": training.epoch_seconds()}
    training.ranks.on_main(lambda: training.keeper.save_within(saved))


def _share(training: _Training) -> None:
    """Have all processes know what each has found out about samples, and list those that cannot be read."""
    share_findings(training.data.train.sample_log, training.ranks)
    training.ranks.on_main(lambda: keep_unreadable(training.run, training.data))


def _saved(training: _Training) -> dict[str, Any]:
    """What a checkpoint holds; all processes ask for it together."""
    return {
        **training.state.state_dict(),
        "recipe": training.recipe.to_dict(),
        "data": data_record(training.data),
    }
