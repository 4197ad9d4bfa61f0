"""Accuracy of training samples by the radius they were trained with: does a large radius mean robust?"""

from __future__ import annotations

import torch
from torch import Tensor

from iaat.config.suites import SUITES
from iaat.evaluate.outcome import Outcome
from iaat.evaluate.results import CLEAN, RadiusQuarter
from iaat.evaluate.sections import Context, Section
from iaat.evaluate.stages import stages_of
from iaat.runtime import rng
from iaat.units import PX_PER_UNIT

PARTS = 4
MOST_SAMPLES = 1000
"""Training samples evaluated at most: enough for quarters of 250."""


def radii_section(context: Context) -> Section:
    """Clean accuracy and accuracy under PGD and screening of the training samples, in quarters by their radius.

    Nothing where the model has no radii. The samples are the first of a fixed random order.
    """
    if context.evaluated.radii is None:
        return Section()
    index, radius = context.evaluated.radii
    chosen = rng.fixed_sample(len(index), min(MOST_SAMPLES, len(context.index)))
    stages = stages_of(SUITES["quick"], context.config, len(context.data.classes))
    outcome = context.attack(context.data.train, index[chosen], stages, context.journal.part("train"))
    readable = torch.isin(index[chosen], outcome.index)
    return Section(radii=quarters(outcome, radius[chosen][readable]))


def quarters(outcome: Outcome, radius: Tensor) -> tuple[RadiusQuarter, ...]:
    """Equally many samples from the smallest to the largest radius; equal radii in the order of the samples."""
    clean, robust = (outcome.correct_after(name).double() for name in (CLEAN, outcome.stages[-1].name))
    parts = torch.tensor_split(radius.argsort(stable=True), PARTS)
    return tuple(
        RadiusQuarter(
            (float(radius[part].min()) * PX_PER_UNIT, float(radius[part].max()) * PX_PER_UNIT),
            n=len(part),
            clean=float(clean[part].mean()),
            screened=float(robust[part].mean()),
        )
        for part in parts
        if len(part)
    )
