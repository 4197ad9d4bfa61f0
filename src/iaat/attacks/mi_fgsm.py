"""MI-FGSM: gradient steps with momentum; the examples transfer to other models better than those of PGD."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iaat.attacks.attack_state import attack_state
from iaat.attacks.geometry import per_sample
from iaat.attacks.losses import AttackLoss
from iaat.errors import UserError
from iaat.units import Norm


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
    random_start: bool = False,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Adversarial examples within `radius` of `x` by gradient ascent with momentum, the model in eval mode.

    Each sample's gradient is divided by its mean absolute value and added to `decay` times the sum so far. The step
    follows the sign of that sum in L-inf, its direction in L2.

    Args:
        model: Maps inputs `[B, ...]` to logits `[B, classes]`.
        x: Clean inputs `[B, ...]` of any rank and floating-point, inside `bounds`; an empty batch comes back empty.
        y: Labels `[B]`; with a `Targeted` loss, the classes to reach.
        radius: Largest norm of a perturbation, in the forms of `pgd`.
        steps: Gradient steps, at least 1.
        step_size: Norm of a step, in the forms of `radius`; `radius / steps` by default.
        decay: Factor on the sum of gradients at each step, at least 0; 0 is the iterated FGSM.
        norm: `linf` or `l2`.
        loss: `ce`, `margin`, `dlr`, `Targeted` of one of them, or a callable `(logits, y) -> [B]` to maximise.
        random_start: Start from a uniform draw in the ball instead of from `x`.
        bounds: Smallest and largest value of an input; None for unbounded inputs.
        generator: Source of the random start; PyTorch's global one if None.

    Returns:
        Adversarial inputs `[B, ...]`, detached, inside the ball and inside `bounds`; the clean input at radius 0.

    Raises:
        UserError: what `pgd` refuses, the loss `kl`, or a decay that is negative or not finite.

    Source: Dong et al. 2018 (arXiv 1710.06081), algorithm 1 and section 3.3; decay 1.0 and 10 steps of radius / 10 are
    theirs. They divide by the L1 norm: the mean differs by a constant factor, which changes neither kind of step.

    Example:
        >>> import torch
        >>> from iaat.attacks import mi_fgsm
        >>> model = torch.nn.Identity()  # the inputs are the logits
        >>> x, y = torch.tensor([[0.6, 0.4], [0.9, 0.1]]), torch.tensor([0, 0])
        >>> x_adv = mi_fgsm(model, x, y, radius=0.2)
        >>> model(x_adv).argmax(dim=1)  # the second is 0.4 away from the boundary
        tensor([1, 0])
    """
    if not 0 <= decay < float("inf"):
        raise UserError(f"decay = {decay:g}: must be finite and not negative; 1.0 keeps every gradient")
    if loss == "kl":
        raise UserError("loss 'kl' has gradient 0 at the clean input, where this attack starts: use 'ce' or 'margin'")
    with attack_state(
        model, x, y, radius=radius, norm=norm, bounds=bounds, loss=loss, steps=steps, step_size=step_size
    ) as state:
        if not len(x):
            return state.x.clone()
        x_adv = state.start(None if random_start else state.x, generator)
        velocity = torch.zeros_like(x_adv)
        for _ in range(steps):
            velocity = decay * velocity + _mean_one(state.evaluate(x_adv).gradient)
            x_adv = state.project(x_adv + state.step * state.ball.steepest(velocity))
        return x_adv


def _mean_one(gradient: Tensor) -> Tensor:
    """Gradient of each sample scaled to a mean absolute value of 1; 0 where it is 0 or NaN."""
    tiny = torch.finfo(gradient.dtype).tiny
    gradient = gradient.nan_to_num(nan=0.0)
    magnitude = gradient.flatten(1).abs()
    # By the largest entry first: the mean of very small or very large ones is not representable.
    scaled = gradient / per_sample(magnitude.amax(dim=1).clamp_min(tiny), gradient)
    return scaled / per_sample(scaled.flatten(1).abs().mean(dim=1).clamp_min(tiny), gradient)
