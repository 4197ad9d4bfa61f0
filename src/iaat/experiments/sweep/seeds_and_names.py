"""Seeds and unique names of sweeps, in files and on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iaat.errors import UserError, shown

_MOST_SEEDS = 1000


def count_seeds(number: int, place: str) -> tuple[int, ...]:
    """The first so many seeds, from 0.

    Raises:
        UserError: none; `place` is where the number was written.
    """
    if number < 1:
        raise UserError(
            f"{place} {number}: a single number says how many seeds, at least 1; for one seed by its number write "
            "--seed, such as --seed 0"
        )
    if number > _MOST_SEEDS:
        raise UserError(f"{place} {shown(number)}: at most {_MOST_SEEDS:,} seeds; name one of a large number in a list")
    return tuple(range(number))


def check_seeds(values: Sequence[int], place: str) -> tuple[int, ...]:
    """The seeds as they were named.

    Raises:
        UserError: none, a negative one, or one twice; `place` is where they were written.
    """
    if not values or any(not 0 <= seed < 2**63 for seed in values):
        given = " ".join(map(shown, values[:20])) or "[]"
        raise UserError(f"{place} {given}: give seeds from 0 to 2**63 - 1, such as 0, 1 and 2")
    if len(values) > _MOST_SEEDS:
        raise UserError(f"{place}: {len(values):,} seeds, more than {_MOST_SEEDS:,}: give fewer")
    if (twice := first_repeated(values)) is not None:
        raise UserError(f"{place}: seed {twice} is named twice")
    return tuple(values)


def first_repeated(values: Sequence[Any]) -> Any:  # noqa: ANN401
    """The first value that an earlier one equals, or None."""
    return next((value for number, value in enumerate(values) if value in values[:number]), None)
