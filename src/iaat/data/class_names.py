"""Checks of class names, which come from folders, tar shards, checkpoints and data sets of others."""

from collections.abc import Iterable

from iaat.errors import UserError, shown

MOST_CHARACTERS = 1000


def check_class_names(names: Iterable[str], where: str) -> None:
    """Refuse class names that are too long for a table.

    Args:
        names: The names.
        where: Names their place in the message.

    Raises:
        UserError: naming the first one.
    """
    for number, name in enumerate(names):
        if len(name) > MOST_CHARACTERS:
            raise UserError(
                f"{where}: the name of class {number} has {len(name):,} characters ({shown(name[:200])}): give it one"
                f" of at most {MOST_CHARACTERS:,}"
            )
