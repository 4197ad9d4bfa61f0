"""Recipes: YAML and `--key value` overrides become one typed, checked `Recipe`."""

from __future__ import annotations

import dataclasses
import re
from argparse import ArgumentError
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentParser, set_parsing_settings
from jsonargparse.typing import register_type

from iaat.data import DataConfig
from iaat.errors import UserError, did_you_mean
from iaat.evaluate.config import EvaluateConfig
from iaat.methods import METHODS, find_method
from iaat.models import ModelConfig
from iaat.train.config import TrainConfig
from iaat.units import Radius


def _radius(value: Any) -> Radius:  # noqa: ANN401
    if isinstance(value, bool):
        raise UserError(f"radius {value} is not a length: write 8px, 8/255 or 0.03")
    return Radius(value)


class Options(dict[str, Any]):
    """Type of `options` for jsonargparse, which in a `dict[str, Any]` turns texts to numbers and calls class paths."""


def _options(value: Any) -> dict[str, Any]:  # noqa: ANN401
    if isinstance(value, str):
        value = yaml.safe_load(value)
    if not _is_options(value):
        raise UserError(f"write a mapping such as '{{key: value}}', not {value!r}")
    return dict(value)


def _is_options(value: object, _type: object = None) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


set_parsing_settings(docstring_parse_attribute_docstrings=True)
register_type(Radius, serializer=str, deserializer=_radius)
register_type(Options, dict, _options, deserializer_exceptions=Exception, type_check=_is_options)

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
        method_name: Key of `iaat.methods.METHODS`, or module:Class of the user's own.
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
    path = find_recipe(str(source))
    name, raw = path.stem, _merged(path)
    words, method_name = _take_method(list(overrides), raw, name)
    parser = recipe_parser(method_name, prog=f"iaat train {name}")
    _check_words(words, parser, name)
    return _parse(parser, name, raw, words, method_name)


def settings_of_model(target: str, overrides: Sequence[str] = ()) -> Recipe:
    """The settings by which a model that is no run of ours is judged: `data`, `model` and `evaluate` of a recipe.

    The rest of the recipe has its defaults and means nothing. The model gets inputs in [0, 1] as they are unless
    `--model.normalize`, or mean and std, say otherwise.

    Args:
        target: The model, which names the settings in messages.
        overrides: Command-line words, `["--data.name", "cifar10", "--evaluate.suite", "standard"]`.

    Raises:
        UserError: an unknown key, or a wrong value.
    """
    parser = recipe_parser("natural", prog="iaat evaluate MODEL")
    _check_words(overrides, parser, target)
    return _parse(parser, target, {"model": {"normalize": "none"}}, list(overrides), "natural")


def recipe_parser(method_name: str, prog: str = "iaat") -> ArgumentParser:
    """The parser of all recipe keys with `method_name`'s own; `print_help` documents each."""
    parser = ArgumentParser(prog=prog, exit_on_error=False, add_help=False)
    parser.add_argument("--seed", type=int, default=0, help="Seed of weights, data order, augmentation and attacks.")
    for key, config in _configs(method_name).items():
        free = {"options"} & set(_keys(config))
        parser.add_class_arguments(config, key, skip=free)
        for option in free:
            assert parser.groups
            text = "Keyword arguments for timm or for module:function, passed on as they are: '{key: value}'."
            parser.groups[key].add_argument(f"--{key}.{option}", type=Options, default={}, metavar="MAPPING", help=text)
    return parser


def _configs(method_name: str) -> dict[str, type]:
    return {**SECTIONS, "method": find_method(method_name).Config}


def _parse(parser: ArgumentParser, name: str, raw: Mapping[str, Any], words: list[str], method_name: str) -> Recipe:
    body = {key: value for key, value in raw.items() if key in SECTIONS or key in ("seed", "method")}
    body["method"] = {key: value for key, value in body.get("method", {}).items() if key != "name"}
    try:
        values = parser.parse_args(words, namespace=parser.parse_object(body))
    except (ArgumentError, RecursionError) as error:  # the latter of a value that contains itself
        raise UserError(f"recipe {name}: {_one_line(error)}") from None
    # Built here and not by jsonargparse, whose instantiation would call whatever class path a value spells.
    given = {key: vars(values[key]) if key in values else {} for key in _configs(method_name)}
    sections = {key: _build(config, given[key], name, key) for key, config in _configs(method_name).items()}
    if values.seed is None or not 0 <= values.seed < 2**63:
        raise UserError(f"recipe {name}: seed {values.seed}: give a whole number from 0 to 2**63 - 1")
    return Recipe(name=name, about=str(raw.get("about", "")), seed=values.seed, method_name=method_name, **sections)


def _build(config: type, values: Mapping[str, Any], name: str, section: str) -> Any:  # noqa: ANN401
    """The typed section; jsonargparse lets null pass for any type."""
    hints = get_type_hints(config)
    for key, value in values.items():
        if value is None and NoneType not in get_args(hints[key]):
            raise UserError(f"recipe {name}: {section}.{key} is empty (null): give a value, or leave the key out")
    return config(**values)


_LITERAL = re.compile(
    r'Parser key "(?P<key>.+?)": Expected a typing\.Literal\[(?P<choices>.*)\]\. Got value: (?P<value>.*)'
)
_OPTIONAL = re.compile(
    r'Parser key "(?P<key>.+?)": Does not validate against any of the Union .*? Errors: - (?P<reason>.*?) '
    r"- Expected a NoneType Given value type: .*? Given value: (?P<value>.*)"
)


def _one_line(error: Exception) -> str:
    """The message of a library in the words of a recipe."""
    text = " ".join(str(error).replace("<class '", "").replace("'>", "").split())
    if match := _LITERAL.fullmatch(text):
        choices = [choice.strip(" '") for choice in match["choices"].split(",")]
        hint = did_you_mean(match["value"], choices)
        return f"{match['key']}: {match['value']!r} is not one of {', '.join(choices)}{hint}"
    if match := _OPTIONAL.fullmatch(text):
        return f"{match['key']}: {match['reason']}, got {match['value']!r} (or null for none)"
    return text.replace("Parser key ", "")


def find_recipe(source: str, folder: Path = Path()) -> Path:
    """File of a shipped recipe, or else the file that `source` is, seen from `folder`.

    Raises:
        UserError: there is neither.
    """
    shipped = shipped_recipes()
    path = shipped.get(source, folder / source)
    with suppress(OSError):  # of a name too long to be a file's
        if path.is_file():
            return path
    raise UserError(
        f"recipe {source!r} is neither a file nor shipped{did_you_mean(source, shipped)}; "
        "`iaat recipes` lists what ships"
    )


def read_recipe(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file of a recipe or a sweep, its keys unchecked.

    Raises:
        UserError: the file cannot be read, is not YAML, or holds no mapping.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"recipe {path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # PyYAML lets out what its constructors run into, such as the date 2020-13-01
        raise UserError(f"recipe {path}: not valid YAML: {_one_line(error)}") from None
    if not isinstance(raw, dict):
        raise UserError(f"recipe {path}: must be a mapping with keys such as data, model, method, train, evaluate")
    return raw


def _merged(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Settings of a file on top of the recipe it extends; a section of another method replaces the old one whole."""
    name, raw = path.stem, read_recipe(path)
    if "cells" in raw:
        raise UserError(f"{path} is a sweep of several recipes: `iaat compare {path}` trains it")
    _check_keys(raw, (*_HEAD, *SECTIONS), f"recipe {name}")
    for key in (*SECTIONS, "method"):
        if not isinstance(raw.get(key, {}), dict):
            raise UserError(f"recipe {name}: {key} must be a mapping of settings, not {raw[key]!r}")
    if "extends" not in raw:
        return raw
    if not isinstance(raw["extends"], str):
        raise UserError(f"recipe {name}: extends must be the name or the file of one recipe, not {raw['extends']!r}")
    seen = (*seen, path.resolve())
    parent = find_recipe(raw["extends"], path.parent)
    if parent.resolve() in seen:
        raise UserError(f"recipe {name}: extends runs in a circle: {' -> '.join(map(str, (*seen, parent.resolve())))}")
    merged = _merged(parent, seen)
    same_method = raw.get("method", {}).get("name") in (None, merged.get("method", {}).get("name"))
    for key, value in raw.items():
        deep = key in SECTIONS or (key == "method" and same_method)
        merged[key] = {**merged.get(key, {}), **value} if deep else value
    return merged


def _take_method(words: list[str], raw: dict[str, Any], name: str) -> tuple[list[str], str]:
    """The method's name, from `--method NAME` or the recipe, and the other words; checks every key of the recipe."""
    section = raw.get("method", {})
    chosen = own = section.get("name")
    rest: list[str] = []
    while words:
        word = words.pop(0)
        key, equals, value = word.partition("=")
        if key not in ("--method", "--method.name"):
            rest.append(word)
        elif equals or words:
            chosen = value if equals else words.pop(0)
        else:
            raise UserError(f"{key} needs a value: one of {', '.join(METHODS)}")
    if chosen is None:
        raise UserError(f"recipe {name}: method.name is missing: one of {', '.join(METHODS)}")
    if own not in (None, chosen):
        # Settings of the old method go, those both methods share stay: an override swaps the method and keeps all else.
        old, new = find_method(own).Config, find_method(chosen).Config
        gone = {key for key in _keys(old) if key not in _keys(new) or _home(old, key) is not _home(new, key)}
        raw["method"] = {key: value for key, value in section.items() if key not in gone}
    for key, config in _configs(chosen).items():
        _check_keys(raw.get(key, {}), [*_keys(config), *(["name"] if key == "method" else [])], f"recipe {name}", key)
    return rest, str(chosen)


def _keys(config: type) -> list[str]:
    return [field.name for field in dataclasses.fields(config)]


def _home(config: type, key: str) -> type:
    """The class that first has a setting: `beta` of one method is another thing than `beta` of an unrelated one."""
    return next(base for base in reversed(config.__mro__) if key in vars(base).get("__annotations__", {}))


def _check_keys(given: Mapping[str, Any], known: Iterable[str], place: str, section: str = "") -> None:
    known = list(known)
    for key, value in given.items():
        if key not in known:
            dotted = f"{section}.{key}" if section else str(key)
            hint = did_you_mean(str(key), known) or f"; known here: {', '.join(known)}"
            raise UserError(f"{place}: unknown key {dotted!r} (= {value!r}){hint}")


def _check_words(words: Sequence[str], parser: ArgumentParser, name: str) -> None:
    known = [option for action in parser._actions for option in action.option_strings]
    for word in words:
        key = word.partition("=")[0]
        if key.startswith("--") and key not in known:
            raise UserError(f"recipe {name} has no option {key!r}{did_you_mean(key, known)}")
