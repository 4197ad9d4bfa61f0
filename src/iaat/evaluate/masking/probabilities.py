"""Outputs that are probabilities in place of logits."""

from __future__ import annotations

from torch import Tensor

from iaat.evaluate.findings import Finding, note

_TOLERANCE = 1e-4
"""How near rows must be to a sum, or a log-sum-exp, of 1 or 0."""


def probability_finding(outputs: Tensor) -> Finding | None:
    """Finding on outputs `[B, classes]` that are probabilities in place of logits.

    Serious for softmax and sigmoid: a second softmax hardly depends on them, so that the cross-entropy and its gradient
    are flat, and where they saturate there is no gradient. Not for log-probabilities: they are logits less one number a
    sample, which no loss of an attack here depends on.
    """
    if outputs.shape[1] < 2:
        return None
    low, high = outputs.aminmax()
    inside = bool(low >= 0 and high <= 1)
    if inside and bool(((outputs.sum(dim=1) - 1).abs() < _TOLERANCE).all()):
        return Finding(
            name="softmax-outputs",
            evidence="all outputs lie in [0, 1] and add up to 1 for every sample: they are probabilities",
            advice="Return the logits, without the softmax.",
        )
    if bool((outputs.logsumexp(dim=1).abs() < _TOLERANCE).all()):
        return note(
            name="log-softmax-outputs",
            evidence="the exponentials of the outputs add up to 1 for every sample: they are log-probabilities",
            advice="Return the logits; the losses used here give the same figures for both.",
        )
    # Rectified outputs are exactly 0 here and there, sigmoids in float32 hardly ever; small logits stay far from 1.
    if low > 0 and 0.5 < high <= 1:
        return Finding(
            name="sigmoid-outputs",
            evidence=f"all outputs of {len(outputs)} samples lie between 0 and 1, up to {float(high):.2g}, without "
            "adding up to 1: they seem to be sigmoids",
            advice="Return the logits, without the sigmoid, which saturates and hides the gradient.",
        )
    return None
