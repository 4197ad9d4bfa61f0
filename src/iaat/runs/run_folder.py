"""The run folder: names and access for all files of a run."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from iaat.config.load_recipe import NAMES_OF_CODE, load_recipe
from iaat.config.recipe import Recipe
from iaat.config.recipe_files import RECIPE_FILE, read_recipe
from iaat.config.safe_yaml import dump_yaml
from iaat.config.train_config import TrainConfig
from iaat.errors import UserError
from iaat.radius.snapshots import read_snapshot, snapshots, write_snapshot
from iaat.runs.checkpoint_manager import CheckpointManager
from iaat.runs.epoch_record import EpochRecord
from iaat.runs.run_facts import RunFacts, add_facts, changed_versions, read_facts, write_facts
from iaat.runs.run_paths import LOCK_FILE, RUN_FILES, RunPaths
from iaat.runs.training_log import EpochTiming, SkippedSample, TrainingLog
from iaat.runtime.files import is_of_system, write_text
from iaat.runtime.lock import folder_lock

_CHECKPOINT = re.compile(r"best|last|\d{4,}(-\d{6,})?")


@dataclass(frozen=True, slots=True)
class RunFolder(RunPaths):
    """Names and access for everything in a run folder.

    `recipe.yaml` the resolved recipe; `run.json` versions and machine; `metrics.jsonl` one record an epoch;
    `timings.jsonl` its wall times, kept apart so that all else is equal between equal runs; `last.pt`, `best.pt`
    checkpoints; `checkpoints/` earlier ones and those within an epoch; `faults.jsonl` steps that were not finite;
    `skipped.jsonl` samples that cannot be read; `radii/NNNN.safetensors` all radii after an epoch; `radii.parquet` the
    table of the last; a folder in `evaluations/` for each evaluation; `pictures/`; `tensorboard/` where asked for;
    `train.lock` while a process trains.
    """

    in_memory: ClassVar[bool] = False

    @property
    def log(self) -> TrainingLog:
        """The log of training."""
        return TrainingLog(self.path)

    @property
    def metrics_file(self) -> Path:
        """One record an epoch."""
        return self.log.metrics_file

    @property
    def timings_file(self) -> Path:
        """Wall time of each epoch."""
        return self.log.timings_file

    def exists(self) -> bool:
        """Whether a run was started here."""
        return self.recipe_file.exists()

    def check_exists(self) -> None:
        """Refuse a folder that holds no run.

        Raises:
            UserError: it has no recipe.
        """
        if not self.exists():
            raise UserError(
                f"{self.path} is not a run folder: it has no {RECIPE_FILE}; give the --out of an `iaat train`"
            )

    def has_results(self) -> bool:
        """Whether there is a checkpoint here: something that would be lost."""
        files = (*(self.checkpoint(which) for which in ("last", "best")), *self.checkpoints.glob("*.pt"))
        return self.exists() and any(file.exists() for file in files)

    def training(self) -> AbstractContextManager[None]:
        """The lock that a process holds while it trains here.

        Raises:
            UserError: a link in the folder leads out of it.
        """
        self._check_stays_inside()
        return folder_lock(self.lock_file, "trains")

    def recipe(self, overrides: Sequence[str] = (), *, code: Collection[str] = NAMES_OF_CODE) -> Recipe:
        """The recipe the run was started with, with `--key value` overrides applied; `code` as for `load_recipe`.

        Raises:
            UserError: the folder holds no run, or an override is wrong.
        """
        self.check_exists()
        self._check_stays_inside()
        return dataclasses.replace(load_recipe(self.recipe_file, overrides, stored=True, code=code), name=self.name())

    def _check_stays_inside(self) -> None:
        """Refuse a folder with links out of it: what is written into it would end up in other places.

        Raises:
            UserError: naming the link and where it leads.
        """
        inside = self.path.resolve()
        for place, folders, files in os.walk(self.path):
            for name in (*folders, *files):
                link = Path(place, name)
                if link.is_symlink() and not link.resolve().is_relative_to(inside):
                    raise UserError(
                        f"{link} leads out of the run folder, to {link.resolve()}, where nothing is written: put the "
                        "file or folder itself in its place"
                    )

    def check_free(self, *, overwrite: bool) -> None:
        """Refuse a folder in which a new run would destroy something.

        Raises:
            UserError: the folder holds a run with results and `overwrite` is not set, files that are not of a run, or a
                link that leads out of it.
        """
        if self.has_results() and not overwrite:
            raise UserError(
                f"{self.path} already holds a run: use --resume to go on, --overwrite to replace it, or --out"
            )
        if self.path.exists() and (foreign := self._foreign()):
            raise UserError(
                f"{self.path} holds what is not of a run ({', '.join(foreign[:5])}) and is left alone: choose "
                "another --out"
            )
        self._check_stays_inside()

    def checkpoint_store(self, config: TrainConfig) -> CheckpointManager:
        """Keeps the checkpoints while the run is trained."""
        return CheckpointManager(self, config)

    def create(self, recipe: Recipe, *, overwrite: bool) -> None:
        """Start the folder of a new run, in place of the run there if `overwrite`.

        Raises:
            UserError: as `check_free`, or the folder cannot be written.
        """
        self.check_free(overwrite=overwrite)
        if self.path.exists():
            self._clear()
        write_facts(self.facts_file, name=recipe.name, seed=recipe.seed)
        write_text(self.recipe_file, recipe.to_yaml())

    def _foreign(self) -> list[str]:
        """Names in the folder that a run has not put there; without run.json no run has put anything there."""
        if not self.path.is_dir():
            return [self.path.name]
        files = sorted(self.path.iterdir())
        known = RUN_FILES if self.facts_file.exists() else (LOCK_FILE,)
        others = (file for file in files if not (file.name in known or is_of_system(file.name)))
        return [file.name for file in others if not file.match(".*.tmp")]

    def _clear(self) -> None:
        # What is a system's stays, such as the bin of a drive.
        for file in (each for each in self.path.iterdir() if not is_of_system(each.name)):
            if file.is_dir() and not file.is_symlink():
                shutil.rmtree(file)
            elif file != self.lock_file:
                file.unlink()

    def lengthen(self, epochs: int, method: Mapping[str, Any] | None = None) -> None:
        """Write down that a run goes on to more epochs than its recipe says, and by which settings of the method."""
        recipe = read_recipe(self.recipe_file)
        train, own = (dict(recipe.get(key) or {}) for key in ("train", "method"))
        if isinstance(before := train.get("epochs"), int) and before < epochs:
            add_facts(self.facts_file, lengthened=[*self.lengthened(), before])
            longer = {"train": {**train, "epochs": epochs}, "method": {**own, **(method or {})}}
            write_text(self.recipe_file, dump_yaml({**recipe, **longer}))

    def lengthened(self) -> list[int]:
        """Numbers of epochs after which the run was finished, before it was given more; nothing for most runs."""
        return self.facts().get("lengthened", [])

    def facts(self) -> RunFacts:
        """Name and versions the run was started with; nothing, with a warning, where their file is damaged."""
        return read_facts(self.facts_file)

    def changed_versions(self) -> list[str]:
        """What computes otherwise now than when the run was started, such as `torch 2.14.1 -> 2.15.0`."""
        return changed_versions(self.facts())

    def name(self) -> str:
        """Name of the recipe the run was started with."""
        return self.facts().get("name", self.path.name)

    def log_epoch(self, record: EpochRecord, timing: EpochTiming) -> None:
        """Append one epoch to the metrics and timings."""
        self.log.log_epoch(record, timing)

    def metrics(self) -> list[EpochRecord]:
        """Records of all epochs so far; lines that are damaged are left out with a warning."""
        return self.log.metrics()

    def epochs_done(self, most: int) -> int:
        """The last finished epoch, by all files that count them: a log may lack its line.

        Args:
            most: Epochs of the recipe; larger numbers are damage.
        """
        numbers = self.log.epochs() + self.radii_epochs()
        return max((number for number in numbers if 0 < number <= most), default=0)

    def is_trained(self) -> bool:
        """Whether the last epoch of its recipe is done; not where the recipe cannot be read."""
        try:
            epochs = self.recipe().train.epochs
        except UserError:
            return False
        return self.epochs_done(epochs) == epochs

    def training_cost(self, epoch: int | None = None) -> dict[str, float]:
        """Passes per sample and step and seconds of training, and the last mean radius, if any, up to an epoch.

        `radius_mean_px` is 255 times the radius in any norm.

        What hangs on a line that is damaged or missing is left out, with a warning.
        """
        return self.log.training_cost(epoch)

    def log_faults(self, records: Sequence[dict[str, Any]]) -> None:
        """Write down the steps that were not finite, all of the run; no file where there are none."""
        self.log.log_faults(records)

    def save_notices(self, records: list[dict[str, Any]]) -> None:
        """Write down in `run.json` what was left out of the data or altered; a damaged file stays as it is."""
        add_facts(self.facts_file, notices=records)

    def save_skipped(self, records: Sequence[SkippedSample]) -> None:
        """List the samples that are skipped because they cannot be read; no file where there are none."""
        self.log.save_skipped(records)

    def skipped_samples(self) -> list[SkippedSample]:
        """The samples that were skipped so far."""
        return self.log.skipped_samples()

    def go_back_to(self, epoch: int, records: Sequence[EpochRecord]) -> None:
        """Drop logs and snapshots of the epochs after `epoch`, which will be made again.

        Args:
            epoch: The last epoch that counts.
            records: The log of the epochs up to it.
        """
        self.log.go_back_to(epoch, records)
        for number, file in self._snapshots().items():
            if number > epoch:
                file.unlink()

    def save_radii(self, epoch: int, radii: Tensor, seen: Tensor) -> None:
        """Keep all radii `[N]` after `epoch`, with the indices of the samples that are trained on."""
        write_snapshot(self.radii / f"{epoch:04d}.safetensors", radii, seen)

    def radii_epochs(self) -> list[int]:
        """Epochs with saved radii, in order."""
        return sorted(self._snapshots())

    def check_has_radii(self) -> None:
        """Refuse a run without radii.

        Raises:
            UserError: naming its folder.
        """
        if not self.radii_epochs():
            raise UserError(
                f"{self.path} has no radii: its method trains every sample at one radius, or no epoch is done"
            )

    def radii_after(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices `[n]` of the trained samples and their radii `[n]` after an epoch, without those never read.

        Raises:
            UserError: the file of that epoch is damaged.
        """
        index, radius = read_snapshot(self._snapshots()[epoch])
        kept = ~np.isin(index, self.log.skipped_index())
        return index[kept], radius[kept]

    def radius_history(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Indices `[n]` of the samples that all kept epochs have, and their radii `[E, n]` after each.

        Raises:
            UserError: the run has no radii, or a file of them is damaged.
        """
        self.check_has_radii()
        snapshots = [self.radii_after(epoch) for epoch in self.radii_epochs()]
        shared = reduce(_in_both, (index for index, _ in snapshots))
        return shared, np.stack([radius[np.searchsorted(index, shared)] for index, radius in snapshots])

    def _snapshots(self) -> dict[int, Path]:
        return snapshots(self.radii)


def _in_both(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    return left if np.array_equal(left, right) else np.intersect1d(left, right, assume_unique=True)


def run_of_checkpoint(file: Path) -> tuple[RunFolder, str] | None:
    """Run and name, such as `best` or `checkpoints/0003`, of a checkpoint that lies in its folder; None for others.

    Nothing is read: the file is known by its name and by the recipe beside it.
    """
    if file.suffix != ".pt" or not _CHECKPOINT.fullmatch(file.stem) or not file.is_file():
        return None
    outer = RunFolder(file.parent.parent)
    inside = file.parent == outer.checkpoints
    run = outer if inside else RunFolder(file.parent)
    return (run, f"{file.parent.name}/{file.stem}" if inside else file.stem) if run.recipe_file.is_file() else None


def runs_in(folder: Path) -> list[RunFolder]:
    """The run in a folder, or the runs in the folders of a folder, such as the `--out` of `iaat compare`, by name.

    Folders in it that hold no run are left out. A folder without any run comes back as it is, so that who reads it
    says what is missing.
    """
    inner = [] if (folder / RECIPE_FILE).exists() or not folder.is_dir() else sorted(folder.iterdir())
    return [RunFolder(each) for each in inner if RunFolder(each).exists()] or [RunFolder(folder)]
