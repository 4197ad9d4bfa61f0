"""Recipes: YAML and `--key value` overrides become one typed, checked `Recipe`."""

from __future__ import annotations

import dataclasses
import json
import warnings
from argparse import ArgumentError
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from jsonargparse import ArgumentParser, set_parsing_settings
from jsonargparse.typing import register_type

from iaat.config.deprecated import new_arguments, newer_name, take_rate, take_rule, warn_of_old_names, with_rate
from iaat.config.evaluate_config import EvaluateConfig
from iaat.config.recipe import Recipe
from iaat.config.recipe_checks import (
    check_norms,
    check_units,
    given_keys,
    keys_in_files,
    typed_keys,
    warn_without_effect,
)
from iaat.config.recipe_files import called, check_keys, checked_sections, find_recipe, merged
from iaat.config.safe_yaml import check_text, parse_yaml
from iaat.config.short_options import expanded, join_values, likely_key
from iaat.config.train_config import TrainConfig
from iaat.config.value_errors import reworded
from iaat.data import DataConfig
from iaat.data.data_config import DATASETS, WRITTEN_ROOTS
from iaat.errors import UserError, shown
from iaat.methods import METHODS, find_method
from iaat.methods.setting_fields import is_setting, setting_names
from iaat.models import ModelConfig
from iaat.models.registry import check_name
from iaat.runtime.text import cut
from iaat.runtime.user_code import check_trusted, trust_typed
from iaat.units import Radius, check_numbers


def _radius(value: Any) -> Radius:  # noqa: ANN401
    if isinstance(value, bool):
        raise UserError(f"radius {value} cannot be read: write 8px, 8/255 or 0.03")
    return Radius(value)


class Options(dict[str, Any]):
    """Type of `options` for jsonargparse, which in a `dict[str, Any]` turns texts to numbers and calls class paths."""


def _options(value: Any) -> dict[str, Any]:  # noqa: ANN401
    if isinstance(value, str):
        value = parse_yaml(value)
    if not _is_options(value):
        raise UserError(f"write a mapping such as '{{key: value}}', not {shown(value)}")
    return dict(value)


def _is_options(value: object, _type: object = None) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


set_parsing_settings(docstring_parse_attribute_docstrings=True)
register_type(Radius, serializer=str, deserializer=_radius)
register_type(Options, dict, _options, deserializer_exceptions=Exception, type_check=_is_options)

SECTION_TYPES: dict[str, type] = {
    "data": DataConfig,
    "model": ModelConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
}
_METHOD_OPTIONS = ("--method", "--method.name")
NAMES_OF_CODE = ("--model.name", "--data.name", *_METHOD_OPTIONS)
"""Keys that may name code as module:function."""

_LONGEST_LIST = 1000
_LONGEST_TEXT = 4096  # a path; what reads a text, such as 8px or [1, 2], need not bear more


def load_recipe(
    source: str | Path, overrides: Sequence[str] = (), *, settings: Sequence[str] = (), stored: bool = False
) -> Recipe:
    """Read a recipe by name or file, apply `--section.key value` overrides, and check all of it.

    Nothing that a file says is imported or run: code that it names (`model: {name: my_net:build}`) is refused, unless
    an override names the same, or `iaat.runtime.user_code.trust` the module.

    Args:
        source: Name of a shipped recipe, or path of a YAML file.
        overrides: Command-line arguments, `["--train.epochs", "5", "--method", "pgd_at"]`.
        settings: The same, of another file: below the overrides, and trusted as little as the recipe.
        stored: The source is what a run has written and is not trained by: no advice on its keys helps anybody, and it
            keeps `train.radii_folder`.

    Raises:
        UserError: no such recipe, broken YAML, an unknown key (with the nearest valid name), or a wrong value.
    """
    path = find_recipe(str(source))
    return _resolved(path.stem, merged(path), overrides, settings=settings, path=path, stored=stored)


def stored_recipe(values: Mapping[str, Any], name: str, place: str) -> Recipe:
    """The recipe that a checkpoint holds, checked like one in a file; by `Recipe.to_dict` of this version or older.

    Args:
        values: What the checkpoint holds.
        name: Name of the recipe.
        place: Names the checkpoint in messages.

    Raises:
        UserError: as `load_recipe`, or the values are none that a file could hold.
    """
    try:
        # As text it meets the same checks as a file.
        raw = parse_yaml(json.dumps(values))
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{place}: its recipe is damaged: {cut(str(error))}") from None
    return _resolved(name, checked_sections(raw, place), (), place=place, stored=True)


def _resolved(
    name: str,
    raw: dict[str, Any],
    overrides: Sequence[str],
    *,
    settings: Sequence[str] = (),
    path: Path | None = None,
    place: str = "",
    stored: bool = False,
) -> Recipe:
    """The recipe of settings `raw` with arguments on top; `path` is their file, if there is one."""
    _trust_typed(overrides)
    place = place or f"{called(name)} ({path})"
    raw["method"], arguments, advice = take_rule(raw.get("method", {}), join_values([*settings, *overrides]))
    arguments, method_name = _take_method(arguments, raw, name, place)
    config = find_method(method_name).Config
    arguments = _expanded(arguments, config, str(raw.get("data", {}).get("name", DataConfig.name)))
    if not stored:
        warn_of_old_names(keys_in_files(path) | typed_keys(arguments), called(name))
    arguments = new_arguments(arguments)
    raw["method"], arguments, rate = take_rate(setting_names(config), raw.get("method", {}), arguments)
    _check_section_keys(raw, method_name, name)
    parser = _kept_parser(config)
    _check_arguments(arguments, parser, name)
    recipe = _parse(parser, name, raw, arguments, method_name)
    if rate is not None:
        method = with_rate(recipe.method, rate, recipe.method_epochs, advise=not stored)
        recipe = dataclasses.replace(recipe, method=method)
    check_trusted(recipe.model.name, key="model.name", place=place)
    check_trusted(recipe.data.name, key="data.name", place=place)
    _check_options(recipe.model, place)
    _ = recipe.run_method  # refuses what does not fit the number of epochs
    check_norms(recipe, path, arguments)
    if not stored:
        for line in advice:
            warnings.warn(f"{called(name)}: {line}", stacklevel=3)
        check_name(recipe.model.name)
        given = given_keys(recipe, path, arguments)
        check_units(recipe, given)
        warn_without_effect(recipe, given)
    return _confined(recipe, overrides, place, stored=stored)


def _confined(recipe: Recipe, arguments: Sequence[str], place: str, *, stored: bool) -> Recipe:
    """The recipe without places to write that a file names: such a place has to be typed."""
    typed = {argument.partition("=")[0] for argument in arguments}
    folder, data = recipe.train.radii_folder, recipe.data
    if folder is not None and "--train.radii_folder" not in typed and not stored:
        raise UserError(
            f"{place}: train.radii_folder is {shown(folder)}, and a file may not choose where is written: leave it out,"
            f" and type --train.radii_folder {cut(folder, 100)}"
        )
    writes = data.name in WRITTEN_ROOTS and data.root is not None and data.download
    if writes and not {"--data.root", "--data.download"} & typed:
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(data, download=False))
    return recipe


def _expanded(arguments: Sequence[str], config: type, data_name: str) -> list[str]:
    """Arguments with the keys of the short options that depend on the recipe."""
    return expanded(
        join_values(arguments),
        method_keys=setting_names(config),
        radius_is_attack=getattr(config, "radius_is_attack", True),
        data_name=data_name,
        names=DATASETS,
    )


def _check_options(model: ModelConfig, place: str) -> None:
    """Refuse options with which timm reads files itself, which in some of its versions runs their code."""
    files = {"checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"} & model.options.keys()
    if files and (":" not in model.name or model.name.startswith("timm:")):
        raise UserError(f"{place}: model.options has {min(files)}: give files of weights by model.weights")


def _trust_typed(arguments: Sequence[str]) -> None:
    """Trust the code that arguments of the command line name, and that alone."""
    for argument, following in zip(arguments, (*arguments[1:], ""), strict=False):
        key, equals, value = argument.partition("=")
        name = value if equals else following
        if key in NAMES_OF_CODE and ":" in name:
            trust_typed(name)


def settings_for_model(target: str, overrides: Sequence[str] = ()) -> Recipe:
    """The settings to evaluate a model that is no run of iaat: `data`, `model` and `evaluate` of a recipe.

    The rest of the recipe has its defaults and means nothing. The model gets inputs in [0, 1] as they are unless
    `--model.normalize`, or mean and std, say otherwise.

    Args:
        target: The model, which names the settings in messages.
        overrides: Command-line arguments, `["--data.name", "cifar10", "--evaluate.suite", "standard"]`.

    Raises:
        UserError: an unknown key, or a wrong value.
    """
    config = find_method("natural").Config
    parser, arguments = _kept_parser(config), _expanded(overrides, config, DataConfig.name)
    warn_of_old_names(typed_keys(arguments), target)
    arguments = new_arguments(arguments)
    _check_arguments(arguments, parser, target)
    recipe = _parse(parser, target, {"model": {"normalize": "none"}}, arguments, "natural")
    check_norms(recipe, None, arguments)
    check_units(recipe, {argument.partition("=")[0].removeprefix("--") for argument in arguments})
    return recipe


def expand_arguments(overrides: Sequence[str]) -> list[str]:
    """Arguments of an evaluation with short options expanded to their keys.

    Raises:
        UserError: `--data` that is neither a folder nor a data set.
    """
    given = [argument.partition("=")[2] for argument in overrides if argument.startswith("--data.name=")]
    return _expanded(overrides, find_method("natural").Config, given[-1] if given else DataConfig.name)


def recipe_parser(method_name: str, prog: str = "iaat") -> ArgumentParser:
    """The parser of all recipe keys with `method_name`'s own; `print_help` documents each."""
    return _new_parser(find_method(method_name).Config, prog)


_PARSERS: dict[type, ArgumentParser] = {}


def _kept_parser(method: type) -> ArgumentParser:
    """Cached parser, for parsing only: building one takes longer than the rest of reading a recipe."""
    if method not in _PARSERS:
        _PARSERS[method] = _new_parser(method, "iaat")
    return _PARSERS[method]


def _new_parser(method: type, prog: str) -> ArgumentParser:
    parser = ArgumentParser(prog=prog, exit_on_error=False, add_help=False)
    parser.add_argument("--seed", type=int, default=0, help="Seed of weights, data order, augmentation and attacks.")
    for key, config in {**SECTION_TYPES, "method": method}.items():
        free = {"options"} & set(setting_names(config))
        parser.add_class_arguments(config, key, skip=free | _derived(config))
        for option in free:
            assert parser.groups
            text = "Keyword arguments for timm or for module:function, passed on as they are: '{key: value}'."
            parser.groups[key].add_argument(f"--{key}.{option}", type=Options, default={}, metavar="MAPPING", help=text)
    return parser


def _configs(method_name: str) -> dict[str, type]:
    return {**SECTION_TYPES, "method": find_method(method_name).Config}


def _parse(parser: ArgumentParser, name: str, raw: Mapping[str, Any], arguments: list[str], method_name: str) -> Recipe:
    body = {key: value for key, value in raw.items() if key in SECTION_TYPES or key in ("seed", "method")}
    body["method"] = {key: value for key, value in body.get("method", {}).items() if key != "name"}
    _check_texts(body, name)
    try:
        # The dataclasses have the defaults.
        values = parser.parse_args(arguments, namespace=parser.parse_object(body, defaults=False), defaults=False)
    except (ArgumentError, RecursionError) as error:
        raise UserError(f"{called(name)}: {reworded(error)}") from None
    # Built here: jsonargparse would call any class path that a value spells.
    given = {key: vars(values[key]) if key in values else {} for key in _configs(method_name)}
    sections = {key: _build(config, given[key], name, key) for key, config in _configs(method_name).items()}
    seed = values.get("seed", 0)
    if seed is None or not 0 <= seed < 2**63:
        raise UserError(f"{called(name)}: seed {shown(seed)}: give a whole number from 0 to 2**63 - 1")
    return Recipe(name=name, about=str(raw.get("about", "")), seed=seed, method_name=method_name, **sections)


def _check_texts(body: Mapping[str, Any], name: str) -> None:
    """Refuse texts that are too long for any setting, and hostile YAML in them."""
    for section, values in body.items():
        for key, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, list) and len(value) > _LONGEST_LIST:
                raise UserError(
                    f"{called(name)}: {section}.{key} has {len(value):,} values, more than {_LONGEST_LIST:,}"
                )
            for text in _texts(value) if key != "options" else ():
                _check_value(text, f"{called(name)}: {section}.{key}")


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value:
            yield from _texts(inner)


def _check_value(text: str, place: str) -> None:
    """Refuse a text value that takes long to read or is YAML without end."""
    if len(text) > _LONGEST_TEXT:
        raise UserError(f"{place}: {shown(text)} is longer than {_LONGEST_TEXT:,} characters")
    try:
        check_text(text)
        parse_yaml(text)
    except UserError as error:
        if not str(error).startswith("not valid YAML"):  # which is said better by whoever wants YAML there
            raise UserError(f"{place}: {error}") from None


def _build(config: type, values: Mapping[str, Any], name: str, section: str) -> Any:  # noqa: ANN401
    """The typed section; jsonargparse lets null pass for any type."""
    hints = get_type_hints(config)
    for key, value in values.items():
        if value is None and NoneType not in get_args(hints[key]):
            raise UserError(f"{called(name)}: {section}.{key} is empty (null): give a value, or leave the key out")
    changed = {key: value for key, value in values.items() if value != getattr(config, key, None)}
    check_numbers(changed, section)
    return config(**values)


def _take_method(arguments: list[str], raw: dict[str, Any], name: str, place: str) -> tuple[list[str], str]:
    """The method's name, from `--method NAME` or the recipe, and the other arguments."""
    section = raw.get("method", {})
    chosen = own = section.get("name")
    rest: list[str] = []
    while arguments:
        argument = arguments.pop(0)
        key, equals, value = argument.partition("=")
        if key not in _METHOD_OPTIONS:
            rest.append(argument)
        elif equals or arguments:
            chosen = value if equals else arguments.pop(0)
        else:
            raise UserError(f"{key} needs a value: one of {', '.join(METHODS)}")
    for used in (own, chosen):  # before one of them is imported
        check_trusted(used, key="method.name", place=place)
    if chosen is None:
        raise UserError(f"{called(name)}: method.name is missing: one of {', '.join(METHODS)}")
    if own not in (None, chosen):
        # Settings of the old method go, those both methods share stay: an override swaps the method and keeps all else.
        old, new = find_method(own).Config, find_method(chosen).Config
        kept = set(setting_names(new))
        gone = {key for key in setting_names(old) if key not in kept or _home(old, key) is not _home(new, key)}
        raw["method"] = {key: value for key, value in section.items() if newer_name(key) not in gone}
    return rest, str(chosen)


def _check_section_keys(raw: Mapping[str, Any], method_name: str, name: str) -> None:
    """Refuse keys that no section has."""
    for key, config in _configs(method_name).items():
        known = [*setting_names(config), *(["name"] if key == "method" else [])]
        check_keys(raw.get(key, {}), known, called(name), key)


def _derived(config: type) -> set[str]:
    return {field.name for field in dataclasses.fields(config) if not is_setting(field)}


def _home(config: type, key: str) -> type:
    """The class that defines a setting: `beta` of one method is not `beta` of an unrelated one."""
    return next(base for base in reversed(config.__mro__) if key in vars(base).get("__annotations__", {}))


_MOST_NAMED = 4


def all_keys() -> list[str]:
    """Every key of a recipe, with those of all methods that ship."""
    sections = [*SECTION_TYPES.items(), *(("method", find_method(name).Config) for name in METHODS)]
    keys = [f"{section}.{key}" for section, config in sections for key in setting_names(config)]
    return list(dict.fromkeys(["seed", *keys]))


def _hint(option: str, known: Sequence[str]) -> str:
    """Hint for an unknown option: the methods that have it, or the nearest key."""
    section, _, key = option.removeprefix("--").partition(".")
    owners = [name for name in METHODS if section == "method" and key in setting_names(find_method(name).Config)]
    if owners:
        some = f"method {', '.join(owners)}" if len(owners) <= _MOST_NAMED else "methods that attack"
        return (
            f": it is a key of {some}; for one recipe of several write it into a sweep, "
            f"cells: {{name: {{recipe: ..., set: {{{section}.{key}: ...}}}}}}"
        )
    return likely_key(option, known)


def _check_arguments(arguments: Sequence[str], parser: ArgumentParser, name: str) -> None:
    # Whole sections, --model FILE, are a way of jsonargparse to read further files.
    known = ["--seed", *(key for action in parser._actions for key in action.option_strings if "." in key)]
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key.startswith("--") and key not in known:
            raise UserError(f"{called(name)} has no option {shown(key)}{_hint(key, known)}")
        _check_value(
            value if key.startswith("--") else argument,
            f"{called(name)}: {cut(key, 100) if value else 'the command line'}",
        )
