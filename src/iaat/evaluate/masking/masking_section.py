"""The checks for gradient masking as a section of an evaluation."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial
from typing import Any, TypedDict

import torch
from torch import Tensor

from iaat.data import sequential_order
from iaat.evaluate.evaluation_findings import gap
from iaat.evaluate.findings import Finding
from iaat.evaluate.masking import masking_report
from iaat.evaluate.masking.case import samples_needed
from iaat.evaluate.outcome import Outcome, with_stage
from iaat.evaluate.sections import Context, Section
from iaat.runtime import rng
from iaat.runtime.passes import Passes, count_passes

MASKING = "masking"
"""Name of the section, and of its stage in the worst case."""

MASKING_N = 200
"""Samples of the checks: fewer leave chance too much room, more cost time and change no verdict. More are taken where
the model classifies too few of these correctly, because only those can be attacked."""


def masking_section(context: Context) -> tuple[Section, Outcome]:
    """The checks for gradient masking, on the first of the samples in a fixed random order.

    Returns the section, and the outcome with the adversarial examples they found as a stage of its own.
    """
    value = context.journal.unit(MASKING, partial(_masking, context))
    section = Section(masking=value["measures"], findings=[Finding(**finding) for finding in value["findings"]])
    return section, _with_adversarial(context.outcome, value)


def _with_adversarial(outcome: Outcome, value: _Masking) -> Outcome:
    chosen = torch.tensor(value["rows"])
    norms, prediction = torch.full_like(outcome.perturbation_norm, torch.nan), torch.full_like(outcome.label, -1)
    for row, norm, label in value["broken"]:
        norms[chosen[row]], prediction[chosen[row]] = norm, label
    passes = Passes(value["forward"], value["backward"])
    return with_stage(outcome, MASKING, norms, prediction, samples=len(chosen), passes=passes, seconds=value["seconds"])


class _Masking(TypedDict):
    """What the checks found, as the journal keeps it."""

    measures: dict[str, float]
    findings: list[dict[str, Any]]
    broken: list[tuple[int, float, int]]
    rows: list[int]
    forward: float
    backward: float
    seconds: float


def _masking(context: Context) -> _Masking:
    rows = _chosen(context.outcome)
    index = context.index[rows]
    (batch,) = context.data.test.batches(sequential_order(index, len(index)))
    begun = time.perf_counter()
    with count_passes(context.evaluated.model) as passes:
        report = masking_report(
            context.evaluated.model,
            batch.x,
            batch.y,
            radius=float(context.config.radius),
            norm=context.config.norm,
            classes=len(context.data.classes),
            seed=context.config.seed,
            gap=gap(context.outcome),
            was_training=context.evaluated.was_training,
            fresh=context.evaluated.fresh,
            reporter=context.reporter,
        )
    return {
        "measures": report.measures,
        "findings": [asdict(finding) for finding in report.findings],
        "broken": list(report.adversarial),
        "rows": rows.tolist(),
        "forward": passes.forward,
        "backward": passes.backward,
        "seconds": time.perf_counter() - begun,
    }


def _chosen(outcome: Outcome) -> Tensor:
    """Rows of the samples to check: `MASKING_N`, or the fewest more of which enough are correct."""
    order = rng.permutation(len(outcome.label), seed=0, epoch=1)
    correct = (outcome.clean == outcome.label)[order].cumsum(0).tolist()
    sizes = range(min(MASKING_N, len(order)), len(order) + 1)
    size = next((size for size in sizes if correct[size - 1] >= samples_needed(size)), sizes[0])
    return order[:size].sort().values
