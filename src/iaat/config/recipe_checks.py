"""Checks of the settings that a user gave: norms, units, settings without effect."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Collection, Mapping, Set
from typing import Any

from iaat.config.deprecated import RENAMED
from iaat.config.recipe import Recipe
from iaat.config.recipe_files import SECTIONS, Chain, called, replaced_method, shipped_recipes
from iaat.config.train_config import SGD
from iaat.errors import UserError
from iaat.methods import MethodConfig, untrained_method
from iaat.methods.setting_fields import default_of, setting_names
from iaat.units import Radius

USUAL_RADIUS = {"linf": "8px", "l2": "128/255"}
"""Radius of CIFAR-10 in either norm, for messages."""

_MOVES = ("gamma", "eta", "min_step")
_PLACES = ("start", "floor", "full_steps_at")
_TIMES = 4
"""Radii beyond which a length without unit is taken for pixel levels."""
_UNLIKELY = 0.25
"""L-inf radius from which on a number without unit is hardly meant: half of what makes every image grey. It is that of
L2, or pixel levels."""
_DIGITS = ("digits", "mnist")
_GREY = 0.5
"""The same for images of digits, which bear more: 0.3 is usual (Madry et al. 2018, arXiv 1706.06083)."""
_OF_RADII = ("radii", "radii_folder", "snapshot_every")


def own_keys(recipe: Recipe, files: Chain) -> set[str]:
    """Keys of a recipe's files that differ from the default; files that ship count for nothing."""
    own = {RENAMED.get(key, key) for key in keys_in_files(files)}
    return {key for key in own if not _is_default(recipe, key)}


def keys_in_files(files: Chain) -> set[str]:
    """Keys as they are written in a recipe's files, without files that ship."""
    shipped = set(shipped_recipes().values())
    return {
        f"{section}.{key}"
        for file, raw in files
        if file not in shipped
        for section, values in raw.items()
        if section in SECTIONS
        for key in values
    }


def _is_default(recipe: Recipe, key: str) -> bool:
    section, _, name = key.partition(".")
    config = getattr(recipe, section)
    return name not in {field.name for field in dataclasses.fields(config)} or bool(
        getattr(config, name) == default_of(config, name)
    )


def warn_of_dropped(recipe: Recipe, files: Chain, typed: Collection[str]) -> None:
    """Warn where a user's file names another method than the recipe it extends, and so leaves settings of that behind.

    Only settings that both methods have count, and only where the default is another value.
    """
    if not files or files[-1][0] in shipped_recipes().values() or (replaced := replaced_method(files)) is None:
        return
    source, below = replaced
    left = [
        key
        for key, value in below.items()
        if key in setting_names(type(recipe.method)) and f"method.{key}" not in typed
        if not _same(getattr(recipe.method, key), value)
    ]
    if left:
        before = ", ".join(f"{key} {below[key]}" for key in left)
        now = ", ".join(f"{key} {getattr(recipe.method, key)}" for key in left)
        warnings.warn(
            f"{called(recipe.name)}: method.name is not that of {source}. Its settings of the method are not taken "
            f"over: {before} there; {now} here. Write those to keep under method",
            stacklevel=5,
        )


def _same(value: object, written: object) -> bool:
    """Whether a setting has the value that a file says."""
    if isinstance(value, Radius) and isinstance(written, str | int | float):
        return value == Radius(written)
    return value == written


def check_norms(recipe: Recipe, files: Chain, typed: Mapping[str, str]) -> None:
    """Refuse a length that was written for another norm, in a file or typed, than the one it is used in.

    Raises:
        UserError: naming both keys, and the usual radius or the default.
    """
    for section in ("method", "evaluate"):
        config = getattr(recipe, section)
        if not {"norm", "radius"} <= set(setting_names(config)):
            continue
        norm, written_in = _written_for(files, typed, section, "radius", "norm", "linf")
        if written_in != norm:
            usual = USUAL_RADIUS.get(norm, "another")
            short = getattr(recipe.method, "radius_is_attack", True)  # else --radius is refused
            raise UserError(
                f"{section}.norm {norm}: {section}.radius = {config.radius} was written for {written_in}; give a "
                f"{section}.radius for {norm} as well, usual is {usual}"
                + (f"; --norm {norm} --radius {usual} sets training and evaluation" if short else "")
            )
        for key, length in _own_lengths(config).items():
            norm, written_in = _written_for(files, typed, section, key, "norm", "linf")
            if written_in != norm:
                default = "null" if default_of(config, key) is None else default_of(config, key)
                raise UserError(
                    f"{section}.norm {norm}: {section}.{key} = {length} was written for {written_in}; give "
                    f"{section}.{key} for {norm} as well, or its default: --{section}.{key} {default}"
                )


def _own_lengths(config: Any) -> dict[str, Radius]:  # noqa: ANN401
    """The lengths of a section but `radius` that mean another thing in each norm, without defaults.

    0 is the same in every norm; a `min_step` below the usual step changes nothing.
    """
    radius, steps = config.radius, getattr(config, "steps", 1)
    usual = 2 * radius / steps if isinstance(radius, float) and isinstance(steps, int) else 0
    values = {key: getattr(config, key) for key in setting_names(config) if key != "radius"}
    return {
        key: value
        for key, value in values.items()
        if isinstance(value, Radius) and value > (usual if key == "min_step" else 0)
        if value != default_of(config, key)
    }


def check_rate(recipe: Recipe, files: Chain, typed: Mapping[str, str]) -> None:
    """Refuse a learning rate that was written for another optimiser: SGD's is a hundred times that of Adam.

    Raises:
        UserError: naming both keys.
    """
    optimizer, written_for = _written_for(files, typed, "train", "lr", "optimizer", SGD)
    if optimizer != written_for:
        usual = "0.1" if optimizer == SGD else "0.001 for Adam and its kin"
        raise UserError(
            f"train.optimizer {optimizer}: train.lr = {recipe.train.lr:g} was written for {written_for}; give a "
            f"train.lr as well, usual is {usual}"
        )


def check_teacher(recipe: Recipe) -> None:
    """Refuse settings of the method that need the EMA of the weights in a run without one.

    Raises:
        UserError: naming both keys.
    """
    setting = recipe.method.needs_ema if isinstance(recipe.method, MethodConfig) else None
    if setting is not None and not recipe.train.ema:
        raise UserError(
            f"{setting} needs the moving average of the weights, and train.ema is 0: give train.ema, such as 0.995"
        )


def _written_for(
    files: Chain, typed: Mapping[str, str], section: str, key: str, decider: str, default: str
) -> tuple[str, str]:
    """What decides the meaning of a key, such as the norm of a radius, in the end and when the key was written."""
    now = then = default
    last = {each.partition(".")[2]: value for each, value in typed.items() if each.startswith(f"{section}.")}
    for values in [*(raw.get(section, {}) for _, raw in files), last]:
        now = values.get(decider, now)
        then = now if key in values else then
    return now, then


def check_units(recipe: Recipe, given: Collection[str]) -> None:
    """Refuse lengths without unit that are absurd beside the radius: 0.38 is 97 pixel levels.

    Raises:
        UserError: naming the value in px and the spelling that was meant.
    """
    method, evaluate = recipe.method, recipe.evaluate
    radius = getattr(method, "radius", None)
    for key, config in (("method.radius", method), ("evaluate.radius", evaluate)):
        if key in given and getattr(config, "norm", "") == "linf":
            _check_linf(key, config.radius, _GREY if recipe.data.name in _DIGITS else _UNLIKELY)
    limits: dict[str, tuple[Any, float | None]] = {"evaluate.step_size": (evaluate.step_size, 2 * evaluate.radius)}
    if radius is not None:
        limits |= {f"method.{key}": (getattr(method, key, None), radius) for key in _MOVES}
        limits |= {f"method.{key}": (getattr(method, key, None), _TIMES * radius) for key in _PLACES}
    for key, (length, limit) in limits.items():
        if key in given and isinstance(length, Radius) and length.unitless and limit is not None and length > limit:
            raise UserError(
                f"{key} = {float(length):g} is {length.px:.4g}px, far more than can be meant beside a radius of "
                f"{evaluate.radius if radius is None else radius}; for pixel levels write {float(length):g}px"
            )


def _check_linf(key: str, radius: object, limit: float) -> None:
    if isinstance(radius, Radius) and radius.unitless and radius >= limit:
        raise UserError(
            f"{key} = {radius.given} is {radius.px:.4g}px for linf: for L2 add --norm l2 (in Python, "
            f'norm="l2"); for pixel levels write {float(radius):g}px; if it is meant, {radius.px:.4g}px'
        )


def warn_without_effect(recipe: Recipe, given: Set[str]) -> None:
    """Warn of settings that the user gave and that change nothing beside the others, and of drops that never come."""
    train = recipe.train
    late = [epoch for epoch in train.milestones if epoch >= train.epochs]
    if late and not given.isdisjoint(("train.epochs", "train.milestones")):
        warnings.warn(
            f"{called(recipe.name)}: train.epochs {train.epochs} end before train.milestones {late}: the learning rate "
            "does not drop there; give train.milestones that fit",
            stacklevel=5,
        )
    idle = {key: why for key, why in without_effect(recipe, given).items() if key in given}
    if idle:
        which = "; ".join(f"{key} ({why})" for key, why in idle.items())
        warnings.warn(f"{called(recipe.name)}: without effect here: {which}", stacklevel=5)


def without_effect(recipe: Recipe, asked: Collection[str]) -> dict[str, str]:
    """Settings that change nothing, or hardly anything, beside the others, each with the reason.

    What takes a method to tell is only looked up for the keys `asked`.
    """
    found = {f"train.{key}": f"needs {what}" for key, what in recipe.train.without_effect().items()}
    if isinstance(recipe.method, MethodConfig):
        found |= {f"method.{key}": f"needs {what}" for key, what in recipe.method.without_effect().items()}
        found |= {f"method.{key}": why for key, why in recipe.method.seldom_acts().items()}
    if any(f"train.{key}" in asked for key in _OF_RADII):
        method = untrained_method(recipe.method_name, recipe.run_method)
        if method.radii is None:
            found |= {f"train.{key}": f"{recipe.method_name} keeps no radii" for key in _OF_RADII}
    return found
