"""The one exception a user is meant to read, and the nearest-name hint of its messages."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in the user's input: the message names the value, the place and the fix.

    The command line prints it without a traceback and exits with code 2. Library users catch it as the
    `ValueError` it is.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the nearest of the known names, or nothing where none is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
