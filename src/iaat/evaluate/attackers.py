"""The stages of an evaluation: every attack by its word, ready to run on a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from iaat.attacks import Targeted, apgd_ce, apgd_t, cw_l2, cw_pgd, deepfool, mi_fgsm, pgd_early_stop
from iaat.attacks.screening import CE_STEPS, T_STEPS, T_TARGETS
from iaat.config.evaluate_config import EvaluateConfig
from iaat.config.suites import pgd_word
from iaat.evaluate.autoattack import ensemble, forwards, reference_attack
from iaat.evaluate.robust import Stage
from iaat.types import Batch

Attack = Callable[..., Tensor]


def stages_of(
    words: tuple[str, ...], config: EvaluateConfig, classes: int, shape: tuple[int, ...] = (3, 32, 32)
) -> list[Stage]:
    """The stages of the attacks of a plan, in its order, each once.

    Args:
        words: Attacks by their words, as in `iaat.config.suites.Plan`.
        config: Radius and norm of all, and the settings of the first PGD.
        classes: Number of classes, which decides what AutoAttack consists of.
        shape: Shape of one input, likewise.
    """
    stages = [stage for word in words for stage in _stages(word, config, classes, shape)]
    return list({stage.name: stage for stage in stages}.values())


def _stages(word: str, config: EvaluateConfig, classes: int, shape: tuple[int, ...]) -> list[Stage]:
    if word == "pgd":
        return [pgd_stage(config)]
    if counts := pgd_word(word):
        return [_stage(word, pgd_early_stop, config, steps=counts[0], restarts=counts[1])]
    return _autoattack(config, classes, shape) if word == "autoattack" else _BUILDERS[word](config)


def pgd_stage(config: EvaluateConfig) -> Stage:
    """PGD on cross-entropy with the steps, step size, restarts and target of the recipe."""
    settings: dict[str, Any] = {"steps": config.steps, "step_size": config.step_size}
    if config.target == "none":
        return _stage(pgd_name(config), pgd_early_stop, config, **settings, restarts=config.restarts)
    return _stage(pgd_name(config), targeted_pgd, config, **settings)


def pgd_name(config: EvaluateConfig) -> str:
    """`pgd-20`, `pgd-20x5` with restarts, or `targeted-pgd-20`."""
    # The prefix also keeps the weaker attack out of the findings, which compare accuracies after `pgd` with others.
    prefix = "" if config.target == "none" else "targeted-"
    return f"{prefix}pgd-{config.steps}" + (f"x{config.restarts}" if config.restarts > 1 else "")


def targeted_pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    generator: torch.Generator,
    **settings: Any,  # noqa: ANN401
) -> Tensor:
    """PGD towards one class other than the label `y` `[B]`, drawn uniformly; settings as of `pgd_early_stop`.

    Source: Kannan et al. 2018 (arXiv 1803.06373); Xie et al. 2019 (arXiv 1812.03411).
    """
    with torch.no_grad():
        classes = model(x[:1]).shape[1]
    ahead = torch.randint(1, classes, y.shape, generator=generator, device=generator.device).to(y.device)
    return pgd_early_stop(model, x, (y + ahead) % classes, loss=Targeted(), generator=generator, **settings)


def _stage(name: str, attack: Attack, config: EvaluateConfig, most: int | None = None, **settings: Any) -> Stage:  # noqa: ANN401
    def run(model: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        return attack(model, batch.x, batch.y, radius=config.radius, norm=config.norm, generator=generator, **settings)

    most = (settings["steps"] + 1) * settings.get("restarts", 1) if "steps" in settings else most
    return Stage(name, run, most)


def _autoattack(config: EvaluateConfig, classes: int, shape: tuple[int, ...]) -> list[Stage]:
    def stage(attack: str) -> Stage:
        def run(model: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
            # One seed for every batch, as the reference has it.
            return reference_attack(
                attack,
                model,
                batch.x,
                batch.y,
                radius=float(config.radius),
                norm=config.norm,
                classes=classes,
                seed=config.seed,
            )

        unit = "query" if attack == "square" else "forward"
        return Stage(f"autoattack/{attack}", run, forwards(attack, classes), unit)

    return [stage(attack) for attack in ensemble(classes, shape, config.norm)]


def _screening(config: EvaluateConfig) -> list[Stage]:
    ce, targeted = CE_STEPS + 1, T_TARGETS * (T_STEPS + 1) + 1
    return [_stage("screening/apgd-ce", apgd_ce, config, ce), _stage("screening/apgd-t", apgd_t, config, targeted)]


def _single(word: str, attack: Attack) -> Callable[[EvaluateConfig], list[Stage]]:
    return lambda config: [_stage(word, attack, config)]


def _carlini_wagner(config: EvaluateConfig) -> list[Stage]:
    return [_stage("cw", cw_l2 if config.norm == "l2" else cw_pgd, config)]


_BUILDERS: dict[str, Callable[[EvaluateConfig], list[Stage]]] = {
    "screening": _screening,
    "mi-fgsm": _single("mi-fgsm", mi_fgsm),
    "deepfool": _single("deepfool", deepfool),
    "cw": _carlini_wagner,
}
