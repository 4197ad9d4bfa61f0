"""Settings of a training attack that is PGD or, under guard, one N-FGSM step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from iaat.errors import UserError, check_choice
from iaat.methods.attack_config import AttackConfig

INNER = ("pgd", "nfgsm")
TARGETS = ("none", "random")


@dataclass(frozen=True, kw_only=True)
class InnerConfig(AttackConfig):
    """Settings of an attack of many steps or of one."""

    inner: Literal["pgd", "nfgsm"] = "pgd"
    """The attack: pgd of `steps` steps, or one step from noise (nfgsm), which leads up to (noise + 1) * radius away."""
    target: Literal["none", "random"] = "none"
    """Target of pgd: none, for any other class; or random, for one other class drawn at each attack. Random is weaker,
    and the attack that ImageNet was first trained with: untargeted attacks swap classes that look alike, such as breeds
    of dogs."""
    noise: float = 2.0
    """Radius of the noise nfgsm starts from, in multiples of the attack's radius; 0 is FGSM, which overfits
    catastrophically sooner."""
    guard_every: int = 50
    """Steps between two checks of nfgsm for catastrophic overfitting on validation samples; 0: none."""
    guard_gap: float = 0.7
    """Fraction of the accuracy under nfgsm that PGD-10 may take away; if it takes significantly more, training goes on
    with pgd."""

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
            raise UserError(f"method.guard_gap = {self.guard_gap:g}: a fraction between 0 and 1")

    def without_effect(self) -> dict[str, str]:
        """Settings that change nothing beside the others, each with what they belong to."""
        if not self.single_step:
            return super().without_effect() | dict.fromkeys(("noise", "guard_every", "guard_gap"), "method.inner nfgsm")
        if not self.guard_every:
            unguarded = dict.fromkeys(("steps", "min_step", "guard_gap"), "method.guard_every above 0")
            return super().without_effect() | unguarded
        return super().without_effect()

    def seldom_acts(self) -> dict[str, str]:
        """Settings that act in special moments of a run only, each with the moment."""
        if not self.single_step or not self.guard_every:
            return super().seldom_acts()
        return super().seldom_acts() | dict.fromkeys(("steps", "min_step"), "only while the guard trains with pgd")

    @property
    def single_step(self) -> bool:
        """Whether the attack is one N-FGSM step."""
        return self.inner == "nfgsm"
