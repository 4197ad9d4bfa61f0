"""The `evaluate` section of a recipe."""

from __future__ import annotations

from dataclasses import dataclass

from iaat.attacks import GEOMETRIES
from iaat.errors import UserError, check_choice
from iaat.units import Norm, Radius, check_radius


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """The attack a trained model is judged by; the same for every method."""

    radius: Radius = Radius("8px")
    """Radius of the test attack: 8px, 8/255 or a number on the [0, 1] scale."""
    norm: Norm = "linf"
    """Norm of the test attack."""
    steps: int = 20
    """PGD steps."""
    step_size: Radius | None = None
    """PGD step size; 2.5 * radius / steps by default."""
    restarts: int = 1
    """Random starts of each attack; the worst counts, per sample."""
    batch_size: int = 500
    """Samples evaluated at once."""
    n: int | None = None
    """Test samples used: the first n of a fixed random order; all by default."""

    def __post_init__(self) -> None:
        check_choice(self.norm, GEOMETRIES, "evaluate.norm")
        for key in ("radius", "step_size"):
            if (value := getattr(self, key)) is not None:
                check_radius(value, self.norm, name=f"evaluate.{key}")
        for key in ("steps", "restarts", "batch_size", "n"):
            if (value := getattr(self, key)) is not None and value < 1:
                raise UserError(f"evaluate.{key} = {value}: must be at least 1")
