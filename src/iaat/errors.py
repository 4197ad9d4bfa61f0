"""The one exception a user is meant to read, and the nearest-name hint of its messages."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in the user's input: the message names the value, the place and the fix.

    The command line prints it without a traceback and exits with code 2. Library users catch it as the
    `ValueError` it is.
    """


def check_choice(value: object, choices: Iterable[str], name: str) -> None:
    """Refuse a value that is not one of the choices; `name` is what the user wrote it under.

    Raises:
        UserError: naming the value, the nearest choice and all of them.
    """
    choices = list(choices)
    if value not in choices:
        raise UserError(f"{name} {value!r} is not known{did_you_mean(str(value), choices)}; use {', '.join(choices)}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x' or 'y'?"` for up to two known names near `word` in any case, or nothing."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(by_lower[match]) for match in near)}?" if near else ""
