"""Settings of the attack inside adversarial training."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from iaat.attacks import GEOMETRIES, MODES, Mode
from iaat.errors import UserError, check_choice
from iaat.methods.method_config import MethodConfig
from iaat.units import Norm, Radius, check_radius


@dataclass(frozen=True, kw_only=True)
class AttackConfig(MethodConfig):
    """Settings of the attack inside adversarial training."""

    radius_is_attack: ClassVar[bool] = True
    """Whether `radius` is that of the attacks, or what they grow from, and not merely a bound."""

    learns_radii: ClassVar[bool] = False
    """Whether radii grow in the course of a run."""
    how_to_reach: ClassVar[str] = "give a shorter method.ramp, or more epochs"
    """What makes the largest radius larger."""

    radius: Radius = Radius("8px")
    """Radius of the attack: 8px, 8/255 or a number on the [0, 1] scale."""
    steps: int = 10
    """Gradient steps K of each attack."""
    min_step: Radius = Radius("2px")
    """Smallest step size; an attack steps by max(2 * radius / steps, min_step), per sample."""
    norm: Norm = "linf"
    """Norm the radius is measured in."""
    mode: Mode = "eval"
    """The model's mode in attacks: eval, train (updates running statistics) or batch (batch statistics, no update)."""
    ramp: int = 0
    """Epochs over which all radii grow from 0 to their full value, by equal steps; 0: none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._read_radii()
        check_choice(self.norm, GEOMETRIES, "method.norm")
        check_choice(self.mode, MODES, "method.mode")
        self.check_radii("radius", "min_step")
        if self.steps < 1:
            raise UserError(f"method.steps = {self.steps}: an attack needs at least 1")
        if self.ramp < 0:
            raise UserError(f"method.ramp = {self.ramp}: a number of epochs, 0 or more")

    def _read_radii(self) -> None:
        """Read radii that were given as text, such as "8px"; those of classes derived from this one, too."""
        for one in fields(self):
            if isinstance(text := getattr(self, one.name), str) and "Radius" in str(one.type):
                object.__setattr__(self, one.name, Radius(text))

    def check_radii(self, *names: str) -> None:
        """Refuse settings that are no radii in the norm of the attack; None is passed over.

        Raises:
            UserError: naming the setting.
        """
        for name in names:
            if (value := getattr(self, name)) is not None:
                check_radius(value, self.norm, name=f"method.{name}")

    @property
    def single_step(self) -> bool:
        """Whether an attack takes one step whatever `steps` is."""
        return False

    @property
    def gradients(self) -> int:
        """Gradients that one attack takes, each a forward and a backward."""
        return 1 if self.single_step else self.steps

    def largest_radius(self, epochs: int) -> float:
        """Largest radius of a training attack in a run of so many epochs, on the [0, 1] scale."""
        return self._within_range(self.radius) * self.ramp_factor(epochs - 1)

    def _within_range(self, radius: float) -> float:
        """The radius, in L-inf at most the pixel range."""
        return min(radius, 1.0) if self.norm == "linf" else radius

    def ramp_factor(self, epoch: int) -> float:
        """Factor on all radii in an epoch, counted from 0: it grows from 0 to 1 over the ramp."""
        return 1.0 if epoch >= self.ramp else epoch / self.ramp
