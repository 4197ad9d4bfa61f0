"""DeepFool, obviously correct and slow: one sample, one class, one number at a time, gradients by finite differences.

Written from the paper (arXiv 1511.04599, algorithm 2, eqs. 11 and 12) with the conventions of the library: the
overshoot is part of every step, every point is clipped to the bounds, and from the fourth step on numbers on a bound
that the step would push outwards are left out of it.
"""

import torch

STEP = 1e-5


def logits_of(model, point):
    with torch.no_grad():
        return model(torch.tensor([point], dtype=torch.float64))[0].tolist()


def lead_gradient(model, point, label, other):
    slopes = []
    for number in range(len(point)):
        leads = []
        for sign in (1, -1):
            moved = list(point)
            moved[number] += sign * STEP
            logits = logits_of(model, moved)
            leads.append(logits[other] - logits[label])
        slopes.append((leads[0] - leads[1]) / (2 * STEP))
    return slopes


def deepfool_slow(model, x, label, *, norm, steps, overshoot, classes, bounds):
    """The adversarial point, or None where there is none after `steps`."""
    logits = logits_of(model, x)
    others = sorted((k for k in range(len(logits)) if k != label), key=lambda k: -logits[k])[: classes - 1]
    low, high = (-float("inf"), float("inf")) if bounds is None else bounds
    point = list(x)
    for step in range(steps):
        logits = logits_of(model, point)
        if logits.index(max(logits)) != label:
            return point
        best = None
        for other in others:
            slopes = lead_gradient(model, point, label, other)
            slopes = [
                0.0 if step >= 3 and ((p <= low and w < 0) or (p >= high and w > 0)) else w
                for p, w in zip(point, slopes, strict=True)
            ]
            gap = logits[label] - logits[other]
            if norm == "l2":
                dual = sum(w * w for w in slopes) ** 0.5
                move = [w / dual for w in slopes]
            else:
                dual = sum(abs(w) for w in slopes)
                move = [(w > 0) - (w < 0) for w in slopes]
            if best is None or gap / dual < best[0]:
                best = gap / dual, move
        length = (1 + overshoot) * best[0]
        point = [min(max(p + length * m, low), high) for p, m in zip(point, best[1], strict=True)]
    logits = logits_of(model, point)
    return None if logits.index(max(logits)) == label else point
