"""Settings of a method of the user's own as they are written, without its program."""

from __future__ import annotations

import dataclasses
import keyword
from collections.abc import Mapping
from typing import Any

from iaat.errors import UserError, shown


def written_config(section: Mapping[str, Any], place: str) -> type:
    """A class of settings with the keys of the section `method`, whatever their values are; nothing is imported.

    Args:
        section: The section, with `name`.
        place: Names the file in messages.

    Raises:
        UserError: a key is no name of a setting.
    """
    keys = [key for key in section if key != "name"]
    for key in keys:
        if not isinstance(key, str) or not key.isidentifier() or keyword.iskeyword(key):
            raise UserError(f"{place}: method.{shown(key)} is no name of a setting: write letters, digits and _")
    fields = [(key, Any, dataclasses.field(default=None)) for key in keys]
    return dataclasses.make_dataclass("WrittenConfig", fields, frozen=True, kw_only=True)
