"""Recipes: YAML and `--key value` overrides become one typed, checked `Recipe`."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from iaat.config.data_option import with_data_keys
from iaat.config.deprecated import take_rate, take_rule, warn_of_old_names, with_new_keys, with_rate
from iaat.config.method_in_name import with_method
from iaat.config.recipe import Recipe
from iaat.config.recipe_checks import (
    check_norms,
    check_rate,
    check_teacher,
    check_units,
    keys_in_files,
    own_keys,
    warn_of_dropped,
    warn_without_effect,
)
from iaat.config.recipe_files import (
    RUN_FILE,
    SECTIONS,
    Chain,
    called,
    check_keys,
    checked_sections,
    find_recipe,
    merged,
    read_chain,
    recipe_name,
)
from iaat.config.safe_yaml import parse_yaml
from iaat.config.setting_keys import SECTION_TYPES, check_known
from iaat.config.short_options import BOTH
from iaat.config.swapped_method import take_method
from iaat.config.typed_arguments import read_settings
from iaat.config.typed_values import build_section, typed_value
from iaat.config.written_config import written_config
from iaat.data import DataConfig
from iaat.data.data_config import WRITTEN_ROOTS
from iaat.errors import UserError, shown
from iaat.methods import find_method
from iaat.methods.setting_fields import setting_names
from iaat.models import ModelConfig
from iaat.models.registry import check_name
from iaat.runtime.text import cut
from iaat.runtime.user_code import check_trusted, trust_typed

NAMES_OF_CODE = ("model.name", "data.name", "method")
"""Keys that may name code as module:function."""

CODE_OF_IMAGES = ("model.name", "data.name")
"""Those that readers of a finished run need to show its images: radii are on the disk, without the method."""


def load_recipe(
    source: str | Path,
    overrides: Sequence[str] = (),
    *,
    settings: Sequence[str] = (),
    stored: bool = False,
    code: Collection[str] = NAMES_OF_CODE,
) -> Recipe:
    """Read a recipe by name or file, apply `--section.key value` overrides, and check all of it.

    A method that an override changes becomes part of the name: `quickstart-with-pgd_at`.

    Nothing that a file says is imported or run: code that it names (`model: {name: my_net:build}`) is refused, unless
    an override names the same, or `iaat.runtime.user_code.trust` the module.

    Args:
        source: Name of a shipped recipe, or path of a YAML file.
        overrides: Command-line arguments, `["--train.epochs", "5", "--method", "pgd_at"]`.
        settings: The same, of another file: below the overrides, and trusted as little as the recipe.
        stored: The source is what a run has written and is not trained by: no advice on its keys helps anybody, and it
            keeps `train.radii_folder`.
        code: Those of `NAMES_OF_CODE` that will be used. What the others name need not be trusted and is not imported;
            a method of the user's own then has the settings that are written, as they are written.

    Raises:
        UserError: no such recipe, broken YAML, an unknown key (with the nearest valid name), or a wrong value.
    """
    path = find_recipe(str(source))
    files = read_chain(path)
    place = f"{called(path.stem)} ({path})"
    name, raw = recipe_name(path), merged(files)
    of_run = (path.parent / RUN_FILE).is_file()
    recipe = _resolved(
        name, raw, overrides, place, settings=settings, files=files, stored=stored, of_run=of_run, code=code
    )
    own = read_settings(settings).get("method", raw["method"].get("name"))
    if "method" in read_settings(overrides) and own not in (None, recipe.method_name):
        recipe = dataclasses.replace(recipe, name=with_method(name, recipe.method_name))
    return recipe


def python_recipe(name: str, raw: Mapping[str, Any], written: Mapping[str, str], place: str) -> Recipe:
    """The recipe of settings that were written in Python, checked like one of the command line.

    Args:
        name: Name of the recipe.
        raw: Sections that stand in place of a file.
        written: What `iaat.config.python_settings.written_settings` returned.
        place: Names the call in messages.

    Raises:
        UserError: as `load_recipe`.
    """
    return _resolved(name, dict(raw), [f"--{key}={value}" for key, value in written.items()], place, stored=False)


def stored_recipe(
    values: Mapping[str, Any],
    name: str,
    place: str,
    overrides: Sequence[str] = (),
    *,
    code: Collection[str] = NAMES_OF_CODE,
) -> Recipe:
    """The recipe that a checkpoint holds, checked like one in a file; by `Recipe.to_dict` of this version or older.

    `place` names the checkpoint in messages; `overrides` are `--key=value` arguments on top; `code` as for
    `load_recipe`.

    Raises:
        UserError: as `load_recipe`, or the values are none that a file could hold.
    """
    try:
        # As text it meets the same checks as a file.
        raw = parse_yaml(json.dumps(values))
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{place}: its recipe is damaged: {cut(str(error))}") from None
    raw = checked_sections(raw, place)
    return _resolved(name, raw, overrides, place, files=[(Path(name), raw)], stored=True, of_run=True, code=code)


def _resolved(
    name: str,
    raw: dict[str, Any],
    overrides: Sequence[str],
    place: str,
    *,
    settings: Sequence[str] = (),
    files: Chain = (),
    stored: bool,
    of_run: bool = False,
    code: Collection[str] = NAMES_OF_CODE,
) -> Recipe:
    """The recipe of settings `raw`, which come from `files`, with arguments on top.

    Those `of_run` were written by a run, with all defaults.
    """
    own, typed = _typed_keys(raw, settings, overrides)
    advice = take_rule(raw.setdefault("method", {}), typed)
    method_name, config = _method_class(typed, raw, name, place, code, of_run=of_run)
    typed = _expanded(typed, config)
    if not stored:
        warn_of_old_names(keys_in_files(files) | typed.keys(), called(name))
    typed = with_new_keys(typed)
    rate = take_rate(setting_names(config), raw["method"], typed)
    recipe = _build_recipe(name, raw, typed, method_name, {**SECTION_TYPES, "method": config})
    if rate is not None:
        method = with_rate(recipe.method, rate, recipe.method_epochs, advise=not stored)
        recipe = dataclasses.replace(recipe, method=method)
    below, on_top = (_expanded(each, config) for each in (read_settings(settings), own))
    _check_resolved(recipe, [*files, (Path(), _sections(below))], on_top, place, code)
    if not stored:
        _warn_of_recipe(recipe, files, typed, advice)
    return _confined(recipe, own, place, stored=stored)


def _typed_keys(
    raw: Mapping[str, Any], settings: Sequence[str], overrides: Sequence[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Keys and values of the overrides, which may name code to trust, and of the settings with these on top."""
    data_name = str(raw.get("data", {}).get("name", DataConfig.name))
    # What is typed as --data is as good as typed under the full keys.
    own = with_data_keys(read_settings(overrides), data_name)
    typed = with_data_keys(read_settings([*settings, *overrides]), data_name)
    for key in NAMES_OF_CODE:
        if ":" in own.get(key, ""):
            trust_typed(own[key])
    return own, typed


def _method_class(
    typed: dict[str, str], raw: dict[str, Any], name: str, place: str, code: Collection[str], *, of_run: bool
) -> tuple[str, type]:
    """The method's name, which is taken out of what was typed, and the class of its settings."""
    if "method" not in code and ":" in str(raw["method"].get("name")):
        return str(raw["method"]["name"]), written_config(raw["method"], place)
    method_name = take_method(typed, raw, name, place, of_run=of_run)
    return method_name, find_method(method_name).Config


def _check_resolved(
    recipe: Recipe, layers: Chain, on_top: Mapping[str, str], place: str, code: Collection[str]
) -> None:
    """Refuse a recipe with code that is not trusted, or with settings that do not go together.

    Args:
        recipe: The recipe.
        layers: Its files, and settings on top of them.
        on_top: What was typed on top of those.
        place: Names the recipe in messages.
        code: As for `load_recipe`.
    """
    for key, used in (("model.name", recipe.model.name), ("data.name", recipe.data.name)):
        if key in code:
            check_trusted(used, key=key, place=place)
    _check_options(recipe.model, place)
    _ = recipe.run_method  # refuses what does not fit the number of epochs
    check_norms(recipe, layers, on_top)
    check_rate(recipe, layers, on_top)
    check_teacher(recipe)


def _warn_of_recipe(recipe: Recipe, files: Chain, typed: Mapping[str, str], advice: Sequence[str]) -> None:
    """Warn of settings that are hardly meant or have no effect; refuse units that cannot be meant."""
    for line in advice:
        warnings.warn(f"{called(recipe.name)}: {line}", stacklevel=4)
    check_name(recipe.model.name)
    given = typed.keys() | own_keys(recipe, files)
    check_units(recipe, given)
    warn_without_effect(recipe, given)
    warn_of_dropped(recipe, files, typed)


def _sections(dotted: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Settings of the command line, or of a sweep, as the sections of a file."""
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for key, value in dotted.items():
        section, _, name = key.partition(".")
        found.get(section, {})[name] = value
    return found


def _confined(recipe: Recipe, typed: Collection[str], place: str, *, stored: bool) -> Recipe:
    """The recipe without places to write that a file names: such a place has to be typed."""
    folder, data = recipe.train.radii_folder, recipe.data
    if folder is not None and "train.radii_folder" not in typed and not stored:
        raise UserError(
            f"{place}: train.radii_folder is {shown(folder)}, and a file may not choose where is written: leave it out,"
            f" and type --train.radii_folder {cut(folder, 100)}"
        )
    writes = data.name in WRITTEN_ROOTS and data.root is not None and data.download
    if writes and "data.root" not in typed and "data.download" not in typed:
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(data, download=False))
    if data.cache is not None and "data.cache" not in typed:
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, may_write_cache=False))
    return recipe


def _expanded(typed: Mapping[str, str], config: type) -> dict[str, str]:
    """Settings with radius and norm, which depend on the method, under their keys.

    Raises:
        UserError: a radius for a method with a radius of another meaning.
    """
    own, result = setting_names(config), dict[str, str]()
    for key, value in typed.items():
        if key == "radius" and key in own and not getattr(config, "radius_is_attack", True):
            raise UserError(
                f"--eps {value}: method.radius is not the radius of the attack here, but its bound: give "
                f"--method.radius and --evaluate.radius"
            )
        if key in BOTH:
            sections = ("method", "evaluate") if key in own else ("evaluate",)
            result |= {f"{section}.{key}": value for section in sections}
        else:
            result[key] = value
    return result


def _check_options(model: ModelConfig, place: str) -> None:
    """Refuse options with which timm reads files itself, which in some of its versions runs their code."""
    files = {"checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"} & model.options.keys()
    if files and not model.is_user_function:
        raise UserError(f"{place}: model.options has {min(files)}: give files of weights by model.weights")


def settings_for_model(target: str, overrides: Sequence[str] = ()) -> Recipe:
    """The settings to evaluate a model that is no run of iaat: `data`, `model` and `evaluate` of a recipe.

    The rest of the recipe has its defaults and means nothing. The model gets inputs in [0, 1] as they are unless
    `--model.normalize`, or mean and std, say otherwise. `target` names the settings in messages.

    Raises:
        UserError: an unknown key, or a wrong value.
    """
    config = find_method("natural").Config
    typed = _expanded(with_data_keys(read_settings(overrides), DataConfig.name), config)
    warn_of_old_names(typed.keys(), target)
    typed = with_new_keys(typed)
    raw = {"model": {"normalize": "none"}}
    recipe = _build_recipe(target, raw, typed, "natural", {**SECTION_TYPES, "method": config})
    check_norms(recipe, (), typed)
    check_units(recipe, typed.keys())
    return recipe


def expand_arguments(overrides: Sequence[str]) -> list[str]:
    """Arguments of an evaluation with short options expanded to their keys.

    Raises:
        UserError: `--data` that is neither a folder nor a data set.
    """
    typed = read_settings(overrides)
    full = _expanded(with_data_keys(typed, typed.get("data.name", DataConfig.name)), find_method("natural").Config)
    return [f"--{key}={value}" for key, value in full.items()]


def _build_recipe(
    name: str, raw: Mapping[str, Any], typed: Mapping[str, str], method_name: str, configs: Mapping[str, type]
) -> Recipe:
    """The typed recipe of what files say, `raw`, with what was typed on top."""
    place, sections = called(name), {}
    check_known(typed, configs, place)
    for section, config in configs.items():
        own = {key: value for key, value in raw.get(section, {}).items() if (section, key) != ("method", "name")}
        check_keys(own, setting_names(config), place, section)
        above = {key.partition(".")[2]: value for key, value in typed.items() if key.startswith(f"{section}.")}
        sections[section] = build_section(config, own | above, place, section)
    seed = typed_value(typed.get("seed", raw.get("seed", 0)), int, f"{place}: seed")
    if not 0 <= seed < 2**63:
        raise UserError(f"{place}: seed {shown(seed)}: give a whole number from 0 to 2**63 - 1")
    return Recipe(name=name, about=str(raw.get("about", "")), seed=seed, method_name=method_name, **sections)
