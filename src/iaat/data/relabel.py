"""Corrected training labels from a table of decisions, such as the page of `iaat report` saves: `data.relabel`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from iaat.data.decisions_file import Decision, read_decisions
from iaat.data.notices import Notice, Notices
from iaat.data.raw_split import RawSplit
from iaat.data.sample_checks import check_classes
from iaat.data.sample_log import SampleLog, SampleRecord
from iaat.errors import UserError, did_you_mean, shown
from iaat.runtime.files import encodable

T = TypeVar("T")

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Spreadsheets take text that begins so for a formula, so it has an apostrophe before it in files of ours."""


@dataclass(frozen=True, slots=True)
class Corrections:
    """Checked decisions on a data set.

    Attributes:
        where: Names the table in messages.
        index: `[m]` int64, samples that change their labels.
        labels: `[m]` int64, the new ones.
        rows: Rows of the table by decision.
    """

    where: str
    index: Tensor
    labels: Tensor
    rows: Counter[str]

    def notices(self, train: Tensor | None = None, validation: Tensor | None = None) -> Notices:
        """How many labels are changed, of samples for training and for validation where these are known."""
        details: dict[str, int] = {}
        if train is not None and validation is not None:
            counts = [int(torch.isin(self.index, part).sum()) for part in (train, validation)]
            names = ("training", "validation", "left out by data.limit")
            counts.append(len(self.index) - sum(counts))
            details = {name: count for name, count in zip(names, counts, strict=True) if count}
        return Notices([Notice(self.where, "relabelled", len(self.index), details=details, of=self.rows.total())])


def corrections(file: Path, split: RawSplit) -> Corrections:
    """Read a table of decisions and check it against the training data.

    A sample is found by its path, or by its index where it has none; where both are given they have to agree. Classes
    are names, or numbers where no class has this name; so of classes that share a name. A sample that a row relabels
    may have another row below, which begins with the new label: so tables of several rounds of review are put together.

    Args:
        file: See `read_decisions`.
        split: The training data, with the labels that it was stored with.

    Raises:
        UserError: A sample or class is not there, twice, or has another label; the message has file, row and value.
    """
    table = _Table(split)
    rows, places = Counter[str](), dict[int, str]()
    for row in read_decisions(file):
        position = table.position(row)
        if position in places and position not in table.changed:
            raise UserError(f"{row.place}: {table.name(position)} has a row already, {places[position]}: remove one")
        places[position] = row.place.rpartition(": ")[2]
        rows[row.decision] += 1
        table.apply(row, position)
    # A label that came back to what is stored is no change.
    changed = sorted(position for position, label in table.changed.items() if label != int(split.labels[position]))
    index = torch.tensor(changed, dtype=torch.int64)
    labels = torch.tensor([table.changed[position] for position in changed], dtype=torch.int64)
    return Corrections(f"data.relabel={file}", index, labels, rows)


class _Table:
    """Samples and classes of the training data by what a table calls them, with the labels changed so far."""

    def __init__(self, split: RawSplit) -> None:
        self._split = split
        self._size = len(split) - split.validation_size
        self._places = {encodable(path): place for place, path in enumerate(split.paths or ())}
        names = [encodable(name) for name in split.classes]
        numbers: dict[str, list[int]] = {}
        for number, name in enumerate(names):
            numbers.setdefault(name, []).append(number)
        self._classes = {name: found[0] for name, found in numbers.items() if len(found) == 1}
        self._repeated = {name: found for name, found in numbers.items() if len(found) > 1}
        self.changed: dict[int, int] = {}

    def name(self, position: int) -> str:
        """A sample as messages name it."""
        return f"sample {position}" if self._split.paths is None else f"{self._split.paths[position]} ({position})"

    def position(self, row: Decision) -> int:
        """Position of the sample of a row."""
        if row.path and self._split.paths is not None:
            position = _look_up(self._places, row.path)
            if position is None:
                near = did_you_mean(row.path, self._places) if len(self._places) < 10_000 else ""
                raise UserError(
                    f"{row.place}: {self._split.where}: there is no file {shown(row.path)}{near}: remove the row"
                )
            if row.index and row.index != str(position):
                raise UserError(
                    f"{row.place}: {shown(row.path)} is sample {position} here, not {shown(row.index)}: the data has"
                    " changed since the table was made; without the column index samples are found by path"
                )
        else:
            position = self._by_index(row)
        if position >= self._size:
            raise UserError(
                f"{row.place}: {self.name(position)} is of the separate validation data, which data.relabel leaves as"
                " it is: correct its label there, and remove the row"
            )
        return position

    def _by_index(self, row: Decision) -> int:
        if not row.index:
            raise UserError(f"{row.place}: neither index nor path names a sample: give one")
        if not (row.index.isascii() and row.index.isdigit()) or int(row.index) >= len(self._split):
            raise UserError(
                f"{row.place}: index is {shown(row.index)}, but the samples of {self._split.where} are 0 to"
                f" {len(self._split) - 1}: remove the row, or use the table of this data"
            )
        return int(row.index)

    def apply(self, row: Decision, position: int) -> None:
        """Check the label of a row against that of the data, and change it where the row says so."""
        own = self.changed.get(position, int(self._split.labels[position]))
        label = own if own in self._twins(row.label) else self._class(row, "label", row.label)
        new = self._class(row, "new_label", row.new_label) if row.new_label.strip() else None
        if label != own:
            raise UserError(
                f"{row.place}: label is {shown(row.label)}, but {self.name(position)} has the label"
                f" {shown(self._split.classes[own])}: the table is of other data, or the label was corrected there;"
                " remove the row"
            )
        if row.decision != "relabel":
            return
        if new is None:
            raise UserError(f"{row.place}: decision is relabel, but new_label is empty: give the class")
        if new == own:
            raise UserError(f"{row.place}: new_label is {shown(row.new_label)}, as label: write keep, or another class")
        self.changed[position] = new

    def _class(self, row: Decision, column: str, value: str) -> int:
        number, names = _look_up(self._classes, value), self._split.classes
        if twins := self._twins(value):
            raise UserError(
                f"{row.place}: {column} is {shown(value)}, which is the name of the classes"
                f" {', '.join(map(str, twins))}: give the number of the one that is meant"
            )
        if number is None and (text := value.strip()).isascii() and text.isdigit() and int(text) < len(names):
            number = int(text)
        if number is None:
            raise UserError(
                f"{row.place}: {column} is {shown(value)}, which is no class: give one of"
                f" {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}{did_you_mean(value, names)}"
            )
        return number

    def _twins(self, value: str) -> list[int]:
        """Numbers of the classes of a name that several have, as two of ImageNet's; empty for others."""
        return _look_up(self._repeated, value) or []


def _look_up(places: Mapping[str, T], value: str) -> T | None:
    """Find a name as it is written, without blanks around it, or without the apostrophe before a formula."""
    bare = value[1:] if value.startswith("'") and value[1:].startswith(_FORMULA) else value
    return next((places[each] for each in (value, value.strip(), bare) if each in places), None)


class RelabelledSplit(RawSplit):
    """A split with other labels, which reads its inputs from the original one.

    Args:
        split: The original split.
        labels: `[N]` int64, its labels from now on.
    """

    def __init__(self, split: RawSplit, labels: Tensor) -> None:
        self._split = split
        self.labels, self.classes, self.paths = labels, split.classes, split.paths
        self.shape, self.sample_bytes, self.resident = split.shape, split.sample_bytes, split.resident
        self.complete, self.deterministic, self.where = split.complete, split.deterministic, split.where
        self.validation_size, self.notices = split.validation_size, split.notices

    def read(self, position: int, draws: Sequence[float] | None = None) -> tuple[Tensor, int]:
        """One input and its corrected class id."""
        return self._split.read(position, draws)[0], int(self.labels[position])

    def read_with_record(self, position: int, draws: Sequence[float] | None = None) -> tuple[Tensor, int, SampleRecord]:
        """One input, its corrected class id and its record."""
        x, _, record = self._split.read_with_record(position, draws)
        return x, int(self.labels[position]), record

    def load(self, index: Tensor, sample_log: SampleLog | None = None) -> Tensor:
        """Inputs of these samples, as the original split loads them."""
        return self._split.load(index, sample_log)


def relabelled(file: str | None, split: RawSplit) -> tuple[RawSplit, Corrections | None]:
    """The training data with corrected labels, and the corrections; as it is where there is no table.

    Args:
        file: Path of the table, `data.relabel`.
        split: The training data as it is stored.

    Raises:
        UserError: as `corrections`; or a class has no sample left.
    """
    if file is None:
        return split, None
    found = corrections(Path(file), split)
    labels = split.labels.clone()
    labels[found.index] = found.labels
    where = f"{found.where}: {split.where} with corrected labels"
    check_classes(labels, split.classes, where=where, complete=split.complete)
    return RelabelledSplit(split, labels), found
