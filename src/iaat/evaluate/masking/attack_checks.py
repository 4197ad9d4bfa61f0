"""Masking checks that compare attacks with each other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import scipy
import torch
from torch import Tensor

from iaat.attacks import AttackLoss, cross_entropy, geometry, margin, pgd, pgd_early_stop
from iaat.evaluate.autoattack import reference_attack, why_no_square
from iaat.evaluate.findings import Finding, note
from iaat.evaluate.masking.case import LARGE, POINTS, SAMPLES, Case, Result, is_relevant, is_stronger, percent

STEPS = 20
"""Steps of PGD, those of the accuracy that is usually quoted."""

SCALES = (10.0, 0.1)
"""Factors on the logits, beside the one that brings the median clean margin to 1."""

FLAT_RISE = 1e-3
"""Fraction of its absolute value at the start by which the steps must have raised the loss. It rises by some per cent
even for the most robust samples of honest networks; steps along rounded or zero gradients raise nothing."""

GAP_LEVEL = 0.05
"""Level at which the gap from PGD to the worst case must exceed `POINTS`."""

GROWTH = 4
"""Factor from one radius of the sweep to the next: few attacks, each on the samples that the one before left robust."""


@dataclass(frozen=True, slots=True)
class WhiteBox:
    """Outcome of the gradient attacks for the samples `[B]`; masks are True where the sample is robust.

    Attributes:
        pgd: After PGD on cross-entropy.
        one_step: After one step of the whole radius.
        rise: How far the steps of `pgd` raised the cross-entropy, or the margin loss if that is more, as a fraction of
            its absolute value at the start. Of unsure models the margin alone can fall, since cross-entropy raises all
            other classes at once; of sure ones float32 holds cross-entropy at 0 while the margin moves.
        restarted: After `pgd` and as many more runs of it as there are scales.
        scaled: After `pgd` and PGD on cross-entropy of rescaled logits, one run for each scale.
        shrunk: True where a scale below 1 was the first to succeed.
        worst: After all of these and PGD on the margin.
    """

    pgd: Tensor
    one_step: Tensor
    rise: Tensor
    restarted: Tensor
    scaled: Tensor
    shrunk: Tensor
    worst: Tensor


class _Trace:
    """Cross-entropy as an attack loss that keeps the logits at the start of the attack."""

    def __init__(self) -> None:
        self.start: Tensor | None = None

    def __call__(self, logits: Tensor, y: Tensor) -> Tensor:
        if self.start is None:
            self.start = logits.detach()
        return cross_entropy(logits, y)


def white_box(case: Case) -> WhiteBox:
    """Run the gradient attacks; those after the first two only on the samples that PGD on cross-entropy left robust."""
    trace = _Trace()
    x_adv = _pgd(case, case.x, case.y, "many", loss=trace)
    after_pgd = case.is_robust(x_adv)
    start, end = cast("Tensor", trace.start), case.logits(x_adv)
    rise = _rise(margin(start, case.y), margin(end, case.y))
    entropy_rise = _rise(cross_entropy(start, case.y), cross_entropy(end, case.y))
    step = _pgd(case, case.x, case.y, "one", steps=1, step_size=case.radius, x_init=case.x)
    one_step = case.is_robust(step)
    scales = (*SCALES, _unit_scale(case))
    restarted, scaled, worst, shrunk = after_pgd, after_pgd, after_pgd & one_step, torch.zeros_like(after_pgd)
    for number, scale in enumerate(scales):
        restarted = _survivors(case, restarted, f"restart {number}")
        left = _survivors(case, scaled, f"scale {number}", loss=_scaled(scale))
        if scale < 1:
            shrunk |= scaled & ~left
        scaled = left
    worst = _survivors(case, worst & restarted & scaled, "margin", loss="margin")
    return WhiteBox(
        pgd=after_pgd,
        one_step=one_step,
        rise=rise.maximum(entropy_rise),
        restarted=restarted,
        scaled=scaled,
        shrunk=shrunk,
        worst=worst,
    )


def _rise(start: Tensor, end: Tensor) -> Tensor:
    start, end = start.double(), end.double()
    return ((end - start) / start.abs().clamp_min(1e-30)).nan_to_num(0.0).clamp(-LARGE, LARGE)


def _unit_scale(case: Case) -> float:
    """Factor that brings the median margin of the clean samples to 1, where float32 resolves a softmax well.

    Cross-entropy loses the true class from margins of 17 on and everything from about 100 on (rounding and underflow;
    see arXiv 2507.22428), so that a factor of 0.1 is not enough for logits that were blown up by 1000.
    """
    typical = -margin(case.logits(case.x), case.y).double().median().item()
    return 1 / typical if math.isfinite(typical) and typical > 1e-30 else 1.0


def _scaled(factor: float) -> AttackLoss:
    return lambda logits, y: cross_entropy(logits * factor, y)


def _pgd(case: Case, x: Tensor, y: Tensor, purpose: str, **settings: Any) -> Tensor:  # noqa: ANN401
    return pgd(case.model, x, y, **_options(case, purpose, **settings))


def _options(case: Case, purpose: str, **settings: Any) -> dict[str, Any]:  # noqa: ANN401
    options = {"radius": case.radius, "steps": STEPS, "norm": case.norm, **settings}
    return options | {"generator": case.generator(purpose)}


def _survivors(case: Case, robust: Tensor, purpose: str, **settings: Any) -> Tensor:  # noqa: ANN401
    """Mask of the samples that are still robust after one more attack."""
    rows = robust.nonzero()[:, 0]
    result = robust.clone()
    if len(rows):
        x_adv = pgd_early_stop(case.model, case.x[rows], case.y[rows], **_options(case, purpose, **settings))
        result[rows] = case.is_robust(x_adv, rows)
    return result


def check_white_box(case: Case, white: WhiteBox) -> Result:
    """Compare the gradient attacks with each other."""
    stuck = white.pgd & (white.rise < FLAT_RISE)
    measures = {
        "pgd": case.fraction(white.pgd),
        "one_step": case.fraction(white.one_step),
        "pgd_restarted": case.fraction(white.restarted),
        "pgd_scaled": case.fraction(white.scaled),
        "white_box": case.fraction(white.worst),
        "stuck": case.fraction(stuck),
    }
    if bool(white.pgd.any()):
        measures["rise_least_robust"] = white.rise[white.pgd].min().item()
    findings = [*_loss_findings(case, stuck), *_step_findings(case, white), *_scale_findings(case, white)]
    return Result(measures, tuple(findings))


def _loss_findings(case: Case, stuck: Tensor) -> Iterator[Finding]:
    if is_relevant(int(stuck.sum()), case.n):
        yield Finding(
            name="loss-not-rising",
            evidence=f"{percent(case.fraction(stuck))} of the samples are robust to {STEPS} steps that raised their "
            f"loss by less than {percent(FLAT_RISE)}",
            advice="Look at the gradients first; a step that does not raise the loss is no attack.",
        )


def _step_findings(case: Case, white: WhiteBox) -> Iterator[Finding]:
    gained, lost = _discordant(white.one_step, white.pgd)
    if is_stronger(gained, lost, case.n):
        yield Finding(
            name="one-step-stronger",
            evidence=f"one step leaves {percent(case.fraction(white.one_step))}, {STEPS} steps leave "
            f"{percent(case.fraction(white.pgd))}",
            advice="Attack with more and smaller steps and with restarts; the loss surface misleads this attack.",
        )


def _scale_findings(case: Case, white: WhiteBox) -> Iterator[Finding]:
    """Whether the scale of the logits decides which samples are robust.

    Large logits hide their gradients by underflow, and smaller ones give them back: that is masking. Small logits,
    such as those of a hardly trained model, hide nothing, but cross-entropy raises all other classes at once, and the
    nearest one needs a larger scale: PGD is weak there, and stronger attacks succeed.
    """
    gained, lost = _discordant(white.scaled, white.restarted)
    if not is_stronger(gained, lost, case.n):
        return
    serious = 2 * int((white.shrunk & white.restarted).sum()) > gained
    yield Finding(
        name="logit-scale",
        evidence=f"{'smaller' if serious else 'larger'} logits leave {percent(case.fraction(white.scaled))} robust, as "
        f"many runs on the logits themselves {percent(case.fraction(white.restarted))}",
        advice="Attack with the margin or DLR loss, which do not depend on the scale of the logits.",
        serious=serious,
        weak_attack=not serious,
    )


def _discordant(first: Tensor, second: Tensor) -> tuple[int, int]:
    """Numbers of samples on which only the first attack succeeds, and only the second."""
    return int((~first & second).sum()), int((first & ~second).sum())


def check_growth(case: Case, robust: Tensor, predicted: Tensor) -> Result:
    """Attack the margin at ever larger radii, up to the whole range of the inputs.

    At the last radius any image can become any other. If one of the others gets another class, an attack that works
    must succeed there; a model that gives all inputs one class is not suspected. The margin is attacked because another
    check is for saturated cross-entropy.

    Args:
        case: The model and its samples.
        robust: `[B]`, the samples on which every attack so far has failed.
        predicted: Classes `[n]` that the model gives the clean inputs, the misclassified ones included.
    """
    whole = geometry(case.norm).diameter(case.x[0].numel(), 1.0)
    radius, measures = case.radius, {}
    while radius < whole:
        radius = min(GROWTH * radius, whole)
        robust = _survivors(case, robust, f"radius {radius}", radius=radius, loss="margin")
        measures[f"accuracy_at_{radius:.4g}"] = case.fraction(robust)
    robust = robust & (predicted[None] != case.y[:, None]).any(dim=1)
    finding = Finding(
        name="robust-at-any-radius",
        evidence=f"{percent(case.fraction(robust))} of the samples are robust to PGD with a radius that "
        "spans all inputs, though other inputs there are given other classes",
        advice="Distrust the gradients: at such a radius these samples have adversarial examples.",
    )
    return Result(measures, (finding,) if is_relevant(int(robust.sum()), case.n) else ())


def check_black_box(case: Case, robust: Tensor, queries: int) -> tuple[Result, Tensor]:
    """Run Square on the samples that every gradient attack left robust; returns what is robust after it, too.

    A black-box attack is weaker than a gradient attack that works: what it adds to all of them is near 0.
    """
    if why := why_no_square(tuple(case.x.shape[1:]), case.norm):
        return Result(findings=(no_black_box(why),)), robust
    after, rows = robust.clone(), robust.nonzero()[:, 0]
    if len(rows):
        x_adv = reference_attack(
            "square",
            case.model,
            case.x[rows],
            case.y[rows],
            radius=case.radius,
            norm=case.norm,
            classes=case.classes,
            seed=case.seed,
            queries=queries,
        )
        after[rows] = case.is_robust(x_adv, rows)
    turned = robust & ~after
    measures = {"black_box": case.fraction(after), "black_box_only": case.fraction(turned)}
    if not is_relevant(int(turned.sum()), case.n):
        return Result(measures), after
    finding = Finding(
        name="black-box-stronger",
        evidence=f"Square with {queries} queries succeeds on {percent(case.fraction(turned))} of the samples, on which "
        f"every gradient attack fails; {percent(case.fraction(after))} remain",
        advice="Report the black-box figure, and adapt the gradient attack to the model.",
    )
    return Result(measures, (finding,)), after


def no_black_box(why: str) -> Finding:
    """Note that Square is left out, for the reason given."""
    advice = "Compare with a black-box attack of your own, if you can."
    return note("no-black-box", why, advice)


def gap_finding(pgd: float, worst: float, n: int) -> Finding | None:
    """Finding on the gap between PGD and the worst case over all attacks.

    Args:
        pgd: Accuracy after PGD on cross-entropy, in [0, 1].
        worst: Accuracy after all attacks, on the same samples.
        n: Number of samples.

    Returns:
        None up to `POINTS`; above it a finding, which says to quote the worst case where chance does not explain the
        excess. It is no masking by itself: where cross-entropy misleads PGD, an honest model has such a gap.
    """
    gap = pgd - worst
    if gap <= POINTS or round(gap * n) < SAMPLES:
        return None
    chance = scipy.stats.binomtest(round(gap * n), n, POINTS, alternative="greater").pvalue
    sure = bool(chance < GAP_LEVEL)
    return Finding(
        name="pgd-gap",
        evidence=f"PGD leaves {percent(pgd)}, all attacks together {percent(worst)} of {n} samples: a gap of "
        f"{100 * gap:.1f} points" + ("" if sure else f", not surely above {100 * POINTS:g} with so few samples"),
        advice="Quote the worst case, never PGD alone." if sure else "Evaluate more samples.",
        serious=False,
        weak_attack=sure,
    )


def transfer_finding(transfer: float, pgd: float, n: int) -> Finding | None:
    """Finding on the accuracy under adversarial examples made on another model.

    Args:
        transfer: Accuracy under them, in [0, 1].
        pgd: Accuracy after PGD on the model itself.
        n: Number of samples of the smaller of the two measurements; they need not be the same samples.
    """
    noise = math.sqrt((transfer * (1 - transfer) + pgd * (1 - pgd)) / n)
    # 2.33 standard errors are the one-sided level of 1 %.
    if not is_relevant(round((pgd - transfer) * n), n) or pgd - transfer <= 2.33 * noise:
        return None
    return Finding(
        name="transfer-stronger",
        evidence=f"adversarial examples of another model leave {percent(transfer)}, PGD on the model itself leaves "
        f"{percent(pgd)} of {n} samples",
        advice="Report the transfer figure, and look for what hides the gradients of the model itself.",
    )
