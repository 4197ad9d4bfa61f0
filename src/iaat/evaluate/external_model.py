"""A model that was not trained here, checked on clean samples before it is attacked."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from iaat.config.evaluate_config import EvaluateConfig
from iaat.data import DataSplits
from iaat.evaluate.evaluated_model import EvaluatedModel
from iaat.evaluate.masking import fresh_copy
from iaat.evaluate.model_checks import check_model
from iaat.evaluate.results import ModelFacts
from iaat.evaluate.sample_choice import test_sample

CLEAN_N = 500
"""Clean samples it is checked on."""


def external_model(
    model: nn.Module,
    name: str,
    data: DataSplits,
    folder: Path,
    *,
    digest: str,
    was_training: bool = False,
    scale_is_given: bool = False,
) -> EvaluatedModel:
    """A model of others with the findings on its clean predictions, ready to evaluate.

    Args:
        model: Maps inputs in [0, 1] to logits.
        name: Its name in tables.
        data: The data set it is to be evaluated on.
        folder: Folder of its evaluations.
        digest: Identifies what it computes.
        was_training: Whether it was handed over in train mode.
        scale_is_given: Whether the user has given the scale of its inputs.

    Raises:
        UserError: an evaluation of it would mean nothing; see `iaat.evaluate.model_checks.check_model`.
    """
    fresh = fresh_copy(model)
    (batch,) = data.test.batches([test_sample(data, EvaluateConfig(n=CLEAN_N))])
    classes = len(data.classes)
    findings = check_model(
        model,
        batch.x,
        batch.y,
        classes=classes,
        mean=data.mean,
        std=data.std,
        was_training=was_training,
        scale_is_given=scale_is_given,
    )
    return EvaluatedModel(
        name=name,
        model=model,
        digest=digest,
        folder=folder,
        facts=ModelFacts(run=name),
        was_training=was_training,
        findings=tuple(findings),
        fresh=fresh,
    )
