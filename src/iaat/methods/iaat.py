"""IAAT: instance-adaptive adversarial training; radii follow the outcome of the training attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from iaat.methods.adversarial_loss import AdversarialLoss, AdversarialLossConfig
from iaat.methods.staircase_radii import StaircaseConfig, StaircaseRadii


@dataclass(frozen=True, kw_only=True)
class IAATConfig(AdversarialLossConfig, StaircaseConfig):
    """Settings of IAAT. By default radii start at `radius`, and attacks of that radius and above take all `steps`."""


class IAAT(StaircaseRadii, AdversarialLoss):
    """Minimise the cross-entropy of adversarial examples, each at its sample's learned radius.

    A radius grows as long as the model is correct under the attack it is trained with, and shrinks otherwise.

    Source: this project (see docs/experiments.md), after Balaji, Goldstein, Hoffman 2019 (arXiv 1910.08051).

    Example:
        >>> from iaat.methods import IAAT, IAATConfig
        >>> method = IAAT(IAATConfig(steps=5).over(epochs=30), size=1000, device="cpu")
        >>> method.cost(epoch=0)
        Passes(forward=6, backward=6)
    """

    Config: ClassVar[type[Any]] = IAATConfig
    config: IAATConfig
