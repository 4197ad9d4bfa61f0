"""TRADES, obviously correct and slow: one sample, one class, one pixel, one number at a time, in float64.

Written from the formulas alone (Zhang et al. 2019, arXiv 1901.08573, eq. 5 and algorithm 1); it shares nothing with
`iaat`. Its attack starts where its caller says; the authors' code starts at noise that is not clamped to [0, 1]. The
gradient of a network with respect to its input is autograd's, of one sample.
"""

import math

import torch
from torch import nn

Numbers = list[float]


def log_sum(values: Numbers) -> float:
    """log of the sum of exp."""
    largest = max(values)
    return largest + math.log(math.fsum(math.exp(value - largest) for value in values))


def log_probabilities(logits: Numbers) -> Numbers:
    total = log_sum(logits)
    return [logit - total for logit in logits]


def kl(clean: Numbers, other: Numbers) -> float:
    """KL(p || q) of the softmax p of `clean` and q of `other`; a class of probability 0 adds nothing."""
    log_p, log_q = log_probabilities(clean), log_probabilities(other)
    return math.fsum(math.exp(p) * (p - q) for p, q in zip(log_p, log_q, strict=True) if math.exp(p) > 0)


def cross_entropy(logits: Numbers, label: int, smoothing: float = 0.0) -> float:
    """Of the target 1 - smoothing at the label, and smoothing spread evenly over all classes."""
    classes = len(logits)
    total = 0.0
    for k, log_p in enumerate(log_probabilities(logits)):
        target = (1 - smoothing if k == label else 0.0) + smoothing / classes
        total -= target * log_p
    return total


def loss(
    clean: list[Numbers], adversarial: list[Numbers], labels: list[int], betas: Numbers, smoothing: float = 0.0
) -> float:
    """Mean over samples, each with a weight of its own."""
    total = 0.0
    for z, z_adv, label, beta in zip(clean, adversarial, labels, betas, strict=True):
        total += cross_entropy(z, label, smoothing) + beta * kl(z, z_adv)
    return total / len(labels)


def clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def gradient(model: nn.Module, pixels: Numbers, shape: torch.Size, clean: Numbers) -> Numbers:
    """Of KL(p_clean || p(x)) at the input; only the term with p(x) depends on it."""
    x = torch.tensor(pixels, dtype=torch.float64).reshape(1, *shape).requires_grad_()
    log_q = model(x)[0].log_softmax(0)
    value = sum(-math.exp(p) * q for p, q in zip(log_probabilities(clean), log_q, strict=True))
    (result,) = torch.autograd.grad(value, x)
    return result.flatten().tolist()


def into_ball(pixels: Numbers, clean: Numbers, radius: float, norm: str) -> Numbers:
    delta = [p - x for p, x in zip(pixels, clean, strict=True)]
    if norm == "linf":
        delta = [clip(d, -radius, radius) for d in delta]
    else:
        size = math.sqrt(math.fsum(d * d for d in delta))
        delta = [d * min(1.0, radius / size) if size else d for d in delta]
    return [clip(x + d, 0.0, 1.0) for x, d in zip(clean, delta, strict=True)]


def direction(slope: Numbers, norm: str) -> Numbers:
    if norm == "linf":
        return [float((s > 0) - (s < 0)) for s in slope]
    size = math.sqrt(math.fsum(s * s for s in slope))
    return [s / size if size else 0.0 for s in slope]


def attack(
    model: nn.Module,
    image: torch.Tensor,
    noise: torch.Tensor,
    *,
    radius: float,
    step_size: float,
    steps: int,
    norm: str = "linf",
) -> Numbers:
    """Ascent on the divergence from the clean prediction of one image, from the image plus `noise`."""
    clean = image.flatten().tolist()
    logits = model(image[None])[0].tolist()
    pixels = into_ball((image + noise).flatten().tolist(), clean, radius, norm)
    for _ in range(steps):
        way = direction(gradient(model, pixels, image.shape, logits), norm)
        moved = [p + step_size * w for p, w in zip(pixels, way, strict=True)]
        pixels = into_ball(moved, clean, radius, norm)
    return pixels
