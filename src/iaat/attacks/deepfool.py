"""DeepFool: steps to the nearest class boundary of the linearised model until the sample is misclassified."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from iaat.attacks.attack_state import AttackState, attack_state, gradient_of
from iaat.attacks.batching import padded_rows
from iaat.attacks.geometry import per_sample, rounding_error
from iaat.attacks.losses import clamp_labels
from iaat.errors import UserError
from iaat.units import Norm

PLAIN_STEPS = 3
"""First steps that ignore the bounds, as the plain algorithm does when its points are clipped.

At saturated inputs they fall short, and the model is linearised more often on the way: on 8x8 digits with 60 % of
their numbers on a bound the perturbations were 7 % (L-inf) and 4 % (L2) smaller than without these steps.
"""


def deepfool(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    radius: float | str | Tensor | None = None,
    steps: int = 50,
    overshoot: float = 0.02,
    classes: int = 10,
    norm: Norm = "linf",
    bounds: tuple[float, float] | None = (0.0, 1.0),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Adversarial examples as close to `x` as found, not at a given radius; the model in eval mode.

    A sample leaves the batch once it is misclassified, as soon as the rest fits a smaller multiple of 32. From the
    fourth step on a step is longer where numbers sit on a bound that it would push them through. Without that,
    saturated inputs may never cross the boundary.

    Args:
        model: Maps inputs `[B, ...]` to logits `[B, classes]`.
        x: Clean inputs `[B, ...]` of any rank and floating-point, inside `bounds`; an empty batch comes back empty.
        y: Labels `[B]`.
        radius: None keeps whatever is found. With a radius, in the forms of `pgd`, only perturbations within it count;
            there is no projection.
        steps: Largest number of linearisations, at least 1.
        overshoot: Fraction by which every step goes beyond the boundary of the linear model, above 0.
        classes: The boundaries are those between `y` and the `classes - 1` other classes with the largest logits at
            `x`, as the authors' code has it; at least 2.
        norm: `linf` or `l2`.
        bounds: Smallest and largest value of an input; None for unbounded inputs.
        generator: Not used: nothing is drawn. All attacks take one.

    Returns:
        Inputs `[B, ...]`, detached, inside `bounds`: an adversarial one where found (within the radius, if given), the
        clean one elsewhere and where it is misclassified already.

    Raises:
        UserError: a radius `pgd` would refuse, steps below 1, an overshoot that is not above 0 and finite, fewer than 2
            classes, an unknown norm, or integer inputs.

    Source: Moosavi-Dezfooli et al. 2016 (arXiv 1511.04599), algorithm 2, and eqs. 11 and 12 for other norms; overshoot
    0.02, 50 steps and 10 classes as in the authors' code.

    Example:
        >>> import torch
        >>> from iaat.attacks import deepfool
        >>> model = torch.nn.Identity()  # the inputs are the logits
        >>> x, y = torch.tensor([[0.6, 0.4]]), torch.tensor([0])
        >>> x_adv = deepfool(model, x, y)  # the boundary is 0.1 away; 2 % beyond it
        >>> [round(number, 3) for number in x_adv[0].tolist()]
        [0.498, 0.502]
    """
    if not 0 < overshoot < math.inf:
        raise UserError(f"overshoot = {overshoot:g}: must be finite and above 0; 0.02 is usual")
    if classes < 2:
        raise UserError(f"classes = {classes}: there is a boundary only between 2 or more")
    with attack_state(
        model, x, y, radius=0.0 if radius is None else radius, norm=norm, bounds=bounds, steps=steps
    ) as state:
        if not len(x):
            return state.x.clone()
        x_adv = _run(state, steps, 1 + overshoot, classes)
        return x_adv if radius is None else state.revert_outside(x_adv)


def _run(state: AttackState, steps: int, beyond: float, classes: int) -> Tensor:
    """Steps to the nearest linearised boundary, `beyond` times as far, until each sample is misclassified."""
    x, y, bounds = state.x, state.y, state.bounds
    with torch.no_grad():
        logits = state.model(x)
    others = _likely(logits, y, classes)
    active, rows = logits.argmax(dim=1) == y, torch.arange(len(x), device=x.device)
    # Near a boundary that bends away, ever smaller steps would be lost in rounding before they cross it.
    result, x_adv, shortest = x.clone(), x, 4 * rounding_error(state.ball, x)
    for step in range(steps):
        kept = padded_rows(active)
        if not len(kept):
            break
        x_adv, rows, active = x_adv[kept], rows[kept], active[kept]
        walls = None if step < PLAIN_STEPS else bounds
        distance, direction = _nearest(state, x_adv, y[rows], others[rows], walls)
        length = torch.where(distance.isfinite(), distance.maximum(shortest[rows]), 0)
        x_adv = x_adv + per_sample(beyond * length, x_adv) * direction
        x_adv = x_adv if bounds is None else x_adv.clamp(*bounds)
        with torch.no_grad():
            adversarial = active & (state.model(x_adv).argmax(dim=1) != y[rows])
        result[rows[adversarial]] = x_adv[adversarial]
        active = active & ~adversarial
    return result


def _likely(logits: Tensor, y: Tensor, classes: int) -> Tensor:
    """Classes `[B, K]` other than `y` with the largest logits; K = `classes` - 1, or all there are."""
    others = logits.scatter(1, clamp_labels(y, logits)[:, None], -torch.inf)
    return others.topk(min(classes, logits.shape[1]) - 1, dim=1).indices


def _nearest(
    state: AttackState, x: Tensor, y: Tensor, others: Tensor, bounds: tuple[float, float] | None
) -> tuple[Tensor, Tensor]:
    """Distance `[B]` to the nearest boundary of the model linearised at `x`, and the direction `[B, ...]` to it.

    The direction has norm 1; the distance is infinite where the model is flat. It is the lead of `y` over the dual norm
    of the lead's gradient, the slope along that direction.
    """
    leaf = x.detach().requires_grad_()
    logits = state.model(leaf)
    leads = logits.gather(1, clamp_labels(y, logits)[:, None]) - logits.gather(1, others)
    nearest, nearest_direction = torch.full_like(x.flatten(1)[:, 0], torch.inf), torch.zeros_like(x)
    for column, lead in enumerate(leads.unbind(dim=1), start=1):
        gradient = gradient_of(lead, leaf, keep_graph=column < leads.shape[1])
        downhill = _free(x, -gradient.nan_to_num(nan=0.0), bounds)
        direction = state.ball.steepest(downhill)
        distance = lead.detach().to(x) / (direction * downhill).flatten(1).sum(dim=1)
        nearer = distance < nearest
        nearest = torch.where(nearer, distance, nearest)
        nearest_direction = torch.where(per_sample(nearer, x) > 0, direction, nearest_direction)
    return nearest, nearest_direction


def _free(x: Tensor, direction: Tensor, bounds: tuple[float, float] | None) -> Tensor:
    """`direction` without the components that point out of bounds which `x` has reached."""
    if bounds is None:
        return direction
    return direction.masked_fill(((x <= bounds[0]) & (direction < 0)) | ((x >= bounds[1]) & (direction > 0)), 0.0)
