"""Accuracy against the radius: the curve, its mean, and the norms of the smallest adversarial perturbations."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NotRequired, TypedDict

import torch
from torch import Tensor, nn

from iaat.attacks import geometry, screen, smallest_radius
from iaat.data import sequential_order
from iaat.evaluate.results import CurveResult
from iaat.evaluate.robust_accuracy import Outcome, with_stage
from iaat.evaluate.sections import Context, Section
from iaat.runtime import rng
from iaat.runtime.device import device_of
from iaat.runtime.passes import Passes, count_passes
from iaat.statistics import QUANTILES
from iaat.types import Batch
from iaat.units import Norm

LEVELS = 16
"""Radii of the curve above 0, evenly spaced up to twice the radius of the evaluation: 1px apart for 8px."""


def curve_section(context: Context) -> Section:
    """Accuracy at radii from 0 to twice the evaluation's, by bisection per sample with the screening attack.

    `expected_robustness` is the mean of the curve over its radii. Quantiles of the minimal adversarial norm are over
    all samples: 0 for one that is misclassified without an attack, None for one that is robust at the last radius.
    """
    config = context.config
    levels = torch.linspace(0, 2 * float(config.radius), LEVELS + 1, dtype=torch.float64)[1:].float()
    level, norm, prediction, passes, seconds = _search(context, levels)
    accuracy = [float((level > number).double().mean()) for number in range(-1, LEVELS)]
    curve = CurveResult(
        attack="screening",
        norm=config.norm,
        radius=(0.0, *levels.tolist()),
        accuracy=tuple(accuracy),
        expected_robustness=sum(accuracy) / len(accuracy),
        minimal_norm_quantiles={str(q): _quantile(norm, q) for q in QUANTILES},
    )
    return Section(curve=curve, perturbation_norm=norm, prediction=prediction, seconds=seconds, passes=passes)


def with_curve(outcome: Outcome, section: Section) -> Outcome:
    """The outcome with the adversarial perturbations of the curve, those within the radius as a stage `curve`."""
    assert section.curve is not None
    assert section.perturbation_norm is not None
    assert section.prediction is not None
    norm, predicted = section.perturbation_norm, section.prediction
    within = norm <= section.curve.radius[LEVELS // 2] * (1 + 1e-5) + 1e-6
    inside, samples, passes = torch.where(within, norm, torch.nan), len(outcome.label), section.passes
    merged = with_stage(outcome, "curve", inside, predicted, samples=samples, passes=passes, seconds=section.seconds)
    # Of robust samples the norms beyond the radius are worth knowing, too.
    return replace(merged, perturbation_norm=torch.fmin(outcome.perturbation_norm, norm))


class _Batch(TypedDict):
    """What the search found for a batch, as the journal keeps it."""

    level: list[int]
    size: list[float]
    prediction: NotRequired[list[int]]
    forward: float
    backward: float
    seconds: float


def _search(context: Context, levels: Tensor) -> tuple[Tensor, Tensor, Tensor, Passes, float]:
    """Level, norm and class `[n]` of the smallest adversarial perturbation of each sample, passes and seconds."""
    order = sequential_order(context.index, context.config.batch_size)

    def search(numbers: Sequence[int]) -> Iterator[_Batch]:
        batches = context.data.test.batches([order[number] for number in numbers])
        total = sum(len(order[number]) for number in numbers)
        tracked = context.reporter.track(batches, total=total, what="curve", size=lambda batch: len(batch.y))
        for number, batch in zip(numbers, tracked, strict=True):
            yield _search_batch(context, batch, levels, number)

    values = context.journal.units([f"curve#{number}" for number in range(len(order))], search)
    level = torch.tensor([entry for value in values for entry in value["level"]])
    norm = torch.tensor([entry for value in values for entry in value["size"]])
    # Journals of before 0.2 have no classes.
    prediction = torch.tensor([c for value in values for c in value.get("prediction", [-1] * len(value["size"]))])
    passes = Passes(sum(value["forward"] for value in values), sum(value["backward"] for value in values))
    return level, norm, prediction, passes, sum(value["seconds"] for value in values)


def _search_batch(context: Context, batch: Batch, levels: Tensor, number: int) -> _Batch:
    model, config = context.evaluated.model, context.config
    begun = time.perf_counter()
    with count_passes(model, each=context.reporter.counter("forward")) as passes:
        found = smallest_radius(
            _screen,
            model,
            batch.x,
            batch.y,
            levels=levels.to(batch.x),
            norm=config.norm,
            generator=rng.generator(config.seed, "curve", number, device=device_of(model)),
        )
    return {
        "level": found.level.tolist(),
        "size": found.norm.tolist(),
        "prediction": found.prediction.tolist(),
        "forward": passes.forward,
        "backward": passes.backward,
        "seconds": time.perf_counter() - begun,
    }


def _screen(model: nn.Module, x: Tensor, y: Tensor, *, radius: Tensor, norm: Norm, **settings: Any) -> Tensor:  # noqa: ANN401
    """Screening at radii `[B]`, which may lie beyond the largest distance of two inputs: there are no inputs there."""
    largest = geometry(norm).diameter(x[0].numel(), 1.0)
    return screen(model, x, y, radius=radius.clamp_max(largest), norm=norm, **settings)


def _quantile(norms: Tensor, percent: int) -> float | None:
    """Smallest norm that `percent` of the norms `[n]` do not exceed; None where it lies among those never found."""
    ordered = norms.nan_to_num(torch.inf).sort().values
    value = float(ordered[math.ceil(percent / 100 * len(ordered)) - 1])
    return None if value == torch.inf else value
