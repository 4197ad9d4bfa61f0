"""The check for a model that remembers: its answers depend on what it was asked before."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from iaat.attacks import attack_mode, full_precision, geometry, per_sample, pgd
from iaat.errors import shown
from iaat.evaluate.findings import Finding
from iaat.evaluate.masking.attack_checks import STEPS
from iaat.evaluate.masking.case import Case, Result, percent
from iaat.evaluate.masking.output_checks import differences
from iaat.runtime import rng
from iaat.units import Norm

REMEMBERED = 1e-3
"""Largest difference (`differences`) from a fresh copy of a model without memory; on a CPU there is none."""


@dataclass(frozen=True, eq=False)
class Fresh:
    """A copy of a model from before it was asked anything.

    Attributes:
        model: The copy; None if the model cannot be copied.
        why: Why not.
    """

    model: nn.Module | None
    why: str = ""


def fresh_copy(model: nn.Module) -> Fresh:
    """Copy a model with all that it holds; its own functions and what those keep outside of it stay shared."""
    # A compiled model would be compiled again at every copy.
    original = cast("nn.Module", getattr(model, "_orig_mod", model))
    try:
        with torch.no_grad():  # else the weights of a copied program are no leaves
            return Fresh(deepcopy(original))
    except Exception as error:  # whatever the model's parts raise
        return Fresh(None, shown(f"{type(error).__name__}: {error}"))


class Forgetful(nn.Module):
    """Answers every batch by another copy of a model, so that no answer depends on an earlier one.

    Args:
        pristine: A model that has been asked nothing; the copies share its weights.
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


def check_state(case: Case, fresh: Fresh, standing: Tensor, *, gradients: bool) -> tuple[Result, Tensor]:
    """Compare the model, which has been attacked by now, with fresh copies of it; hands back what stands after it, too.

    Both are asked, in a shuffled order, for random points near the samples, of which the model has seen neighbours, and
    for adversarial examples made on fresh copies. Where they disagree a sample that a fresh copy misclassifies within
    the radius counts as broken: no attacker must show a model the clean image first.

    Args:
        case: The model and its samples.
        fresh: The copy from before the attacks.
        standing: `[B]`, the samples that no attack has broken.
        gradients: Whether the model has any.
    """
    if fresh.model is None:
        return Result(findings=(_no_copy(fresh.why),)), standing
    forgetful = Forgetful(fresh.model)
    with attack_mode(forgetful, "eval"):
        points = [_near(case), *([_adversarial(case, forgetful)] if gradients else [])]
        compared = [_compare(case, forgetful, x) for x in points]
    difference, noise = (max(getattr(each, name) for each in compared) for name in ("difference", "noise"))
    measures = {"fresh_difference": difference}
    survived = case.survived(points[-1])
    standing = standing & survived
    if difference <= REMEMBERED + 3 * noise:
        return Result(measures), standing
    broken = survived & ~case.survived(points[-1], logits=compared[-1].answers)
    measures["fresh_broken"] = case.share(broken)
    finding = Finding(
        name="remembered-inputs",
        evidence=f"answers differ from those of a fresh copy of the model by up to {difference:.2g} of what they "
        f"differ between samples; the copy misclassifies {percent(case.share(broken))} of the samples where the model, "
        "asked before, does not",
        advice="Evaluate a model that keeps nothing between calls: no attacker must show it the clean image first.",
    )
    return Result(measures, (finding,)), standing & ~broken


def _no_copy(why: str) -> Finding:
    return Finding(
        name="no-fresh-copy",
        evidence=f"the model cannot be copied ({why}), so whether it remembers its inputs was not checked",
        advice="Let copy.deepcopy(model) work, if it may keep anything between calls.",
        serious=False,
    )


def _near(case: Case) -> Tensor:
    """Random points near the samples `[B, ...]`."""
    noise = geometry(case.norm).random(case.x, per_sample(case.radius, case.x), case.generator("near"))
    return (case.x + noise).clamp(0, 1)


def _adversarial(case: Case, forgetful: Forgetful) -> Tensor:
    """Adversarial examples `[B, ...]` made on fresh copies."""
    return pgd(
        forgetful,
        case.x,
        case.y,
        radius=case.radius,
        steps=STEPS,
        norm=cast("Norm", case.norm),
        loss="margin",
        generator=case.generator("fresh"),
    )


@dataclass(frozen=True, eq=False)
class _Compared:
    """Largest difference of the model's answers from a fresh copy's, and of two copies'; the answers of a copy."""

    difference: float
    noise: float
    answers: Tensor


def _compare(case: Case, forgetful: Forgetful, x: Tensor) -> _Compared:
    order = rng.permutation(len(x), seed=case.seed, epoch=0).to(x.device)
    with torch.no_grad():
        first, second = (full_precision(forgetful(x[order])) for _ in range(2))
    answers = torch.empty_like(first)
    answers[order] = first
    difference, noise = (differences(each, first).max().item() for each in (case.logits(x[order]), second))
    return _Compared(difference, noise, answers)
