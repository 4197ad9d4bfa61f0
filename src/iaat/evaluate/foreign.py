"""A model that was not trained here, tried on clean samples before it is attacked."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from iaat.config.evaluate_config import EvaluateConfig
from iaat.data import DataSplits
from iaat.evaluate.evaluation import test_sample
from iaat.evaluate.masking import fresh_copy
from iaat.evaluate.sanity import check_model
from iaat.evaluate.subject import Subject

CLEAN_N = 500
"""Clean samples it is tried on."""


def subject_of_model(
    model: nn.Module,
    name: str,
    data: DataSplits,
    folder: Path,
    *,
    digest: str,
    was_training: bool = False,
    scale_is_given: bool = False,
) -> Subject:
    """The model as a subject, with what a look at its clean predictions told.

    Args:
        model: Maps inputs in [0, 1] to logits.
        name: What tables call it.
        data: The data set it is to be judged on.
        folder: Where its evaluations are kept.
        digest: Identifies what it computes.
        was_training: Whether it was handed over in train mode.
        scale_is_given: Whether the user has said how its inputs are scaled.

    Raises:
        UserError: an evaluation of it would mean nothing; see `iaat.evaluate.sanity.check_model`.
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
    return Subject(
        name=name,
        model=model,
        digest=digest,
        folder=folder,
        facts={"run": name, "seed": None},
        was_training=was_training,
        findings=tuple(findings),
        fresh=fresh,
    )
