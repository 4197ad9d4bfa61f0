"""All checks for gradient masking on one model, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from iaat.attacks import attack_mode, full_precision, geometry
from iaat.errors import UserError
from iaat.evaluate.findings import FEW_SAMPLES, Finding, note, verdict
from iaat.evaluate.masking.attack_checks import (
    WhiteBox,
    check_black_box,
    check_growth,
    check_white_box,
    gap_finding,
    white_box,
)
from iaat.evaluate.masking.case import HIDDEN, POWER, Case, Result, samples_needed
from iaat.evaluate.masking.gradient_checks import blocked, check_gradients, measure_gradients
from iaat.evaluate.masking.output_checks import check_outputs
from iaat.evaluate.masking.state_check import Fresh, check_state, fresh_copy
from iaat.evaluate.masking.train_mode_check import check_eval_has_effect, check_train_mode, in_training
from iaat.models.check_logits import kept_buffers
from iaat.runtime import rng
from iaat.runtime.progress import Reporter
from iaat.runtime.rng import seeded
from iaat.units import Norm, check_radius

STAGES = 8
"""Results that the report waits for, for the progress shown."""


@dataclass(frozen=True)
class MaskingReport:
    """Results of the checks for gradient masking.

    Attributes:
        verdict: One line: no sign of masking, or the names of the serious findings.
        findings: All findings, notes included.
        measures: Every figure measured, also where nothing was found. Accuracies and other fractions are of all
            samples handed over, misclassified ones counting as not robust.
        adversarial: Row in the samples handed over, norm of the smallest adversarial perturbation within the radius,
            and class predicted there, of every correctly classified sample on which a check has succeeded.
    """

    verdict: str
    findings: tuple[Finding, ...]
    measures: dict[str, float]
    adversarial: tuple[tuple[int, float, int], ...] = ()


def masking_report(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    radius: float,
    norm: Norm,
    classes: int,
    seed: int,
    gap: tuple[float, float, int] | None = None,
    was_training: bool = False,
    queries: int = 1000,
    fresh: Fresh | None = None,
    reporter: Reporter | None = None,
) -> MaskingReport:
    """Run every check for gradient masking; `iaat.evaluate.masking` lists them by name.

    Costs at most some 330 forwards and backwards a sample, and `queries` forwards for each sample on which no
    gradient attack succeeds. The model is in eval mode meanwhile; its flags, its buffers and torch's global random
    numbers are given back. A difference between attacks is relevant from 5 points and 5 samples on, and only where a
    paired test excludes chance; `iaat.evaluate.masking.case.samples_needed` gives the number of samples it takes.

    Args:
        model: Maps inputs in [0, 1] to logits `[B, classes]`.
        x: Clean inputs `[B, C, H, W]` in [0, 1] on the model's device; with `[B, D]` Square is left out.
        y: Labels `[B]`.
        radius: Radius of all attacks, on the [0, 1] scale.
        norm: `linf` or `l2`.
        classes: Number of classes, at least 2.
        seed: Seed of the random draws.
        gap: Accuracy after PGD, accuracy in the worst case and number of samples, measured by an evaluation of the
            model; without it the report compares its own attacks.
        was_training: Whether the model was handed over in train mode; a model in train mode is found anyway.
        queries: Queries of the Square attack.
        fresh: A copy of the model from before its first forward (`fresh_copy`); by default one made now, with the
            state that the model has at this call.
        reporter: Shows progress, if given.

    Raises:
        UserError: no samples, a radius that is 0 or out of range, fewer than 2 classes, an unknown norm, or outputs
            that are not `[B, classes]`.

    Source: the checklists of Athalye et al. 2018 (arXiv 1802.00420), section 3.1, and Carlini et al. 2019
    (arXiv 1902.06705); the flags of Croce & Hein's AutoAttack.
    """
    _check(x, y, radius=radius, norm=norm, classes=classes)
    left_in_training = was_training or bool(in_training(model))
    fresh = fresh_copy(model) if fresh is None else fresh
    with seeded(rng.derive_seed(seed, "masking")), kept_buffers(model), attack_mode(model, "eval"):
        case, predicted = _case(model, x, y, radius=radius, norm=norm, classes=classes, seed=seed)
        given = _Given(x, y, predicted, fresh, left_in_training, queries, gap)
        results: Iterator[Result] = _results(case, given)
        if reporter is not None:
            results = reporter.track(results, total=STAGES, what="masking checks")
        measures: dict[str, float] = {}
        findings: list[Finding] = []
        for result in results:
            measures.update(result.measures)
            findings += result.findings
    rows = (predicted == y).nonzero()[:, 0].tolist()
    adversarial = tuple((rows[row], *case.adversarial[row]) for row in sorted(case.adversarial))
    return MaskingReport(verdict(findings), tuple(findings), measures, adversarial)


def _check(x: Tensor, y: Tensor, *, radius: float, norm: str, classes: int) -> None:
    geometry(norm)
    check_radius(radius, norm, name="radius")
    if radius == 0:
        raise UserError("radius = 0: there is nothing to attack; give the radius of the evaluation, such as 8/255")
    if classes < 2:
        raise UserError(f"classes = {classes}: at least 2 are needed")
    if not len(x) or len(x) != len(y):
        raise UserError(
            f"{len(x)} inputs and {len(y)} labels: the checks need at least one sample, and a label for each"
        )


def _case(
    model: nn.Module, x: Tensor, y: Tensor, *, radius: float, norm: Norm, classes: int, seed: int
) -> tuple[Case, Tensor]:
    """The samples that the model classifies correctly: attacks on the others say nothing.

    Beside it the classes predicted for all samples `[B]`, -1 where the logits are not finite.
    """
    with torch.no_grad():
        logits = full_precision(model(x))
    if logits.shape != (len(x), classes):
        raise UserError(f"the model returned {list(logits.shape)} for {len(x)} inputs: it must return [B, {classes}]")
    predicted = torch.where(logits.isfinite().all(dim=1), logits.argmax(dim=1), -1)
    correct = predicted == y
    case = Case(
        model=model, x=x[correct], y=y[correct], n=len(x), radius=float(radius), norm=norm, classes=classes, seed=seed
    )
    return case, predicted


@dataclass(frozen=True, slots=True)
class _Given:
    """What a report was given beside the samples that can be attacked; `x`, `y`, `predicted` are of all samples."""

    x: Tensor
    y: Tensor
    predicted: Tensor
    fresh: Fresh
    left_in_training: bool
    queries: int
    gap: tuple[float, float, int] | None


def _results(case: Case, given: _Given) -> Iterator[Result]:
    """Run the checks in order; later ones see the samples that earlier attacks left robust."""
    yield _samples(case)
    stuck = check_eval_has_effect(case.model)
    yield stuck
    yield check_outputs(case, given.x, given.y)
    if not len(case.x):
        return
    white = None
    robust = torch.ones_like(case.y, dtype=torch.bool)
    if (found := measure_gradients(case)) is None:
        yield Result(findings=(blocked(),))
    else:
        white = white_box(case)
        robust = white.worst
        yield check_gradients(case, found, white.pgd, white.rise)
        yield check_white_box(case, white)
    result, robust = check_state(case, given.fresh, robust, gradients=found is not None)
    yield result
    if found is not None:
        yield check_growth(case, robust, given.predicted)
    if given.left_in_training and not stuck.findings:
        with kept_buffers(case.model):  # later checks attack the model as it was
            trained = check_train_mode(case, None if white is None else white.pgd)
        yield trained
    result, robust = check_black_box(case, robust, given.queries)
    yield result
    yield _compare_accuracies(case, white, robust, given.gap)


def _samples(case: Case) -> Result:
    correct, needed = len(case.x), samples_needed(case.n)
    measures = {"samples": float(case.n), "clean": correct / case.n, "samples_needed": float(needed)}
    finding = note(
        name=FEW_SAMPLES,
        evidence=f"{correct} of {case.n} are classified correctly and can be attacked, {needed} are needed",
        advice=f"Evaluate more samples (--samples, in Python n=): at least {needed} have to be classified correctly, "
        f"here {correct} of {case.n} are. Masking that hides {HIDDEN:.0%} of so many shows with {POWER:.0%} "
        f"probability. Below some {HIDDEN:.0%} clean accuracy no number is enough.",
    )
    return Result(measures, (finding,) if correct < needed else ())


def _compare_accuracies(
    case: Case, white: WhiteBox | None, robust: Tensor, gap: tuple[float, float, int] | None
) -> Result:
    """Compare PGD with the worst case: as the evaluation measured them, else as this report did.

    The report's own worst case is one over many runs, so it is compared with PGD with restarts: what restarts alone
    gain is no masking.
    """
    pgd = case.fraction(robust if white is None else white.restarted)
    claimed, worst, n = gap or (pgd, case.fraction(robust), case.n)
    finding = gap_finding(claimed, worst, n)
    return Result({"worst": case.fraction(robust), "gap": claimed - worst}, () if finding is None else (finding,))
