"""The authors' IAAT procedure, obviously correct and slow: one image, one pixel, one number at a time.

Written from the published rules alone (arXiv 1910.08051 and the constants of its code); it shares nothing with `iaat`.
In two things it follows `iaat` where the authors' code differs. Random starts are clamped to [0, 1] (theirs only after
the first step; `clamped_start=False` is theirs), and the network has no layers for which its mode matters (theirs is in
mode train throughout).
Only the random numbers follow the library's convention, so that both can be compared number for number: every attack of
a batch draws one `torch.rand` for the whole batch, in the order attack at e, attack at e + gamma, training attack.
"""

import struct

import torch
from torch import nn
from torch.nn import functional as F

PIXEL = 1 / 255


def as_float32(value: float) -> float:
    """The memory holds single precision: round on every write."""
    return struct.unpack("f", struct.pack("f", value))[0]


def clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def sign(value: float) -> int:
    return (value > 0) - (value < 0)


def is_correct(model: nn.Module, pixels: list[float], shape: torch.Size, label: int) -> bool:
    with torch.no_grad():
        logits = model(torch.tensor(pixels, dtype=torch.float64).reshape(1, *shape))[0].tolist()
    return logits.index(max(logits)) == label


def pixel_gradient(model: nn.Module, pixels: list[float], shape: torch.Size, label: int) -> list[float]:
    image = torch.tensor(pixels, dtype=torch.float64).reshape(1, *shape).requires_grad_(True)
    loss = F.cross_entropy(model(image), torch.tensor([label]))
    (gradient,) = torch.autograd.grad(loss, image)
    return gradient.flatten().tolist()


def attack(
    model: nn.Module,
    image: torch.Tensor,
    label: int,
    uniform: torch.Tensor,
    radius: float,
    steps: int,
    *,
    clamped_start: bool = True,
) -> list[float]:
    """PGD on one image, `uniform` being its share of the batch's draw on [0, 1)."""
    clean = image.flatten().tolist()
    step_size = max(radius / (0.5 * steps), 2 * PIXEL)
    adversarial = [x + (2 * u - 1) * radius for x, u in zip(clean, uniform.flatten().tolist(), strict=True)]
    if clamped_start:
        adversarial = [clip(x, 0.0, 1.0) for x in adversarial]
    for _ in range(steps):
        gradient = pixel_gradient(model, adversarial, image.shape, label)
        adversarial = [
            clip(x + clip(x_adv + step_size * sign(g) - x, -radius, radius), 0.0, 1.0)
            for x, x_adv, g in zip(clean, adversarial, gradient, strict=True)
        ]
    return adversarial


def updated_radius(
    e: float, *, clean_correct: bool, correct_at_e: bool, correct_above: bool, gamma: float, beta: float
) -> float:
    if correct_above:
        target = e + gamma
    elif correct_at_e:
        target = e
    else:
        target = e - gamma
    target = max(0.0, target * (1 if clean_correct else 0))
    return (1 - beta) * e + beta * target


def sgd_step(model: nn.Module, adversarial: list[list[float]], shape: torch.Size, labels: list[int], lr: float) -> None:
    weights = list(model.parameters())
    mean_gradient = [torch.zeros_like(w) for w in weights]
    for pixels, label in zip(adversarial, labels, strict=True):
        logits = model(torch.tensor(pixels, dtype=torch.float64).reshape(1, *shape))
        gradients = torch.autograd.grad(F.cross_entropy(logits, torch.tensor([label])), weights)
        for total, gradient in zip(mean_gradient, gradients, strict=True):
            total += gradient / len(labels)
    with torch.no_grad():
        for w, gradient in zip(weights, mean_gradient, strict=True):
            w -= lr * gradient


def train(
    model: nn.Module,
    images: torch.Tensor,
    labels: list[int],
    schedule: list[list[list[int]]],
    generator: torch.Generator,
    *,
    lr: float,
    warmup_epochs: int,
    steps: int = 10,
    start_radius: float = 8 * PIXEL,
    gamma: float = 1.9 * PIXEL,
    beta: float = 0.1,
    clamped_start: bool = True,
) -> list[list[float]]:
    """Trains `model` in place and returns all radii after each epoch; `schedule[epoch]` lists batches of indices."""
    memory = [as_float32(start_radius)] * len(images)
    history = []
    for epoch, batches in enumerate(schedule):
        for batch in batches:

            def draw(batch: list[int] = batch) -> torch.Tensor:
                return torch.rand([len(batch), *images.shape[1:]], dtype=images.dtype, generator=generator)

            clean_correct = [is_correct(model, images[i].flatten().tolist(), images[i].shape, labels[i]) for i in batch]
            if epoch < warmup_epochs:
                for i, correct in zip(batch, clean_correct, strict=True):
                    memory[i] = as_float32(start_radius if correct else 0.0)
            else:
                draw_at_e, draw_above = draw(), draw()
                for row, i in enumerate(batch):
                    e = memory[i]
                    at_e = attack(model, images[i], labels[i], draw_at_e[row], e, steps, clamped_start=clamped_start)
                    above = attack(
                        model, images[i], labels[i], draw_above[row], e + gamma, steps, clamped_start=clamped_start
                    )
                    memory[i] = as_float32(
                        updated_radius(
                            e,
                            clean_correct=clean_correct[row],
                            correct_at_e=is_correct(model, at_e, images[i].shape, labels[i]),
                            correct_above=is_correct(model, above, images[i].shape, labels[i]),
                            gamma=gamma,
                            beta=beta,
                        )
                    )
            draw_training = draw()
            adversarial = [
                attack(model, images[i], labels[i], draw_training[row], memory[i], steps, clamped_start=clamped_start)
                for row, i in enumerate(batch)
            ]
            sgd_step(model, adversarial, images.shape[1:], [labels[i] for i in batch], lr)
        history.append(list(memory))
    return history
