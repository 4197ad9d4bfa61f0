"""Largest numbers of settings."""

from __future__ import annotations

import math
from collections.abc import Mapping

from iaat.errors import UserError, shown

MOST = 2**31 - 1
"""Largest number of a setting; more samples or steps would never end."""


def check_numbers(values: Mapping[str, object], section: str, most: Mapping[str, int] | None = None) -> None:
    """Refuse numbers beyond `MOST`, and those that are not finite.

    Args:
        values: The settings of a section; those with a name that ends in `seed` may go up to 2**63 - 1.
        section: Name of the section, for the message.
        most: Lower bounds for some of the settings.

    Raises:
        UserError: naming the key.
    """
    for key, value in values.items():
        limit = 2**63 - 1 if key.endswith("seed") else (most or {}).get(key, MOST)
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                raise UserError(f"{section}.{key} = {shown(value)}: must be finite")
            if isinstance(number, int | float) and abs(number) > limit:
                raise UserError(f"{section}.{key} = {shown(value)}: must be at most {limit:,}")
