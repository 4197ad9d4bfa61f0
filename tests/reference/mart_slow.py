"""MART's loss, obviously correct and slow: one sample and one class at a time, in float64.

Written from the formulas alone (Wang et al. 2020, ICLR, section 3); of `iaat` it shares nothing.
"""

import math

from reference.trades_slow import Numbers, cross_entropy, kl, log_probabilities, log_sum


def boosted_cross_entropy(logits: Numbers, label: int, smoothing: float = 0.0) -> float:
    """-log p_y - log(1 - p_k) with the likeliest other class k; 1 - p_k is the sum over all classes but k."""
    log_p = log_probabilities(logits)
    rival = None
    for k, value in enumerate(log_p):
        if k != label and (rival is None or value > log_p[rival]):
            rival = k
    rest = log_sum([value for k, value in enumerate(log_p) if k != rival])
    return cross_entropy(logits, label, smoothing) - rest


def doubt(logits: Numbers, label: int) -> float:
    """1 - p_y, as far as float64 has it."""
    total = 0.0
    for k, log_p in enumerate(log_probabilities(logits)):
        if k != label:
            total += math.exp(log_p)
    return total


def loss(
    clean: list[Numbers], adversarial: list[Numbers], labels: list[int], beta: float, smoothing: float = 0.0
) -> float:
    total = 0.0
    for z, z_adv, label in zip(clean, adversarial, labels, strict=True):
        total += boosted_cross_entropy(z_adv, label, smoothing) + beta * kl(z, z_adv) * doubt(z, label)
    return total / len(labels)
