"""The method of a recipe, and what stays of its settings where `--method NAME` takes another."""

from __future__ import annotations

from typing import Any, get_type_hints

from iaat.config.deprecated import newer_name
from iaat.config.recipe_files import called
from iaat.config.typed_values import typed_value
from iaat.errors import UserError
from iaat.methods import METHODS, find_method
from iaat.methods.setting_fields import default_of, setting_names
from iaat.runtime.user_code import check_trusted


def take_method(typed: dict[str, str], raw: dict[str, Any], name: str, place: str, *, of_run: bool) -> str:
    """The method's name, from `--method NAME`, which is taken out of what was typed, or the recipe.

    Where it is not the recipe's own, settings that only that one has are taken out of `raw`.

    Args:
        typed: Keys and values of the command line.
        raw: Sections of the recipe.
        name: The recipe's.
        place: Names the recipe in messages.
        of_run: Whether a run has written the recipe, with all defaults.

    Raises:
        UserError: no such method, code that is not trusted, or no method at all.
    """
    section = raw["method"]
    own = section.get("name")
    chosen = typed.pop("method", own)
    for used in (own, chosen):  # before one of them is imported
        check_trusted(used, key="method.name", place=place)
    if chosen is None:
        raise UserError(f"{called(name)}: method.name is missing: one of {', '.join(METHODS)}")
    if own not in (None, chosen):
        # Settings of the old method go, those both methods share stay: an override swaps the method and keeps all else.
        old, new = find_method(own).Config, find_method(chosen).Config
        kept = set(setting_names(new))
        gone = {key for key in setting_names(old) if key not in kept or _home(old, key) is not _home(new, key)}
        if of_run:  # has its defaults written out: they go, too, where the new method has others
            shared = kept & set(setting_names(old)) & section.keys() - gone
            gone |= {key for key in shared if _gives_way(section[key], key, old, new)}
        raw["method"] = {key: value for key, value in section.items() if newer_name(key) not in gone}
    return str(chosen)


def _gives_way(value: object, key: str, old: type, new: type) -> bool:
    """Whether a written value is only the default of the old method, in place of which the new one has another."""
    if default_of(new, key) == default_of(old, key):
        return False
    try:
        return bool(typed_value(value, get_type_hints(old, include_extras=True)[key], key) == default_of(old, key))
    except UserError:  # refused when the section is built
        return False


def _home(config: type, key: str) -> type:
    """The class that defines a setting: `beta` of one method is not `beta` of an unrelated one."""
    return next(base for base in reversed(config.__mro__) if key in vars(base).get("__annotations__", {}))
