"""The L2 attack of Carlini and Wagner on one sample at a time, with Adam written out and the chain rule by hand.

Written from arXiv 1608.04644, section VI.A, and Kingma & Ba 2015, algorithm 1; only the gradients of the logits with
respect to the input come from torch.
"""

import math

import torch

BETA_1, BETA_2, EPSILON, EDGE = 0.9, 0.999, 1e-8, 1e-6


def lead_and_gradient(model, point, label, targeted):
    leaf = torch.tensor([point], dtype=torch.float64, requires_grad=True)
    logits = model(leaf)[0]
    values = logits.tolist()
    other = max((k for k in range(len(values)) if k != label), key=lambda k: values[k])
    sign = -1 if targeted else 1
    (gradient,) = torch.autograd.grad(sign * (logits[other] - logits[label]), leaf)
    return sign * (values[other] - values[label]), gradient[0].tolist()


def descend(model, x, label, constant, *, steps, rate, confidence, targeted, bounds):
    low, width = bounds[0], bounds[1] - bounds[0]
    w = [math.atanh((2 * (v - low) / width - 1) * (1 - EDGE)) for v in x]
    first, second = [0.0] * len(x), [0.0] * len(x)
    best, best_square = None, math.inf
    for t in range(1, steps + 1):
        point = [low + width * (math.tanh(v) + 1) / 2 for v in w]
        square = sum((p - v) ** 2 for p, v in zip(point, x, strict=True))
        lead, slopes = lead_and_gradient(model, point, label, targeted)
        if lead > confidence and square < best_square:
            best, best_square = point, square
        for i, v in enumerate(w):
            inner = 2 * (point[i] - x[i]) - (constant * slopes[i] if lead < confidence else 0.0)
            g = inner * width / 2 * (1 - math.tanh(v) ** 2)
            first[i] = BETA_1 * first[i] + (1 - BETA_1) * g
            second[i] = BETA_2 * second[i] + (1 - BETA_2) * g * g
            mean, spread = first[i] / (1 - BETA_1**t), second[i] / (1 - BETA_2**t)
            w[i] = v - rate * mean / (math.sqrt(spread) + EPSILON)
    return best, best_square


def carlini_slow(model, x, label, *, searches, initial, **settings):
    """The nearest break of one sample, `x` where none was found."""
    best, best_square, low, high, constant = x, math.inf, 0.0, math.inf, initial
    for _ in range(searches):
        point, square = descend(model, x, label, constant, **settings)
        if square < best_square:
            best, best_square = point, square
        if point is None:
            low = max(low, constant)
        else:
            high = min(high, constant)
        constant = 10 * constant if math.isinf(high) else (low + high) / 2
    return best
