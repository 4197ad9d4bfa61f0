"""Auto-PGD, obviously correct and slow: one sample, one number at a time, in the words of arXiv 2003.01690, section 3.

It shares nothing with `iaat`. Two readings of the listing are the library's: a checkpoint is evaluated as soon as its
point is reached, and a sample sent back to its best point compares its next loss with the loss there.
"""

from collections.abc import Callable
from fractions import Fraction
from math import ceil, sqrt

Evaluate = Callable[[list[float]], tuple[float, list[float]]]
ALPHA = 0.75
RHO = 0.75


def sign(value: float) -> int:
    return (value > 0) - (value < 0)


def length(values: list[float]) -> float:
    return sqrt(sum(value * value for value in values))


def checkpoints(steps: int) -> list[int]:
    """w_j = ceil(p_j N): p_0 = 0, p_1 = 0.22, p_j+1 = p_j + max(p_j - p_j-1 - 0.03, 0.06), while p_j <= 1."""
    fractions = [Fraction(0), Fraction(22, 100)]
    while fractions[-1] <= 1:
        fractions.append(fractions[-1] + max(fractions[-1] - fractions[-2] - Fraction(3, 100), Fraction(6, 100)))
    return sorted({ceil(fraction * steps) for fraction in fractions[:-1]})  # in short attacks some coincide


def projected(point: list[float], clean: list[float], radius: float, norm: str) -> list[float]:
    """Onto the ball, then into the box [0, 1]."""
    shift = [a - b for a, b in zip(point, clean, strict=True)]
    if norm == "linf":
        shift = [max(-radius, min(radius, s)) for s in shift]
    elif length(shift) > radius:
        size = length(shift)
        shift = [s * radius / size for s in shift]
    return [max(0.0, min(1.0, c + s)) for c, s in zip(clean, shift, strict=True)]


def uphill(gradient: list[float], norm: str) -> list[float]:
    if norm == "linf":
        return [float(sign(g)) for g in gradient]
    size = length(gradient)
    return [g / size if size else 0.0 for g in gradient]


def auto_pgd(
    evaluate: Evaluate, clean: list[float], start: list[float], radius: float, steps: int, norm: str
) -> tuple[list[list[float]], list[float], int]:
    """All points visited, their losses, and how often the step was halved."""
    w = checkpoints(steps)
    eta = 2 * radius
    x = projected(start, clean, radius, norm)
    previous = x
    f, gradient = evaluate(x)
    visited, losses = [x], [f]
    x_max, f_max, gradient_max = x, f, gradient
    j, rises, halvings = 1, 0, 0
    eta_at, f_max_at = {0: eta}, {0: f_max}
    for k in range(1, steps + 1):
        z = projected([p + eta * u for p, u in zip(x, uphill(gradient, norm), strict=True)], clean, radius, norm)
        if k > 1:
            z = [p + ALPHA * (q - p) + (1 - ALPHA) * (p - o) for p, q, o in zip(x, z, previous, strict=True)]
        previous, x = x, projected(z, clean, radius, norm)
        f_before = f
        f, gradient = evaluate(x)
        visited.append(x)
        losses.append(f)
        rises += f > f_before
        if f > f_max:
            x_max, f_max, gradient_max = x, f, gradient
        if j < len(w) and k == w[j]:
            eta_at[j], f_max_at[j] = eta, f_max
            few_rises = rises < RHO * (w[j] - w[j - 1])
            stood_still = eta_at[j - 1] == eta_at[j] and f_max_at[j - 1] == f_max_at[j]
            if few_rises or stood_still:
                eta, halvings = eta / 2, halvings + 1
                x, f, gradient = x_max, f_max, gradient_max
            rises = 0
            j += 1
    return visited, losses, halvings
