"""The checks for gradient masking as a part of an evaluation."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import torch
from torch import Tensor

from iaat.data import sequential_order
from iaat.evaluate.findings import Finding
from iaat.evaluate.masking import masking_report
from iaat.evaluate.masking.case import samples_needed
from iaat.evaluate.noticed import gap
from iaat.evaluate.robust import Outcome, with_breaks
from iaat.evaluate.sections import Context, Section
from iaat.runtime import rng
from iaat.runtime.passes import Passes, count_passes

MASKING = "masking"
"""Name of the section, and of its stage in the worst case."""

MASKING_N = 200
"""Samples the checks look at: fewer leave chance too much room, more cost time and change no verdict. More are taken
where the model classifies too few of these correctly, because only those can be attacked."""


def masking_section(context: Context) -> tuple[Section, Outcome]:
    """The checks for gradient masking, on the first of the samples in a fixed random order.

    Beside what they measured: the outcome with what they broke, as a stage of its own.
    """
    value = context.journal.unit(MASKING, partial(_masking, context))
    findings = [Finding(**finding) for finding in value["findings"]]
    return Section({MASKING: value["measures"]}, findings), _with_broken(context.outcome, value)


def _with_broken(outcome: Outcome, value: dict[str, Any]) -> Outcome:
    chosen = torch.tensor(value["rows"])
    size, prediction = torch.full_like(outcome.size, torch.nan), torch.full_like(outcome.label, -1)
    for row, norm, label in value["broken"]:
        size[chosen[row]], prediction[chosen[row]] = norm, label
    passes = Passes(value["forward"], value["backward"])
    return with_breaks(outcome, MASKING, size, prediction, met=len(chosen), passes=passes, seconds=value["seconds"])


def _masking(context: Context) -> dict[str, Any]:
    rows = _chosen(context.outcome)
    index = context.test.index[rows]
    (batch,) = context.test.data.test.batches(sequential_order(index, len(index)))
    begun = time.perf_counter()
    with count_passes(context.subject.model) as passes:
        report = masking_report(
            context.subject.model,
            batch.x,
            batch.y,
            radius=float(context.config.radius),
            norm=context.config.norm,
            classes=len(context.test.classes),
            seed=context.config.seed,
            gap=gap(context.outcome),
            was_training=context.subject.was_training,
            fresh=context.subject.fresh,
            reporter=context.reporter,
        )
    cost = {"forward": passes.forward, "backward": passes.backward, "seconds": time.perf_counter() - begun}
    return {**report.to_dict(), "rows": rows.tolist(), **cost}


def _chosen(outcome: Outcome) -> Tensor:
    """Rows of the samples that are looked at: `MASKING_N`, or the fewest more of which enough are correct."""
    order = rng.permutation(len(outcome.label), seed=0, epoch=1)
    correct = (outcome.clean == outcome.label)[order].cumsum(0).tolist()
    sizes = range(min(MASKING_N, len(order)), len(order) + 1)
    size = next((size for size in sizes if correct[size - 1] >= samples_needed(size)), sizes[0])
    return order[:size].sort().values
