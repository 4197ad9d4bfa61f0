"""Masking checks of the input gradients.

A tiny gradient alone is innocent. The cross-entropy gradient of a natural, confident network is 1e-8 and smaller, and
PGD succeeds all the same, because only the sign of the gradient counts. Two things are not innocent, and both need
that *the attack has failed* on the sample: a gradient that is exactly 0, which leaves the attack robust where its
random start put it; and a margin without slope. The slope is measured free of any scale of the logits: the *reach*, how
much of the margin the whole ball could take away if the margin were linear, `radius * dual norm of its gradient /
margin`. It is 1 at the edge of linear robustness; the safest samples of honest networks on digits, natural and
robust, had 0.08 and more. Outputs that saturate (a sigmoid's, say) have a small reach while PGD makes its way all the
same, so the attack must also have raised the loss by next to nothing. Samples on which the attack has succeeded count
for neither, so a model with 0 % robust accuracy shows no masking however small its gradients are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from iaat.attacks import AttackLoss, attack_mode, cross_entropy, full_precision, geometry, margin, per_sample
from iaat.evaluate.findings import Finding
from iaat.evaluate.masking.case import LARGE, Case, Result, is_relevant, percent

FLAT = 1e-3
"""Reach below which the margin has no slope to speak of; see the module."""


HELD = 0.05
"""Fraction by which the attack must have failed to raise the loss; see the module."""


@dataclass(frozen=True, slots=True)
class InputGradients:
    """Gradients of the samples `[B]`, each at the clean input and at a random point of its ball.

    Attributes:
        finite: Whether all gradients of the sample are finite.
        zero: Whether its cross-entropy gradient is exactly 0 at both points.
        reach: The larger reach of the two points; infinite where the random point is misclassified.
        size: The larger of the largest entries of its cross-entropy gradient at the two points.
    """

    finite: Tensor
    zero: Tensor
    reach: Tensor
    size: Tensor


def input_gradient(model: nn.Module, x: Tensor, y: Tensor, loss: AttackLoss) -> tuple[Tensor, Tensor] | None:
    """Gradient `[B, ...]` of the loss at `x`, and the losses `[B]`; None where no path leads from them to `x`."""
    with attack_mode(model, "eval"), torch.inference_mode(False), torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        losses = loss(full_precision(model(leaf)), y)
        if not losses.requires_grad:
            return None
        try:
            (gradient,) = torch.autograd.grad(losses.sum(), leaf, allow_unused=True)
        except NotImplementedError:  # an operation without a backward pass
            return None
    return None if gradient is None else (gradient, losses.detach())


def measure_gradients(case: Case) -> InputGradients | None:
    """Measure the input gradients; None where there are none."""
    ball = geometry(case.norm)
    noise = ball.random(case.x, per_sample(case.radius, case.x), case.generator("probe"))
    points = [_gradients_at(case, point) for point in (case.x, (case.x + noise).clamp(0, 1))]
    if points[0] is None or points[1] is None:
        return None
    first, second = points[0], points[1]
    return InputGradients(
        finite=first.finite & second.finite,
        zero=first.zero & second.zero,
        reach=first.reach.maximum(second.reach),
        size=first.size.maximum(second.size),
    )


def _gradients_at(case: Case, x: Tensor) -> InputGradients | None:
    entropy = input_gradient(case.model, x, case.y, cross_entropy)
    slope = input_gradient(case.model, x, case.y, margin)
    if entropy is None or slope is None:
        return None
    size = entropy[0].flatten(1).abs().amax(dim=1)
    return InputGradients(
        finite=(entropy[0].isfinite() & slope[0].isfinite()).flatten(1).all(dim=1),
        zero=size == 0,
        reach=_reach(case, *slope),
        size=size,
    )


def _reach(case: Case, gradient: Tensor, margins: Tensor) -> Tensor:
    rows = gradient.flatten(1).double()
    dual = rows.abs().sum(dim=1) if case.norm == "linf" else rows.norm(dim=1)
    return torch.where(margins < 0, case.radius * dual / -margins.double(), torch.inf)


def check_gradients(case: Case, found: InputGradients, robust: Tensor, rise: Tensor) -> Result:
    """Findings on the gradients.

    Args:
        case: The model and its samples.
        found: Their gradients.
        robust: `[B]`, the samples on which PGD on cross-entropy has failed.
        rise: `[B]`, the fraction by which its steps raised the loss.
    """
    zero = found.zero & robust
    # A zero gradient has its own name.
    flat = (found.reach < FLAT) & (rise < HELD) & robust & ~found.zero
    measures = {
        "nonfinite_gradients": case.fraction(~found.finite),
        "zero_gradients": case.fraction(found.zero),
        "zero_gradients_robust": case.fraction(zero),
        "flat_robust": case.fraction(flat),
        "gradient_size_median": found.size.nan_to_num(0.0).median().item(),
    }
    if bool(robust.any()):
        measures["reach_least_robust"] = found.reach[robust].nan_to_num(0.0).min().clamp_max(LARGE).item()
    return Result(measures, tuple(_findings(case, found, zero, flat)))


def blocked() -> Finding:
    """Finding of a model without a gradient path."""
    return Finding(
        name="blocked-gradients",
        evidence="no gradient path leads from the logits back to the input: a gradient attack has nothing to follow",
        advice="Find the layer that detaches, compares or takes an argmax; replace its backward pass by the identity "
        "or by a smooth stand-in (BPDA, Athalye et al. 2018).",
    )


def _findings(case: Case, found: InputGradients, zero: Tensor, flat: Tensor) -> list[Finding]:
    findings = []
    if not bool(found.finite.all()):
        fraction = case.fraction(~found.finite)
        findings.append(
            Finding(
                name="nan-gradients",
                evidence=f"the input gradients of {percent(fraction)} of the samples are NaN or infinite",
                advice="Find the operation without a derivative there (a root, norm or logarithm at 0).",
            )
        )
    if is_relevant(int(zero.sum()), case.n):
        findings.append(
            Finding(
                name="zero-gradients",
                evidence=f"{percent(case.fraction(zero))} of the samples are robust to PGD with a cross-entropy "
                "gradient of exactly 0",
                advice="Attack with the margin loss; if it fails too, look for rounding, clamping or saturated layers.",
            )
        )
    if is_relevant(int(flat.sum()), case.n):
        findings.append(
            Finding(
                name="vanishing-gradients",
                evidence=f"{percent(case.fraction(flat))} of the samples are robust to PGD while the slope of their "
                f"margin reaches less than {FLAT:g} of it within the radius",
                advice="Look for saturated layers behind the logits or the input, and attack around them.",
            )
        )
    return findings
