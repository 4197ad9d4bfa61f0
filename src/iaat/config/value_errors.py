"""Error messages of jsonargparse for a wrong value, reworded."""

from __future__ import annotations

import re

from iaat.errors import did_you_mean, shown
from iaat.runtime.text import cut

_KEY = r'Parser key "(?P<key>.+?)": '
_LITERAL = re.compile(_KEY + r"Expected a typing\.Literal\[(?P<choices>.*)\]\. Got value: (?P<value>.*)")
_OPTIONAL = re.compile(
    _KEY + r"Does not validate against any of the Union .*? Errors: - (?P<reason>.*?) "
    r"- Expected a NoneType Given value type: .*? Given value: (?P<value>.*)"
)
_PLAIN = re.compile(_KEY + r"(?P<reason>.*)")
_TYPE = re.compile(r"Expected a (?P<type>int|float|bool|list|str)(?:\. Got value: (?P<value>.*))?")
_OTHER = re.compile(r"Not of type \w+: (?P<reason>.*)")

_WANTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list, such as [1, 2]",
    "str": "a text",
}


def reworded(error: Exception) -> str:
    """The message of the library as `section.key value: what to give`, in one line."""
    text = " ".join(str(error).replace("<class '", "").replace("'>", "").split())
    if match := _LITERAL.fullmatch(text):
        choices = [choice.strip(" '") for choice in match["choices"].split(",")]
        hint = did_you_mean(match["value"], choices)
        return f"{match['key']}: {shown(match['value'])} is not one of {', '.join(choices)}{hint}"
    if match := _OPTIONAL.fullmatch(text):
        return _message(match["key"], match["reason"], match["value"], " (or null for none)")
    if match := _PLAIN.fullmatch(text):
        return _message(match["key"], match["reason"], None, "")
    return cut(text)


def _message(key: str, reason: str, value: str | None, rest: str) -> str:
    if match := _TYPE.fullmatch(reason):
        given, wanted = value or match["value"] or "", _WANTED[match["type"]]
        if value is not None and match["value"] is not None:  # of a list with a wrong value
            wanted = f"a list, of which each is {wanted}"
        return f"{key} {cut(given, 100)}: give {wanted}{rest}"
    if match := _OTHER.fullmatch(reason):
        reason = match["reason"]
    return f"{key}: {cut(reason)}{rest}"
