"""Projected gradient descent with a radius of its own for every sample: the core all methods and evaluations share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iaat.attacks.batching import filled_up
from iaat.attacks.climb import climb, climb_apart, climb_standing
from iaat.attacks.context import Mode
from iaat.attacks.geometry import geometry, per_sample
from iaat.attacks.inputs import Classifier, check_inputs
from iaat.attacks.losses import AttackLoss
from iaat.attacks.task import Task, attacking, lengths
from iaat.errors import UserError
from iaat.units import Norm, Radius


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
    targeted: bool = False,
    random_start: bool = True,
    restarts: int = 1,
    early_stop: bool = False,
    patience: int = 0,
    mode: Mode = "eval",
    x_init: Tensor | None = None,
    clean_logits: Tensor | None = None,
    loss_data: Tensor | None = None,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Adversarial examples within `radius` of `x`, by projected gradient ascent on the loss of the model.

    The model's weights get no gradient, their `.grad` is not touched, and every module's training flag is given back.
    The gradient is taken at the projected point itself, so pixels on the bounds are not lost.

    Args:
        model: Maps inputs `[B, ...]` to logits `[B, classes]`.
        x: Clean inputs `[B, ...]` of any rank and floating-point, inside `bounds`; an empty batch comes back empty.
        y: Labels `[B]`; with `targeted`, the classes to be reached.
        radius: Size of the ball, one number or `[B]`, in units of `x`, or text such as "8px" or "8/255" for images in
            [0, 1]. Where it is 0 the clean input comes back exactly; entries of `[B]` that are negative or NaN count
            as 0.
        steps: Gradient steps, at least 1; or whole numbers `[B]`, a number for each sample, also 0. Samples that have
            taken theirs leave the batch in multiples of 8, which waits for the device once; needs mode `eval`, and
            excludes restarts and early_stop.
        step_size: Length of a step, in the forms of `radius`; `2.5 * radius / steps` by default (Madry et al. 2018).
        norm: `linf` or `l2`.
        loss: `ce`, `margin`, `dlr`, `kl`, or a callable `(logits, y) -> [B]` that grows as the model gets more wrong.
        targeted: Move towards the classes `y` instead of away from them.
        random_start: Start from a uniform draw in the ball instead of from `x`.
        restarts: Independent runs; for each sample the worst is kept, one that fools before one that does not, then the
            larger loss. Costs one more forward a run when above 1.
        early_stop: A sample that is fooled stays at that point, and leaves the batch as soon as the rest fits a smaller
            multiple of 32. Needs mode `eval`.
        patience: With early_stop and one start: steps that a sample still takes from points where it is fooled, before
            it stays at the next such point.
        mode: `eval`, `train` or `batch`; see `iaat.attacks.context.Mode`.
        x_init: Start of the first run `[B, ...]`, put inside the ball first; then `random_start` is for later ones.
        clean_logits: Logits of `x` for the loss `kl`, computed once where not given.
        loss_data: `[B, ...]`, such as soft labels: what a callable loss is given as its third argument, of those
            samples that are still in the batch.
        bounds: Smallest and largest value of an input; None for unbounded inputs.
        generator: Source of the random start; PyTorch's global one if None.

    Returns:
        Adversarial inputs `[B, ...]`, detached, inside the ball and inside `bounds`.

    Raises:
        UserError: a radius above the range of the inputs or negative, steps or restarts below 1, an unknown norm, loss
            or mode, options that exclude each other, a loss that does not return `[B]`; inputs that are no floats, not
            finite or outside of `bounds`, labels that are not whole numbers `[B]` below the number of classes, shapes
            that do not fit, a model that does not return logits. On a GPU what only values tell is judged without
            waiting for it: the error comes with a later call.

    Source: Madry et al. 2018 (arXiv 1706.06083); worst case over restarts per sample as in Carlini et al. 2019
    (arXiv 1902.06705).

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
    ball = geometry(norm)
    radius = Radius(radius) if isinstance(radius, str) else radius
    step_size = Radius(step_size) if isinstance(step_size, str) else step_size
    labels = check_inputs(
        x,
        y,
        radius,
        step_size=step_size,
        steps=steps,
        restarts=restarts,
        norm=norm,
        bounds=bounds,
        loss=loss,
        targeted=targeted,
        x_init=x_init,
    )
    _check_loss_data(loss_data, x, loss)
    _check_shrinking(steps, x, mode, early_stop, restarts)
    _check_patience(patience, early_stop, restarts)
    with attacking(model, x, y, mode) as (x, y):
        if not len(x):
            return x.clone()
        radius = lengths(radius, x)
        classifier = Classifier(model, labels)
        task = Task(
            model=classifier,
            ball=ball,
            loss=loss,
            targeted=targeted,
            bounds=bounds,
            x=x,
            y=y,
            radius=per_sample(radius, x),
            step=per_sample(lengths(_default_step(radius, steps) if step_size is None else step_size, x), x),
            clean_logits=_target(classifier, x, clean_logits) if loss == "kl" else None,
            loss_data=loss_data,
        ).boxed()
        if restarts > 1:
            assert isinstance(steps, int)
            return _worst_case(task, steps, restarts, random_start, early_stop, x_init, generator)
        x_adv = task.start(random_start, generator, x_init)
        if isinstance(steps, Tensor):
            return climb_apart(task, x_adv, steps)
        return climb_standing(task, x_adv, steps, patience) if early_stop else climb(task, x_adv, steps)


def _default_step(radius: Tensor, steps: int | Tensor) -> Tensor:
    return 2.5 * radius / (steps.clamp_min(1) if isinstance(steps, Tensor) else steps)


def _check_shrinking(steps: int | Tensor, x: Tensor, mode: Mode, early_stop: bool, restarts: int) -> None:
    if isinstance(steps, Tensor):
        if steps.shape != (len(x),) or steps.is_floating_point():
            raise UserError(f"steps {steps.dtype} {list(steps.shape)} for a batch of {len(x)}: pass whole numbers [B]")
        if early_stop or restarts > 1:
            raise UserError("steps [B] exclude early_stop and restarts: pass one number of steps")
    if mode != "eval" and (early_stop or isinstance(steps, Tensor)):
        what = "early_stop shrinks" if early_stop else "steps of their own for samples shrink"
        raise UserError(f"{what} the batch and so changes its statistics: use mode 'eval', not {mode!r}")


def _check_patience(patience: int, early_stop: bool, restarts: int) -> None:
    if patience < 0:
        raise UserError(f"patience = {patience}: a number of steps, 0 or more")
    if patience and not early_stop:
        raise UserError(f"patience = {patience} is for samples that early_stop lets stand: set early_stop=True")
    if patience and restarts > 1:
        raise UserError(f"patience = {patience} excludes restarts, whose worst case it would soften: set restarts=1")


def _check_loss_data(data: Tensor | None, x: Tensor, loss: str | AttackLoss) -> None:
    if data is None:
        return
    if not callable(loss):
        raise UserError(f"loss_data is for a loss of yours, (logits, y, data) -> [B]: loss {loss!r} takes none")
    if not isinstance(data, Tensor) or not data.ndim or len(data) != len(x):
        shape = list(data.shape) if isinstance(data, Tensor) else type(data).__name__
        raise UserError(f"loss_data {shape} for a batch of {len(x)}: pass a tensor [B, ...]")


def _logits(model: Classifier, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)


def _target(model: Classifier, x: Tensor, known: Tensor | None) -> Tensor:
    """Clean logits for the KL divergence: the known ones, or else those of a forward outside of autocast.

    In bfloat16 inputs that differ by a small random start may have equal logits; the divergence from equal ones has
    gradient 0, and the attack never leaves.
    """
    if known is not None:
        if known.ndim != 2 or len(known) != len(x):
            raise UserError(f"clean_logits of shape {list(known.shape)} for a batch of {len(x)}: pass [B, classes]")
        return known
    with torch.autocast(x.device.type, enabled=False):
        return _logits(model, x)


def _worst_case(
    task: Task,
    steps: int,
    restarts: int,
    random_start: bool,
    early_stop: bool,
    x_init: Tensor | None,
    generator: torch.Generator | None,
) -> Tensor:
    worst = task.x.clone()
    fooled = torch.zeros(len(worst), dtype=torch.bool, device=worst.device)
    height = torch.full_like(worst.flatten(1)[:, 0], -torch.inf)
    rows = torch.arange(len(worst), device=worst.device)
    for run in range(restarts):
        start = task.start(random_start, generator, x_init if run == 0 else None)
        x_adv = climb_standing(task, start, steps) if early_stop else climb(task, start, steps)
        logits = _logits(task.model, x_adv)
        now_fooled, now_height = task.fooled(logits), task.objective(logits).to(height)
        was_fooled, was_height = fooled[rows], height[rows]
        worse = torch.where(now_fooled == was_fooled, now_height > was_height, now_fooled)
        if early_stop:
            worse &= ~was_fooled  # such samples only fill the batch up
        worst[rows[worse]] = x_adv[worse]
        fooled[rows[worse]] = now_fooled[worse]
        height[rows[worse]] = now_height[worse]
        if early_stop:
            kept = filled_up(~fooled[rows])
            task, rows = task.only(kept), rows[kept]
            if not len(rows):
                break
    return worst
