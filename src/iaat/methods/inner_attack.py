"""Settings of methods whose attack may also be a single step, under guard."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from iaat.attacks import AttackLoss, PerSampleLoss, nfgsm
from iaat.errors import UserError, check_choice
from iaat.methods.attack import AttackConfig
from iaat.methods.base import StepContext
from iaat.methods.random_targets import draw_picks, towards_target
from iaat.types import Batch

INNER = ("pgd", "nfgsm")
TARGETS = ("none", "random")


@dataclass(frozen=True, kw_only=True)
class InnerConfig(AttackConfig):
    """Settings of an attack of many steps or of one."""

    inner: Literal["pgd", "nfgsm"] = "pgd"
    """The attack: pgd of `steps` steps, or one step from noise (nfgsm), which leads up to (noise + 1) * radius away."""
    target: Literal["none", "random"] = "none"
    """What pgd wants: none: any other class; random: one other class, drawn anew at each attack. That is the weaker
    attack, and the one ImageNet was first trained with: untargeted attacks swap classes that look alike, such as breeds
    of dogs."""
    noise: float = 2.0
    """Size of the noise nfgsm starts from, in radii; 0 is FGSM, which overfits catastrophically sooner."""
    guard_every: int = 50
    """Steps between two checks of nfgsm for catastrophic overfitting on held-out samples; 0: none."""
    guard_gap: float = 0.7
    """Share of the accuracy under nfgsm that PGD-10 may take away; if it surely takes more, pgd is trained with."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.inner, INNER, "method.inner")
        check_choice(self.target, TARGETS, "method.target")
        if self.target != "none" and self.inner != "pgd":
            raise UserError(f"method.target = {self.target} is for inner pgd: inner {self.inner} has no target")
        if not 0 <= self.noise < math.inf:
            raise UserError(f"method.noise = {self.noise:g}: a number of radii, finite and not negative")
        if self.guard_every < 0:
            raise UserError(f"method.guard_every = {self.guard_every}: a number of steps, or 0 for no guard")
        if not 0 < self.guard_gap < 1:
            raise UserError(f"method.guard_gap = {self.guard_gap:g}: a share between 0 and 1")

    def without_effect(self) -> dict[str, str]:
        """Settings that change nothing beside the others, each with what they belong to."""
        if self.inner == "pgd":
            return super().without_effect() | dict.fromkeys(("noise", "guard_every", "guard_gap"), "method.inner nfgsm")
        if not self.guard_every:
            unguarded = dict.fromkeys(("steps", "min_step", "guard_gap"), "method.guard_every above 0")
            return super().without_effect() | unguarded
        return super().without_effect()

    def seldom_acts(self) -> dict[str, str]:
        """Settings that act in special moments of a run only, each with the moment."""
        if self.inner == "pgd" or not self.guard_every:
            return super().seldom_acts()
        return super().seldom_acts() | dict.fromkeys(("steps", "min_step"), "only while the guard trains with pgd")

    @property
    def gradients(self) -> int:
        """Gradients that one attack takes, each a forward and a backward."""
        return self.steps if self.inner == "pgd" else 1

    @property
    def spread(self) -> float:
        """Size of the ball that an attack starts in, in radii."""
        return 1.0 if self.inner == "pgd" else self.noise

    def picks_of(self, batch: Batch, context: StepContext) -> Tensor | None:
        """A draw `[B]` that decides the targets of an attack; None, and nothing drawn, where the settings have none."""
        return None if self.target == "none" else draw_picks(batch.y, context.generator)

    def with_pgd(self) -> InnerConfig:
        """The same settings with PGD as the attack."""
        return replace(self, inner="pgd")

    def attack(
        self,
        model: nn.Module,
        batch: Batch,
        radius: Tensor | float,
        context: StepContext,
        *,
        steps: Tensor | None = None,
        x_init: Tensor | None = None,
        loss: str | AttackLoss = "ce",
        patience: int | None = None,
        picks: Tensor | None = None,
    ) -> Tensor:
        """As `AttackConfig.attack`, with targets where the settings say so.

        `picks` are as from `picks_of`, instead of a draw of its own. With inner nfgsm `steps`, `loss` and
        `patience` mean nothing; with random targets the latter two.
        """
        if self.inner == "pgd":
            picks = self.picks_of(batch, context) if picks is None else picks
            if picks is not None:
                loss, patience = PerSampleLoss(towards_target, picks), None
            return super().attack(
                model,
                batch,
                radius,
                context,
                steps=steps,
                x_init=x_init,
                loss=loss,
                patience=patience,
            )
        self.check_reach(self.radius if isinstance(radius, Tensor) else radius, batch.x)
        return nfgsm(
            model,
            batch.x,
            batch.y,
            radius=torch.as_tensor(radius, dtype=batch.x.dtype, device=batch.x.device)
            .expand(len(batch.x))
            .clamp_max(self.reach_of(batch.x)),
            noise=self.noise,
            norm=self.norm,
            mode=self.mode,
            x_init=x_init,
            generator=context.generator,
        )
