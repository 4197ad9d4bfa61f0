"""Arguments of a further command on the same data and code, as commands propose it and reports show it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from iaat.config.differences import LOCATION_KEYS
from iaat.config.typed_arguments import read_settings


def same_place(overrides: Sequence[str], modules: Iterable[str]) -> list[str]:
    """Arguments that a further command needs to find the data and to run the user's code.

    Args:
        overrides: Settings of this command: those of where the data lies are kept.
        modules: Modules of the user's to trust.

    Raises:
        UserError: what is no setting.
    """
    where = [f"--{key}={value}" for key, value in read_settings(overrides).items() if key in LOCATION_KEYS]
    return [*where, *(word for module in dict.fromkeys(modules) for word in ("--trust", module))]
