"""How exported weights are loaded in Python: what their model needs that no file has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from iaat.runtime.user_code import GIVEN, modules_of


@dataclass(frozen=True, slots=True)
class Loading:
    """Arguments of `iaat.load` beside the file, and what they mean.

    Attributes:
        arguments: Such as `, trust=True`; empty for models that iaat builds.
        note: What they do; None without arguments.
        modules: Modules of the user's that are imported.
        of_objects: Whether settings stand for objects that were passed to `iaat.fit`, so that no command can use them.
    """

    arguments: str
    note: str | None
    modules: tuple[str, ...]
    of_objects: bool


def loading_of(recipe: Mapping[str, Any]) -> Loading:
    """How weights of a recipe are loaded: code that it names is trusted, and a model that was an object is passed."""
    names = {section: str(recipe[section]["name"]) for section in ("model", "data", "method")}
    modules = modules_of(names.values())
    is_object = names["model"] == GIVEN
    notes = []
    if is_object:
        notes.append("NET is the module itself, which was passed to iaat.fit as an object")
    if modules:
        notes.append(f"trust=True imports {', '.join(modules)}{_instead(names)}")
    return Loading(
        arguments=(", model=NET" if is_object else "") + (", trust=True" if modules else ""),
        note="; ".join(notes) or None,
        modules=tuple(modules),
        of_objects=any(GIVEN in section.values() for section in recipe.values() if isinstance(section, Mapping)),
    )


def _instead(names: Mapping[str, str]) -> str:
    """What a file can be loaded with in place of trust, where the model alone is code."""
    if modules_of([names["model"]]) and not modules_of([names["data"], names["method"]]):
        return f"; in its place model=NET takes the module itself, built as {names['model']} is"
    return ""
