"""Old keys of recipes and run folders, and the settings they are read as."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Collection, Mapping
from typing import Any

from iaat.errors import UserError, shown
from iaat.units import Radius

RENAMED = {
    "data.holdout": "data.validation_fraction",
    "train.holdout_n": "train.validation_n",
    "train.holdout_steps": "train.validation_steps",
}
"""Today's name of each key that was renamed and means what it meant."""

_RULE = "rule"
_IAAT = {"staircase": "iaat", "paper": "iaat_paper"}
"""The methods that `method.rule` of `iaat` has become."""
_OTHERS = {"iaat": ("gamma", "beta", "warmup", "clean_wrong"), "iaat_paper": ("start",)}
"""Settings without effect in each of them, which recipes of that time may have all the same."""
_RATE, _REACH = "rate", "reach"
_TWINS = {_RATE: _REACH, _REACH: _RATE}


def with_new_names(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of a recipe file under today's keys.

    Raises:
        UserError: a section has a key by both its names.
    """
    return {section: _renamed(section, values) for section, values in raw.items()}


def _renamed(section: str, values: object) -> object:
    if not isinstance(values, Mapping):
        return values
    for key in values:
        new = RENAMED.get(f"{section}.{key}", "").rpartition(".")[2]
        if new in values:
            raise UserError(f"{section}.{key} and {section}.{new} are one setting: keep {section}.{new}")
    return {RENAMED.get(f"{section}.{key}", f".{key}").rpartition(".")[2]: value for key, value in values.items()}


def with_new_keys(typed: Mapping[str, str]) -> dict[str, str]:
    """Settings of the command line under today's keys."""
    return {RENAMED.get(key, key): value for key, value in typed.items()}


def warn_of_old_names(keys: Collection[str], place: str) -> None:
    """Warn in one line of the renamed keys among `keys`, with their new names."""
    if old := [key for key in RENAMED if key in keys]:
        advice = ", ".join(f"{key} is {RENAMED[key]}" for key in old)
        warnings.warn(f"{place}: {advice} now, and is read as such: write the new name", stacklevel=3)


def without_twins(below: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a lower layer without those that the layer above gives under another name."""
    return {key: value for key, value in below.items() if _TWINS.get(key) not in own}


def continues(below: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    """Whether a recipe's `method` goes on with that of the recipe it extends, and does not name another method."""
    names = below.get("name"), own.get("name")
    old_spelling = _RULE in own and all(name in (None, *_IAAT.values()) for name in names)
    return names[1] in (None, names[0]) or old_spelling


def take_rule(section: dict[str, Any], typed: dict[str, str]) -> list[str]:
    """Replace `method.rule`, which chose between what are now two methods, in place; returns lines of advice.

    Raises:
        UserError: no such rule.
    """
    advice = []
    if section.get("name") in _IAAT.values() and _RULE in section:
        rule = section.pop(_RULE)
        section["name"] = _method_of_rule(rule)
        for key in _OTHERS[section["name"]]:
            section.pop(key, None)
        advice.append(f"method {{name: iaat, rule: {rule}}} is read as {{name: {section['name']}}}: write that")
    if typed.get("method", section.get("name")) in _IAAT.values() and f"method.{_RULE}" in typed:
        rule = typed.pop(f"method.{_RULE}")
        typed["method"] = _method_of_rule(rule)
        for key in _OTHERS[typed["method"]]:
            typed.pop(f"method.{key}", None)
        advice.append(f"--method.rule {rule} is read as --method {typed['method']}: write that")
    return advice


def _method_of_rule(rule: object) -> str:
    if not isinstance(rule, str) or rule not in _IAAT:
        raise UserError(f"method.rule {shown(rule)}: write method {' or '.join(_IAAT.values())} instead")
    return _IAAT[rule]


def newer_name(key: str) -> str:
    """The name that a key of a method has today."""
    return _REACH if key == _RATE else key


def take_rate(names: Collection[str], section: dict[str, Any], typed: dict[str, str]) -> Any:  # noqa: ANN401
    """Take `method.rate`, which was an absolute change of the radius a visit, out of a recipe and what was typed.

    Returns it as it was written; None where there is none, the reach comes later, or `names`, the keys of a method of
    the user's own, have a `rate`.
    """
    if _RATE in names or _REACH not in names:
        return None
    rate = section.pop(_RATE, None)
    for key in [key for key in typed if key in (f"method.{_RATE}", f"method.{_REACH}")]:
        rate = typed.pop(key) if key == f"method.{_RATE}" else None
    return rate


def with_rate(method: Any, rate: Any, epochs: int, *, advise: bool) -> Any:  # noqa: ANN401
    """The settings with the reach that a rate, such as "0.63px", comes to over the epochs.

    Raises:
        UserError: it is no length, or none that radii can move by.
    """
    if isinstance(rate, bool) or not isinstance(rate, str | int | float):
        raise UserError(f"method.rate = {rate!r} is not a length: give method.reach instead, such as 2.375")
    length = Radius(rate)
    if not length > 0 or not method.radius > 0:
        raise UserError(f"method.rate = {rate} at method.radius = {method.radius}: radii would never move")
    if length.unitless and length > method.radius:
        raise UserError(
            f"method.rate = {rate} is {length.px:g}px a visit, more than method.radius = {method.radius}; for pixel "
            f"levels write {rate}px, or better give method.reach, a multiple of method.radius over the whole run"
        )
    reach = float(length) * epochs / method.radius
    if advise:
        warnings.warn(
            f"method.rate {rate} is read as method.reach {reach:g} ({rate} x {epochs} epochs / {method.radius}): write "
            "that, and epochs and radius may change alone",
            stacklevel=2,
        )
    return dataclasses.replace(method, reach=reach)
