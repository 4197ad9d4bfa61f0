"""`RunWriter`: what training leaves in the run folder, and how it is restored from there."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from iaat.config.recipe import Recipe
from iaat.data import DataSplits
from iaat.data.sample_log import gather_sample_log
from iaat.runs.data_record import check_same_data, data_record
from iaat.runs.epoch_record import EpochRecord
from iaat.runs.run_store import RunStore
from iaat.runs.training_log import EpochTiming
from iaat.runtime.distributed import Ranks
from iaat.runtime.progress import Reporter
from iaat.train.skipped_samples import restore_skipped, save_skipped
from iaat.train.state import TrainState


class RunWriter:
    """Writes logs, checkpoints, radii and notices of a run; all processes make the same calls, and the main one writes.

    Args:
        recipe: What is trained.
        data: The data trained on.
        run: Where to write; a run in memory is kept by every process.
        device: Where checkpoints are loaded to.
        ranks: The processes that train.
        reporter: Shows notices.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: DataSplits,
        run: RunStore,
        device: torch.device,
        ranks: Ranks,
        reporter: Reporter,
    ) -> None:
        self._recipe, self._data, self._run, self._device = recipe, data, run, device
        self._ranks, self._reporter = ranks, reporter
        self._checkpoints = run.checkpoint_store(recipe.train)
        self._noticed = False

    def create(self, *, overwrite: bool) -> None:
        """Begin the run folder.

        Raises:
            UserError: it holds another run, and `overwrite` is not set.
        """
        self._write(lambda: self._run.create(self._recipe, overwrite=overwrite))

    def due(self, steps: int) -> bool:
        """Whether to save a checkpoint after that many steps of the epoch; the main process decides."""
        return self._ranks.main and self._checkpoints.due(steps)

    def save_within(self, state: TrainState, seconds: float) -> None:
        """Save a checkpoint within an epoch that has taken that many seconds so far."""
        self._save_skipped()
        saved = self._checkpoint(state)
        saved["tally"] |= {"seconds": seconds}
        self._write(lambda: self._checkpoints.save_within(saved))

    def save_epoch(
        self, state: TrainState, record: EpochRecord, timing: EpochTiming, trained_on: Tensor, *, best: bool
    ) -> None:
        """Log a finished epoch, and save its checkpoint.

        Args:
            state: The state after it.
            record: Its record.
            timing: Its line in `timings.jsonl`.
            trained_on: Indices `[N]` of all samples trained on so far.
            best: Whether it is the best epoch so far.
        """
        self._save_skipped()
        self.show_notices(state)
        saved, config, radii = self._checkpoint(state), self._recipe.train, state.method.radii
        snapshot = radii is not None and (state.epoch == config.epochs or state.epoch % config.snapshot_every == 0)
        values = radii.values if snapshot and radii is not None else None

        def write() -> None:
            self._run.log_epoch(record, timing)
            if values is not None:
                self._run.save_radii(state.epoch, values, trained_on)
            # Last of all: until it is written the epoch has not happened, and a resumed run makes all its files again.
            self._checkpoints.save_epoch(saved, improved=best)

        self._write(write)

    def log_faults(self, state: TrainState) -> None:
        """List the steps that were not finite."""
        self._write(lambda: self._run.log_faults(state.faults))

    def restore(self, state: TrainState) -> None:
        """Restore the newest whole checkpoint, and remove what came after it.

        Raises:
            UserError: there is none, or it is of other data.
        """
        run, checkpoints = self._run, self._checkpoints
        restore_skipped(run, self._data)
        saved = self._ranks.main_first(lambda: checkpoints.newest(self._device))
        self._ranks.check_same(
            f"epoch {saved['epoch']}, step {saved['tally']['steps']}", f"the checkpoints in {run.path}"
        )
        check_same_data(saved["data"], self._data, may_be_repaired=bool(self._recipe.data.skip_damaged))
        state.load_state_dict(saved)

        def clean_up() -> None:
            run.lengthen(self._recipe.train.epochs, self._recipe.sections()["method"])
            run.go_back_to(state.epoch, state.records)
            run.log_faults(state.faults)
            checkpoints.mend_best(self._device)
            checkpoints.tidy(state.epoch, state.progress.steps)

        self._ranks.on_main(clean_up)
        if changed := run.changed_versions():
            warnings.warn(
                f"{run.path} was started with other versions or hardware ({'; '.join(changed)}): it goes on, but may "
                "differ in the last bits from a run that was never interrupted",
                stacklevel=3,
            )

    def last_epoch(self) -> dict[str, Any] | None:
        """The checkpoint of the last finished epoch; None where no epoch is finished."""
        return self._ranks.main_first(lambda: self._checkpoints.last_epoch(self._device))

    def go_back_to(self, state: TrainState) -> None:
        """Remove what was written after the epoch of the state."""
        self._write(lambda: self._run.go_back_to(state.epoch, state.records))
        self._write(self._checkpoints.forget_within)

    def show_notices(self, state: TrainState, *, at_start: bool = False) -> None:
        """Show once what was left out of the data or altered, and keep it: of streamed samples when all were read."""
        data, whole = self._data, self._data.all_read
        if self._noticed or not (at_start or whole):
            return
        self._noticed = whole
        notices = data.notices() if whole else data.listed

        def write() -> None:
            shown = self._reporter.shown_notices
            notices.log(self._reporter.say, known=None if at_start else data.listed, logged=shown)
            if whole or not state.epoch:
                self._run.save_notices(notices.to_records())

        self._ranks.on_main(write)

    def _checkpoint(self, state: TrainState) -> dict[str, Any]:
        """The content of a checkpoint; all processes call it together."""
        return {**state.state_dict(), "recipe": self._recipe.to_dict(), "data": data_record(self._data)}

    def _save_skipped(self) -> None:
        """Share among all processes what each has found about samples, and list those that cannot be read."""
        gather_sample_log(self._data.train.sample_log, self._ranks)
        self._write(lambda: save_skipped(self._run, self._data))

    def _write(self, write: Callable[[], object]) -> None:
        """Write in the main process while the others wait; in each where nothing is shared."""
        if self._run.in_memory:
            write()
        else:
            self._ranks.on_main(write)
