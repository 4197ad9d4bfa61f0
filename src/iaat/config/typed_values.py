"""Values of settings, as files and the command line have them, become values of their types."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from types import NoneType
from typing import Any, get_args, get_type_hints

from iaat.config.safe_yaml import check_text, parse_yaml
from iaat.errors import UserError, shown
from iaat.runtime.json_files import UnfitError, from_json, from_text
from iaat.runtime.number_limits import check_numbers

_LONGEST_LIST = 1000
_LONGEST_TEXT = 4096  # a path; what reads a text, such as 8px or [1, 2], need not bear more


def build_section(config: type, values: Mapping[str, Any], place: str, section: str) -> Any:  # noqa: ANN401
    """A section of these values; the dataclass has the defaults, and checks of its own."""
    hints = get_type_hints(config, include_extras=True)
    typed = {key: typed_value(value, hints[key], f"{place}: {section}.{key}") for key, value in values.items()}
    check_numbers({key: value for key, value in typed.items() if value != getattr(config, key, None)}, section)
    return config(**typed)


def typed_value(value: object, kind: Any, place: str) -> Any:  # noqa: ANN401
    """A value of a setting as its type has it. A text may be the YAML of the value, as it is on the command line."""
    text = value if isinstance(value, str) else None
    if text is not None:
        value = _plain(text, place)
    if isinstance(value, list) and len(value) > _LONGEST_LIST:
        raise UserError(f"{place} has {len(value):,} values, more than {_LONGEST_LIST:,}")
    if kind == dict[str, Any]:  # passed on as it is
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise UserError(f"{place} {shown(value)}: write a mapping such as '{{key: value}}'")
        return value
    try:
        if text is not None and value is not None:
            with suppress(UnfitError):
                return from_text(text, kind)
        return from_json(value, kind, place)
    except UnfitError as error:
        raise UserError(f"{error}{' (or null for none)' if NoneType in get_args(kind) else ''}") from None


def _plain(text: str, place: str) -> Any:  # noqa: ANN401
    """The value that a text spells as YAML; the text itself where it is none.

    Raises:
        UserError: it takes long to read, or is YAML without end.
    """
    if len(text) > _LONGEST_TEXT:
        raise UserError(f"{place}: {shown(text)} is longer than {_LONGEST_TEXT:,} characters")
    try:
        check_text(text)
        return parse_yaml(text)
    except UserError as error:
        if str(error).startswith("not valid YAML"):
            return text
        raise UserError(f"{place}: {error}") from None
