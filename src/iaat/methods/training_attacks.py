"""Attackers: PGD, PGD towards random targets and N-FGSM as methods train with them, at a radius per sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from iaat.attacks import AttackLoss, PerSampleLoss, geometry, nfgsm, per_sample, pgd, pgd_early_stop
from iaat.errors import UserError
from iaat.methods.attack_config import AttackConfig
from iaat.methods.inner_config import InnerConfig
from iaat.methods.random_targets import draw_targets, random_target_loss
from iaat.types import Batch


@dataclass(frozen=True)
class Attacker(ABC):
    """An attack on training batches, described by a config.

    Attributes:
        config: Norm, mode and steps of the attack.

    Source: this project; each attacker names its attack's.
    """

    config: AttackConfig

    def attack(
        self,
        model: nn.Module,
        batch: Batch,
        radius: Tensor | float,
        generator: torch.Generator | None,
        *,
        steps: Tensor | None = None,
        x_init: Tensor | None = None,
        targets: Tensor | None = None,
    ) -> Tensor:
        """Adversarial inputs `[B, ...]` of the batch.

        Args:
            model: The model under attack.
            batch: Clean inputs in [0, 1] and labels `[B]`, int64.
            radius: A number or `[B]`, on the [0, 1] scale.
            generator: Source of the random start and of random targets.
            steps: Steps `[B]` for each sample instead of the configured number for all; PGD only.
            x_init: Start `[B, ...]`, instead of a random draw.
            targets: The draw `[B]` of `random_targets`, instead of a new one.

        Raises:
            UserError: a radius, here or in the settings, beyond every distance between two inputs.
        """
        largest = geometry(self.config.norm).diameter(batch.x.shape[1:].numel(), 1.0)
        self._check_radius(self.config.radius if isinstance(radius, Tensor) else radius, largest, batch.x)
        radius = torch.as_tensor(radius, dtype=batch.x.dtype, device=batch.x.device).expand(len(batch.x))
        targets = self.random_targets(batch.y, generator) if targets is None else targets
        # A radius of memory, or a multiple, may exceed the largest distance, where there are no inputs.
        settings = {"norm": self.config.norm, "x_init": x_init, "generator": generator}
        return self._run(model, batch, radius=radius.clamp_max(largest), steps=steps, targets=targets, **settings)

    def random_start(self, x: Tensor, radius: Tensor, generator: torch.Generator | None) -> Tensor:
        """The random start `[B, ...]` that an attack on `x` at `radius` `[B]` would draw, before any clamping."""
        noise = per_sample(self.start_radius * radius, x)
        return x + geometry(self.config.norm).random(x, noise, generator)

    def random_targets(self, y: Tensor, generator: torch.Generator | None) -> Tensor | None:
        """A draw `[B]` that decides the targets of an attack; None, and nothing drawn, for an untargeted one."""
        return None

    @property
    def start_radius(self) -> float:
        """Radius of the ball that an attack starts in, in multiples of the attack's radius."""
        return 1.0

    @abstractmethod
    def _run(
        self,
        model: nn.Module,
        batch: Batch,
        *,
        steps: Tensor | None,
        targets: Tensor | None,
        **settings: Any,  # noqa: ANN401
    ) -> Tensor:
        """The attack at checked radii `[B]`; `settings` are those that all attacks have."""

    def _check_radius(self, radius: float, largest: float, x: Tensor) -> None:
        """Refuse a radius that bounds nothing: in L2 that depends on the number of pixels."""
        if radius > largest:
            raise UserError(
                f"method.radius = {float(radius):g} exceeds every {self.config.norm} distance between two inputs of"
                f" {x.shape[1:].numel()}"
                f" numbers ({largest:g}); for pixel levels write {float(radius):g}px"
            )


@dataclass(frozen=True)
class PGDAttacker(Attacker):
    """PGD on `loss` away from the label.

    Attributes:
        loss: The loss to maximise, as in `pgd`.
        patience: Steps an adversarial sample still takes before it leaves the batch; None: all take all their steps.

    Source: Madry et al. 2018 (arXiv 1706.06083).
    """

    loss: str | AttackLoss = "ce"
    patience: int | None = None

    def _loss(self, targets: Tensor | None) -> str | AttackLoss:
        return self.loss

    def _run(
        self,
        model: nn.Module,
        batch: Batch,
        *,
        steps: Tensor | None,
        targets: Tensor | None,
        **settings: Any,  # noqa: ANN401
    ) -> Tensor:
        config = self.config
        taken = config.steps if steps is None else steps.clamp_min(1)
        settings["step_size"] = (2 * settings["radius"] / taken).clamp_min(config.min_step)
        settings["loss"] = self._loss(targets)
        if self.patience is not None:
            return pgd_early_stop(model, batch.x, batch.y, steps=config.steps, patience=self.patience, **settings)
        counts = config.steps if steps is None else steps
        return pgd(model, batch.x, batch.y, steps=counts, mode=config.mode, **settings)


@dataclass(frozen=True)
class RandomTargetAttacker(PGDAttacker):
    """PGD towards one other class for each sample, drawn anew at each attack.

    Source: Kannan et al. 2018 (arXiv 1803.06373); Xie et al. 2019 (arXiv 1812.03411).
    """

    def random_targets(self, y: Tensor, generator: torch.Generator | None) -> Tensor:
        """A draw `[B]` in [0, 1) that decides the targets of an attack."""
        return draw_targets(y, generator)

    def _loss(self, targets: Tensor | None) -> AttackLoss:
        assert targets is not None
        return PerSampleLoss(random_target_loss, targets)


@dataclass(frozen=True)
class NFGSMAttacker(Attacker):
    """N-FGSM: one step from noise, whatever the number of steps; the result lies up to (noise + 1) * radius away.

    Source: de Jorge et al. 2022 (arXiv 2202.01181), algorithm 1.
    """

    config: InnerConfig

    @property
    def start_radius(self) -> float:
        """Radius of the noise, in multiples of the attack's radius."""
        return self.config.noise

    def _run(
        self,
        model: nn.Module,
        batch: Batch,
        *,
        steps: Tensor | None,
        targets: Tensor | None,
        **settings: Any,  # noqa: ANN401
    ) -> Tensor:
        config = self.config
        return nfgsm(model, batch.x, batch.y, noise=config.noise, mode=config.mode, **settings)


def attacker_of(config: InnerConfig) -> Attacker:
    """The attacker that the settings describe."""
    if config.single_step:
        return NFGSMAttacker(config)
    return PGDAttacker(config) if config.target == "none" else RandomTargetAttacker(config)
