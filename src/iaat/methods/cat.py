"""Customized adversarial training: radii that grow by trial, and labels the less certain the larger they are."""

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
from iaat.methods.attack import AttackConfig
from iaat.methods.base import BaseMethod, Objective, StepContext
from iaat.methods.pace import cat_eta, check_moves
from iaat.radius import RadiusMemory, staircase
from iaat.runtime.passes import Passes
from iaat.runtime.rng import draw, keyed_uniform
from iaat.types import Batch, StepOutput
from iaat.units import Radius


@dataclass(frozen=True, kw_only=True)
class CATConfig(AttackConfig):
    """Settings of customized adversarial training."""

    learns_radii: ClassVar[bool] = True
    how_to_reach: ClassVar[str] = "raise method.eta, or give null for it"

    radius: Radius = Radius("8px")
    """Largest radius a sample ever has, eps_max."""
    eta: Radius | None = None
    """How far above its radius a sample is attacked; its radius grows by so much if the network is still right. null:
    the authors' 0.005 at 8px, in proportion to `radius`, and larger in short runs: at least 19/8 radii over all
    epochs."""
    c: float = 10.0
    """Label smoothing per unit of radius, on the [0, 1] scale; c * radius may not exceed 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_lengths("eta")
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
        return replace(self, eta=cat_eta(self.radius, epochs) if self.eta is None else self.eta)

    def largest_radius(self, epochs: int) -> float:
        """Largest radius of a training attack in a run of so many epochs, on the [0, 1] scale."""
        eta = cat_eta(self.radius, epochs) if self.eta is None else self.eta
        return min(super().largest_radius(epochs), eta * epochs)


class CAT(BaseMethod):
    """Minimise the cross-entropy of adversarial examples whose radius is on trial and whose label is smoothed.

    A sample with radius eps_i is trained at eps_i + eta, at most eps_max. If the training forward is right, that is its
    new radius; if not, it keeps eps_i. Of its label's probability c * eps_i is spread by a draw from the flat Dirichlet
    distribution, where eps_i is the radius before the trial: it is what the network is known to bear when the label is
    made. (The authors' code makes the label after the trial.) Radii begin at 0 and never fall.

    Source: Cheng et al. 2020 (arXiv 2002.06789), algorithm 1.
    """

    Config: ClassVar[type[Any]] = CATConfig
    config: CATConfig

    def __init__(self, config: CATConfig, *, size: int, device: torch.device | str) -> None:
        super().__init__(config, size=size, device=device)
        if config.eta is None:
            raise UserError("CATConfig: eta follows from the number of epochs; build from config.over(epochs)")
        self._eta = config.eta
        self.radii: RadiusMemory | None = RadiusMemory(size, cap=config.radius, norm=config.norm, device=device)
        self._memory = self.radii

    def prepare(self, model: nn.Module, batch: Batch, context: StepContext) -> Objective:
        """Attack the batch at the radii on trial; the loss is the cross-entropy with smoothed labels."""
        share = self.config.share_in(context.epoch)
        own = self._memory[batch.index]
        radius = (own + self._eta).clamp_max(self.config.radius) * share
        x_adv = self.config.attack(model, batch, radius, context)
        smoothing = self.config.c * own * share
        keys = _keys(batch.y, context.generator)

        def objective(network: nn.Module) -> StepOutput:
            logits = full_precision(network(x_adv))
            targets = soft_labels(logits.detach(), batch.y, smoothing, keys)
            return StepOutput(F.cross_entropy(logits, targets), logits.detach(), radius)

        return objective

    def learn(self, batch: Batch, output: StepOutput) -> None:
        """Keep the radii on trial where the network was right at them."""
        right = output.logits.argmax(dim=1) == batch.y
        moved = staircase(self._memory[batch.index], right, up=self._eta, down=0.0)
        self._memory[batch.index] = moved.clamp_max(self._memory.largest)

    def cost(self, epoch: int) -> Passes:
        """K + 1 forwards and backwards."""
        return Passes(self.config.gradients + 1, self.config.gradients + 1)


def soft_labels(logits: Tensor, y: Tensor, smoothing: Tensor, keys: Tensor) -> Tensor:
    """Label distributions `[B, classes]`: `(1 - smoothing) * onehot(y) + smoothing * Dirichlet(1, ..., 1)`.

    Args:
        logits: `[B, classes]`; give the number of classes and the floating-point type.
        y: Labels `[B]`.
        smoothing: Share `[B]` of the probability that is spread, in [0, 1].
        keys: Random numbers `[B]`, int64, that decide the draw: equal keys, equal labels.

    Source: Cheng et al. 2020 (arXiv 2002.06789), adaptive label uncertainty.
    """
    classes = logits.shape[1]
    # Exponential draws divided by their sum are a draw from the flat Dirichlet distribution.
    uniform = keyed_uniform(0, 0, keys, classes).to(logits.dtype)
    exponential = -torch.log1p(-uniform).clamp_max(-torch.finfo(logits.dtype).tiny)
    spread = exponential / exponential.sum(dim=1, keepdim=True)
    share = smoothing.to(logits.dtype)[:, None]
    return (1 - share) * F.one_hot(y, classes) + share * spread


def _keys(y: Tensor, generator: torch.Generator) -> Tensor:
    """A random number for each sample, `[B]` int64, on the device of `y`."""
    sampler = partial(torch.randint, 2**63 - 1)
    return draw(sampler, y.shape, generator=generator, device=y.device, dtype=torch.int64)
