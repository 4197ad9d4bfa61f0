"""Suggestions for names that do not exist."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """Return the end of an error's sentence: "; did you mean a or b?" of names near `word` in any case, else "."."""
    by_lower = {name.lower(): name for name in names}
    near = [by_lower[match] for match in get_close_matches(word.lower(), by_lower)]
    return f"; did you mean {' or '.join(near)}?" if near else "."
