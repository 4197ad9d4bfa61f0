"""N-FGSM: one gradient step from a noisy input, the attack of single-step training."""

from __future__ import annotations

import math
from numbers import Real

import torch
from torch import Tensor, nn

from iaat.attacks.attack_mode import Mode
from iaat.attacks.attack_state import AttackState, attack_state
from iaat.attacks.inputs import as_length
from iaat.errors import UserError, shown
from iaat.units import Norm, Radius, check_radius


def nfgsm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    radius: float | str | Tensor,
    noise: float | str = 2.0,
    step: float | str = 1.0,
    norm: Norm = "linf",
    mode: Mode = "eval",
    x_init: Tensor | None = None,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Adversarial examples by one gradient step on the cross-entropy from a noisy input, without projection.

    Gradient and step start at the noisy input: the result lies up to `(noise + step) * radius` away from `x`. It is an
    attack to train with; to evaluate a model use one that keeps to the radius. With `noise` 0 it is FGSM, which does.
    The model is left as by `pgd`.

    Args:
        model: Maps inputs `[B, ...]` to logits `[B, classes]`.
        x: Clean inputs `[B, ...]` of any rank and floating-point, inside `bounds`; an empty batch comes back empty.
        y: Labels `[B]`.
        radius: Unit of noise and step, one number or `[B]`, or text such as "8px", as for `pgd`. At radius 0 the clean
            input comes back exactly.
        noise: Radius of the ball that the start is drawn from uniformly, in radii; or text such as "16px", the same
            for all samples with a radius above 0.
        step: Norm of the step, in the forms of `noise`.
        norm: `linf`: the step follows the gradient's sign; `l2`: its direction.
        mode: `eval`, `train` or `batch`; see `iaat.attacks.attack_mode.Mode`.
        x_init: First point `[B, ...]`, instead of a random draw; not projected.
        bounds: Smallest and largest value of an input, for start and result; None for unbounded inputs.
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
    noise, step = (_factor(each, name, bounds, norm) for each, name in ((noise, "noise"), (step, "step")))
    with attack_state(model, x, y, radius=radius, norm=norm, bounds=bounds, mode=mode, x_init=x_init) as state:
        if not len(x):
            return state.x.clone()
        wide = _length(noise, state)
        noisy = state.x + state.ball.random(state.x, wide, generator) if x_init is None else x_init
        start = _clamped(noisy.detach(), bounds)
        return _clamped(start + _length(step, state) * state.steepest(start), bounds)


def _factor(value: float | str, name: str, bounds: tuple[float, float] | None, norm: Norm) -> float:
    """A number of radii, or a `Radius`, of a text or as it was given."""
    if isinstance(value, str | Radius):
        as_length(value, name, bounds)
        value = Radius(value)
        if value.unitless:
            raise UserError(f"{name} = {shown(value.given)}: give a number of radii, or a length with a unit, 16px")
        check_radius(value, norm, name=name)
    if not isinstance(value, Real) or not 0 <= value < math.inf:
        raise UserError(f"{name} = {shown(value)}: a number of radii, finite and not negative")
    return value


def _length(factor: float, state: AttackState) -> Tensor:
    """Lengths `[B, 1, ...]` for a number of radii; for a `Radius` that one, where a sample has a radius above 0."""
    if isinstance(factor, Radius):
        return (state.radius > 0).to(state.x) * float(factor)
    return factor * state.radius


def _clamped(x: Tensor, bounds: tuple[float, float] | None) -> Tensor:
    return x if bounds is None else x.clamp(*bounds)
