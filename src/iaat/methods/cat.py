"""Customized adversarial training: radii that grow by trial, and label smoothing in proportion to them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iaat.attacks import full_precision
from iaat.errors import UserError
from iaat.methods.attack_config import AttackConfig
from iaat.methods.base import BaseMethod, Objective, StepContext
from iaat.methods.radius_schedule import cat_eta, check_moves
from iaat.methods.training_attacks import PGDAttacker
from iaat.radius import RadiusMemory
from iaat.runtime.passes import Passes
from iaat.runtime.rng import draw, keyed_uniform
from iaat.types import Batch, StepOutput
from iaat.units import Radius


@dataclass(frozen=True, kw_only=True)
class CATConfig(AttackConfig):
    """Settings of customized adversarial training."""

    learns_radii: ClassVar[bool] = True
    how_to_reach: ClassVar[str] = "raise method.eta, or give null for it"
    from_epochs: ClassVar[tuple[str, ...]] = ("eta",)

    radius: Radius = Radius("8px")
    """Largest radius a sample ever has, eps_max."""
    eta: Radius | None = None
    """How far above its radius a sample is attacked; its radius grows by so much if the model is still correct. null:
    the authors' 0.005 at 8px, in proportion to `radius`, and larger in short runs: at least 19/8 radii over all
    epochs."""
    c: float = 10.0
    """Label smoothing per unit of radius, on the [0, 1] scale; c * radius may not exceed 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_radii("eta")
        if self.eta is not None and not self.eta > 0:
            raise UserError("method.eta = 0: radii would never move")
        if not 0 <= self.c < math.inf:
            raise UserError(f"method.c = {self.c:g}: a factor, finite and not negative")
        if self.c * self.radius > 1:
            raise UserError(
                f"method.c = {self.c:g} times method.radius = {self.radius} smooths labels by more than all of their "
                f"probability: use a c of at most {math.floor(100 / self.radius) / 100:g}"
            )
        if self.label_smoothing:
            raise UserError(
                f"method.label_smoothing = {self.label_smoothing:g}: CAT has a label smoothing of its own; leave it at "
                "0 and set method.c"
            )

    def over(self, epochs: int) -> Self:
        """These settings with eta filled in.

        Raises:
            UserError: a radius of 0, of which every multiple is 0.
        """
        check_moves(self.radius)
        return replace(self, eta=self._trial(epochs))

    def largest_radius(self, epochs: int) -> float:
        """Largest radius of a training attack in a run of so many epochs, on the [0, 1] scale."""
        return min(super().largest_radius(epochs), self._trial(epochs) * epochs)

    def _trial(self, epochs: int) -> Radius:
        """How far above its radius a sample is attacked: `eta`, or what follows from the epochs."""
        return Radius(self._within_range(cat_eta(self.radius, epochs))) if self.eta is None else self.eta


class CAT(BaseMethod):
    """Minimise the cross-entropy of adversarial examples at radii on trial, with labels smoothed by their radii.

    A sample with radius eps_i is trained at eps_i + eta, at most eps_max. If the training forward is correct, that is
    its new radius; if not, it keeps eps_i. A fraction c * eps_i of the label's probability is spread by a draw from the
    flat Dirichlet distribution, where eps_i is the radius before the trial. (The authors' code makes the label after
    the trial.) Radii begin at 0 and never fall. A ramp scales the radius on trial.

    Source: Cheng et al. 2020 (arXiv 2002.06789), algorithm 1.

    Example:
        >>> from iaat.methods import CAT, CATConfig
        >>> method = CAT(CATConfig(c=5.0).over(epochs=30), size=1000, device="cpu")
        >>> method.cost(epoch=0)
        Passes(forward=11, backward=11)
    """

    Config: ClassVar[type[Any]] = CATConfig
    config: CATConfig

    def __init__(self, config: CATConfig, *, size: int, device: torch.device | str) -> None:
        super().__init__(config, size=size, device=device)
        assert config.eta is not None
        self._eta = config.eta
        self.radii: RadiusMemory | None = RadiusMemory(size, cap=config.radius, norm=config.norm, device=device)
        self._memory = self.radii

    def prepare(self, model: nn.Module, batch: Batch, context: StepContext) -> Objective:
        """Attack the batch at the radii on trial; the loss is the cross-entropy with smoothed labels."""
        ramp = self.config.ramp_factor(context.epoch)
        own = self._memory[batch.index]
        radius = (own + self._eta).clamp_max(self.config.radius) * ramp
        x_adv = PGDAttacker(self.config).attack(model, batch, radius, context.generator)
        smoothing = self.config.c * own * ramp
        keys = _keys(batch.y, context.generator)

        def objective(model: nn.Module) -> StepOutput:
            logits = full_precision(model(x_adv))
            targets = dirichlet_labels(logits.detach(), batch.y, smoothing, keys)
            if self.config.weights is None:  # the mean of PyTorch's own, which differs in the last bits
                loss = F.cross_entropy(logits, targets)
            else:
                loss = self.config.mean(F.cross_entropy(logits, targets, reduction="none"), batch.y)
            return StepOutput(loss, logits.detach(), radius)

        return objective

    def update(self, batch: Batch, output: StepOutput) -> None:
        """Keep the radii on trial where the training forward was correct."""
        assert output.radius is not None
        correct, own = output.logits.argmax(dim=1) == batch.y, self._memory[batch.index]
        # In a ramp the radius on trial may be below the one a sample has.
        self._memory[batch.index] = torch.where(correct, torch.maximum(own, output.radius), own)

    def cost(self, epoch: int) -> Passes:
        """K + 1 forwards and backwards."""
        return Passes(self.config.gradients + 1, self.config.gradients + 1)


def dirichlet_labels(logits: Tensor, y: Tensor, smoothing: Tensor, keys: Tensor) -> Tensor:
    """Label distributions `[B, classes]`: `(1 - smoothing) * onehot(y) + smoothing * Dirichlet(1, ..., 1)`.

    Args:
        logits: `[B, classes]`; give the number of classes and the floating-point type.
        y: Labels `[B]`.
        smoothing: Fraction `[B]` of the probability that is spread, in [0, 1].
        keys: Random numbers `[B]`, int64, that decide the draw: equal keys, equal labels.

    Source: Cheng et al. 2020 (arXiv 2002.06789), adaptive label uncertainty.
    """
    classes = logits.shape[1]
    # Exponential draws divided by their sum are a draw from the flat Dirichlet distribution.
    uniform = keyed_uniform(0, 0, keys, classes).to(logits.dtype)
    exponential = -torch.log1p(-uniform).clamp_max(-torch.finfo(logits.dtype).tiny)
    spread = exponential / exponential.sum(dim=1, keepdim=True)
    fraction = smoothing.to(logits.dtype)[:, None]
    return (1 - fraction) * F.one_hot(y, classes) + fraction * spread


def _keys(y: Tensor, generator: torch.Generator | None) -> Tensor:
    """A random number for each sample, `[B]` int64, on the device of `y`."""
    sampler = partial(torch.randint, 2**63 - 1)
    return draw(sampler, y.shape, generator=generator, device=y.device, dtype=torch.int64)
