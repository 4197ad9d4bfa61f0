from iaat.radius.memory import RadiusMemory
from iaat.radius.radii_file import RadiiTable
from iaat.radius.rules import paper, staircase, warm_up

__all__ = ["RadiusMemory", "paper", "staircase", "warm_up", "RadiiTable"]
