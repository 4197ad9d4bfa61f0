"""Differences between recipes, and which of them change training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from hashlib import sha256
from typing import Any

from iaat.config.evaluate_config import EvaluateConfig
from iaat.config.recipe import Recipe, plain
from iaat.methods import MethodConfig
from iaat.units import Radius, format_norm


def recipe_differences(old: Recipe, new: Recipe) -> list[str]:
    """Settings, with both values, in which two recipes would train differently.

    Only settings of a recipe are named, not what follows from them.
    """
    acting = _flat(old), _flat(new)
    changed = _changed(*acting)
    if not changed:
        return []
    written = _flat(old, as_run=False), _flat(new, as_run=False)
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


LATER_KEYS: dict[str, object] = {
    "train.optimizer": "sgd",
    "train.optimizer_options": {},
    "train.clip_grad": 0.0,
    "train.warmup_epochs": 0.0,
    "method.class_weights": "none",
    "method.start_from": None,
    "method.success": 0.5,
    "method.spread": 0.0,
    "method.soft_labels": 0.0,
    "method.soft_temperature": 1.0,
    "method.soft_by_radius": False,
    "method.kl": 0.0,
}
"""Keys that digests did not have at first, with the values that stand for what was done then; None if idle, too."""


def digest_but_seed(recipe: Recipe, *data: str) -> str:
    """SHA-256 of all that decides training, with fingerprints of the data, but the seed: equal for seeds of one run."""
    settings = {key: value for key, value in _flat(recipe).items() if key != "seed" and not key.startswith("evaluate.")}
    deciding = {key: value for key, value in settings.items() if _decides(key, value)}
    return sha256(json.dumps([deciding, data], sort_keys=True, default=str).encode()).hexdigest()


def digest_of_run(recipe: Recipe, train: str, test: str, lengthened: Sequence[int]) -> str:
    """As `digest_but_seed`, of a run.

    Args:
        recipe: Its recipe.
        train: Fingerprint of its training samples.
        test: That of the test samples.
        lengthened: After how many epochs it was given more: it is not what as many epochs at once come to.
    """
    return digest_but_seed(recipe, train, test, *(f"after {epochs} epochs" for epochs in lengthened))


def _decides(key: str, value: object) -> bool:
    if key == "train.accumulate":  # BatchNorm normalises by the parts; it may change on resume all the same
        return value != 1
    return key not in PLACE_KEYS and not (key in LATER_KEYS and value in (None, LATER_KEYS[key]))


def _flat(recipe: Recipe, *, as_run: bool = True) -> dict[str, Any]:
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
