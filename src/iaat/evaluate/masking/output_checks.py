"""Masking checks of the logits, before any attack."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iaat.evaluate.autoattack import reference_warnings
from iaat.evaluate.findings import FEW_CLASSES, Finding, note
from iaat.evaluate.masking.case import LARGE, Case, Result, percent
from iaat.evaluate.masking.probabilities import probability_finding

REPEATS = 5
"""Forwards of the same batch; a model that draws its noise once in two calls shows it with 97 %."""

RANDOM = 1e-4
"""Largest difference (`differences`) between two forwards of a deterministic model."""

DEPENDENT = 0.02
"""Mean difference (`differences`) of a sample's logits in two batches of different make-up.

Honest networks differed by nothing in float32 on a CPU; room is left for kernels that are chosen by batch size and for
short floats. BatchNorm on batch statistics differed by 0.09 and more on digits.
"""

FLIPPED = 0.01
"""Fraction of the predictions from which changes count, however little the logits differ; two at least, for ties."""


def check_outputs(case: Case, x: Tensor, y: Tensor) -> Result:
    """All checks that only look at logits of the clean inputs `x` `[B, ...]`, the misclassified ones included."""
    runs = torch.stack([case.logits(x) for _ in range(REPEATS)])
    finite = runs[0].isfinite().all(dim=1)
    results = [_nonfinite(finite), _classes(case.classes)]
    if bool(finite.any()):
        found = probability_finding(runs[0, finite])
        results += [_random(runs[:, finite]), Result(findings=() if found is None else (found,))]
        results.append(_batch(case, x, runs, finite))
        results.append(_reference(case.model, x[finite], y[finite]))
    return Result(
        {name: value for result in results for name, value in result.measures.items()},
        tuple(finding for result in results for finding in result.findings),
    )


def _nonfinite(finite: Tensor) -> Result:
    fraction = 1 - finite.float().mean().item()
    measures = {"nonfinite_outputs": fraction}
    finding = Finding(
        name="nonfinite-outputs",
        evidence=f"the logits of {percent(fraction)} of the clean samples are NaN or infinite",
        advice="Find the layer that overflows; no attack can follow such a loss.",
    )
    return Result(measures, (finding,) if fraction else ())


def _classes(classes: int) -> Result:
    finding = note(
        name=FEW_CLASSES,
        evidence=f"the model has {classes} classes, and the targeted DLR loss needs 4",
        advice="Know that AutoAttack runs without its targeted DLR attack here.",
    )
    return Result({}, (finding,) if classes < 4 else ())


def differences(first: Tensor, second: Tensor) -> Tensor:
    """Differences `[..., B]` of two sets of logits `[..., B, classes]`, relative to the spread of the model's.

    Neither a constant added to all logits, nor one to each class, nor a factor changes them: logits are centred over
    the classes, and the unit is how far the second set's typical sample lies from the mean over the samples. What the
    rounding of float32 explains counts as 0.
    """
    first, second = first.double(), second.double()
    centred = second - second.mean(dim=-1, keepdim=True)
    spread = _median((centred - centred.mean(dim=-2, keepdim=True)).norm(dim=-1))
    # Of a single sample, or of samples that are mostly alike, nothing but the logits themselves gives a unit.
    unit = torch.where(spread > 0, spread, _median(centred.norm(dim=-1))).clamp_min(1e-30)
    change = first - second
    rounding = 4 * torch.finfo(torch.float32).eps * second.norm(dim=-1)
    distance = (change - change.mean(dim=-1, keepdim=True)).norm(dim=-1)
    difference: Tensor = ((distance - rounding).clamp_min(0) / unit).nan_to_num(LARGE).clamp_max(LARGE)
    return difference


def _median(values: Tensor) -> Tensor:
    """Lower median `[..., 1]` of values `[..., B]`, deterministic on a GPU, too, where `torch.median` is not."""
    return values.sort(dim=-1).values[..., (values.shape[-1] - 1) // 2, None]


def _changed(flips: float, n: int) -> bool:
    """Whether so many changed predictions of `n` samples are more than a tie that fell otherwise."""
    return round(flips * n) > 1 and flips > FLIPPED


def _random(runs: Tensor) -> Result:
    spread = differences(runs[1:], runs[0]).max().item()
    predictions = runs.argmax(dim=-1)
    flips = (predictions != predictions[0]).any(dim=0).float().mean().item()
    measures = {"output_spread": spread, "output_flips": flips}
    finding = Finding(
        name="random-outputs",
        evidence=f"{REPEATS} forwards of the same inputs differ by up to {spread:.2g} of what they differ "
        f"between samples, and predict {percent(flips)} of the samples differently",
        advice="Switch off what is random (dropout, noise), or attack the average over many draws.",
    )
    random = spread > RANDOM or _changed(flips, runs.shape[1])
    return Result(measures, (finding,) if random else ())


def _batch(case: Case, x: Tensor, runs: Tensor, finite: Tensor) -> Result:
    """Compare each sample in the whole batch and in one half of it, made up of its own and similar predictions.

    A random model differs anyway, and is none of this check's business unless the halves differ by much more.
    """
    if len(x) < 4:
        return Result()
    order = runs[0].argmax(dim=1).argsort(stable=True)
    apart = torch.empty_like(runs[0])
    for half in order.chunk(2):
        apart[half] = case.logits(x[half])
    whole, again = runs[0, finite], runs[1, finite]
    difference = differences(apart[finite], whole).mean().item()
    noise = differences(again, whole).mean().item()
    flips, flips_again = (
        (each.argmax(dim=1) != whole.argmax(dim=1)).float().mean().item() for each in (apart[finite], again)
    )
    measures = {"batch_difference": difference, "batch_flips": flips}
    flipped = _changed(flips, len(whole)) and flips > 3 * flips_again
    finding = Finding(
        name="batch-dependence",
        evidence=f"in another batch the logits of a sample differ by {percent(difference)} of what they differ "
        f"between samples, and {percent(flips)} of the predictions change",
        advice="Normalise by running statistics: an accuracy that depends on the batch belongs to no sample.",
    )
    dependent = difference > DEPENDENT + 3 * noise or flipped
    return Result(measures, (finding,) if dependent else ())


def _reference(model: nn.Module, x: Tensor, y: Tensor) -> Result:
    findings = [
        Finding(
            name="reference-warning",
            evidence=f"warning of the reference AutoAttack: {message}",
            advice="Follow the reference's advice before its figures are quoted.",
        )
        for message in reference_warnings(model, x, y)
    ]
    return Result({"reference_warnings": float(len(findings))}, tuple(findings))
