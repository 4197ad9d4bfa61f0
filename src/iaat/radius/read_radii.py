"""Table of the radii of a finished run, to train another run with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from iaat.errors import UserError, shown
from iaat.radius.radius_memory import RadiusMemory
from iaat.radius.snapshots import RADII_FILE, RADII_FOLDER, read_snapshot, snapshots
from iaat.runtime.rng import permutation

UNKNOWN = -1
"""Label of a sample in a file without labels."""


@dataclass(frozen=True, slots=True)
class RadiiTable:
    """Radii of some samples of a data set.

    Attributes:
        name: The file, for messages.
        index: `[n]` int64, positions in the data set, each once.
        label: `[n]` int64, class numbers, or `UNKNOWN`.
        radius: `[n]` float32, on the [0, 1] scale.
        norm: Norm that the radii are measured in; None where the file does not say.
    """

    name: str
    index: Tensor
    label: Tensor
    radius: Tensor
    norm: str | None = None

    @classmethod
    def of_object(cls, name: str, radius: Tensor | RadiusMemory, labels: Tensor | None = None) -> RadiiTable:
        """The table of radii `[n]` of the first n samples, with the labels `[>= n]` of all, where they are known.

        Raises:
            UserError: they are not one for each sample.
        """
        norm = None
        if isinstance(radius, RadiusMemory):
            norm, radius = radius.norm, radius.values
        if radius.ndim != 1 or not len(radius):
            raise UserError(f"{name} has shape {list(radius.shape)}: give one radius a sample, [N]")
        index = torch.arange(len(radius))
        label = torch.full_like(index, UNKNOWN) if labels is None else labels.cpu()[: len(radius)]
        return cls(name, index, label, radius.detach().cpu().float(), norm)

    @classmethod
    def read(cls, file: str) -> RadiiTable:
        """Read the table in a Parquet file, as `iaat radii RUN` writes it, or in a run folder.

        A run folder without it has snapshots; the last is read, which knows no labels.

        Raises:
            UserError: there is no such file, or it is no table of radii.
        """
        # Imported here: it takes long, and few callers need it.
        import pyarrow as pa
        import pyarrow.parquet

        path = Path(file) / RADII_FILE if Path(file).is_dir() else Path(file)
        kept = snapshots(Path(file) / RADII_FOLDER) if Path(file).is_dir() and not path.exists() else {}
        if kept:
            last = kept[max(kept)]
            index, radius = map(torch.from_numpy, read_snapshot(last))
            return cls(str(last), index.long(), torch.full((len(index),), UNKNOWN), radius)
        try:
            table = pa.parquet.read_table(path, columns=["index", "label_id", "radius"])
            index, label, radius = (torch.tensor(table[name].to_numpy()) for name in ("index", "label_id", "radius"))
        except FileNotFoundError:
            where = "" if path.is_absolute() else f" in {Path.cwd()}, from which paths are seen"
            raise UserError(
                f"radii {path}: no such file{where}; `iaat radii RUN` writes one for a run with radii"
            ) from None
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
            raise UserError(
                f"radii {path}: no table with the columns index, label_id and radius, as `iaat radii RUN` writes it"
            ) from None
        norm = (table.schema.metadata or {}).get(b"norm")
        found = cls(str(path), index, label, radius, None if norm is None else norm.decode(errors="replace"))
        found._check()
        return found

    def _check(self) -> None:
        if not len(self.index):
            raise UserError(f"radii {self.name}: the table has no rows")
        if {self.index.dtype, self.label.dtype} != {torch.int64} or not self.radius.is_floating_point():
            raise UserError(f"radii {self.name}: index and label_id must be whole numbers, radius a number")
        if int(self.index.min()) < 0 or len(torch.unique(self.index)) < len(self.index):
            raise UserError(f"radii {self.name}: an index is negative or occurs twice")
        if not bool((self.radius.isfinite() & (self.radius >= 0)).all()):
            raise UserError(f"radii {self.name}: a radius is negative or not finite")

    def check_data(self, key: str, data: str, size: int, labels: Tensor | None = None) -> None:
        """Refuse a table of other data.

        Args:
            key: What names the file, for messages.
            data: Name of the data that is to be trained on.
            size: Number of its samples.
            labels: Labels `[n]` of the first of them, where they are known.

        Raises:
            UserError: the table has samples that the data lacks, or too many of other classes (see `check_labels`).
        """
        lost = self.index[self.index >= size].sort().values.tolist()
        if lost:
            raise UserError(
                f"{key} {self.name}: these are radii of other data: {len(self.index):,} samples up to index "
                f"{lost[-1]}, of which {data} with its {size:,} training samples lacks {len(lost):,} "
                f"({_some(lost)}): {_fix(key)}"
            )
        if labels is not None:
            self.check_labels(torch.arange(len(labels)), labels, key=key, data=data)

    def check_norm(self, key: str, norm: str | None) -> None:
        """Refuse radii of another norm, where both are known: an L2 radius of 0.5 would be an L-inf radius of 128px.

        Raises:
            UserError: naming both.
        """
        if None not in (self.norm, norm) and self.norm != norm:
            raise UserError(
                f"{key} {self.name}: these are radii in {shown(self.norm)}, and method.norm is {norm}: give the radii "
                f"of a run in {norm}, or leave {key} out"
            )

    def shuffled(self, seed: int) -> RadiiTable:
        """Table with the same samples and their radii in a random order."""
        order = permutation(len(self.radius), seed=seed, epoch=0)
        return replace(self, radius=self.radius[order])

    def dense(self, size: int, rest: float) -> Tensor:
        """Radii `[size]` float32 by index; samples that are not in the table have `rest`.

        Raises:
            UserError: the table has a sample beyond the data set.
        """
        self.check_size(size)
        values = torch.full((size,), rest)
        values[self.index] = self.radius.float()
        return values

    def check_size(self, size: int) -> None:
        """Refuse a table with samples beyond a data set of `size` samples.

        Raises:
            UserError: naming the last of them.
        """
        if int(self.index.max()) >= size:
            raise UserError(
                f"radii {self.name}: list sample {int(self.index.max())}, but the data has {size:,} samples: give the "
                "radii of a run on this data"
            )

    def check_batch(self, index: Tensor, y: Tensor) -> None:
        """As `check_labels`, of a batch: a few samples say nothing.

        Raises:
            UserError: as there.
        """
        self.check_labels(index, y, least=_LEAST)

    def check_labels(
        self, index: Tensor, y: Tensor, *, key: str = "radii", data: str = "the data", least: int = 1
    ) -> None:
        """Compare the labels `y` `[B]` of the samples `index` `[B]` with the table, where it has them.

        A few may differ, because labels can be corrected between two runs.

        Args:
            index: Positions in the data set.
            y: Class numbers.
            key: What names the file, for messages.
            data: Name of the data, for messages.
            least: How many of them the table has to have; fewer say nothing.

        Raises:
            UserError: more than a quarter of them differ: the radii belong to other data.
        """
        index, y = index.cpu(), y.cpu()
        ordered, order = self.index.sort()
        place = torch.searchsorted(ordered, index).clamp_max(len(ordered) - 1)
        listed = self.label[order][place]
        known = (ordered[place] == index) & (listed != UNKNOWN)
        differing, compared = (known & (listed != y)).nonzero()[:, 0], int(known.sum())
        if compared < least or len(differing) <= _CORRECTED * compared:
            return
        row = int(differing[0])
        raise UserError(
            f"{key} {self.name}: these are radii of other data: {len(differing):,} of {compared:,} samples have "
            f"another class in {data}, such as sample {int(index[row])} (class {int(listed[row])} in the file, "
            f"{int(y[row])} in the data): {_fix(key)}"
        )


_LEAST = 8
"""How many labels of a batch say something: of fewer, a quarter is one or none."""

_CORRECTED = 0.25
"""Fraction of the labels that may have been corrected; of other data with two classes half of them differ."""

_MOST_NAMED = 3


def _fix(key: str) -> str:
    """What to do about radii of other data."""
    return f"give the radii of a run on this data, or leave {key} out"


def _some(numbers: list[int]) -> str:
    """The first few numbers."""
    return ", ".join(map(str, numbers[:_MOST_NAMED])) + (", ..." if len(numbers) > _MOST_NAMED else "")
