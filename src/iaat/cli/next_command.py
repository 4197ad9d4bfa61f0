"""Arguments of the next command, as it is proposed at the end of one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from iaat.config.differences import LOCATION_KEYS
from iaat.config.load_recipe import NAMES_OF_CODE
from iaat.config.short_options import read_settings


def as_before(options: argparse.Namespace, overrides: Sequence[str]) -> list[str]:
    """Arguments that the next command needs to find the data and to run the user's code."""
    where = [argument for argument in overrides if argument.startswith(tuple(f"--{key}=" for key in LOCATION_KEYS))]
    typed = read_settings(overrides)
    code = [typed[key].partition(":")[0] for key in NAMES_OF_CODE if ":" in typed.get(key, "")]
    trusted = list(dict.fromkeys([*options.trust, *(name for name in code if name != "timm")]))
    return [*where, *(["--trust", *trusted] if trusted else [])]
