"""Finished units of work of one evaluation, on disk, so that an interrupted one goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any, TypeVar

from iaat.errors import UserError
from iaat.files import append_json_line, read_json_lines, write_text

T = TypeVar("T")


class Journal:
    """Remembers the value of every unit of work, a plain value under a name, in a JSON-lines file.

    The first line says what is evaluated and how. A journal of anything else is started anew, so that values never
    mix; a last line that a crash cut short is dropped, and its unit done again.

    Args:
        path: The file; None keeps the values in memory only.
        identity: Plain values that decide every unit's value: model, data, attack, seed.
    """

    def __init__(self, path: Path | None, identity: dict[str, Any]) -> None:
        self._path = path
        self._prefix = ""
        self._values: dict[str, Any] = {}
        if path is None:
            return
        records = _records(path)
        # Compared as JSON has it, where a tuple is a list.
        if records and records[0] == json.loads(json.dumps(identity)):
            self._values = {record["unit"]: record["value"] for record in records[1:]}
        lines = [identity, *({"unit": key, "value": value} for key, value in self._values.items())]
        write_text(path, "".join(json.dumps(line) + "\n" for line in lines))

    def __contains__(self, key: str) -> bool:
        return self._prefix + key in self._values

    def __len__(self) -> int:
        """Number of finished units, of all parts."""
        return len(self._values)

    def unit(self, key: str, compute: Callable[[], T]) -> T:
        """The value of a unit: remembered, or computed now and written before it is given out."""
        key = self._prefix + key
        if key not in self._values:
            computed = compute()
            if self._path is not None:
                append_json_line(self._path, {"unit": key, "value": computed})
            self._values[key] = computed
        value: T = self._values[key]
        return value

    def part(self, name: str) -> Journal:
        """The same journal, with `name` in front of every unit's name."""
        part = copy(self)
        part._prefix = f"{self._prefix}{name}/"
        return part


def _records(path: Path) -> list[dict[str, Any]]:
    """What the file holds; nothing where it is damaged, because everything in it can be computed again."""
    try:
        return read_json_lines(path)
    except (UserError, UnicodeDecodeError):
        return []
