from iaat.radius.memory import RadiusMemory
from iaat.radius.rules import balance, paper, staircase, warm_up

__all__ = ["RadiusMemory", "paper", "balance", "staircase", "warm_up"]
