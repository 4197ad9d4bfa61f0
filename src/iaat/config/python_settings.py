"""Settings of a recipe as keywords and mappings of Python, by their keys or by short names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from numbers import Integral, Real
from pathlib import Path

from iaat.config.recipe_files import SECTIONS
from iaat.config.setting_keys import SECTION_TYPES, setting_keys
from iaat.config.short_options import is_short, spelled_out
from iaat.errors import UserError, did_you_mean, shown
from iaat.methods import METHODS, find_method
from iaat.methods.setting_fields import setting_names
from iaat.units import Radius


def written_settings(settings: Mapping[str, object], method: str, place: str) -> dict[str, str]:
    """Settings as the command line has them: a text for each key.

    Args:
        settings: Values by the dotted key (`train.lr`), by its last part where one section alone has it (`ema`), by a
            short name of the command line (`lr`, `batch_size`, `radius`), or in a mapping for a section.
        method: Name of the method, which has keys of its own.
        place: Names the call in messages.

    Raises:
        UserError: an unknown name, with the nearest; one that several sections have; a key that is given twice; or a
            value that no recipe holds.
    """
    known = setting_keys([*SECTION_TYPES.items(), ("method", find_method(method).Config)])
    written: dict[str, str] = {}
    for name, value in flat_settings(settings):
        key = _key(name, known, place)
        if key in written:
            raise UserError(f"{place}: {key} is given twice: leave out one")
        written[key] = _text(value, f"{place}: {name}")
    return written


def flat_settings(settings: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The settings with those in the mapping of a section under dotted keys."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and name in SECTIONS:
            yield from ((f"{name}.{key}", each) for key, each in value.items())
        else:
            yield name, value


def _key(name: str, known: list[str], place: str) -> str:
    if name in known:
        return name
    if is_short(f"--{name}"):
        return spelled_out([f"--{name}=x"], "train")[0].removeprefix("--").partition("=")[0]
    same = [key for key in known if key.rpartition(".")[2] == name]
    if len(same) == 1:
        return same[0]
    if same:
        keys = " or ".join(f"{{{key!r}: ...}}" for key in same)
        raise UserError(f"{place}: {name} is a key of several sections: write settings={keys}")
    last = name.rpartition(".")[2]
    owners = [each for each in METHODS if last in setting_names(find_method(each).Config)]
    if owners and name in (last, f"method.{last}"):
        raise UserError(f"{place}: {name} is a setting of method {', '.join(owners)}")
    nearest = did_you_mean(name, known) or did_you_mean(last, {key.rpartition(".")[2]: None for key in known})
    raise UserError(f"{place} has no setting {shown(name)}{nearest}; `iaat train quickstart --help all` lists all")


def _text(value: object, place: str) -> str:
    """A value as it is typed."""
    if isinstance(value, str):
        return value
    if isinstance(value, Radius | Path):
        return str(value)
    if isinstance(value, Real) and not isinstance(value, bool):  # numbers of NumPy, too
        value = int(value) if isinstance(value, Integral) else float(value)
    if value is None or isinstance(value, bool | int | float | list | tuple | dict):
        try:
            return json.dumps(value)
        except (TypeError, ValueError):
            pass
    raise UserError(f"{place} is a {type(value).__name__}: give a number, a text, or a list or mapping of these")
