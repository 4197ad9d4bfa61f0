"""Which fields of a config are recipe keys, which are derived from the number of epochs, and their defaults."""

from __future__ import annotations

from dataclasses import MISSING, Field, field, fields
from typing import Any


def derived() -> Any:  # noqa: ANN401
    """A field of a method's settings that only `over` fills in: no key of a recipe."""
    return field(default=None, metadata={"setting": False})


def is_setting(one: Field[Any]) -> bool:
    """Whether a field of a section is a key of recipes."""
    return bool(one.metadata.get("setting", True))


def setting_names(config: type | object) -> list[str]:
    """Names of the keys that a section, or its class, has in recipes."""
    return [one.name for one in fields(config) if is_setting(one)]  # type: ignore[arg-type]


def default_of(config: type | object, key: str) -> Any:  # noqa: ANN401
    """The default of a setting; `dataclasses.MISSING` where it has none."""
    one = next(each for each in fields(config) if each.name == key)  # type: ignore[arg-type]
    return one.default if one.default_factory is MISSING else one.default_factory()
