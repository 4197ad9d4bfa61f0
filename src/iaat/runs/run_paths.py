"""Names of the files in a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from iaat.config.recipe_files import RECIPE_FILE, RUN_FILE
from iaat.radius.snapshots import RADII_FILE, RADII_FOLDER
from iaat.runs.training_log import LOG_FILES

LOCK_FILE = "train.lock"
"""Is there while a process trains."""

RUN_FILES = (
    *(RECIPE_FILE, RUN_FILE, *LOG_FILES, "last.pt", "best.pt"),
    *("checkpoints", RADII_FOLDER, RADII_FILE, "evaluations", "pictures", "tensorboard", LOCK_FILE),
    *("last.pt.damaged", "best.pt.damaged"),
)
"""All that a run folder holds: a folder with anything else in it is never replaced."""


@dataclass(frozen=True, slots=True)
class RunPaths:
    """Places of the files in a run folder; `RunFolder` says what they are.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def recipe_file(self) -> Path:
        """The resolved recipe."""
        return self.path / RECIPE_FILE

    @property
    def facts_file(self) -> Path:
        """Name and versions."""
        return self.path / RUN_FILE

    @property
    def lock_file(self) -> Path:
        """Is there while a process trains."""
        return self.path / LOCK_FILE

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints of earlier epochs and of those within an epoch."""
        return self.path / "checkpoints"

    @property
    def radii(self) -> Path:
        """Folder of the radii after epochs."""
        return self.path / RADII_FOLDER

    @property
    def evaluations(self) -> Path:
        """Folder of the evaluations, a folder each."""
        return self.path / "evaluations"

    @property
    def pictures(self) -> Path:
        """Folder of the pictures."""
        return self.path / "pictures"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    def radii_table_file(self, epoch: int | None = None) -> Path:
        """The table of the radii after an epoch that is asked for, or of the last."""
        return self.path / RADII_FILE if epoch is None else self.radii / f"{epoch:04d}.parquet"

    def checkpoint(self, which: str) -> Path:
        """File of the checkpoint `last` or `best`."""
        return self.path / f"{which}.pt"
