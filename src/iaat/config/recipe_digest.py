"""Digests of all that decides training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256

from iaat.config.differences import PLACE_KEYS, comparable_settings
from iaat.config.recipe import Recipe

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
    found = comparable_settings(recipe)
    settings = {key: value for key, value in found.items() if key != "seed" and not key.startswith("evaluate.")}
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
