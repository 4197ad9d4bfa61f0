"""Finding and reading recipe files, merged with the recipes they extend; values are not interpreted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

from iaat.config.deprecated import continues, with_new_names, without_twins
from iaat.config.safe_yaml import MOST_BYTES, decode_yaml, parse_yaml
from iaat.errors import UserError, did_you_mean, shown
from iaat.runtime.json_files import read_json

RECIPE_FILE = "recipe.yaml"
"""The resolved recipe in a run folder."""

RUN_FILE = "run.json"
"""What else a run folder says of its run, its name first."""

_SHIPPED = Path(str(resources.files("iaat"))) / "recipes"
_SECTIONS = ("data", "model", "train", "evaluate")
_HEAD = ("about", "extends", "seed", "method")
_LONGEST_CHAIN = 20

Chain = Sequence[tuple[Path, dict[str, Any]]]
"""A file and those it extends, the last of them first, each with what is written in it."""


def called(name: str) -> str:
    """Name of a recipe in messages: a file of the usual name by its name, and no "recipe recipe"."""
    return RECIPE_FILE if name == Path(RECIPE_FILE).stem else f"recipe {name}"


def recipe_name(path: Path) -> str:
    """Name of the recipe in a file: that of the file, and of a run's `recipe.yaml` the name that the run goes by."""
    facts = path.parent / RUN_FILE
    if path.name == RECIPE_FILE and facts.is_file():
        with suppress(UserError):
            name = read_json(facts, dict[str, Any]).get("name")
            return name if isinstance(name, str) and name else path.stem
    return path.stem


def shipped_recipes() -> dict[str, Path]:
    """Name and file of every recipe in the package."""
    return {path.stem: path for path in sorted(_SHIPPED.glob("*.yaml"))}


def shipped_sweeps() -> dict[str, Path]:
    """Name and file of every sweep in the package."""
    return {path.stem: path for path in sorted((_SHIPPED / "sweeps").glob("*.yaml"))}


def is_sweep_file(raw: Mapping[str, Any]) -> bool:
    """Whether a file's keys are those of a sweep and not of a recipe."""
    return not raw.keys().isdisjoint(("cells", "set"))


def find_recipe(source: str, folder: Path = Path()) -> Path:
    """File of a shipped recipe or sweep, or else the file that `source` is, seen from `folder`.

    Raises:
        UserError: there is neither.
    """
    shipped = {**shipped_recipes(), **shipped_sweeps()}
    path = shipped.get(source, folder / source)
    with suppress(OSError, ValueError):  # of a name too long to be a file's, or with a NUL in it
        if path.is_file():
            return path
    raise UserError(
        f"recipe {shown(source)} is neither a file nor shipped{did_you_mean(source, shipped)}; "
        "`iaat recipes` lists what ships"
    )


def read_recipe(path: Path, *, exponents: bool = True) -> dict[str, Any]:
    """The mapping in a YAML file of a recipe or a sweep, its keys unchecked; `exponents` as for `parse_yaml`.

    Raises:
        UserError: the file cannot be read, is not YAML, is more than a recipe can be, or holds no mapping.
    """
    try:
        with path.open("rb") as file:
            raw = parse_yaml(decode_yaml(file.read(MOST_BYTES + 1)), exponents=exponents)
    except OSError as error:
        raise UserError(f"recipe {path}: cannot be read: {error.strerror}") from None
    except UserError as error:
        raise UserError(f"recipe {path}: {error}") from None
    if not isinstance(raw, dict):
        raise UserError(f"recipe {path}: must be a mapping with keys such as data, model, method, train, evaluate")
    return raw


def _check_recipe(path: Path, raw: dict[str, Any]) -> str:
    if is_sweep_file(raw):
        raise UserError(f"{path} is a sweep of several recipes: `iaat compare {path}` trains it")
    checked_sections(raw, called(path.stem))
    return called(path.stem)


def read_chain(
    path: Path, check: Callable[[Path, dict[str, Any]], str] = _check_recipe, *, exponents: bool = True
) -> Chain:
    """The files of a recipe or sweep; `check` refuses what may not be in one, and returns its name in messages.

    `exponents` is as for `parse_yaml`.

    Raises:
        UserError: a file cannot be read or is refused, or there is no end of them.
    """
    files: list[tuple[Path, dict[str, Any]]] = []
    while True:
        raw = read_recipe(path, exponents=exponents)
        place = check(path, raw)
        files.insert(0, (path, raw))
        if "extends" not in raw:
            return files
        if not isinstance(raw["extends"], str):
            raise UserError(f"{place}: extends must be the name or the file of one recipe, not {shown(raw['extends'])}")
        path = find_recipe(raw["extends"], path.parent)
        seen = [each.resolve() for each, _ in reversed(files)]
        if path.resolve() in seen:
            raise UserError(f"{place}: extends runs in a circle: {' -> '.join(map(str, (*seen, path.resolve())))}")
        if len(files) > _LONGEST_CHAIN:
            raise UserError(f"{place}: extends goes on over more than {_LONGEST_CHAIN} files: write some into one")
        check_is_recipe(path, f"{place}: extends {shown(raw['extends'])}")


def merged(files: Chain) -> dict[str, Any]:
    """Settings of each file on top of the one it extends; a section of another method replaces the old one whole."""
    below: dict[str, Any] = {}
    for _, written in files:
        raw = with_new_names(written)
        same_method = continues(below.get("method", {}), raw.get("method", {}))
        for key, value in raw.items():
            deep = key in _SECTIONS or (key == "method" and same_method)
            below[key] = {**without_twins(below.get(key, {}), value), **value} if deep else value
    return below


def replaced_method(files: Chain) -> tuple[str, dict[str, Any]] | None:
    """Recipe, and settings of its method that the last file leaves behind for another; None where it does not."""
    if len(files) < 2:
        return None
    below = merged(files[:-1]).get("method", {})
    own = with_new_names(files[-1][1]).get("method", {})
    if continues(below, own):
        return None
    return recipe_name(files[-2][0]), {key: value for key, value in below.items() if key not in own}


def checked_sections(raw: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The settings of a recipe under today's keys, each section a mapping; the keys in them are not checked.

    Raises:
        UserError: an unknown key, or a section that is no mapping.
    """
    raw = with_new_names(raw)
    check_keys(raw, (*_HEAD, *_SECTIONS), place)
    for key in (*_SECTIONS, "method"):
        if not isinstance(raw.get(key, {}), dict):
            raise UserError(f"{place}: {key} must be a mapping of settings, not {shown(raw[key])}")
    return raw


def check_is_recipe(path: Path, place: str) -> None:
    """Refuse a file that another file names and that is no recipe, without showing anything of it.

    Raises:
        UserError: its top level has anything but the keys and sections of a recipe.
    """
    try:
        raw = read_recipe(path)
    except UserError:
        raw = {"": None}
    sections = (raw.get(key, {}) for key in (*_SECTIONS, "method"))
    if not is_sweep_file(raw) and (
        raw.keys() - {*_HEAD, *_SECTIONS} or not all(isinstance(part, dict) for part in sections)
    ):
        raise UserError(f"{place} is no recipe; `iaat check {path}` says why")


def check_keys(given: Mapping[str, Any], known: Iterable[str], place: str, section: str = "") -> None:
    """Refuse a key that is not one of the known, naming the nearest.

    Raises:
        UserError: there is one.
    """
    known = list(known)
    for key, value in given.items():
        if key not in known:
            dotted = f"{section}.{key}" if section else str(key)
            hint = did_you_mean(str(key), known) or f"; known here: {', '.join(known)}"
            raise UserError(f"{place}: unknown key {shown(dotted)} (= {shown(value)}){hint}")
