from iaat.radius.memory import RadiusMemory
from iaat.radius.rules import paper, staircase, warm_up
from iaat.radius.table import RadiiTable

__all__ = ["RadiusMemory", "paper", "staircase", "warm_up", "RadiiTable"]
