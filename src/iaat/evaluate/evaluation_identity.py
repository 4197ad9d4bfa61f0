"""The folder of an evaluation, and everything that decides its numbers."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from iaat.attacks import predict_classes
from iaat.config.evaluate_config import EvaluateConfig
from iaat.evaluate.corruption_accuracy import fingerprint_of_folder
from iaat.evaluate.evaluated_model import EvaluatedModel
from iaat.evaluate.naming import evaluation_name
from iaat.evaluate.provenance import deciding_versions
from iaat.evaluate.results import plain_config
from iaat.evaluate.sections import Extras, Task
from iaat.runtime.device import device_of

IDENTIFYING = 100
"""Number of clean samples: their predictions identify the model beside its weights."""


def evaluation_folder(evaluated: EvaluatedModel, config: EvaluateConfig, extras: Extras) -> Path:
    """Folder of the evaluation of a model."""
    return evaluated.folder / folder_name(config, evaluated.facts.checkpoint, extras)


def folder_name(config: EvaluateConfig, checkpoint: str | None, extras: Extras | None = None) -> str:
    """Name of the folder of an evaluation."""
    parts = [*([checkpoint] if checkpoint else []), *evaluation_name(config, exact=True).lower().split()]
    parts += [f"{'n' if config.order == 'random' else 'first'}{config.samples}"] if config.samples else []
    parts += [config.autoattack_arithmetic] if config.autoattack_arithmetic != "reference" else []
    if extras is not None and (extras.others or extras.corrupted):
        parts.append(f"with-{sha256(json.dumps(_of_extras(extras)).encode()).hexdigest()[:8]}")
    return "-".join(parts)


def identity(task: Task) -> dict[str, Any]:
    """Everything that decides a number of an evaluation."""
    return {
        "format": 3,
        "model": task.evaluated.digest,
        "data": task.data.test.fingerprint,
        "contents": task.data.test_contents,
        "samples": sha256(task.index.numpy().tobytes()).hexdigest(),
        "inputs": task.inputs,
        "evaluate": plain_config(task.config),
        **_of_extras(task.extras),
        "predictions": _predictions(task),
        **deciding_versions(),
        "device": device_of(task.evaluated.model).type,
    }


def _of_extras(extras: Extras) -> dict[str, Any]:
    return {
        "others": [[other.name, other.digest] for other in extras.others],
        "corrupted": None if extras.corrupted is None else fingerprint_of_folder(extras.corrupted),
    }


def _predictions(task: Task) -> str:
    """Classes predicted for some clean samples: models of the same weights may differ in their code."""
    (batch,) = task.data.test.batches([task.index[:IDENTIFYING]])
    return " ".join(map(str, predict_classes(task.evaluated.model, batch.x.clone()).tolist()))
