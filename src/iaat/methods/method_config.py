"""Settings that every training method has."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from iaat.errors import UserError, check_choice, shown


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """Settings that every method has."""

    from_epochs: ClassVar[tuple[str, ...]] = ()
    """Settings that may be None and that `over` fills in."""

    label_smoothing: float = 0.0
    """Fraction of the label's probability that cross-entropy spreads evenly over all classes, in [0, 1)."""
    class_weights: Literal["none", "balanced"] | list[float] = "none"
    """Weight of a class in the loss: none: all alike; balanced: in inverse proportion to its training samples, extra
    ones by how often they are drawn; or a number for each class, such as [1, 1, 5]. They are scaled so that their mean
    over the samples of an epoch is 1."""
    weights: Tensor | None = field(default=None, compare=False, repr=False, metadata={"setting": False})
    """`[classes]` that `for_classes` has worked out."""

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if one.type in (int, "int") and (not isinstance(value, Integral) or isinstance(value, bool)):
                raise UserError(f"method.{one.name} = {shown(value)}: give a whole number")
            if one.type in (float, "float") and (not isinstance(value, Real) or isinstance(value, bool)):
                raise UserError(f"method.{one.name} = {shown(value)}: give a number")
        weights = self.class_weights
        if isinstance(weights, str):
            check_choice(weights, ("none", "balanced"), "method.class_weights")
        elif not all(0 <= each < math.inf for each in weights) or not any(weights):
            raise UserError(f"method.class_weights = {shown(weights)}: give finite numbers, not negative, not all 0")
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

    def after(self, epochs: int) -> Self:
        """These settings for a run that goes on to more epochs after these, which it has finished."""
        return self

    def without_start(self) -> Self:
        """These settings without the files that a run begins from: for a method that gets all its state."""
        return self

    def without_files(self) -> Self:
        """These settings without radii of other runs, which are of all samples: for steps on a few that are timed."""
        return self.without_start()

    def radii_files(self) -> dict[str, str]:
        """Files of radii, or run folders with them, that a run begins from, by the key that names each."""
        return {}

    def for_classes(self, counts: Tensor) -> Self:
        """These settings with the weights of the classes worked out.

        Args:
            counts: Samples of each class that an epoch trains on, `[classes]`, on the training device.

        Raises:
            UserError: another number of weights than classes.
        """
        if self.class_weights == "none":
            return self
        if self.class_weights == "balanced":
            given = 1 / torch.where(counts > 0, counts, 1)
        elif len(self.class_weights) == len(counts):
            given = torch.tensor(self.class_weights, device=counts.device)
        else:
            raise UserError(
                f"method.class_weights has {len(self.class_weights)} numbers for {len(counts)} classes: one a class"
            )
        return replace(self, weights=(given * (counts.sum() / (given * counts).sum())).float())

    def mean(self, losses: Tensor, y: Tensor) -> Tensor:
        """The mean of losses `[B]` of samples with the labels `y` `[B]`, by the weights of their classes."""
        return losses.mean() if self.weights is None else (losses * self.weights[y]).mean()

    def check_complete(self) -> None:
        """Refuse settings that do not know the number of epochs, or have no weights of the classes yet.

        Raises:
            UserError: naming the settings, and the call that fills them in.
        """
        if missing := [name for name in self.from_epochs if getattr(self, name) is None]:
            raise UserError(
                f"{type(self).__name__}: {', '.join(missing)} follow from the number of epochs; build the method from "
                "config.over(epochs)"
            )
        if self.class_weights != "none" and self.weights is None:
            raise UserError(
                f"{type(self).__name__}: class_weights {shown(self.class_weights)} need the number of samples of each "
                "class; build the method from config.for_classes(torch.bincount(labels))"
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

    @property
    def needs_ema(self) -> str | None:
        """The setting that needs the EMA of the weights as a teacher, with its value; None where none does."""
        return None

    def cross_entropy(self, logits: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy `[B]` of each sample, with the label smoothing of the settings (Szegedy et al. 2016, §7).

        Args:
            logits: `[B, classes]`.
            y: Labels `[B]`, or distributions `[B, classes]` of the logits' type, which are smoothed alike.
        """
        return F.cross_entropy(logits, y, reduction="none", label_smoothing=self.label_smoothing)
