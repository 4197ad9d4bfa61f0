"""Differences between recipes, and which of them change training."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from iaat.config.evaluate_config import EvaluateConfig
from iaat.config.recipe import Recipe, plain
from iaat.methods import MethodConfig
from iaat.units import Radius, format_norm


def recipe_differences(old: Recipe, new: Recipe) -> list[str]:
    """Settings, with both values, in which two recipes would train differently.

    Only settings of a recipe are named, not what follows from them.
    """
    acting = comparable_settings(old), comparable_settings(new)
    changed = _changed(*acting)
    if not changed:
        return []
    written = comparable_settings(old, as_run=False), comparable_settings(new, as_run=False)
    # A setting that is left out and the same one written down are no difference.
    named = [key for key in _changed(*written) if key in changed or all(side.get(key) is None for side in acting)]
    before, after = written if named else acting
    return [
        f"{key}: {_shown(key, before.get(key), old)} -> {_shown(key, after.get(key), new)}" for key in named or changed
    ]


def _changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [key for key in {**before, **after} if key not in PLACE_KEYS and before.get(key) != after.get(key)]


def _shown(key: str, value: object, recipe: Recipe) -> str:
    """A value for a message: radii in the unit of their norm."""
    section, _, name = key.partition(".")
    config = getattr(recipe, section)
    length = getattr(config, name, None) if value is not None else None
    if isinstance(length, Radius):
        return repr(format_norm(length, getattr(config, "norm", recipe.evaluate.norm), digits=8))
    return repr(value)


LOCATION_KEYS = (
    *("data.root", "data.extra", "data.relabel", "data.cache", "data.download", "data.workers"),
    "train.device",
)
"""Keys of where a finished run's data are now, and how they are read."""

PLACE_KEYS = frozenset(
    {
        *LOCATION_KEYS,
        *("about", "data.memory_gb", "data.stream", "train.accumulate", "train.radii", "train.radii_folder"),
        *("train.save_minutes", "train.save_steps", "train.keep"),
        *("train.nonfinite", "train.rollback_lr", "train.nonfinite_limit"),
        *("evaluate.suite", "evaluate.steps", "evaluate.step_size", "evaluate.restarts"),
        *("evaluate.n", "evaluate.order", "evaluate.seed", "evaluate.autoattack_arithmetic"),
    }
)
"""Keys of where a run is made and how it is evaluated in the end; they do not change training, so may on resume."""

VALIDATION_KEYS = tuple(
    key for key in (f"evaluate.{each.name}" for each in fields(EvaluateConfig)) if key not in PLACE_KEYS
)
"""Keys of the evaluation that the attack on validation samples has, too: it selects the best epoch."""


def comparable_settings(recipe: Recipe, *, as_run: bool = True) -> dict[str, Any]:
    """Settings by dotted key, as recipes are compared by them: as the run has them, or as they are written."""
    # What None reads image files as, and what run folders from before it could be None say.
    channels = recipe.data.channels or 3
    return recipe.dotted() | {"data.channels": channels} | _flat_method(recipe.run_method if as_run else recipe.method)


def _flat_method(method: Any) -> dict[str, Any]:  # noqa: ANN401
    """The settings of a method, None for idle ones.

    As its run has them, with what follows from the number of epochs filled in, a constant that was written down and the
    same one worked out are no difference.
    """
    idle = method.without_effect() if isinstance(method, MethodConfig) else {}
    values = {field.name: getattr(method, field.name) for field in fields(method) if field.compare}
    return {f"method.{key}": None if key in idle else plain(value) for key, value in values.items()}
