"""Journal of an evaluation: finished batches and sections, by which an interrupted evaluation resumes."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from typing_extensions import TypedDict

from iaat.errors import UserError
from iaat.runtime.distributed import ALONE, Ranks
from iaat.runtime.files import append_json_line, write_text
from iaat.runtime.json_files import Lines, read_json_lines
from iaat.runtime.signals import Stop

T = TypeVar("T")

_IDENTITY = "identity"
"""Name of the first line, which identifies the evaluation."""


@dataclass(frozen=True)
class Known:
    """Another journal to take values from.

    Attributes:
        path: Its file.
        identity: What its first line must say; others are passed over.
        units: Names of the units that are taken, without the numbers of batches (`NAME#0`, `NAME#1`, ...); None: all.
    """

    path: Path
    identity: dict[str, Any]
    units: frozenset[str] | None = None

    def wants(self, unit: str) -> bool:
        """Whether a unit is taken."""
        return self.units is None or unit.partition("#")[0] in self.units


def identity_of(path: Path) -> Any:  # noqa: ANN401
    """What the first line of a journal says of it; None where it cannot be read."""
    records = _lines(path).records
    return records[0]["value"] if records and records[0]["unit"] == _IDENTITY else None


class _Line(TypedDict):
    unit: str
    value: Any
    crc32: str


class Journal:
    """JSON-lines file with the value of every finished unit of work, a plain value under a name.

    The first line identifies the evaluation. A journal of another one is started anew, so that values never mix. Every
    line has a checksum. The unit of a damaged line is computed again, with a warning; that of a last line which a crash
    cut short, without one.

    Where several processes evaluate together, all have the same values. The main one writes the file. Each other one
    keeps what it has finished in a file of its own beside it, `journal-1.jsonl`, from which a journal that is opened
    later takes it, in whatever number of processes.

    Args:
        path: The file; None keeps the values in memory only.
        identity: Plain values that decide every unit's value: model, data, attack, seed; those of the main process.
        known: Other journals to take values from.
        ranks: The processes that evaluate together; all make the same calls.

    Attributes:
        taken: The other journals that values were taken from, in the main process.

    Raises:
        UserError: the file cannot be written.
    """

    def __init__(
        self, path: Path | None, identity: dict[str, Any], known: Sequence[Known] = (), ranks: Ranks = ALONE
    ) -> None:
        self._path = path
        self.ranks = ranks
        self._prefix = ""
        self._values: dict[str, Any] = {}
        self.taken: list[Known] = []
        if path is None:
            return
        ranks.on_main(lambda: self._open(path, identity, known))
        if ranks.several:
            mine = json.dumps([identity, self._values])
            identity, self._values = json.loads(ranks.broadcast_text(mine))
        if not ranks.main:
            self._path = self._begin_part(path, identity)

    def _open(self, path: Path, identity: dict[str, Any], known: Sequence[Known]) -> None:
        """Take the values of the files there are, and write all of them into one."""
        for file in (path, *_parts(path)):
            self._values |= _values(_records(file), identity)
        for each in known:
            values = _values(_lines(each.path).records, each.identity)
            new = {unit: value for unit, value in values.items() if each.wants(unit) and unit not in self._values}
            self._values |= new
            self.taken += [each] if new else []
        lines = [_line(_IDENTITY, identity), *(_line(unit, value) for unit, value in self._values.items())]
        write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
        self._remove_parts()

    def _begin_part(self, path: Path, identity: dict[str, Any]) -> Path | None:
        """The file of this process; None where it does not see the folder of the main one."""
        if not path.exists():
            return None
        own = path.with_name(f"{path.stem}-{self.ranks.rank}{path.suffix}")
        write_text(own, json.dumps(_line(_IDENTITY, identity)) + "\n")
        return own

    def _remove_parts(self) -> None:
        if self._path is not None:
            for part in _parts(self._path):
                part.unlink(missing_ok=True)

    def __contains__(self, key: str) -> bool:
        return self._prefix + key in self._values

    def __len__(self) -> int:
        """Number of finished units, of all parts."""
        return len(self._values)

    def unit(self, key: str, compute: Callable[[], T]) -> T:
        """The value of a unit: from the file, or computed now, by the main process, and written before it is returned.

        Raises:
            UserError: it cannot be computed, in every process.
        """
        if key not in self:
            self._keep_together({key: self.ranks.from_main(compute)})
        value: T = self._values[self._prefix + key]
        return value

    def totals(self, key: str, compute: Callable[[], Sequence[int]]) -> list[int]:
        """The values of a unit that are the sums of what each process computes, numbers of samples.

        Raises:
            UserError: one cannot compute its part, in every process.
        """
        if key not in self:
            part = self.ranks.each(compute)
            whole = self.ranks.sum_(torch.tensor(list(part))).tolist()
            self._keep_together({key: whole})
        value: list[int] = self._values[self._prefix + key]
        return value

    def units(
        self, keys: Sequence[str], compute: Callable[[Sequence[int]], Iterable[T]], stop: Stop | None = None
    ) -> list[T]:
        """The values of units that the processes share out: each from the file, or computed by one of them.

        Args:
            keys: Names of the units.
            compute: Gives the values of the units with the numbers it gets, one after another.
            stop: Asked after every unit where there are several processes, which then stop together. Without it they
                wait for each other without a timeout.

        Raises:
            UserError: one cannot be computed, also by another process.
            Stopped: a stop was asked for, in whichever process.
        """
        missing = self.missing(keys)
        own = missing[self.ranks.rank :: self.ranks.world]
        found, error = {}, None
        try:
            for number, value in zip(own, compute(own) if own else (), strict=True):
                self._keep(keys[number], value)
                found[number] = value
                if self.ranks.several and stop is not None and stop.requested:
                    break
        except UserError as failed:
            error = failed
        if missing:
            self._exchange(keys, found, error, stop)
        return [self._values[self._prefix + key] for key in keys]

    def missing(self, keys: Sequence[str]) -> list[int]:
        """Numbers of the units that are not finished, the same in all processes."""
        return [number for number, key in enumerate(keys) if key not in self]

    def _exchange(self, keys: Sequence[str], found: dict[int, Any], error: UserError | None, stop: Stop | None) -> None:
        """Exchange the values that each process has found."""
        if stop is None:
            self.ranks.wait_for_all()
        self.ranks.raise_together(error)
        if not self.ranks.several:
            return
        if stop is not None and self.ranks.any(stop.requested is not None)[0]:
            raise stop.stopped()
        merged = self.ranks.all_gather_dict(found)
        # Those of its own the main process has written already.
        self._keep_together({keys[number]: merged[number] for number in sorted(merged.keys() - found.keys())})

    def _keep(self, key: str, value: Any) -> None:  # noqa: ANN401
        """Keep the value of a unit that this process has computed."""
        self._write({key: value})
        self._values[self._prefix + key] = value

    def _keep_together(self, values: dict[str, Any]) -> None:
        """Keep values that all processes have; the main one writes them."""
        self.ranks.on_main(lambda: self._write(values))
        self._values |= {self._prefix + key: value for key, value in values.items()}

    def _write(self, values: dict[str, Any]) -> None:
        if self._path is not None and values:
            append_json_line(self._path, *(_line(self._prefix + key, value) for key, value in values.items()))

    def finish(self) -> None:
        """Remove the files of the other processes: all values are in that of the main one."""
        if self.ranks.main:
            self._remove_parts()

    def part(self, name: str) -> Journal:
        """The same journal, with `name` in front of every unit's name."""
        part = copy(self)
        part._prefix = f"{self._prefix}{name}/"
        return part


def _parts(path: Path) -> list[Path]:
    """Files of the processes other than the main one, left by an evaluation that was interrupted."""
    return sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"))


def _line(unit: str, value: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"unit": unit, "value": value, "crc32": _checksum(unit, value)}


def _checksum(unit: str, value: Any) -> str:  # noqa: ANN401
    """CRC-32 of the values as JSON: a digit that changed on the disk is JSON, too."""
    return f"{zlib.crc32(json.dumps([unit, value]).encode()):08x}"


def _records(path: Path) -> list[_Line]:
    """The lines that are as they were written, with a warning of the others."""
    lines = _lines(path)
    lines.warn("computed again")
    return lines.records


def _lines(path: Path) -> Lines[_Line]:
    return read_json_lines(path, _Line, _damage)


def _values(records: Sequence[_Line], identity: dict[str, Any]) -> dict[str, Any]:
    """The values of units, where the lines are of a journal with this identity."""
    # Compared as JSON has it, where a tuple is a list.
    if not records or records[0] != json.loads(json.dumps(_line(_IDENTITY, identity))):
        return {}
    return {line["unit"]: line["value"] for line in records[1:]}


def _damage(line: _Line) -> str | None:
    return None if line["crc32"] == _checksum(line["unit"], line["value"]) else "its checksum differs"
