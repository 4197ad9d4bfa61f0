"""Soft labels, obviously correct and slow: one sample, one class, one number at a time, in float64.

Written from the formula alone (Wu, Wang, Chen 2024, arXiv 2305.12118, eq. 3 to 5); it shares nothing with `iaat`.
"""

import math

Numbers = list[float]


def softmax(logits: Numbers, temperature: float) -> Numbers:
    largest = max(logits)
    powers = [math.exp((logit - largest) / temperature) for logit in logits]
    return [power / math.fsum(powers) for power in powers]


def fraction(p: Numbers, label: int, most: float) -> float:
    """What the teacher's prediction is worth: less, the further its preferred class is ahead of the label."""
    return min(max(most - (max(p) - p[label]), 0.0), 1.0)


def by_radius(radius: float, reference: float) -> float:
    """1 at radius 0, 0 from the reference on, a straight line between."""
    return 1 - radius / reference if radius < reference else 0.0


def target(p: Numbers, label: int, given: float) -> Numbers:
    return [given * each + (1 - given if k == label else 0.0) for k, each in enumerate(p)]


def cross_entropy(logits: Numbers, soft: Numbers, smoothing: float = 0.0) -> float:
    """Of a distribution of labels, of which `smoothing` is spread evenly over all classes."""
    largest = max(logits)
    total = largest + math.log(math.fsum(math.exp(logit - largest) for logit in logits))
    mixed = [(1 - smoothing) * each + smoothing / len(logits) for each in soft]
    return -math.fsum(each * (logit - total) for each, logit in zip(mixed, logits, strict=True))
