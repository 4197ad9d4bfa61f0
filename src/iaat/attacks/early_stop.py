"""PGD with early stopping and restarts: a sample stays where it is adversarial and leaves the batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iaat.attacks.attack_state import AttackState, attack_state
from iaat.attacks.batching import padded_rows
from iaat.attacks.geometry import per_sample
from iaat.attacks.losses import AttackLoss
from iaat.attacks.restarts import RunResult, worst_case
from iaat.errors import UserError
from iaat.units import Norm


def pgd_early_stop(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    radius: float | str | Tensor,
    steps: int = 10,
    step_size: float | str | Tensor | None = None,
    norm: Norm = "linf",
    loss: str | AttackLoss = "ce",
    patience: int = 0,
    restarts: int = 1,
    x_init: Tensor | None = None,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Adversarial examples by PGD that stops each sample at its first adversarial point; the model in eval mode.

    Such a sample leaves the batch as soon as the rest fits a smaller multiple of 32. The model is left as by `pgd`.

    Args:
        model: Maps inputs `[B, ...]` to logits `[B, classes]`.
        x: Clean inputs `[B, ...]`, as for `pgd`.
        y: Labels `[B]`; with a `Targeted` loss, the classes to reach.
        radius: Largest norm of a perturbation, in the forms of `pgd`.
        steps: Gradient steps, at least 1.
        step_size: Norm of a step; `2.5 * radius / steps` by default.
        norm: `linf` or `l2`.
        loss: As for `pgd`.
        patience: Steps that a sample still takes from adversarial points before it stops at the next one.
        restarts: Independent runs of those samples that no run before has made adversarial. Of the others the point
            of the largest loss is kept. Above 1 each run costs one forward more.
        x_init: First point of the first run `[B, ...]`, as for `pgd`; later runs start at random.
        bounds: Smallest and largest value of an input; None for unbounded inputs.
        generator: Source of the random starts; PyTorch's global one if None.

    Returns:
        Adversarial inputs `[B, ...]`, detached, inside the ball and inside `bounds`.

    Raises:
        UserError: what `pgd` refuses, restarts below 1, a negative patience, or patience with restarts.

    Source: patience is tau in algorithm 1 of Zhang et al. 2020 (arXiv 2002.11242); worst case over restarts per sample
    as in Carlini et al. 2019 (arXiv 1902.06705).

    Example:
        >>> import torch
        >>> from iaat.attacks import pgd_early_stop
        >>> model = torch.nn.Identity()  # the inputs are the logits
        >>> x, y = torch.tensor([[0.6, 0.4], [0.4, 0.6]]), torch.tensor([0, 0])
        >>> x_adv = pgd_early_stop(model, x, y, radius=0.2, steps=4, x_init=x)
        >>> model(x_adv).argmax(dim=1), torch.equal(x_adv[1], x[1])  # the second was misclassified at the start
        (tensor([1, 1]), True)
    """
    if patience < 0:
        raise UserError(f"patience = {patience}: a number of steps, 0 or more")
    if patience and restarts > 1:
        raise UserError(f"patience = {patience} excludes restarts: it would weaken their worst case; set restarts=1")
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
        x_init=x_init,
    ) as state:
        if not len(x):
            return state.x.clone()
        if restarts == 1:
            return run_early_stop(state, state.start(x_init, generator), steps, patience)

        def run(state: AttackState, number: int, _rows: Tensor) -> RunResult:
            x_adv = run_early_stop(state, state.start(None if number else x_init, generator), steps)
            logits, loss = state.evaluate_loss(x_adv)
            return RunResult(x_adv, loss, state.is_adversarial(logits))

        return worst_case(state, restarts, run)


def run_early_stop(state: AttackState, x_adv: Tensor, steps: int, patience: int = 0) -> Tensor:
    """At most `steps` projected gradient steps from `x_adv`; a sample stops where it is adversarial.

    Before that it takes `patience` steps from adversarial points. Only these points count: a step may lead back to a
    point that is not adversarial.
    """
    state, result, rows = state.boxed(), x_adv.clone(), torch.arange(len(x_adv), device=x_adv.device)
    active, left = torch.ones_like(rows, dtype=torch.bool), torch.full_like(rows, patience)
    for _ in range(steps):
        logits, _, gradient = state.evaluate(x_adv)
        adversarial = state.is_adversarial(logits)
        active, left = active & ~(adversarial & (left == 0)), left - adversarial.long()
        kept = padded_rows(active)
        if len(kept) < len(rows):
            result[rows] = x_adv
            state, rows, active, left = state.only(kept), rows[kept], active[kept], left[kept]
            x_adv, gradient = x_adv[kept], gradient[kept]
        if not len(rows):
            return result
        moved = state.project(x_adv + state.ball.steepest(gradient).mul_(state.step))
        x_adv = torch.where(per_sample(active, x_adv) > 0, moved, x_adv)
    result[rows] = x_adv
    return result
