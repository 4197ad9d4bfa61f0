"""YAML from untrusted files: plain values only, bounded before they are built."""

from __future__ import annotations

import copy
import re
import unicodedata
from functools import lru_cache
from typing import Any

import yaml

from iaat.errors import UserError, shown
from iaat.runtime.text import cut

MOST_BYTES = 1_000_000
MOST_NODES = 10_000
MOST_DEPTH = 50
MOST_DIGITS = 100


def parse_yaml(text: str, *, exponents: bool = True) -> Any:  # noqa: ANN401
    """The value that a YAML text spells.

    Args:
        text: The text.
        exponents: Whether 1e-6 is a number, as in YAML 1.2 and JSON, and not a text, as in YAML 1.1.

    Raises:
        UserError: it is not YAML, too large once its aliases are written out, too deep, refers to itself, has a key
            twice in a mapping, or characters that are no text.
    """
    if len(text) > MOST_BYTES:
        raise UserError(f"longer than {MOST_BYTES:,} characters")
    return copy.deepcopy(_parsed(text, exponents))


@lru_cache(maxsize=32)
def _parsed(text: str, exponents: bool) -> Any:  # noqa: ANN401
    """The value of a text, kept: a sweep reads the same few recipes for each of its cells."""
    try:
        return (_NumberLoader if exponents else _Loader)(text).get_single_data()
    except UserError:
        raise
    except Exception as error:  # PyYAML lets out what its constructors run into, such as the date 2020-13-01
        raise UserError(f"not valid YAML: {cut(str(error))}") from None


def dump_yaml(value: object) -> str:
    """A plain value as YAML text, from which `parse_yaml` reads an equal one."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def decode_yaml(content: bytes) -> str:
    """The text of a file, with or without a byte order mark.

    Raises:
        UserError: it is not UTF-8, or larger than `MOST_BYTES`.
    """
    if len(content) > MOST_BYTES:
        raise UserError(f"is larger than {MOST_BYTES:,} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"not valid YAML: byte {error.start} is not UTF-8: save the file in UTF-8") from None


def check_text(text: str) -> None:
    """Refuse what no file or terminal takes: halves of surrogate pairs, and control characters but tab and newline.

    Raises:
        UserError: naming the character.
    """
    if text.isprintable():
        return
    for character in text:
        if character not in "\t\n" and unicodedata.category(character) in ("Cc", "Cs"):
            raise UserError(f"{shown(text)} holds the character U+{ord(character):04X}, which is no text: remove it")


class _Loader(yaml.SafeLoader):
    """Counts nodes while they are composed, those behind aliases each time they are met."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes, self._depth = 0, 0
        self._measures: dict[int, tuple[int, int]] = {}  # of finished nodes: nodes and levels, aliases written out
        self._deepest = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:  # noqa: ANN401
        if self.check_event(yaml.AliasEvent):
            return self._compose_alias(parent, index)
        before, above = self._nodes, self._deepest
        self._depth += 1
        self._note(1, self._depth)
        self._deepest = self._depth
        node: yaml.Node | None = super().compose_node(parent, index)
        self._measures[id(node)] = (self._nodes - before, self._deepest - self._depth + 1)
        self._deepest = max(above, self._deepest)
        self._depth -= 1
        if isinstance(node, yaml.ScalarNode):
            _check_scalar(node)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                # YAML would keep the last one, and the first would go missing in silence.
                if (key.tag, key.value) in seen:
                    raise UserError(f"{shown(key.value)} is written twice: rename or remove one")
                seen.add((key.tag, key.value))
        return node

    def _compose_alias(self, parent: Any, index: Any) -> yaml.Node | None:  # noqa: ANN401
        node: yaml.Node | None = super().compose_node(parent, index)
        if id(node) not in self._measures:
            raise UserError("a value refers to itself by an alias (*name): write it out")
        nodes, levels = self._measures[id(node)]
        self._note(nodes, self._depth + levels)
        return node

    def _note(self, nodes: int, depth: int) -> None:
        self._nodes += nodes
        self._deepest = max(self._deepest, depth)
        if self._nodes > MOST_NODES:
            raise UserError(f"has more than {MOST_NODES:,} values, aliases (*name) written out")
        if depth > MOST_DEPTH:
            raise UserError(f"is nested deeper than {MOST_DEPTH} levels")


def _check_scalar(node: yaml.ScalarNode) -> None:
    check_text(node.value)
    if node.tag == "tag:yaml.org,2002:int" and len(node.value) > MOST_DIGITS:
        raise UserError(f"{shown(node.value)} is a number of more than {MOST_DIGITS} digits")


class _NumberLoader(_Loader):
    """Takes numbers with an exponent for numbers."""


class _Dumper(yaml.SafeDumper):
    """Puts a text that the loader would take for a number in quotes."""


_EXPONENT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)[eE][-+]?[0-9]+$")
"""Numbers such as 1e-6 and 5e3, which are floats in YAML 1.2 and JSON, and text in YAML 1.1."""

for _kind in (_NumberLoader, _Dumper):
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))
