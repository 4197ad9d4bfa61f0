"""Arguments of the next command, as it is proposed at the end of one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from iaat.config.data_option import with_data_keys
from iaat.config.load_recipe import NAMES_OF_CODE
from iaat.config.same_place import same_place
from iaat.config.typed_arguments import read_settings
from iaat.runtime.user_code import modules_of


def as_before(options: argparse.Namespace, overrides: Sequence[str]) -> list[str]:
    """Arguments that the next command needs to find the data and to run the user's code."""
    typed = with_data_keys(read_settings(overrides))
    settings = [f"--{key}={value}" for key, value in typed.items()]
    return same_place(settings, [*options.trust, *modules_of(typed.get(key, "") for key in NAMES_OF_CODE)])
