"""Which fields of a config are recipe keys, and which are derived from the number of epochs."""

from __future__ import annotations

from dataclasses import Field, field, fields
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
