"""TRADES: clean cross-entropy plus a KL divergence from the clean to the adversarial prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from iaat.attacks import kl_divergence
from iaat.methods.kl_regularized import KLRegularizedConfig, KLRegularizedTraining
from iaat.runtime.passes import Passes


@dataclass(frozen=True, kw_only=True)
class TRADESConfig(KLRegularizedConfig):
    """Settings of TRADES."""

    beta: float = 6.0
    """Weight of the KL divergence from the clean to the adversarial prediction; larger is more robust and less accurate
    (1 / lambda in the paper)."""


class TRADES(KLRegularizedTraining):
    """Minimise CE(f(x), y) + beta * KL(f(x) || f(x_adv)), where x_adv maximises that divergence.

    The label enters by the clean input only; gradients flow through both predictions. The clean prediction that the
    attack moves away from is computed once an attack, in the attack's mode.

    Source: Zhang et al. 2019 (arXiv 1901.08573), eq. 5 and algorithm 1.

    Example:
        >>> from iaat.methods import TRADES, TRADESConfig
        >>> method = TRADES(TRADESConfig(beta=3.0), size=1000, device="cpu")
        >>> method.cost(epoch=0)
        Passes(forward=13, backward=12)
    """

    Config: ClassVar[type[Any]] = TRADESConfig
    attack_loss = "kl"
    metric_names = ("clean_loss", "kl")

    def terms(self, clean: Tensor, adversarial: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the clean inputs and the KL divergence, `[B]` each."""
        return self.config.cross_entropy(clean, y), kl_divergence(clean, adversarial)

    def cost(self, epoch: int) -> Passes:
        """K + 3 forwards and K + 2 backwards: the attack with its clean logits, and the two predictions of the loss."""
        return Passes(self.config.gradients + 3, self.config.gradients + 2)
