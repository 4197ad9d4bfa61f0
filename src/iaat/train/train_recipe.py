"""`train`: from a recipe to a trained run: locks the folder, reads the data, and runs a `Trainer` to the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch

from iaat.config.radii_files import begins_from_radii, check_radii_files, check_radii_for
from iaat.config.recipe import Recipe
from iaat.data import DataSplits, build_data, read_dataset_info
from iaat.runs.run_store import RunStore
from iaat.runtime.device import compute_deterministically, pick_device, warn_of_emulated_bfloat16
from iaat.runtime.distributed import current, describe_processes
from iaat.runtime.progress import Reporter
from iaat.runtime.signals import Stop
from iaat.runtime.user_code import import_function
from iaat.train.trackers import Tracker
from iaat.train.trainer import Trainer


def train(
    recipe: Recipe,
    run: RunStore,
    reporter: Reporter,
    *,
    resume: bool = False,
    overwrite: bool = False,
    stop: Stop | None = None,
    trackers: Sequence[Tracker] = (),
    on_data: Callable[[DataSplits], object] | None = None,
) -> DataSplits:
    """Train to the last epoch of the recipe, leaving logs, checkpoints and radii in the run folder.

    Where several processes train together, all call this, inside of `iaat.runtime.launch.processes` or another set-up
    of PyTorch's default group, and one of them writes.

    Args:
        recipe: What to train.
        run: Where, in a folder or in memory; a run that is there already is touched only once data and model are known
            to be good.
        reporter: Shows progress.
        resume: Go on from the newest whole checkpoint, if there is one, bit for bit as if never interrupted.
        overwrite: Replace the run in the folder.
        stop: Asked after every step whether to save and stop.
        trackers: Informed of the start and of every epoch, but not of the end: the run may be evaluated next.
        on_data: Gets the data as soon as it is read, for a caller who keeps what an error interrupts.

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
        data, device = _prepare(recipe, reporter, begins=not resume)
        if on_data is not None:
            on_data(data)
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


def _prepare(recipe: Recipe, reporter: Reporter, *, begins: bool) -> tuple[DataSplits, torch.device]:
    """Data and device of a recipe, the same in all processes; radii that it `begins` from are checked."""
    ranks, device = current(), pick_device(recipe.train.device)
    warn_of_emulated_bfloat16(recipe.train.precision, device)
    if recipe.train.deterministic:
        compute_deterministically()
    if ranks.several:
        ranks.check_same(device.type, "the devices")
        reporter.say(describe_processes(ranks, device))
        ranks.check_same(recipe.to_yaml(), "the settings")
    if recipe.model.is_user_function:
        import_function(recipe.model.name, key="model.name")  # before the data, which may take long to read
    reporter.say(recipe.data.reading)
    if begins and begins_from_radii(recipe) and not recipe.data.is_user_function:
        check_radii_files(recipe, ranks.main_first(lambda: read_dataset_info(recipe.data)))  # samples may take long
    data = build_data(recipe.data, seed=recipe.seed, device=device, reporter=reporter, ranks=ranks)
    ranks.check_same(data.train.fingerprint, "the training data")
    if begins:
        without = 0 if len(data.extra_index) else data.validation_size
        check_radii_for(recipe, len(data.train), data.train.labels, without=without)
    return data, device
