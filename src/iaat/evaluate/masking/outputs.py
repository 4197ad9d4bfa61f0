"""Checks of what comes out of a model, before any attack."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iaat.evaluate.findings import Finding
from iaat.evaluate.masking.case import LARGE, Case, Result, percent
from iaat.evaluate.reference import reference_warnings

REPEATS = 5
"""Forwards of the same batch; a model that draws its noise once in two calls shows it with 97 %."""

RANDOM = 1e-4
"""Largest difference of L2-normalised logits between two forwards of a deterministic model, as in the reference
AutoAttack."""

DEPENDENT = 0.02
"""Mean relative difference of a sample's logits in two batches of different make-up.

Honest networks differed by nothing in float32 on a CPU; room is left for kernels that are chosen by batch size and for
short floats. BatchNorm on batch statistics differed by 0.09 and more on digits.
"""

PROBABILITY = 1e-4
"""How near rows must be to a sum, or a log-sum-exp, of 1 or 0."""


def check_outputs(case: Case, x: Tensor, y: Tensor) -> Result:
    """All checks that only look at logits of the clean inputs `x` `[B, ...]`, the misclassified ones included."""
    runs = torch.stack([case.logits(x) for _ in range(REPEATS)])
    finite = runs[0].isfinite().all(dim=1)
    results = [_nonfinite(finite), _classes(case.classes)]
    if bool(finite.any()):
        results += [_random(runs[:, finite]), _probabilities(runs[0, finite]), _batch(case, x, runs, finite)]
        results.append(_reference(case.model, x[finite], y[finite]))
    return Result(
        {name: value for result in results for name, value in result.measures.items()},
        tuple(finding for result in results for finding in result.findings),
    )


def _nonfinite(finite: Tensor) -> Result:
    share = 1 - finite.float().mean().item()
    measures = {"nonfinite_outputs": share}
    if share == 0:
        return Result(measures)
    return Result(
        measures,
        (
            Finding(
                name="nonfinite-outputs",
                evidence=f"the logits of {percent(share)} of the clean samples are NaN or infinite",
                advice="Find the layer that overflows; no attack can follow such a loss.",
            ),
        ),
    )


def _classes(classes: int) -> Result:
    if classes >= 4:
        return Result()
    return Result(
        findings=(
            Finding(
                name="few-classes",
                evidence=f"the model has {classes} classes, and the targeted DLR loss needs 4",
                advice="Know that AutoAttack runs without its targeted DLR attack here.",
                serious=False,
            ),
        )
    )


def _relative(first: Tensor, second: Tensor) -> Tensor:
    """Difference `[..., B]` of two sets of logits `[..., B, classes]` by the length of the second."""
    difference: Tensor = (first - second).norm(dim=-1) / second.norm(dim=-1).clamp_min(1e-10)
    return difference.nan_to_num(LARGE).clamp_max(LARGE)


def _random(runs: Tensor) -> Result:
    spread = _relative(runs[1:], runs[0]).max().item()
    predictions = runs.argmax(dim=-1)
    flips = (predictions != predictions[0]).any(dim=0).float().mean().item()
    measures = {"output_spread": spread, "output_flips": flips}
    if spread <= RANDOM:
        return Result(measures)
    return Result(
        measures,
        (
            Finding(
                name="random-outputs",
                evidence=f"{REPEATS} forwards of the same inputs differ by up to {spread:.2g} of the logits' length "
                f"and predict {percent(flips)} of the samples differently",
                advice="Switch off what is random (dropout, noise), or attack the average over many draws.",
            ),
        ),
    )


def _probabilities(logits: Tensor) -> Result:
    """Softmax and log-softmax outputs.

    A softmax of probabilities hardly depends on them, and a saturated softmax has no gradient, so every attack on
    probabilities is blunt. Log-probabilities are logits less a number per sample: cross-entropy, margin and DLR do not
    change with it, and neither does any attack here, so they are only worth knowing.
    """
    sums, log_sums = logits.sum(dim=1), logits.logsumexp(dim=1)
    inside = bool((logits >= -PROBABILITY).all() and (logits <= 1 + PROBABILITY).all())
    if inside and bool(((sums - 1).abs() < PROBABILITY).all()):
        return Result(
            findings=(
                Finding(
                    name="softmax-outputs",
                    evidence="all outputs lie in [0, 1] and add up to 1 for every sample: they are probabilities",
                    advice="Return the logits, without the softmax.",
                ),
            )
        )
    if bool((log_sums.abs() < PROBABILITY).all()):
        return Result(
            findings=(
                Finding(
                    name="log-softmax-outputs",
                    evidence="the exponentials of the outputs add up to 1 for every sample: they are log-probabilities",
                    advice="Return the logits; the losses used here give the same figures for both.",
                    serious=False,
                ),
            )
        )
    return Result()


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
    difference = _relative(apart[finite], runs[0, finite]).mean().item()
    noise = _relative(runs[1, finite], runs[0, finite]).mean().item()
    flips = (apart[finite].argmax(dim=1) != runs[0, finite].argmax(dim=1)).float().mean().item()
    measures = {"batch_difference": difference, "batch_flips": flips}
    if difference <= DEPENDENT + 3 * noise:
        return Result(measures)
    return Result(
        measures,
        (
            Finding(
                name="batch-dependence",
                evidence=f"in another batch the logits of a sample differ by {percent(difference)}, and "
                f"{percent(flips)} of the predictions change",
                advice="Normalise by running statistics: an accuracy that depends on the batch belongs to no sample.",
            ),
        ),
    )


def _reference(model: nn.Module, x: Tensor, y: Tensor) -> Result:
    findings = [
        Finding(
            name="reference-warning",
            evidence=f"the reference AutoAttack says: {message}",
            advice="Follow the reference's advice before its figures are quoted.",
        )
        for message in reference_warnings(model, x, y)
    ]
    return Result({"reference_warnings": float(len(findings))}, tuple(findings))
