"""N-FGSM: one gradient step from noise, the attack of single-step training, with a radius per sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iaat.attacks.context import Mode
from iaat.attacks.geometry import geometry, per_sample
from iaat.attacks.inputs import Classifier, check_inputs
from iaat.attacks.losses import cross_entropy
from iaat.attacks.task import attacking, gradient_of, lengths
from iaat.errors import UserError
from iaat.units import Norm, Radius


def nfgsm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    radius: float | str | Tensor,
    noise: float = 2.0,
    step: float = 1.0,
    norm: Norm = "linf",
    mode: Mode = "eval",
    x_init: Tensor | None = None,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Adversarial examples by one step up the cross-entropy from a noisy input, not projected back to the ball.

    The gradient is taken where the noise has led, and the step starts there: the result lies up to
    `(noise + step) * radius` away from `x`. It is an attack to train with; to judge a model use one that keeps to the
    radius. With `noise` 0 it is FGSM, which does.

    The model's weights get no gradient, their `.grad` is not touched, and every module's training flag is given back.

    Args:
        model: Maps inputs `[B, ...]` to logits `[B, classes]`.
        x: Clean inputs `[B, ...]` of any rank and floating-point, inside `bounds`; an empty batch comes back empty.
        y: Labels `[B]`.
        radius: The unit of noise and step, one number or `[B]`, or text such as "8px"; as for `pgd`. Where it is 0 the
            clean input comes back exactly.
        noise: Size of the ball the start is drawn from uniformly, in radii.
        step: Length of the step, in radii.
        norm: `linf`: the step follows the gradient's sign; `l2`: its direction.
        mode: `eval`, `train` or `batch`; see `iaat.attacks.context.Mode`.
        x_init: Where to start `[B, ...]`, instead of a random draw.
        bounds: Smallest and largest value of an input, which start and result are clamped to; None for unbounded ones.
        generator: Source of the noise; PyTorch's global one if None.

    Returns:
        Adversarial inputs `[B, ...]`, detached, inside `bounds`.

    Raises:
        UserError: a radius, norm, mode, batch or model that `pgd` refuses, or a noise or step that is negative or not
            finite.

    Source: de Jorge et al. 2022 (arXiv 2202.01181), algorithm 1; noise 2 and step 1 are theirs.

    Example:
        >>> import torch
        >>> from iaat import nfgsm
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
        >>> x, y = torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 2, 0])
        >>> x_adv = nfgsm(model, x, y, radius="8px")
        >>> bool(((x_adv - x).abs() <= 3 * 8 / 255 + 1e-6).all())
        True
    """
    ball = geometry(norm)
    radius = Radius(radius) if isinstance(radius, str) else radius
    for name, share in (("noise", noise), ("step", step)):
        if not 0 <= share < float("inf"):
            raise UserError(f"{name} = {share:g}: a number of radii, finite and not negative")
    labels = check_inputs(x, y, radius, steps=1, norm=norm, bounds=bounds, x_init=x_init)
    with attacking(model, x, y, mode) as (x, y):
        if not len(x):
            return x.clone()
        size = per_sample(lengths(radius, x), x)
        start = x + ball.random(x, noise * size, generator) if x_init is None else x_init.detach().clone()
        leaf = _clamped(start, bounds).requires_grad_()
        gradient = gradient_of(cross_entropy(Classifier(model, labels)(leaf), y), leaf)
        return _clamped(leaf.detach() + step * size * ball.steepest(gradient), bounds)


def _clamped(x: Tensor, bounds: tuple[float, float] | None) -> Tensor:
    return x if bounds is None else x.clamp_(*bounds)
