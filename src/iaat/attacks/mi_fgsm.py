"""MI-FGSM: gradient steps with momentum, whose examples carry over to other networks better than PGD's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iaat.attacks.geometry import geometry, per_sample
from iaat.attacks.inputs import Classifier, check_inputs
from iaat.attacks.losses import AttackLoss
from iaat.attacks.task import Task, attacking, lengths
from iaat.errors import UserError
from iaat.units import Norm, Radius


def mi_fgsm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    radius: float | str | Tensor,
    steps: int = 10,
    step_size: float | str | Tensor | None = None,
    decay: float = 1.0,
    norm: Norm = "linf",
    loss: str | AttackLoss = "ce",
    targeted: bool = False,
    random_start: bool = False,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Adversarial examples within `radius` of `x` by gradient ascent with momentum, the model in eval mode.

    Each gradient is divided by its mean absolute value, sample by sample, and added to `decay` times the sum so far;
    the step goes along the sign of that sum in L-inf, along its direction in L2.

    Args:
        model: Maps inputs `[B, ...]` to logits `[B, classes]`.
        x: Clean inputs `[B, ...]` of any rank and floating-point, inside `bounds`; an empty batch comes back empty.
        y: Labels `[B]`; with `targeted`, the classes to be reached.
        radius: Size of the ball, one number, text such as "8px", or `[B]`; as for `pgd`.
        steps: Gradient steps, at least 1.
        step_size: Length of a step, in the forms of `radius`; `radius / steps` by default.
        decay: Share of the sum of gradients that is kept from step to step, at least 0; 0 is the iterated FGSM.
        norm: `linf` or `l2`.
        loss: `ce`, `margin`, `dlr`, or a callable `(logits, y) -> [B]` that grows as the model gets more wrong.
        targeted: Move towards the classes `y` instead of away from them.
        random_start: Start from a uniform draw in the ball instead of from `x`.
        bounds: Smallest and largest value of an input; None for unbounded inputs.
        generator: Source of the random start; PyTorch's global one if None.

    Returns:
        Adversarial inputs `[B, ...]`, detached, inside the ball and inside `bounds`; the clean input at radius 0.

    Raises:
        UserError: what `pgd` refuses, the loss `kl`, or a decay that is negative or not finite.

    Source: Dong et al. 2018 (arXiv 1710.06081), algorithm 1 and section 3.3; decay 1.0 and 10 steps of radius / 10 are
    theirs. They divide by the L1 norm: the mean differs by a constant that neither kind of step sees.
    """
    ball = geometry(norm)
    radius = Radius(radius) if isinstance(radius, str) else radius
    step_size = Radius(step_size) if isinstance(step_size, str) else step_size
    if not 0 <= decay < float("inf"):
        raise UserError(f"decay = {decay:g}: must be finite and not negative; 1.0 keeps every gradient")
    if loss == "kl":
        raise UserError("loss 'kl' has gradient 0 at the clean input, where this attack starts: use 'ce' or 'margin'")
    labels = check_inputs(
        x,
        y,
        radius,
        step_size=step_size,
        steps=steps,
        norm=norm,
        bounds=bounds,
        loss=loss,
        targeted=targeted,
    )
    with attacking(model, x, y) as (x, y):
        if not len(x):
            return x.clone()
        radius = lengths(radius, x)
        task = Task(
            model=Classifier(model, labels),
            ball=ball,
            loss=loss,
            targeted=targeted,
            bounds=bounds,
            x=x,
            y=y,
            radius=per_sample(radius, x),
            step=per_sample(lengths(radius / steps if step_size is None else step_size, x), x),
            clean_logits=None,
        )
        return _climb(task, task.start(random_start, generator), steps, decay)


def _climb(task: Task, x_adv: Tensor, steps: int, decay: float) -> Tensor:
    velocity = torch.zeros_like(x_adv)
    for _ in range(steps):
        gradient, _ = task.gradient(x_adv)
        velocity = decay * velocity + _mean_one(gradient)
        x_adv = task.inside(x_adv + task.step * task.ball.steepest(velocity))
    return x_adv.clone()


def _mean_one(gradient: Tensor) -> Tensor:
    """Each sample's gradient scaled to a mean absolute value of 1; 0 where it is 0 or NaN."""
    tiny = torch.finfo(gradient.dtype).tiny
    gradient = gradient.nan_to_num(nan=0.0)
    magnitude = gradient.flatten(1).abs()
    # By the largest entry first: the mean of very small or very large ones is not representable.
    scaled = gradient / per_sample(magnitude.amax(dim=1).clamp_min(tiny), gradient)
    return scaled / per_sample(scaled.flatten(1).abs().mean(dim=1).clamp_min(tiny), gradient)
