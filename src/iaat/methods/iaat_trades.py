"""IAAT-TRADES: TRADES at a learned radius per sample, with a divergence weight in proportion to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from iaat.errors import UserError
from iaat.methods.staircase_radii import StaircaseConfig, StaircaseRadii
from iaat.methods.trades import TRADES, TRADESConfig


@dataclass(frozen=True, kw_only=True)
class IAATTRADESConfig(TRADESConfig, StaircaseConfig):  # in this order: what both have is as in TRADES
    """Settings of IAAT-TRADES; at `radius` a sample has the weight `beta`, and its attack takes all steps."""

    beta: float = 6.0
    """Weight of the KL divergence from the clean to the adversarial prediction of a sample at `radius`; others have it
    in proportion to their own radius, at 0 none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.radius > 0:
            raise UserError(f"method.radius = {self.radius}: iaat_trades measures weights by it; write one above 0")


class IAATTRADES(StaircaseRadii, TRADES):
    """Minimise CE(f(x), y) + beta * r / radius * KL(f(x) || f(x_adv)), each sample attacked at its own radius r.

    Radii move by a staircase on the adversarial prediction of the training forward: up where it is correct, down
    where it is not. A sample at the reference radius is trained as by TRADES, one at 0 on its clean cross-entropy
    alone. The ramp scales the radii of the attacks and leaves weights alone, as it does in TRADES.

    Source: this project; the loss of Zhang et al. 2019 (arXiv 1901.08573), eq. 5, with the radii of Balaji, Goldstein,
    Hoffman 2019 (arXiv 1910.08051).

    Example:
        >>> from iaat.methods import IAATTRADES, IAATTRADESConfig
        >>> method = IAATTRADES(IAATTRADESConfig(steps=5).over(epochs=30), size=1000, device="cpu")
        >>> method.cost(epoch=0)
        Passes(forward=8, backward=7)
    """

    Config: ClassVar[type[Any]] = IAATTRADESConfig
    config: IAATTRADESConfig

    def weight_of(self, radius: Tensor) -> Tensor:
        """beta * radius / reference, `[B]`."""
        return self.config.beta / self.config.radius * radius
