"""Masking check for a stateful model: its logits depend on earlier inputs."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from iaat.attacks import attack_mode, full_precision, geometry, per_sample, pgd
from iaat.errors import shown
from iaat.evaluate.findings import Finding, note
from iaat.evaluate.masking.attack_checks import STEPS
from iaat.evaluate.masking.case import Case, Result, percent
from iaat.evaluate.masking.output_checks import differences
from iaat.runtime import rng

REMEMBERED = 1e-3
"""Largest difference (`differences`) from a fresh copy of a model without memory; on a CPU there is none."""


@dataclass(frozen=True, eq=False)
class Fresh:
    """A copy of a model from before its first forward.

    Attributes:
        model: The copy; None if the model cannot be copied.
        why: Reason why it cannot.
    """

    model: nn.Module | None
    why: str = ""


def fresh_copy(model: nn.Module) -> Fresh:
    """Copy a model with all that it holds; what its functions keep outside of it stays shared."""
    # A compiled model would be compiled again at every copy.
    original = cast("nn.Module", getattr(model, "_orig_mod", model))
    try:
        with torch.no_grad():  # else the weights of a copied program are no leaves
            return Fresh(deepcopy(original))
    except Exception as error:  # whatever the model's parts raise
        return Fresh(None, shown(f"{type(error).__name__}: {error}"))


class Stateless(nn.Module):
    """Model that computes every batch by another copy of a model, so that no logits depend on earlier inputs.

    Args:
        pristine: A model from before its first forward; the copies share its weights.
    """

    def __init__(self, pristine: nn.Module) -> None:
        super().__init__()
        self.pristine = pristine

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[B, classes]` of a copy."""
        shared = {id(parameter): parameter for parameter in self.pristine.parameters()}
        with torch.no_grad():
            copy = deepcopy(self.pristine, shared)
        logits: Tensor = copy(x)
        return logits


def check_state(case: Case, fresh: Fresh, robust: Tensor, *, gradients: bool) -> tuple[Result, Tensor]:
    """Compare the model, which has been attacked by now, with fresh copies of it; returns what is robust after it, too.

    Both get, in a shuffled order, random points near the samples, of which the model has seen neighbours, and
    adversarial examples made on fresh copies. Where they disagree, what a fresh copy misclassifies within the radius
    counts as adversarial: no attacker must show a model the clean image first.

    Args:
        case: The model and its samples.
        fresh: The copy from before the attacks.
        robust: `[B]`, the samples on which every attack so far has failed.
        gradients: Whether the model has any.
    """
    if fresh.model is None:
        return Result(findings=(_no_copy(fresh.why),)), robust
    stateless = Stateless(fresh.model)
    with attack_mode(stateless, "eval"):
        points = [_near(case), *([_adversarial(case, stateless)] if gradients else [])]
        compared = [_compare(case, stateless, x) for x in points]
    difference, noise = (max(getattr(each, name) for each in compared) for name in ("difference", "noise"))
    measures = {"fresh_difference": difference}
    correct = case.is_robust(points[-1])
    robust = robust & correct
    if difference <= REMEMBERED + 3 * noise:
        return Result(measures), robust
    turned = correct & ~case.is_robust(points[-1], logits=compared[-1].logits)
    measures["fresh_broken"] = case.fraction(turned)
    finding = Finding(
        name="remembered-inputs",
        evidence=f"logits differ from those of a fresh copy of the model by up to {difference:.2g} of what they "
        f"differ between samples; the copy misclassifies {percent(case.fraction(turned))} of the samples where the "
        "model, which has seen others, does not",
        advice="Evaluate a model that keeps nothing between calls: no attacker must show it the clean image first.",
    )
    return Result(measures, (finding,)), robust & ~turned


def _no_copy(why: str) -> Finding:
    return note(
        name="no-fresh-copy",
        evidence=f"the model cannot be copied ({why}), so whether it remembers its inputs was not checked",
        advice="Let copy.deepcopy(model) work, if it may keep anything between calls.",
    )


def _near(case: Case) -> Tensor:
    """Random points near the samples `[B, ...]`."""
    noise = geometry(case.norm).random(case.x, per_sample(case.radius, case.x), case.generator("near"))
    return (case.x + noise).clamp(0, 1)


def _adversarial(case: Case, stateless: Stateless) -> Tensor:
    """Adversarial examples `[B, ...]` made on fresh copies."""
    return pgd(
        stateless,
        case.x,
        case.y,
        radius=case.radius,
        steps=STEPS,
        norm=case.norm,
        loss="margin",
        generator=case.generator("fresh"),
    )


@dataclass(frozen=True, eq=False)
class _Compared:
    """Largest difference of the model's logits from a fresh copy's, and of two copies'; the logits of a copy."""

    difference: float
    noise: float
    logits: Tensor


def _compare(case: Case, stateless: Stateless, x: Tensor) -> _Compared:
    order = rng.permutation(len(x), seed=case.seed, epoch=0).to(x.device)
    with torch.no_grad():
        first, second = (full_precision(stateless(x[order])) for _ in range(2))
    logits = torch.empty_like(first)
    logits[order] = first
    difference, noise = (differences(each, first).max().item() for each in (case.logits(x[order]), second))
    return _Compared(difference, noise, logits)
