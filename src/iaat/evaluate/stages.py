"""The stages of an evaluation: every attack by its name in a suite, ready to run on a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from iaat.attacks import Targeted, apgd_ce, apgd_t, cw_l2, cw_pgd, deepfool, mi_fgsm, pgd_early_stop
from iaat.attacks.screening import CE_STEPS, T_STEPS, T_TARGETS
from iaat.config.choices import Arithmetic
from iaat.config.evaluate_config import EvaluateConfig
from iaat.config.suites import parse_pgd
from iaat.evaluate.autoattack import ensemble, forwards, reference_attack
from iaat.evaluate.naming import pgd_name
from iaat.types import Batch

_AttackFunction = Callable[..., Tensor]
BatchAttack = Callable[[nn.Module, Batch, torch.Generator], Tensor]
"""`(model, batch, generator) -> x_adv [B, ...]`: one attack on one batch, the model in eval mode."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One attack of an evaluation.

    Attributes:
        name: Its name in records, such as `pgd-20` or `autoattack/square`.
        run: The attack.
        most: About how many forwards it takes for a batch at most, to show progress; None: not known.
        unit: Name of a forward in the progress shown.
        arithmetic: How it calls the model; where that is not the model's own way, its flips are counted.
        prepare: Called once before it is run, by all processes together; None: there is nothing to prepare.
    """

    name: str
    run: BatchAttack
    most: int | None = None
    unit: str = "forward"
    prepare: Callable[[], None] | None = None
    arithmetic: Arithmetic = "reference"

    @property
    def group(self) -> str:
        """The attack it is a part of: `autoattack` for `autoattack/square`."""
        return self.name.partition("/")[0]


def stages_of(
    attacks: tuple[str, ...], config: EvaluateConfig, classes: int, shape: tuple[int, ...] = (3, 32, 32)
) -> list[Stage]:
    """The stages of the attacks of a plan, in its order, each once.

    Args:
        attacks: Attacks by name, as in `iaat.config.suites.Plan`.
        config: Radius and norm of all, and the settings of the first PGD.
        classes: Number of classes, which decides what AutoAttack consists of.
        shape: Shape of one input, which decides it, too.
    """
    stages = [stage for name in attacks for stage in _stages(name, config, classes, shape)]
    return list({stage.name: stage for stage in stages}.values())


def _stages(name: str, config: EvaluateConfig, classes: int, shape: tuple[int, ...]) -> list[Stage]:
    if name == "pgd":
        return [pgd_stage(config)]
    if counts := parse_pgd(name):
        return [_stage(name, pgd_early_stop, config, steps=counts[0], restarts=counts[1])]
    return _autoattack(config, classes, shape) if name == "autoattack" else _BUILDERS[name](config)


def pgd_stage(config: EvaluateConfig) -> Stage:
    """PGD on cross-entropy with the steps, step size, restarts and target of the recipe."""
    settings: dict[str, Any] = {"steps": config.steps, "step_size": config.step_size}
    if config.target == "none":
        return _stage(pgd_name(config), pgd_early_stop, config, **settings, restarts=config.restarts)
    return _stage(pgd_name(config), targeted_pgd, config, **settings)


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


def _stage(
    name: str,
    attack: _AttackFunction,
    config: EvaluateConfig,
    most: int | None = None,
    **settings: Any,  # noqa: ANN401
) -> Stage:
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
                arithmetic=config.autoattack_arithmetic,
            )

        unit = "query" if attack == "square" else "forward"
        most = forwards(attack, classes)
        return Stage(f"autoattack/{attack}", run, most, unit, arithmetic=config.autoattack_arithmetic)

    return [stage(attack) for attack in ensemble(classes, shape, config.norm)]


def _screening(config: EvaluateConfig) -> list[Stage]:
    ce, targeted = CE_STEPS + 1, T_TARGETS * (T_STEPS + 1) + 1
    return [_stage("screening/apgd-ce", apgd_ce, config, ce), _stage("screening/apgd-t", apgd_t, config, targeted)]


def _single(name: str, attack: _AttackFunction) -> Callable[[EvaluateConfig], list[Stage]]:
    return lambda config: [_stage(name, attack, config)]


_BUILDERS: dict[str, Callable[[EvaluateConfig], list[Stage]]] = {
    "screening": _screening,
    "mi-fgsm": _single("mi-fgsm", mi_fgsm),
    "deepfool": _single("deepfool", deepfool),
    "cw": lambda config: [_stage("cw", cw_l2 if config.norm == "l2" else cw_pgd, config)],
}
