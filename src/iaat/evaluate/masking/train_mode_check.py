"""Masking check for a model left, or attacked, in train mode."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

from iaat.attacks import attack_mode, pgd
from iaat.evaluate.findings import Finding
from iaat.evaluate.masking.attack_checks import STEPS
from iaat.evaluate.masking.case import Case, Result, is_stronger, percent

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
    stuck = in_training(model)
    finding = Finding(
        name="train-mode",
        evidence=f"after model.eval() these layers are still in train mode: {', '.join(stuck)}",
        advice="Let their train(False) take effect: the model is evaluated as it is trained.",
    )
    return Result({}, (finding,) if stuck else ())


def check_train_mode(case: Case, robust: Tensor | None) -> Result:
    """Compare a model that was handed over in train mode with itself in eval mode.

    A note if attacks succeed alike in both modes. Serious if the accuracy after PGD in train mode is another than in
    eval mode: then every figure of the model in train mode is misleading.

    Args:
        case: The model; its running statistics move.
        robust: `[B]`, the samples that PGD in eval mode has left robust; None where the model has no gradients.
    """
    with attack_mode(case.model, "train"):
        flips = case.fraction(~case.is_correct(case.x))
    measures = {"train_mode_flips": flips}
    figures = f"in train mode {percent(flips)} of the samples change from correct to misclassified"
    serious = False
    if robust is not None:
        trained = _robust_in_train_mode(case)
        measures["pgd_train_mode"] = case.fraction(trained)
        gained, lost = int((~trained & robust).sum()), int((trained & ~robust).sum())
        serious = is_stronger(gained, lost, case.n) or is_stronger(lost, gained, case.n)
        figures += f"; PGD leaves {percent(case.fraction(trained))}, in eval mode {percent(case.fraction(robust))}"
    evidence = f"the model was handed over in train mode: {figures}"
    return Result(measures, (Finding(name="train-mode", evidence=evidence, advice=ADVICE, serious=serious),))


def _robust_in_train_mode(case: Case) -> Tensor:
    x_adv = pgd(
        case.model,
        case.x,
        case.y,
        radius=case.radius,
        steps=STEPS,
        norm=case.norm,
        mode="train",
        generator=case.generator("train mode"),
    )
    with attack_mode(case.model, "train"):
        return case.is_correct(case.x) & case.is_correct(x_adv)
