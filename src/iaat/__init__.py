"""Instance-adaptive adversarial training for PyTorch image classifiers."""

from importlib.metadata import version

from iaat.attacks import attack_mode, nfgsm, pgd, proportional_steps
from iaat.data import with_index
from iaat.device import keep_freed_memory
from iaat.errors import UserError
from iaat.passes import Passes, count_passes
from iaat.radius import RadiusMemory, paper, staircase, warm_up
from iaat.units import PIXEL, Radius

__version__ = version("iaat")

__all__ = [
    "pgd", "proportional_steps", "nfgsm", "attack_mode",
    "RadiusMemory", "paper", "staircase", "warm_up",
    "with_index",
    "Radius", "PIXEL",
    "Passes", "count_passes",
    "keep_freed_memory",
    "UserError",
    "__version__",
]  # fmt: skip
