"""The check for a model left, or attacked, in train mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

from iaat.attacks import attack_mode, pgd
from iaat.evaluate.findings import Finding
from iaat.evaluate.masking.attack_checks import STEPS
from iaat.evaluate.masking.case import Case, Result, percent, stronger
from iaat.units import Norm

ADVICE = "Call model.eval() before anything is measured; all other figures of this report were measured in eval mode."


MODAL = (_DropoutNd, _BatchNorm, _InstanceNorm)
"""Layers that do something else in train mode; a flag left on any other module means nothing by itself."""


def in_training(model: nn.Module) -> list[str]:
    """Kinds of layers of a model that act as in training."""
    return sorted(
        {type(module).__name__ for module in model.modules() if isinstance(module, MODAL) and module.training}
    )


def check_eval_has_effect(model: nn.Module) -> Result:
    """Serious where layers of a model that was put in eval mode, and has run since, are still in train mode."""
    if not (stuck := in_training(model)):
        return Result()
    return Result(
        findings=(
            Finding(
                name="train-mode",
                evidence=f"after model.eval() these layers are still in train mode: {', '.join(stuck)}",
                advice="Let their train(False) take effect: the model is evaluated as it is trained.",
            ),
        )
    )


def check_train_mode(case: Case, standing: Tensor | None) -> Result:
    """What figures of a model left in train mode are worth; asked of a model that was handed over in it.

    A note if attacks fare alike in both modes. Serious if PGD in train mode, judged in train mode, leaves another
    accuracy than in eval mode: then every figure taken of the model as it came is wrong.

    Args:
        case: The model; its running statistics move, and `kept_buffers` puts them back.
        standing: `[B]`, what PGD has left standing in eval mode; None where the model has no gradients.
    """
    with attack_mode(case.model, "train"):
        flips = case.share(~case.right(case.x))
    measures = {"train_mode_flips": flips}
    figures = f"in train mode {percent(flips)} of the samples change from right to wrong"
    serious = False
    if standing is not None:
        trained = _standing_in_train_mode(case)
        measures["pgd_train_mode"] = case.share(trained)
        gained, lost = int((~trained & standing).sum()), int((trained & ~standing).sum())
        serious = stronger(gained, lost, case.n) or stronger(lost, gained, case.n)
        figures += f"; PGD leaves {percent(case.share(trained))}, in eval mode {percent(case.share(standing))}"
    evidence = f"the model was handed over in train mode: {figures}"
    return Result(measures, (Finding(name="train-mode", evidence=evidence, advice=ADVICE, serious=serious),))


def _standing_in_train_mode(case: Case) -> Tensor:
    x_adv = pgd(
        case.model,
        case.x,
        case.y,
        radius=case.radius,
        steps=STEPS,
        norm=cast("Norm", case.norm),
        mode="train",
        generator=case.generator("train mode"),
    )
    with attack_mode(case.model, "train"):
        return case.right(case.x) & case.right(x_adv)


@contextmanager
def kept_buffers(model: nn.Module) -> Iterator[None]:
    """Give the buffers of a model their values back: running statistics move at every forward in train mode."""
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
