"""Exceptions for users, and the nearest-name hint of their messages."""

import difflib
import reprlib
from collections.abc import Iterable

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = 120
_LONGEST_WORD = 200


class UserError(ValueError):
    """A mistake in the user's input: the message names the value, the place and the fix.

    The command line prints it without a traceback and exits with code 2. Library users catch it as the
    `ValueError` it is.

    Example:
        >>> from iaat import Radius, UserError
        >>> try:
        ...     Radius("8 pixels")
        ... except UserError as error:
        ...     print(error)
        radius '8 pixels' cannot be read: write 8px, 8/255 or 0.03
    """


class LostProcessError(RuntimeError):
    """Another process has ended, or cannot be reached: the work cannot go on."""


class UserIndexError(UserError, IndexError):
    """Position beyond the end; also the `IndexError` that Python's loops over a sequence expect."""


def check_choice(value: object, choices: Iterable[str], name: str) -> None:
    """Refuse a value that is not one of the choices; `name` names it in the message.

    Raises:
        UserError: naming the value, the nearest choice and all of them.
    """
    choices = list(choices)
    if value not in choices:
        hint = did_you_mean(str(value), choices)
        raise UserError(f"{name} {shown(value)} is not known{hint}; use {', '.join(choices)}")


def shown(value: object) -> str:
    """Text of a user's value for a message, without the middle where it is long."""
    try:
        return _REPR.repr(value)
    except ValueError:  # of an int with more digits than Python writes
        return f"a {type(value).__name__} too long to show"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Hint `" (did you mean 'x' or 'y'?)"` with up to two known names near `word`, or nothing."""
    if len(word) > _LONGEST_WORD:  # matching takes time that grows with the length
        return ""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=2, cutoff=0.6)
    return asked(by_lower[match] for match in near) if near else ""


def asked(names: Iterable[str]) -> str:
    """Hint `" (did you mean 'x' or 'y'?)"` of these names."""
    return f" (did you mean {' or '.join(map(repr, names))}?)"
