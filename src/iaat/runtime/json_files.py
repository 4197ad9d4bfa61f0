"""The one reader of JSON and JSON-lines files: each value is checked to be of the type that its readers rely on."""

from __future__ import annotations

import json
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NotRequired, TypeVar, Union, cast, get_args, get_origin, get_type_hints, is_typeddict

from iaat.errors import UserError, shown
from iaat.runtime.text import cut

T = TypeVar("T")

_MOST_DIGITS = 300
"""Of a whole number: longer ones are no floats, and take the longer to read the longer they are."""

_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}


class DamagedFileError(UserError):
    """A file does not hold what its writer put there; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Lines(Generic[T]):
    """What a JSON-lines file holds.

    Attributes:
        records: Of every line that could be read, in order.
        damage: For each line that could not: file, line, and why.
        cut: The same of a last line without an end, which a crash leaves, or a writer that is at it; None: it has one.
    """

    records: list[T]
    damage: list[str]
    cut: str | None = None

    def warn(self, consequence: str) -> None:
        """Warn of the lines that could not be read, if any, and of what that means."""
        if self.damage:
            more = f" (and {len(self.damage) - 1} more lines)" if len(self.damage) > 1 else ""
            warnings.warn(f"{self.damage[0]}{more}; {consequence}", stacklevel=3)


def read_json(path: Path, kind: type[T]) -> T:
    """The value of a JSON file.

    Args:
        path: The file.
        kind: The type it must have: a plain type, a container of types or a `TypedDict`, which may have more keys.

    Raises:
        DamagedFileError: it holds anything else.
        UserError: it is missing, or cannot be read.
    """
    try:
        return parse_json(_content(path), kind)
    except _UnfitError as error:
        raise DamagedFileError(f"{path} is damaged: {error}") from None


def read_json_lines(path: Path, kind: type[T], find_damage: Callable[[T], str | None] = lambda _: None) -> Lines[T]:
    """The records of a JSON-lines file that can be read, and what is wrong with the others; none without a file.

    Args:
        path: The file.
        kind: The type of each, as for `read_json`.
        find_damage: What is wrong with a record that has this type; None: nothing.

    Raises:
        UserError: the file cannot be read at all.
    """
    if not path.exists():
        return Lines([], [])
    *lines, rest = _content(path).split(b"\n")
    records, damage = [], []
    for number, line in enumerate(lines, start=1):
        try:
            record = parse_json(line, kind)
            if reason := find_damage(record):
                raise _UnfitError(reason)
            records.append(record)
        except _UnfitError as error:
            damage.append(f"{path}, line {number} is damaged: {error}")
    return Lines(records, damage, f"{path}, line {len(lines) + 1} is cut off" if rest else None)


def parse_json(text: bytes, kind: type[T]) -> T:
    """A value of JSON of the type `kind`.

    Raises:
        ValueError: it is none.
    """
    try:
        value = json.loads(text.decode(), parse_int=_whole)
    except UnicodeDecodeError:
        raise _UnfitError("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _UnfitError(f"it is not JSON ({error.msg}, character {error.pos + 1})") from None
    except RecursionError:
        raise _UnfitError("it is nested too deeply") from None
    _check(value, kind, "")
    return cast("T", value)


class _UnfitError(ValueError):
    """Text that is no JSON, or a value that is not of the type it must have."""


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe would never end
            raise UserError(f"{path} is {'no file' if path.exists() else 'missing'}")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise _UnfitError(f"it has a number of {len(digits)} digits")
    return int(digits)


def _check(value: object, kind: Any, place: str) -> None:  # noqa: ANN401
    """Refuse a value that is not of a type; `place` is where it stands, such as `accuracy.clean`."""
    if kind is Any:
        return
    origin, parts = get_origin(kind) or kind, get_args(kind)
    if origin in (Union, types.UnionType):  # a type or None: JSON has no other here
        if value is not None:
            _check(value, next(part for part in parts if part is not type(None)), place)
    elif is_typeddict(kind):
        _check_record(value, kind, place)
    elif origin is dict and isinstance(value, dict):
        for key, inner in value.items():
            _check(inner, parts[1], _inside(place, key))
    elif origin is list and isinstance(value, list):
        for number, inner in enumerate(value):
            _check(inner, parts[0], _inside(place, number))
    elif not _is_plain(value, origin):
        raise _UnfitError(f"{place or 'it'} is {shown(value)}, not {_name(kind)}")


def _is_plain(value: object, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return kind in _NAMES and isinstance(value, kind)


def _check_record(value: object, kind: Any, place: str) -> None:  # noqa: ANN401
    if not isinstance(value, dict):
        raise _UnfitError(f"{place or 'it'} is {shown(value)}, not a record")
    for key, (inner, needed) in _fields(kind):
        if key in value:
            _check(value[key], inner, _inside(place, key))
        elif needed:
            raise _UnfitError(f"{_inside(place, key)} is missing")


def _fields(kind: Any) -> Iterator[tuple[str, tuple[Any, bool]]]:  # noqa: ANN401
    """The keys of a `TypedDict`, each with its type and whether it must be there."""
    for key, hint in get_type_hints(kind, include_extras=True).items():
        optional = get_origin(hint) is NotRequired
        yield key, (get_args(hint)[0] if optional else hint, not optional)


def _inside(place: str, key: object) -> str:
    text = cut(str(key), 60)
    return f"{place}.{text}" if place else text


def _name(kind: Any) -> str:  # noqa: ANN401
    if kind in _NAMES:
        return _NAMES[kind]
    return "a record" if get_origin(kind) is dict or kind is dict else "a list"
