"""Accuracy of training samples by the radius they were trained with: does a large radius mean robust?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from iaat.config.suites import SUITES
from iaat.evaluate.attackers import stages_of
from iaat.evaluate.robust import CLEAN, Outcome, attack_samples
from iaat.evaluate.sections import Context, Section
from iaat.runtime import rng

PARTS = 4
MOST = 1000
"""Training samples judged at most: enough for quarters of 250."""


def radii_section(context: Context) -> Section:
    """Clean accuracy and accuracy under PGD and screening of the training samples, in quarters by their radius.

    Nothing where the model has no radii. The samples are the first of a fixed random order.
    """
    if context.subject.radii is None:
        return Section()
    index, radius = context.subject.radii
    chosen = rng.permutation(len(index), seed=0, epoch=0)[: min(MOST, len(context.test.index))].sort().values
    outcome = _judged(context, index[chosen])
    return Section({"radii": quarters(outcome, radius[chosen])})


def _judged(context: Context, index: Tensor) -> Outcome:
    config = context.config
    return attack_samples(
        context.subject.model,
        context.test.data.train,
        index,
        stages_of(SUITES["quick"], config, len(context.test.classes)),
        radius=config.radius,
        norm=config.norm,
        batch_size=config.batch_size,
        seed=config.seed,
        journal=context.journal.part("train"),
        reporter=context.reporter,
    )


def quarters(outcome: Outcome, radius: Tensor) -> list[dict[str, Any]]:
    """Rows of equally many samples from the smallest to the largest radius; equal radii in the order of the samples."""
    order = radius.argsort(stable=True)
    clean, standing = outcome.standing(CLEAN), outcome.standing(outcome.stages[-1].name)
    rows = []
    for part in torch.tensor_split(order, PARTS):
        if len(part):
            smallest, largest = float(radius[part].min()) * 255, float(radius[part].max()) * 255
            shares = {"clean": float(clean[part].double().mean()), "screened": float(standing[part].double().mean())}
            rows.append({"radius_px": [smallest, largest], "n": len(part), **shares})
    return rows
