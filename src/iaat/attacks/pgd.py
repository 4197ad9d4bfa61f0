"""Projected gradient descent (PGD) with a radius, a step size and a number of steps per sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iaat.attacks.attack_mode import Mode
from iaat.attacks.attack_state import attack_state
from iaat.attacks.losses import AttackLoss
from iaat.attacks.per_sample_steps import check_per_sample_steps, run_per_sample_steps
from iaat.units import Norm


def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    radius: float | str | Tensor,
    steps: int | Tensor = 10,
    step_size: float | str | Tensor | None = None,
    norm: Norm = "linf",
    loss: str | AttackLoss = "ce",
    mode: Mode = "eval",
    x_init: Tensor | None = None,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Adversarial examples within `radius` of `x`, by projected gradient ascent on the loss of the model.

    The gradient is taken at the projected point itself, so pixels on the bounds are not lost. The model's weights get
    no gradient, their `.grad` is not touched, and every module's training flag is restored. `pgd_early_stop` is the
    variant for evaluation, with early stopping and restarts.

    Args:
        model: Maps inputs `[B, ...]` to logits `[B, classes]`. Of a `DistributedDataParallel` its module is attacked.
        x: Clean inputs `[B, ...]` of any rank and floating-point, inside `bounds`; an empty batch comes back empty.
        y: Labels `[B]`; with a `Targeted` loss, the classes to reach.
        radius: Largest norm of a perturbation, one number or `[B]`, in units of `x`, or text such as "8px" or "8/255"
            for images in [0, 1], `bounds` of (0, 1). At radius 0 the clean input comes back exactly; negative and NaN
            entries of `[B]` count as 0.
        steps: Gradient steps, at least 1; or whole numbers `[B]`, 0 or more (`proportional_steps`). Samples that have
            taken theirs leave the batch in multiples of 8. This waits for the device once and needs mode `eval`.
        step_size: Norm of a step, in the forms of `radius`; `2.5 * radius / steps` by default (Madry et al. 2018).
        norm: `linf` or `l2`.
        loss: `ce`, `margin`, `dlr`, `kl`, `Targeted` of one of them, or a callable `(logits, y) -> [B]` to maximise. A
            `PerSampleLoss` holds data of its own for each sample, such as soft labels.
        mode: `eval`, `train` or `batch`; see `iaat.attacks.attack_mode.Mode`.
        x_init: First point `[B, ...]`, projected into the ball, such as `x`; a uniform draw from the ball if None. Not
            `x` with loss `kl`, which has gradient 0 there.
        bounds: Smallest and largest value of an input; None for unbounded inputs.
        generator: Source of the random start; PyTorch's global one if None.

    Returns:
        Adversarial inputs `[B, ...]`, detached, inside the ball and inside `bounds`.

    Raises:
        UserError: a radius above the range of the inputs or negative, steps below 1, an unknown norm, loss or mode, a
            loss that does not return `[B]`, loss `kl` from a sample of `x` itself; inputs that are no floats, infinite
            or outside of `bounds`, labels that are not whole numbers `[B]` below the number of classes, shapes that do
            not fit, a model that does not return logits. On a GPU values are checked without waiting for it: the error
            comes with a later call. A sample that holds NaN is no error: its loss is NaN, and no other sample changes.

    Source: Madry et al. 2018 (arXiv 1706.06083).

    Example:
        >>> import torch
        >>> from iaat import pgd
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
        >>> x, y = torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 2, 0])
        >>> radius = torch.tensor([0.0, 2.0, 4.0, 8.0]) / 255
        >>> x_adv = pgd(model, x, y, radius=radius, steps=10)
        >>> torch.equal(x_adv[0], x[0])
        True
        >>> bool(((x_adv - x).flatten(1).abs().amax(dim=1) <= radius + 1e-6).all())
        True
    """
    if isinstance(steps, Tensor):
        check_per_sample_steps(steps, x, mode)
    with attack_state(
        model,
        x,
        y,
        radius=radius,
        norm=norm,
        bounds=bounds,
        loss=loss,
        steps=steps,
        step_size=step_size,
        path=2.5,
        mode=mode,
        x_init=x_init,
    ) as state:
        if not len(x):
            return state.x.clone()
        x_adv = state.start(x_init, generator)
        if isinstance(steps, Tensor):
            return run_per_sample_steps(state, x_adv, steps)
        state = state.boxed()
        for _ in range(steps):
            direction = state.steepest(x_adv)  # the sign of the gradient in L-inf
            x_adv = state.project(x_adv.add_(direction.mul_(state.step)))
        return x_adv
