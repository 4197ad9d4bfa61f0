"""Mean accuracy over corruptions."""

from collections.abc import Mapping, Sequence
from statistics import mean

from iaat.corruptions import STANDARD


def corruption_mean(accuracy: Mapping[str, Sequence[float]]) -> tuple[float, str]:
    """Mean accuracy over corruptions and severities, and a text that says over which corruptions.

    It is over the standard 15, as published ones are, where all of them are there; the 4 others were published for
    validation. Else it is over all there are.

    Args:
        accuracy: Of each corruption, by severity.
    """
    if all(name in accuracy for name in STANDARD):
        return mean(mean(accuracy[name]) for name in STANDARD), f"the standard {len(STANDARD)}"
    return mean(mean(row) for row in accuracy.values()), str(len(accuracy))
