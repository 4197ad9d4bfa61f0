"""Settings that every training method has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch.nn.functional as F
from torch import Tensor

from iaat.errors import UserError


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """Settings that every method has."""

    from_epochs: ClassVar[tuple[str, ...]] = ()
    """Settings that may be None and that `over` fills in."""

    label_smoothing: float = 0.0
    """Fraction of the label's probability that cross-entropy spreads evenly over all classes, in [0, 1)."""

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise UserError(f"method.label_smoothing = {self.label_smoothing:g}: a fraction in [0, 1)")

    def over(self, epochs: int) -> Self:
        """These settings with what follows from the number of epochs filled in; a method is built from the result.

        Args:
            epochs: Epochs of the whole run, at least 1.

        Raises:
            UserError: settings that do not fit so many epochs.
        """
        return self

    def check_complete(self) -> None:
        """Refuse settings that do not know the number of epochs.

        Raises:
            UserError: naming the settings, and the call that fills them in.
        """
        if missing := [name for name in self.from_epochs if getattr(self, name) is None]:
            raise UserError(
                f"{type(self).__name__}: {', '.join(missing)} follow from the number of epochs; build the method from "
                "config.over(epochs)"
            )

    def without_effect(self) -> dict[str, str]:
        """Settings that change nothing beside the others, each with what they belong to."""
        return {}

    def seldom_acts(self) -> dict[str, str]:
        """Settings that act in special moments of a run only, each with the moment."""
        return {}

    def largest_radius(self, epochs: int) -> float | None:
        """Largest radius of a training attack in a run of so many epochs, on the [0, 1] scale; None without attack."""
        return None

    def cross_entropy(self, logits: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy `[B]` of each sample, with the label smoothing of the settings (Szegedy et al. 2016, §7)."""
        return F.cross_entropy(logits, y, reduction="none", label_smoothing=self.label_smoothing)
