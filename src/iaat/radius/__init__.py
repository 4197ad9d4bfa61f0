"""One radius per training sample, and the rules that change it."""

from iaat.radius.radii_table_file import RadiiTable
from iaat.radius.radius_memory import RadiusMemory
from iaat.radius.rules import paper, staircase, warm_up

__all__ = ["RadiusMemory", "paper", "staircase", "warm_up", "RadiiTable"]
