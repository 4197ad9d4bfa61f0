"""The batches that are left of an epoch, with a progress bar; processes read, fail and stop together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from iaat.config.recipe import Recipe
from iaat.data import DataSplits
from iaat.errors import UserError
from iaat.runtime.distributed import Ranks
from iaat.runtime.progress import Reporter
from iaat.runtime.signals import Stop, Stopped
from iaat.train.batch_split import Parts, drop_unreadable, split_batch
from iaat.train.state import TrainState


def epoch_batches(
    recipe: Recipe,
    data: DataSplits,
    state: TrainState,
    order: Sequence[Tensor],
    *,
    visits: Sequence[Tensor] | None,
    ranks: Ranks,
    reporter: Reporter,
    stop: Stop,
    before_leaving: Callable[[], None],
) -> Iterator[Parts]:
    """This process's micro-batches of the steps that are left of the epoch.

    Args:
        recipe: Batch splits, augmentation, and whether damaged samples are skipped.
        data: The data trained on.
        state: Tells which steps are done.
        order: Indices of the samples of every step of the epoch.
        visits: For each of them how often the epoch has visited it before; None where none recurs.
        ranks: The processes, all of which take the same steps.
        reporter: Shows progress.
        stop: Ends the wait for a batch.
        before_leaving: Called in all processes before one of the errors is raised, if the epoch has begun.

    Raises:
        UserError: the data failed, in whichever process.
        Stopped: a stop was asked for, in whichever process.
    """
    rest = order[state.progress.steps :]
    if not rest:
        return
    steps = [split_batch(index, ranks, recipe.train.accumulate) for index in rest]
    again = [split_batch(each, ranks, recipe.train.accumulate) for each in (visits or [])[state.progress.steps :]]
    batches = data.train.batches(
        [micro.index for parts in steps for micro in parts],
        augment=(recipe.seed, state.epoch),
        visits=[micro.index for parts in again for micro in parts] or None,
    )
    read = ([(micro, state.to_memory_format(next(batches))) for micro in parts] for parts in steps)
    epoch, epochs = state.epoch, recipe.train.epochs
    span = (epoch + state.progress.steps / len(order)) / epochs, (epoch + 1) / epochs
    with reporter.part("epoch", epoch + 1, epochs, span):
        tracked = iter(reporter.track(read, total=sum(map(len, rest)), size=_samples, whole=True))
        while True:
            parts, problem = _next(tracked, stop)
            stopping, failing = ranks.any(isinstance(problem, Stopped), isinstance(problem, UserError))
            if (stopping or failing) and state.progress.steps:
                before_leaving()
            if stopping:
                raise stop.stopped()
            ranks.raise_together(problem if isinstance(problem, UserError) else None)
            if parts is None:
                return
            if recipe.data.skip_damaged:
                left = drop_unreadable(parts, data.train.sample_log.unreadable, ranks)
                parts = parts if left is parts else [(micro, state.to_memory_format(batch)) for micro, batch in left]
            yield parts


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
