"""Auto-PGD: gradient ascent that finds its own step size, for every sample by itself."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from iaat.attacks.batching import filled_up
from iaat.attacks.geometry import Geometry, geometry, per_sample
from iaat.attacks.inputs import Classifier, check_inputs
from iaat.attacks.losses import LOSSES, AttackLoss, dlr_to, margin_to
from iaat.attacks.task import attacking, gradient_of, inside, lengths, one_each
from iaat.errors import UserError, check_choice
from iaat.runtime.device import autocast, uses_bfloat16
from iaat.units import Norm, Radius

MOMENTUM = 0.75
"""Weight of the new step against the last one (`alpha`)."""
RHO = 0.75
"""Share of the steps since the last checkpoint that must raise the loss, or the step is halved."""
PRECISIONS = ("auto", "fp32", "bf16")


def apgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    radius: float | str | Tensor,
    steps: int = 100,
    norm: Norm = "linf",
    loss: str | AttackLoss = "ce",
    targets: Tensor | None = None,
    restarts: int = 1,
    early_stop: bool = True,
    precision: str = "fp32",
    bounds: tuple[float, float] | None = (0.0, 1.0),
    x_init: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Adversarial examples within `radius` of `x` by Auto-PGD; the model is in eval mode.

    The step starts at `2 * radius`. At checkpoints that come ever closer, a sample whose loss no longer rises goes back
    to its best point and halves its step. Step, best point and checkpoint decisions are those of each sample alone.
    The model's weights get no gradient, their `.grad` is not touched, and every module's training flag is given back.

    Args:
        model: Maps inputs `[B, ...]` to logits `[B, classes]`.
        x: Clean inputs `[B, ...]` of any rank and floating-point, inside `bounds`; an empty batch comes back empty.
        y: True classes `[B]`.
        radius: Size of the ball, one number or `[B]`, in units of `x`, or text such as "8px" or "8/255" for images in
            [0, 1]. Where it is 0 the clean input comes back exactly; entries of `[B]` that are negative or NaN count
            as 0.
        steps: Gradient steps, at least 1; each run costs one forward more, without its backward.
        norm: `linf` or `l2`.
        loss: `ce`, `margin`, `dlr`, or a callable `(logits, y) -> [B]` that grows as the model gets more wrong.
        targets: `[B]` classes to move towards. A sample counts as fooled once it leaves its true class, whatever class
            it is taken for. A callable loss is then called with the targets and descended.
        restarts: Independent runs; for each sample the worst is kept, one that fools before one that does not, then the
            larger loss.
        early_stop: A sample that is fooled stays at that point, and leaves the batch as soon as the rest fits a smaller
            multiple of 32.
        precision: `fp32`, `bf16`, or `auto` for bfloat16 where the processor has instructions for it. Losses are
            float32 always, and only what fools the model in the precision of `x` counts as fooled.
        bounds: Smallest and largest value of an input; None for unbounded inputs.
        x_init: Start of the first run `[B, ...]`, put inside the ball first; a uniform draw in the ball if None.
        generator: Source of the random starts; PyTorch's global one if None.

    Returns:
        Adversarial inputs `[B, ...]`, detached, inside the ball and inside `bounds`: where a sample was fooled a point
        that fools it, elsewhere the point of the largest loss.

    Raises:
        UserError: a radius above the range of the inputs or negative, steps or restarts below 1, an unknown norm, loss
            or precision, too few classes for `dlr`, integer inputs, or a loss that does not return `[B]`.

    Source: Croce & Hein 2020 (arXiv 2003.01690), Algorithm 1, its conditions 1 and 2 and section 3.2. A checkpoint is
    judged as soon as its point is reached, one step before their listing does.
    """
    ball = geometry(norm)
    radius = Radius(radius) if isinstance(radius, str) else radius
    check_choice(precision, PRECISIONS, "precision")
    if not callable(loss):
        check_choice(loss, LOSSES, "loss")
    labels = check_inputs(
        x,
        y,
        radius,
        steps=steps,
        restarts=restarts,
        norm=norm,
        bounds=bounds,
        loss=loss,
        targeted=targets is not None,
        x_init=x_init,
    )
    _check_targets(targets, x)
    with attacking(model, x, y) as (x, y):
        if not len(x):
            return x.clone()
        task = _Task(
            model=Classifier(model, labels),
            ball=ball,
            loss=loss,
            bounds=bounds,
            low_precision=uses_bfloat16(precision, x.device),
            x=x,
            y=y,
            targets=targets,
            radius=per_sample(lengths(radius, x), x),
        )
        return _worst_case(task, steps, restarts, early_stop, x_init, generator)


def _check_targets(targets: Tensor | None, x: Tensor) -> None:
    if targets is not None and (targets.shape != (len(x),) or targets.is_floating_point()):
        raise UserError(
            f"targets of shape {list(targets.shape)} and {targets.dtype} do not fit a batch of {len(x)}: pass class "
            "numbers [B]"
        )


def checkpoints(steps: int) -> list[int]:
    """After how many steps a sample is judged: periods shrink from 22 % of the steps by 3 % each, down to 6 %."""
    percent, period, found = 22, 22, []
    while percent < 100:
        found.append(-(-percent * steps // 100))  # integers: a float would round 57.00000001 up to 58
        period = max(period - 3, 6)
        percent += period
    return found


@dataclass(frozen=True, slots=True)
class _Task:
    """One batch under attack, every field of it per sample but the first five."""

    model: Classifier
    ball: Geometry
    loss: str | AttackLoss
    bounds: tuple[float, float] | None
    low_precision: bool
    x: Tensor
    y: Tensor
    targets: Tensor | None
    radius: Tensor

    def only(self, rows: Tensor) -> _Task:
        targets = None if self.targets is None else self.targets[rows]
        return replace(self, x=self.x[rows], y=self.y[rows], radius=self.radius[rows], targets=targets)

    def random_start(self, generator: torch.Generator | None) -> Tensor:
        return self.x + self.ball.random(self.x, self.radius, generator)

    def inside(self, x_adv: Tensor) -> Tensor:
        return inside(x_adv, self.x, self.radius, self.ball, self.bounds)

    def logits(self, x_adv: Tensor, *, low_precision: bool) -> Tensor:
        with autocast("bf16" if low_precision else "fp32", x_adv.device):
            return self.model(x_adv)

    def height(self, logits: Tensor) -> Tensor:
        return one_each(_height(self.loss, logits, self.y, self.targets), len(logits))

    def fooled(self, x_adv: Tensor, logits: Tensor, asked: Tensor) -> Tensor:
        """Which of the rows `asked` `[B]` are taken for a wrong class, also in full precision."""
        fooled = (logits.argmax(dim=1) != self.y) & asked
        rows = filled_up(fooled) if self.low_precision else ()
        if len(rows):
            with torch.no_grad():
                again = self.logits(x_adv[rows], low_precision=False).argmax(dim=1) != self.y[rows]
            fooled[rows] &= again
        return fooled


def _height(loss: str | AttackLoss, logits: Tensor, y: Tensor, targets: Tensor | None) -> Tensor:
    away = loss if callable(loss) else LOSSES[loss]
    if targets is None:
        return away(logits, y)
    if loss == "dlr":
        return dlr_to(logits, y, targets)
    return margin_to(logits, y, targets) if loss == "margin" else -away(logits, targets)


@dataclass(slots=True)
class _Walk:
    """What is known of each sample on its way: points and gradients `[B, ...]`, the rest `[B]`.

    `best` is the point of the largest loss, to which the algorithm returns; `found` is the one to be handed back.
    """

    x: Tensor
    before: Tensor
    gradient: Tensor
    loss: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    found: Tensor
    found_loss: Tensor
    fooled: Tensor
    step: Tensor
    rises: Tensor
    judged_loss: Tensor
    halved: Tensor

    @classmethod
    def begin(cls, task: _Task, x: Tensor) -> _Walk:
        none = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        lowest = torch.full_like(x.flatten(1)[:, 0], -torch.inf)
        return cls(
            x=x,
            before=x,
            gradient=torch.zeros_like(x),
            loss=lowest.new_full(lowest.shape, torch.inf),  # the first look is not a rise
            best=x.clone(),
            best_gradient=torch.zeros_like(x),
            best_loss=lowest.clone(),
            found=x.clone(),
            found_loss=lowest.clone(),
            fooled=none,
            step=2 * task.radius.flatten(),
            rises=torch.zeros_like(lowest),
            judged_loss=lowest.clone(),
            halved=none,
        )

    def only(self, rows: Tensor) -> _Walk:
        return _Walk(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def look(self, task: _Task, *, gradient: bool, early_stop: bool) -> None:
        """Evaluate the model at `x` and remember what is better than before."""
        leaf = self.x.detach().requires_grad_(gradient)
        logits = task.logits(leaf, low_precision=task.low_precision)
        height = task.height(logits)
        if gradient:
            self.gradient = gradient_of(height, leaf)
        loss = height.detach().to(self.loss).nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
        self.rises += loss > self.loss
        self.loss = loss

        asked = ~self.fooled if early_stop else torch.ones_like(self.fooled)
        fooled = task.fooled(leaf.detach(), logits.detach(), asked)
        better = torch.where(fooled == self.fooled, loss > self.found_loss, fooled) & asked
        self.found[better], self.found_loss[better] = self.x[better], loss[better]
        self.fooled = self.fooled | fooled

        higher = loss > self.best_loss
        self.best[higher], self.best_loss[higher] = self.x[higher], loss[higher]
        self.best_gradient[higher] = self.gradient[higher]

    def judge(self, period: int) -> None:
        """Conditions 1 and 2 at a checkpoint `period` steps after the last one."""
        stuck = ~self.halved & (self.best_loss == self.judged_loss)
        self.halved = (self.rises < RHO * period) | stuck
        self.step = torch.where(self.halved, self.step / 2, self.step)
        self.loss = torch.where(self.halved, self.best_loss, self.loss)
        back = per_sample(self.halved, self.x) > 0
        self.x = torch.where(back, self.best, self.x)
        self.gradient = torch.where(back, self.best_gradient, self.gradient)
        self.judged_loss, self.rises = self.best_loss.clone(), torch.zeros_like(self.rises)

    def advance(self, task: _Task, momentum: float) -> None:
        """Step, then add a share of the last movement."""
        ahead = task.inside(self.x + per_sample(self.step, self.x) * task.ball.steepest(self.gradient))
        moved = self.x + momentum * (ahead - self.x) + (1 - momentum) * (self.x - self.before)
        self.x, self.before = task.inside(moved), self.x


def _climb(task: _Task, x_start: Tensor, steps: int, early_stop: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Points, their losses and whether they fool, after one run from `x_start`."""
    walk, rows = _Walk.begin(task, task.inside(x_start)), torch.arange(len(x_start), device=x_start.device)
    found, height, fooled = walk.found.clone(), walk.found_loss.clone(), walk.fooled.clone()
    checks, last = checkpoints(steps), 0
    for done in range(steps + 1):
        walk.look(task, gradient=done < steps, early_stop=early_stop)
        if done == 0:
            walk.judged_loss = walk.best_loss.clone()
        kept = filled_up(~walk.fooled) if early_stop else rows
        if done == steps or len(kept) < len(rows):
            found[rows], height[rows], fooled[rows] = walk.found, walk.found_loss, walk.fooled
            if done == steps or not len(kept):
                break
            task, walk, rows = task.only(kept), walk.only(kept), rows[kept]
        if done in checks:
            walk.judge(done - last)
            last = done
        walk.advance(task, MOMENTUM if done else 1.0)
    return found, height, fooled


def _worst_case(
    task: _Task,
    steps: int,
    restarts: int,
    early_stop: bool,
    x_init: Tensor | None,
    generator: torch.Generator | None,
) -> Tensor:
    worst, rows = task.x.clone(), torch.arange(len(task.x), device=task.x.device)
    fooled = torch.zeros_like(rows, dtype=torch.bool)
    height = torch.full_like(worst.flatten(1)[:, 0], -torch.inf)
    for run in range(restarts):
        # Drawn for all, so that a start does not depend on who else is still standing.
        start = x_init if x_init is not None and run == 0 else task.random_start(generator)
        kept = filled_up(~fooled) if early_stop else rows
        if not len(kept):
            break
        found, now_height, now_fooled = _climb(task.only(kept), start[kept], steps, early_stop)
        worse = torch.where(now_fooled == fooled[kept], now_height > height[kept], now_fooled)
        if early_stop:
            worse &= ~fooled[kept]  # such samples only fill the batch up
        worst[kept[worse]] = found[worse]
        fooled[kept[worse]], height[kept[worse]] = now_fooled[worse], now_height[worse]
    return worst
