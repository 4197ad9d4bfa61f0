"""JSON and JSON-lines files, read as typed values: plain ones, `TypedDict`s or dataclasses."""

from __future__ import annotations

import json
import math
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NotRequired,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from iaat.errors import UserError, shown
from iaat.runtime.text import cut
from iaat.units import Radius

T = TypeVar("T")

_MOST_DIGITS = 300
"""Of a whole number: longer ones are no floats, and take the longer to read the longer they are."""

_ROUNDING = 1e-9

_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}


class DamagedFileError(UserError):
    """A file does not hold what its writer put there; the message names file and line."""


Rule = Callable[[Any], str | None]
"""What is wrong with a value, such as `is 7, not a number from 0 to 1`; used as `Annotated[float, between(0, 1)]`."""


def between(low: float, high: float = math.inf) -> Rule:
    """Rule for finite numbers from `low` to `high`, up to rounding."""
    name = f"a number from {low:g} to {high:g}" if high < math.inf else f"a finite number of at least {low:g}"

    def find_fault(value: float) -> str | None:
        known = math.isfinite(value) and low - _ROUNDING <= value <= high + _ROUNDING
        return None if known else f"is {shown(value)}, not {name}"

    return find_fault


Finite = Annotated[float, between(-math.inf)]
NonNegative = Annotated[float, between(0)]
Fraction = Annotated[float, between(0, 1)]
Count = Annotated[int, between(0)]


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


def read_json(path: Path, kind: type[T], upgrade: Callable[[Any], Any] = lambda value: value) -> T:
    """The value of a JSON file.

    Args:
        path: The file.
        kind: The type it must have: plain, a container, a dataclass, or a `TypedDict`. Unknown keys are left out of
            dataclasses and kept in a `TypedDict`.
        upgrade: Brings a value of an older version to the present form.

    Raises:
        DamagedFileError: it holds anything else.
        UserError: it is missing, cannot be read, or `upgrade` refuses it.
    """
    content = _content(path)
    try:
        return from_json(upgrade(_loaded(content)), kind)
    except UnfitError as error:
        raise DamagedFileError(f"{path} is damaged: {error}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_json_lines(
    path: Path,
    kind: type[T],
    find_damage: Callable[[T], str | None] = lambda _: None,
    *,
    upgrade: Callable[[Any], Any] = lambda value: value,
) -> Lines[T]:
    """The records of a JSON-lines file that can be read, and what is wrong with the others; none without a file.

    Args:
        path: The file.
        kind: The type of each, as for `read_json`.
        find_damage: What is wrong with a record that has this type; None: nothing.
        upgrade: Brings a line to the form of the type, such as one of an older version.

    Raises:
        UserError: the file cannot be read at all.
    """
    if not path.exists():
        return Lines([], [])
    *lines, rest = _content(path).split(b"\n")
    records, damage = [], []
    for number, line in enumerate(lines, start=1):
        try:
            record = from_json(upgrade(_loaded(line)), kind)
            if reason := find_damage(record):
                raise UnfitError(reason)
            records.append(record)
        except UnfitError as error:
            damage.append(f"{path}, line {number} is damaged: {error}")
    return Lines(records, damage, f"{path}, line {len(lines) + 1} is cut off" if rest else None)


def parse_json(text: bytes, kind: type[T]) -> T:
    """A value of JSON of the type `kind`.

    Raises:
        ValueError: it is none.
    """
    return from_json(_loaded(text), kind)


def from_json(value: object, kind: type[T]) -> T:
    """A plain value, as JSON has it, as a value of the type `kind`; see `read_json`.

    Raises:
        ValueError: it does not fit.
    """
    return cast("T", _converted(value, kind, ""))


def to_json(value: Any) -> dict[str, Any]:  # noqa: ANN401
    """A dataclass as plain values; fields that are None are left out."""
    return asdict(value, dict_factory=lambda items: {key: item for key, item in items if item is not None})


def _loaded(text: bytes) -> Any:  # noqa: ANN401
    try:
        return json.loads(text.decode(), parse_int=_whole)
    except UnicodeDecodeError:
        raise UnfitError("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise UnfitError(f"it is not JSON ({error.msg}, character {error.pos + 1})") from None
    except RecursionError:
        raise UnfitError("it is nested too deeply") from None


class UnfitError(ValueError):
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
        raise UnfitError(f"it has a number of {len(digits)} digits")
    return int(digits)


def _converted(value: Any, kind: Any, place: str) -> Any:  # noqa: ANN401
    """A value as its type has it; `place` is where it stands, such as `accuracy.clean`."""
    if kind is Any:
        return value
    origin, parts = get_origin(kind) or kind, get_args(kind)
    if origin is Annotated:
        converted = _converted(value, parts[0], place)
        if reason := parts[1](value):
            raise UnfitError(f"{place or 'it'} {reason}")
        return converted
    if origin in (Union, types.UnionType):  # a type or None: JSON has no other here
        inner = next(part for part in parts if part is not type(None))
        return None if value is None else _converted(value, inner, place)
    if is_typeddict(kind):
        return {**_record(value, place), **_items(value, _typed_keys(kind), place)}
    if is_dataclass(kind):
        return _instance(_record(value, place), kind, place)
    if origin is dict and isinstance(value, dict):
        return {_key(key, parts[0], place): _converted(value[key], parts[1], _inside(place, key)) for key in value}
    if origin in (list, tuple) and isinstance(value, list | tuple):
        return _sequence(value, origin, parts, place)
    if (origin is Literal and value in parts) or _is_plain(value, origin):
        return value
    if origin is Radius and isinstance(value, str):
        return _made(lambda: Radius(value), place)
    raise UnfitError(f"{place or 'it'} is {shown(value)}, not {_name(kind)}")


def _key(text: str, kind: type, place: str) -> str | int:
    if kind is str or text.isdecimal():
        return text if kind is str else int(text)
    raise UnfitError(f"{_inside(place, text)}: {shown(text)} is not a whole number")


def _sequence(value: Sequence[Any], kind: type, parts: tuple[Any, ...], place: str) -> Any:  # noqa: ANN401
    inner = parts if kind is tuple and parts[1] is not ... else parts[:1] * len(value)
    if len(value) != len(inner):
        raise UnfitError(f"{place or 'it'} has {len(value)} entries, not {len(inner)}")
    pairs = enumerate(zip(value, inner, strict=True))
    return kind(_converted(each, part, _inside(place, number)) for number, (each, part) in pairs)


def _is_plain(value: object, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return kind in _NAMES and isinstance(value, kind)


def _record(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnfitError(f"{place or 'it'} is {shown(value)}, not a record")
    return value


def _items(value: dict[str, Any], keys: Iterator[tuple[str, Any, bool]], place: str) -> dict[str, Any]:
    """The known keys of a record with their values."""
    found = {}
    for key, kind, needed in keys:
        if key in value:
            found[key] = _converted(value[key], kind, _inside(place, key))
        elif needed:
            raise UnfitError(f"{_inside(place, key)} is missing")
    return found


def _typed_keys(kind: Any) -> Iterator[tuple[str, Any, bool]]:  # noqa: ANN401
    """The keys of a `TypedDict`, each with its type and whether it must be there."""
    for key, hint in get_type_hints(kind, include_extras=True).items():
        optional = get_origin(hint) is NotRequired
        yield key, get_args(hint)[0] if optional else hint, not optional


def _instance(value: dict[str, Any], kind: Any, place: str) -> Any:  # noqa: ANN401
    """A dataclass; what may be None is None where it is missing."""
    hints = get_type_hints(kind, include_extras=True)
    needed = {each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING}
    missing = {name: None for name in needed - value.keys() if type(None) in get_args(hints[name])}
    keys = ((each.name, hints[each.name], each.name in needed - missing.keys()) for each in fields(kind))
    items = missing | _items(value, keys, place)
    return _made(lambda: kind(**items), place)


def _made(make: Callable[[], Any], place: str) -> Any:  # noqa: ANN401
    try:
        return make()
    except UserError as error:
        raise UnfitError(f"{place}: {error}" if place else str(error)) from None


def _inside(place: str, key: object) -> str:
    text = cut(str(key), 60)
    return f"{place}.{text}" if place else text


def _name(kind: Any) -> str:  # noqa: ANN401
    if kind in _NAMES or kind is Radius:
        return _NAMES.get(kind, "a length such as 8px")
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    return "a record" if get_origin(kind) is dict or kind is dict else "a list"
