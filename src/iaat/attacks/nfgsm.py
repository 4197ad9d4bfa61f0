"""N-FGSM: one gradient step from a noisy input, the attack of single-step training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iaat.attacks.attack_mode import Mode
from iaat.attacks.attack_state import attack_state
from iaat.errors import UserError
from iaat.units import Norm


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
        noise: Radius of the ball that the start is drawn from uniformly, in radii.
        step: Norm of the step, in radii.
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
    for name, factor in (("noise", noise), ("step", step)):
        if not 0 <= factor < float("inf"):
            raise UserError(f"{name} = {factor:g}: a number of radii, finite and not negative")
    with attack_state(
        model, x, y, radius=radius, norm=norm, bounds=bounds, path=step, mode=mode, x_init=x_init
    ) as state:
        if not len(x):
            return state.x.clone()
        noisy = state.x + state.ball.random(state.x, noise * state.radius, generator) if x_init is None else x_init
        start = _clamped(noisy.detach(), bounds)
        return _clamped(start + state.step * state.steepest(start), bounds)


def _clamped(x: Tensor, bounds: tuple[float, float] | None) -> Tensor:
    return x if bounds is None else x.clamp(*bounds)
