"""Journal of an evaluation: finished batches and sections, by which an interrupted evaluation resumes."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any, TypeVar

from typing_extensions import TypedDict

from iaat.runtime.files import append_json_line, write_text
from iaat.runtime.json_files import read_json_lines

T = TypeVar("T")

_IDENTITY = "identity"
"""Name of the first line, which identifies the evaluation."""


class _Line(TypedDict):
    unit: str
    value: Any
    crc32: str


class Journal:
    """JSON-lines file with the value of every finished unit of work, a plain value under a name.

    The first line identifies the evaluation. A journal of another one is started anew, so that values never mix. Every
    line has a checksum. The unit of a damaged line is computed again, with a warning; that of a last line which a crash
    cut short, without one.

    Args:
        path: The file; None keeps the values in memory only.
        identity: Plain values that decide every unit's value: model, data, attack, seed.
        known: File of another journal, to take values from where it has the same identity.
    """

    def __init__(self, path: Path | None, identity: dict[str, Any], known: Path | None = None) -> None:
        self._path = path
        self._prefix = ""
        self._values: dict[str, Any] = {}
        if path is None:
            return
        for file in (known, path):
            records = [] if file is None else _records(file)
            # Compared as JSON has it, where a tuple is a list.
            if records and records[0] == json.loads(json.dumps(_line(_IDENTITY, identity))):
                self._values |= {record["unit"]: record["value"] for record in records[1:]}
        lines = [_line(_IDENTITY, identity), *(_line(unit, value) for unit, value in self._values.items())]
        write_text(path, "".join(json.dumps(line) + "\n" for line in lines))

    def __contains__(self, key: str) -> bool:
        return self._prefix + key in self._values

    def __len__(self) -> int:
        """Number of finished units, of all parts."""
        return len(self._values)

    def unit(self, key: str, compute: Callable[[], T]) -> T:
        """The value of a unit: from the file, or computed now and written before it is returned."""
        key = self._prefix + key
        if key not in self._values:
            computed = compute()
            if self._path is not None:
                append_json_line(self._path, _line(key, computed))
            self._values[key] = computed
        value: T = self._values[key]
        return value

    def part(self, name: str) -> Journal:
        """The same journal, with `name` in front of every unit's name."""
        part = copy(self)
        part._prefix = f"{self._prefix}{name}/"
        return part


def _line(unit: str, value: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"unit": unit, "value": value, "crc32": _checksum(unit, value)}


def _checksum(unit: str, value: Any) -> str:  # noqa: ANN401
    """CRC-32 of the values as JSON: a digit that changed on the disk is JSON, too."""
    return f"{zlib.crc32(json.dumps([unit, value]).encode()):08x}"


def _records(path: Path) -> list[_Line]:
    """The lines that are as they were written."""
    lines = read_json_lines(path, _Line, _damage)
    lines.warn("computed again")
    return lines.records


def _damage(line: _Line) -> str | None:
    return None if line["crc32"] == _checksum(line["unit"], line["value"]) else "its checksum differs"
