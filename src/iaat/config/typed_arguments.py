"""Settings that were typed as arguments."""

from __future__ import annotations

from collections.abc import Sequence

from iaat.errors import UserError, shown
from iaat.runtime.text import cut


def read_settings(arguments: Sequence[str]) -> dict[str, str]:
    """Keys and values of `--key=value` and `--key value` arguments, in the order in which they were last given.

    Raises:
        UserError: an argument that is no option, or an option without its value.
    """
    settings: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        if not option.startswith("--"):
            raise UserError(f"{shown(option)} is no option: settings are written --section.key value")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise UserError(f"{cut(option, 100)} needs a value")
            value = rest.pop(0)
        key = "method" if option == "--method.name" else option.removeprefix("--")
        settings.pop(key, None)
        settings[key] = value
    return settings
