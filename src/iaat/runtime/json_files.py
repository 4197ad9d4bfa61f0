"""JSON and JSON-lines files, read as typed values: plain ones, `TypedDict`s or dataclasses."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, cast, get_type_hints

from iaat.errors import UserError, shown
from iaat.runtime.files import encodable, expand_home
from iaat.runtime.text import cut

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

_LONG_NUMBER = re.compile(rb"\d{301}")
"""A number that is no float, and takes the longer to read the longer it is."""

_ROUNDING = 1e-9


class DamagedFileError(UserError):
    """A file does not hold what its writer put there; the message names file and line."""


class UnfitError(ValueError):
    """Text that is no JSON, or a value that is not of the type it must have."""


@dataclass(frozen=True, slots=True)
class Between:
    """Finite numbers from `low` to `high`, up to rounding, in a type such as `Annotated[float, Between(0, 1)]`."""

    low: float
    high: float = math.inf

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:  # noqa: ANN401
        from pydantic_core import core_schema  # takes long to import, and attacks need none

        return core_schema.no_info_wrap_validator_function(self._checked, handler(source))

    def _checked(self, given: float, typed: Callable[[float], float]) -> float:
        value = typed(given)
        if not (abs(value) < math.inf and self.low - _ROUNDING <= value <= self.high + _ROUNDING):
            limits = f"a number from {self.low:g} to {self.high:g}"
            least = f"a finite number of at least {self.low:g}"
            raise ValueError(f"{shown(value)} is not {limits if self.high < math.inf else least}")
        return given  # a whole number as it was written: it is written again


@dataclass(frozen=True, slots=True)
class _OfUser:
    """Paths in a type, with `~` for the home folder as `expand_home` has it; else as they were written."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:  # noqa: ANN401
        from pydantic_core import core_schema  # takes long to import, and attacks need none

        return core_schema.no_info_after_validator_function(expand_home, handler(source))


UserPath = Annotated[str, _OfUser()]
Finite = Annotated[float, Between(-math.inf)]
NonNegative = Annotated[float, Between(0)]
Fraction = Annotated[float, Between(0, 1)]
Count = Annotated[int, Between(0)]


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
        kind: The type it must have: plain, a container, a dataclass, or a `TypedDict`. Unknown keys are left out.
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

    Kind and `upgrade` are as for `read_json`; `find_damage` says what is wrong with a record that has this type.

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


def from_json(value: object, kind: type[T], place: str = "") -> T:
    """A plain value, as JSON has it, as a value of the type `kind`; `place` names it in messages.

    Raises:
        UnfitError: it does not fit, or is none that JSON can hold.
    """
    try:
        # By way of its text, because a list is a tuple and a text a radius there, while a text is never a number.
        text = json.dumps(value)
        if _LONE_SURROGATE.search(text):
            text = json.dumps(_encodable(value))
    except (TypeError, ValueError, RecursionError) as error:
        raise UnfitError(f"{place or 'it'} holds what no file of ours can hold: {error}") from None
    return cast("T", _validated(kind, text, place, how="validate_json"))


_LONE_SURROGATE = re.compile(r"\\ud[c-f]", re.IGNORECASE)
"""A byte of a file name that is no UTF-8, as Python decodes it; also half of a letter that JSON writes as two."""


def _encodable(value: object) -> object:
    """A plain value with such bytes of names written out: pydantic reads text that is UTF-8 alone."""
    if isinstance(value, dict):
        return {encodable(str(key)): _encodable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(each) for each in value]
    return encodable(value) if isinstance(value, str) else value


def from_text(text: str, kind: type[T]) -> T:
    """A text, as the command line has it, as a value of the type `kind`: also a number, or true or false.

    Raises:
        UnfitError: it is none.
    """
    return cast("T", _validated(kind, text, "", strict=False))


def check_fields(value: Any, place: str) -> None:  # noqa: ANN401
    """Refuse a dataclass with a field that is not of its type, or out of its range.

    Raises:
        UserError: naming it; `place` is the section it is in.
    """
    for name, kind in _hints(value.__class__).items():
        try:
            _validated(kind, getattr(value, name), f"{place}.{name}")
        except UnfitError as error:
            raise UserError(str(error)) from None


def _validated(kind: Any, value: object, place: str, *, how: str = "validate_python", strict: bool = True) -> Any:  # noqa: ANN401
    from pydantic import ValidationError

    try:
        return getattr(_adapter(kind), how)(value, strict=strict)
    except ValidationError as error:
        raise UnfitError(_fault(error, place)) from None


_NOT_FINITE = ("nan", "inf", "infinity")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _fault(found: ValidationError, place: str) -> str:
    """The first error in one line, such as `parts.1.accuracy is "high", which should be a valid number`."""
    error = found.errors(include_url=False)[0]
    place = ".".join([*([place] if place else []), *(cut(str(part), 60) for part in error["loc"])]) or "it"
    if error["type"] == "value_error":
        return f"{place}: {error['ctx']['error']}"
    if error["type"] == "missing":
        return f"{place} is missing"
    if error["type"] in ("float_type", "float_parsing") and str(error["input"]).lower().lstrip("+-.") in _NOT_FINITE:
        return f"{place} is {error['input']}, which should be a finite number"
    if error["msg"].startswith("Input "):
        value = cut(json.dumps(error["input"], default=shown), 100)
        return f"{place} is {value}, which {error['msg'].removeprefix('Input ')}"
    return f"{place}: {cut(error['msg'])}"


def to_json(value: Any) -> dict[str, Any]:  # noqa: ANN401
    """A dataclass as plain values; fields that are None are left out."""
    return asdict(value, dict_factory=lambda items: {key: item for key, item in items if item is not None})


def _loaded(text: bytes) -> Any:  # noqa: ANN401
    if _LONG_NUMBER.search(text):
        raise UnfitError("it has a number of more than 300 digits")
    try:
        return json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise UnfitError(f"it is not JSON ({error})") from None


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe would never end
            raise UserError(f"{path} is {'no file' if path.exists() else 'missing'}")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
