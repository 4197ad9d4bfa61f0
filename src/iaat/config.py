"""Recipes: YAML and `--key value` overrides become one typed, checked `Recipe`."""

from __future__ import annotations

import dataclasses
from argparse import ArgumentError
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, cast

import yaml
from jsonargparse import ArgumentParser, Namespace, set_parsing_settings
from jsonargparse.typing import register_type

from iaat.data import DataConfig
from iaat.errors import UserError, did_you_mean
from iaat.evaluate.config import EvaluateConfig
from iaat.methods import METHODS
from iaat.models import ModelConfig
from iaat.train.config import TrainConfig
from iaat.units import Radius

set_parsing_settings(docstring_parse_attribute_docstrings=True)
register_type(Radius, serializer=str, deserializer=Radius)

SECTIONS: dict[str, type] = {
    "data": DataConfig,
    "model": ModelConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
}
_HEAD = ("about", "extends", "seed", "method")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a run.

    Attributes:
        name: Name of the recipe or of its file.
        about: One line for people.
        seed: Seed of weights, data order, augmentation and attacks.
        data, model, train, evaluate: The typed sections.
        method_name: Key of `iaat.methods.METHODS`.
        method: That method's `Config`.
    """

    name: str
    about: str
    seed: int
    data: DataConfig
    model: ModelConfig
    method_name: str
    method: Any
    train: TrainConfig
    evaluate: EvaluateConfig

    def to_dict(self) -> dict[str, Any]:
        """The recipe as YAML has it, every default filled in; `load_recipe` reads it back to an equal recipe."""
        sections = self.sections()
        sections["method"] = {"name": self.method_name, **sections["method"]}
        return {"about": self.about, "seed": self.seed, **sections}

    def sections(self) -> dict[str, dict[str, Any]]:
        """The settings of each section as plain values."""
        return {key: _plain(getattr(self, key)) for key in ("data", "model", "method", "train", "evaluate")}

    def to_yaml(self) -> str:
        """`to_dict` as YAML text."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)


def _plain(config: Any) -> dict[str, Any]:  # noqa: ANN401
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return {key: str(value) if isinstance(value, Radius) else value for key, value in values.items()}


def shipped_recipes() -> dict[str, Path]:
    """Name and file of every recipe in the package."""
    folder = Path(str(resources.files("iaat"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by name or file, apply `--section.key value` overrides, and check all of it.

    Args:
        source: Name of a shipped recipe, or path of a YAML file.
        overrides: Command-line words, `["--train.epochs", "5", "--method", "pgd_at"]`.

    Raises:
        UserError: no such recipe, broken YAML, an unknown key (with the nearest valid name), or a wrong value.
    """
    name, raw = _read(source)
    raw = _merged(name, raw, seen=(name,))
    words, method_name = _take_method(list(overrides), raw, name)
    parser = recipe_parser(method_name, prog=f"iaat train {name}")
    _check_words(words, parser)
    return _parse(parser, name, raw, words, method_name)


def recipe_parser(method_name: str, prog: str = "iaat") -> ArgumentParser:
    """The parser of all recipe keys with `method_name`'s own; `print_help` documents each."""
    parser = ArgumentParser(prog=prog, exit_on_error=False, add_help=False)
    parser.add_argument("--seed", type=int, default=0, help="Seed of weights, data order, augmentation and attacks.")
    for key, config in SECTIONS.items():
        parser.add_class_arguments(config, key)
    parser.add_class_arguments(METHODS[method_name].Config, "method")
    return parser


def _parse(parser: ArgumentParser, name: str, raw: Mapping[str, Any], words: list[str], method_name: str) -> Recipe:
    body = {key: value for key, value in raw.items() if key in SECTIONS or key in ("seed", "method")}
    body["method"] = {key: value for key, value in body.get("method", {}).items() if key != "name"}
    try:
        values = parser.parse_args(words, namespace=parser.parse_object(body))
    except ArgumentError as error:
        raise UserError(f"recipe {name}: {_one_line(error)}") from None
    built = cast("Namespace", parser.instantiate(values))
    sections = {key: built[key] for key in SECTIONS}
    about = str(raw.get("about", ""))
    return Recipe(name=name, about=about, seed=built.seed, method_name=method_name, method=built.method, **sections)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).replace("<class '", "").replace("'>", "").split())


def _read(source: str | Path) -> tuple[str, dict[str, Any]]:
    shipped = shipped_recipes()
    path = shipped.get(str(source), Path(source))
    if not path.is_file():
        raise UserError(
            f"recipe {str(source)!r} is neither a file nor shipped{did_you_mean(str(source), shipped)}; "
            "`iaat recipes` lists what ships"
        )
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"recipe {path}: not valid YAML: {_one_line(error)}") from None
    if not isinstance(raw, dict):
        raise UserError(f"recipe {path}: must be a mapping with keys such as data, model, method, train, evaluate")
    return path.stem, raw


def _merged(name: str, raw: dict[str, Any], seen: tuple[str, ...]) -> dict[str, Any]:
    """`raw` on top of the recipe it extends; a method section of another method replaces the old one whole."""
    _check_keys(raw, (*_HEAD, *SECTIONS), f"recipe {name}")
    for key in (*SECTIONS, "method"):
        if not isinstance(raw.get(key, {}), dict):
            raise UserError(f"recipe {name}: {key} must be a mapping of settings, not {raw[key]!r}")
    if "extends" not in raw:
        return raw
    parent_name, parent = _read(str(raw["extends"]))
    if parent_name in seen:
        raise UserError(f"recipe {name}: extends runs in a circle: {' -> '.join((*seen, parent_name))}")
    merged = {**_merged(parent_name, parent, (*seen, parent_name))}
    same_method = raw.get("method", {}).get("name") in (None, merged.get("method", {}).get("name"))
    for key, value in raw.items():
        deep = key in SECTIONS or (key == "method" and same_method)
        merged[key] = {**merged.get(key, {}), **value} if deep else value
    return merged


def _take_method(words: list[str], raw: dict[str, Any], name: str) -> tuple[list[str], str]:
    """The method's name, from `--method NAME` or the recipe, and the other words; checks every key of the recipe."""
    section = raw.get("method", {})
    chosen = section.get("name")
    rest: list[str] = []
    while words:
        word = words.pop(0)
        key, _, value = word.partition("=")
        if key in ("--method", "--method.name"):
            if not value and not words:
                raise UserError(f"{key} needs a value: one of {', '.join(METHODS)}")
            chosen = value or words.pop(0)
        else:
            rest.append(word)
    if chosen is None:
        raise UserError(f"recipe {name}: method.name is missing: one of {', '.join(METHODS)}")
    if chosen not in METHODS:
        known = ", ".join(METHODS)
        raise UserError(
            f"method.name {chosen!r} is not known{did_you_mean(str(chosen), METHODS)}; choose one of {known}"
        )
    if chosen != section.get("name"):
        # Keys that both methods know keep their values, so that an override swaps the method and nothing else.
        raw["method"] = {key: value for key, value in section.items() if key in _keys(METHODS[chosen].Config)}
    for key, config in {**SECTIONS, "method": METHODS[chosen].Config}.items():
        _check_keys(raw.get(key, {}), [*_keys(config), *(["name"] if key == "method" else [])], f"recipe {name}", key)
    return rest, str(chosen)


def _keys(config: type) -> list[str]:
    return [field.name for field in dataclasses.fields(config)]


def _check_keys(given: Mapping[str, Any], known: Iterable[str], place: str, section: str = "") -> None:
    known = list(known)
    for key, value in given.items():
        if key not in known:
            dotted = f"{section}.{key}" if section else str(key)
            hint = did_you_mean(str(key), known) or f"; known here: {', '.join(known)}"
            raise UserError(f"{place}: unknown key {dotted!r} (= {value!r}){hint}")


def _check_words(words: Sequence[str], parser: ArgumentParser) -> None:
    known = [option for action in parser._actions for option in action.option_strings]
    for word in words:
        key = word.partition("=")[0]
        if key.startswith("--") and key not in known:
            raise UserError(f"unknown option {key!r}{did_you_mean(key, known)}")
