"""MART: boosted cross-entropy, and a divergence that weighs most where the clean prediction is in doubt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from iaat.attacks import full_precision, kl_divergence
from iaat.methods.kl_regularized import KLRegularizedConfig, KLRegularizedTraining
from iaat.runtime.passes import Passes


@dataclass(frozen=True, kw_only=True)
class MARTConfig(KLRegularizedConfig):
    """Settings of MART."""

    beta: float = 5.0
    """Weight of the KL divergence from the clean to the adversarial prediction, scaled for each
    sample by the probability of all classes but the label on its clean input (lambda in the paper)."""


class MART(KLRegularizedTraining):
    """Minimise BCE(f(x_adv), y) + beta * KL(f(x) || f(x_adv)) * (1 - f(x)[y]), where x_adv maximises cross-entropy.

    BCE, the boosted cross-entropy, is -log f(x_adv)[y] - log(1 - f(x_adv)[k]) with the likeliest other class k;
    label smoothing acts on its first half. Gradients flow through both predictions, and through the factor 1 - f(x)[y].

    The authors' code takes log(1.0001 - p + 1e-12) and 1.0000001 - p; in float32 that bounds the second half of BCE by
    9.2 and lets its gradient fade where p comes close to 1, and in half precision it can be infinite. Here both are
    exact, made of log-probabilities, and the second half grows with the logits as cross-entropy does.

    Source: Wang et al. 2020 (ICLR, "Improving Adversarial Robustness Requires Revisiting Misclassified Examples"),
    section 3.

    Example:
        >>> from iaat.methods import MART, MARTConfig
        >>> method = MART(MARTConfig(beta=5.0), size=1000, device="cpu")
        >>> method.cost(epoch=0)
        Passes(forward=12, backward=12)
    """

    Config: ClassVar[type[Any]] = MARTConfig
    attack_loss = "ce"
    metric_names = ("boosted_loss", "weighted_kl")

    def terms(self, clean: Tensor, adversarial: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Boosted cross-entropy and the KL divergence times `doubt` of the clean input, `[B]` each."""
        boosted = self.config.cross_entropy(adversarial, y) + boost(adversarial, y)
        return boosted, kl_divergence(clean, adversarial) * doubt(clean, y)

    def cost(self, epoch: int) -> Passes:
        """K + 2 forwards and backwards: the attack, and the two predictions of the loss."""
        return Passes(self.config.gradients + 2, self.config.gradients + 2)


def boost(logits: Tensor, y: Tensor) -> Tensor:
    """-log(1 - p_k) `[B]`, where k is the likeliest class other than `y` `[B]`: the second half of MART's BCE.

    1 - p_k is summed over the other classes, so that no digits are lost where p_k is close to 1.
    """
    log_p = F.log_softmax(full_precision(logits), dim=1)
    rival = log_p.scatter(1, y[:, None], -torch.inf).argmax(dim=1, keepdim=True)
    return -log_p.scatter(1, rival, -torch.inf).logsumexp(dim=1)


def doubt(logits: Tensor, y: Tensor) -> Tensor:
    """1 - p_y `[B]`, exact also where p_y is close to 1."""
    log_p = F.log_softmax(full_precision(logits), dim=1)
    return -log_p.gather(1, y[:, None]).squeeze(1).expm1()
