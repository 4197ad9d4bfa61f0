"""Early-stopped PGD and the loss of friendly adversarial training, one image and one number at a time.

Written from algorithm 1 of arXiv 2002.11242 alone; it shares nothing with `iaat`.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


def logits_of(model: nn.Module, pixels: list[float], shape: torch.Size) -> list[float]:
    with torch.no_grad():
        return model(torch.tensor(pixels, dtype=torch.float64).reshape(1, *shape))[0].tolist()


def is_misclassified(model: nn.Module, pixels: list[float], shape: torch.Size, label: int) -> bool:
    logits = logits_of(model, pixels, shape)
    return logits.index(max(logits)) != label


def pixel_gradient(model: nn.Module, pixels: list[float], shape: torch.Size, label: int) -> list[float]:
    image = torch.tensor(pixels, dtype=torch.float64).reshape(1, *shape).requires_grad_(True)
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(image), torch.tensor([label])), image)
    return gradient.flatten().tolist()


def length(numbers: list[float]) -> float:
    return math.sqrt(sum(number**2 for number in numbers))


def steepest(gradient: list[float], norm: str) -> list[float]:
    if norm == "linf":
        return [float((g > 0) - (g < 0)) for g in gradient]
    return [g / length(gradient) for g in gradient]


def projected(moved: list[float], clean: list[float], radius: float, norm: str) -> list[float]:
    delta = [a - b for a, b in zip(moved, clean, strict=True)]
    if norm == "linf":
        delta = [min(max(d, -radius), radius) for d in delta]
    elif length(delta) > radius:
        delta = [d * radius / length(delta) for d in delta]
    return [min(max(x + d, 0.0), 1.0) for x, d in zip(clean, delta, strict=True)]


def early_stopped_pgd(
    model: nn.Module,
    image: torch.Tensor,
    label: int,
    start: torch.Tensor,
    *,
    radius: float,
    steps: int,
    step_size: float,
    tau: int,
    norm: str = "linf",
) -> tuple[torch.Tensor, list[bool]]:
    """PGD-K-tau on one image: where it ends, and whether each point it looked at was misclassified."""
    clean, pixels, seen = image.flatten().tolist(), start.flatten().tolist(), []
    for _ in range(steps):
        seen.append(is_misclassified(model, pixels, image.shape, label))
        if seen[-1] and tau == 0:
            break
        if seen[-1]:
            tau -= 1
        way = steepest(pixel_gradient(model, pixels, image.shape, label), norm)
        pixels = projected([p + step_size * w for p, w in zip(pixels, way, strict=True)], clean, radius, norm)
    return torch.tensor(pixels, dtype=torch.float64).reshape(image.shape), seen


def mean_cross_entropy(model: nn.Module, images: list[torch.Tensor], labels: list[int]) -> float:
    losses = []
    for image, label in zip(images, labels, strict=True):
        logits = logits_of(model, image.flatten().tolist(), image.shape)
        losses.append(math.log(sum(math.exp(logit - logits[label]) for logit in logits)))
    return sum(losses) / len(losses)
