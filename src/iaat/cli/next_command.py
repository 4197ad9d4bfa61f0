"""Arguments of the next command, as it is proposed at the end of one."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from iaat.config.load_recipe import NAMES_OF_CODE
from iaat.config.same_place import same_place
from iaat.config.short_options import DATA, names_function, read_settings
from iaat.runtime.files import user_path
from iaat.runtime.user_code import modules_of


def as_before(options: argparse.Namespace, overrides: Sequence[str]) -> list[str]:
    """Arguments that the next command needs to find the data and to run the user's code."""
    typed = _with_data(read_settings(overrides))
    settings = [f"--{key}={value}" for key, value in typed.items()]
    return same_place(settings, [*options.trust, *modules_of(typed.get(key, "") for key in NAMES_OF_CODE)])


def _with_data(typed: Mapping[str, str]) -> dict[str, str]:
    """Settings with a folder or code that was typed as `--data` under its key."""
    result = dict[str, str]()
    for key, value in typed.items():
        if key != DATA:
            result[key] = value
        elif names_function(value):
            result["data.name"] = value
        elif (folder := user_path(value)).is_dir():
            result["data.root"] = str(folder)
    return result
