"""Auto-PGD (APGD): gradient ascent that adapts its step size per sample."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from iaat.attacks.attack_state import AttackState, attack_state
from iaat.attacks.batching import padded_rows
from iaat.attacks.geometry import per_sample
from iaat.attacks.losses import LOSSES, AttackLoss, PerSampleLoss, resolve_loss, targeted_dlr, targeted_margin
from iaat.attacks.restarts import RunResult, worst_case
from iaat.errors import UserError, check_choice, shown
from iaat.units import Norm

MOMENTUM = 0.75
"""Weight of the new step against the last one (`alpha`)."""
RHO = 0.75
"""Fraction of the steps since the last checkpoint that must raise the loss, or the step is halved."""
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
    """Adversarial examples within `radius` of `x` by Auto-PGD; the model in eval mode.

    The step size starts at `2 * radius`. At checkpoints that come ever closer, a sample without a rising loss goes
    back to its best point and halves its step size. All decisions are made for each sample alone. The model is left as
    by `pgd`.

    Args:
        model: Maps inputs `[B, ...]` to logits `[B, classes]`.
        x: Clean inputs `[B, ...]` of any rank and floating-point, inside `bounds`; an empty batch comes back empty.
        y: True classes `[B]`.
        radius: Largest norm of a perturbation, in the forms of `pgd`.
        steps: Gradient steps, at least 1; each run costs one forward more, without its backward.
        norm: `linf` or `l2`.
        loss: `ce`, `margin`, `dlr`, or a callable `(logits, y) -> [B]` to maximise.
        targets: `[B]` classes to move towards. A sample is adversarial once it is misclassified, as any class. A
            callable loss is then called with the targets and minimised.
        restarts: Independent runs. For each sample the worst is kept: an adversarial point before others, then the
            larger loss.
        early_stop: A sample stays where it is adversarial, and leaves the batch as soon as the rest fits a smaller
            multiple of 32.
        precision: `fp32`, `bf16`, or `auto` for bfloat16 where the device is faster in it. Losses are
            always float32, and only points that are adversarial in the precision of `x` count.
        bounds: Smallest and largest value of an input; None for unbounded inputs.
        x_init: First point of the first run `[B, ...]`, projected into the ball; a uniform draw from the ball if None.
        generator: Source of the random starts; PyTorch's global one if None.

    Returns:
        Adversarial inputs `[B, ...]`, detached, inside the ball and inside `bounds`; the point of the largest loss
        where no point was adversarial.

    Raises:
        UserError: a radius above the range of the inputs or negative, steps or restarts below 1, an unknown norm, loss
            or precision, too few classes for `dlr`, integer inputs, or a loss that does not return `[B]`.

    Source: Croce & Hein 2020 (arXiv 2003.01690), Algorithm 1, its conditions 1 and 2 and section 3.2. A checkpoint is
    reviewed as soon as its point is reached, one step before their listing does.

    Example:
        >>> import torch
        >>> from iaat.attacks import apgd
        >>> model = torch.nn.Identity()  # the inputs are the logits
        >>> x, y = torch.tensor([[0.6, 0.4], [0.9, 0.1]]), torch.tensor([0, 0])
        >>> x_adv = apgd(model, x, y, radius=0.2, steps=10)
        >>> model(x_adv).argmax(dim=1)  # the second is 0.4 away from the boundary
        tensor([1, 0])
    """
    check_choice(precision, PRECISIONS, "precision")
    if not callable(loss):
        check_choice(loss, LOSSES, "loss")
    _check_targets(targets, x)
    with attack_state(
        model,
        x,
        y,
        radius=radius,
        norm=norm,
        bounds=bounds,
        loss=loss if targets is None else _targeted(loss, targets),
        steps=steps,
        x_init=x_init,
        precision=precision,
    ) as state:
        if not len(x):
            return state.x.clone()
        whole = state

        def run(state: AttackState, number: int, rows: Tensor) -> RunResult:
            # Drawn for all, so that a start does not depend on which samples are left.
            start = whole.start(None if number else x_init, generator)
            return _run(state, start[rows], steps, early_stop)

        return worst_case(state, restarts, run, early_stop=early_stop)


def _check_targets(targets: Tensor | None, x: Tensor) -> None:
    if targets is not None and not isinstance(targets, Tensor):
        raise UserError(
            f"targets = {shown(targets)}: pass class numbers [B] as a tensor; for a number of classes in turn, apgd_t"
        )
    if targets is not None and (targets.shape != (len(x),) or targets.is_floating_point()):
        raise UserError(
            f"targets of shape {list(targets.shape)} and {targets.dtype} do not fit a batch of {len(x)}: pass class "
            "numbers [B]"
        )


def _targeted(loss: str | AttackLoss, targets: Tensor) -> PerSampleLoss:
    """Loss of the way from the class `y` to the targets `[B]`."""
    if loss in ("dlr", "margin"):
        return PerSampleLoss(targeted_dlr if loss == "dlr" else targeted_margin, targets)
    away = resolve_loss(loss)
    return PerSampleLoss(lambda logits, _y, target: -away(logits, target), targets)


def checkpoints(steps: int) -> list[int]:
    """Numbers of steps after which step sizes are reviewed: periods of 22 % of all, each 3 % shorter, at least 6 %."""
    percent, period, found = 22, 22, []
    while percent < 100:
        found.append(-(-percent * steps // 100))  # integers: a float would round 57.00000001 up to 58
        period = max(period - 3, 6)
        percent += period
    return found


@dataclass(slots=True)
class _Progress:
    """What APGD knows of each sample: points and gradients `[B, ...]`, the rest `[B]`.

    `best` is the point of the largest loss, to which the algorithm returns; `found` is the one to be returned.
    """

    x_adv: Tensor
    previous: Tensor
    gradient: Tensor
    loss: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    found: Tensor
    found_loss: Tensor
    adversarial: Tensor
    step: Tensor
    rises: Tensor
    checkpoint_loss: Tensor
    halved: Tensor

    @classmethod
    def begin(cls, state: AttackState, x_adv: Tensor) -> _Progress:
        none = torch.zeros(len(x_adv), dtype=torch.bool, device=x_adv.device)
        lowest = torch.full_like(x_adv.flatten(1)[:, 0], -torch.inf)
        return cls(
            x_adv=x_adv,
            previous=x_adv,
            gradient=torch.zeros_like(x_adv),
            loss=lowest.new_full(lowest.shape, torch.inf),  # the first evaluation is not a rise
            best=x_adv.clone(),
            best_gradient=torch.zeros_like(x_adv),
            best_loss=lowest.clone(),
            found=x_adv.clone(),
            found_loss=lowest.clone(),
            adversarial=none,
            step=2 * state.radius.flatten(),
            rises=torch.zeros_like(lowest),
            checkpoint_loss=lowest.clone(),
            halved=none,
        )

    def only(self, rows: Tensor) -> _Progress:
        return _Progress(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def evaluate(self, state: AttackState, *, gradient: bool, early_stop: bool) -> None:
        """Evaluate the model at `x_adv` and keep what is better than before."""
        if gradient:
            logits, loss, self.gradient = state.evaluate(self.x_adv)
        else:
            logits, loss = state.evaluate_loss(self.x_adv)
        loss = loss.to(self.loss).nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
        self.rises += loss > self.loss
        self.loss = loss

        active = ~self.adversarial if early_stop else torch.ones_like(self.adversarial)
        adversarial = _confirmed(state, self.x_adv, state.is_adversarial(logits) & active)
        better = torch.where(adversarial == self.adversarial, loss > self.found_loss, adversarial) & active
        self.found[better], self.found_loss[better] = self.x_adv[better], loss[better]
        self.adversarial = self.adversarial | adversarial

        higher = loss > self.best_loss
        self.best[higher], self.best_loss[higher] = self.x_adv[higher], loss[higher]
        self.best_gradient[higher] = self.gradient[higher]

    def review_step(self, period: int) -> None:
        """Conditions 1 and 2 at a checkpoint `period` steps after the last one: halve the step, return to `best`."""
        stuck = ~self.halved & (self.best_loss == self.checkpoint_loss)
        self.halved = (self.rises < RHO * period) | stuck
        self.step = torch.where(self.halved, self.step / 2, self.step)
        self.loss = torch.where(self.halved, self.best_loss, self.loss)
        back = per_sample(self.halved, self.x_adv) > 0
        self.x_adv = torch.where(back, self.best, self.x_adv)
        self.gradient = torch.where(back, self.best_gradient, self.gradient)
        self.checkpoint_loss, self.rises = self.best_loss.clone(), torch.zeros_like(self.rises)

    def advance(self, state: AttackState, momentum: float) -> None:
        """Take a step, weighted `momentum`, plus a fraction of the last movement."""
        x, step = self.x_adv, per_sample(self.step, self.x_adv)
        ahead = state.project(x + step * state.ball.steepest(self.gradient))
        moved = x + momentum * (ahead - x) + (1 - momentum) * (x - self.previous)
        self.x_adv, self.previous = state.project(moved), x


def _confirmed(state: AttackState, x_adv: Tensor, adversarial: Tensor) -> Tensor:
    """Those of the samples `adversarial` `[B]` bool that are so in full precision, too."""
    if state.model.precision == "bf16" and len(rows := padded_rows(adversarial)):
        model = replace(state.model, precision="fp32")
        with torch.no_grad():
            adversarial[rows] &= state.is_adversarial(model(x_adv[rows]), rows)
    return adversarial


def _run(state: AttackState, start: Tensor, steps: int, early_stop: bool) -> RunResult:
    """One run of APGD from `start`."""
    progress, rows = _Progress.begin(state, start), torch.arange(len(start), device=start.device)
    outcome = RunResult(progress.found.clone(), progress.found_loss.clone(), progress.adversarial.clone())
    checks, last = checkpoints(steps), 0
    for done in range(steps + 1):
        progress.evaluate(state, gradient=done < steps, early_stop=early_stop)
        if done == 0:
            progress.checkpoint_loss = progress.best_loss.clone()
        kept = padded_rows(~progress.adversarial) if early_stop else rows
        if done == steps or len(kept) < len(rows):
            for whole, part in zip(outcome, (progress.found, progress.found_loss, progress.adversarial), strict=True):
                whole[rows] = part
            if done == steps or not len(kept):
                break
            state, progress, rows = state.only(kept), progress.only(kept), rows[kept]
        if done in checks:
            progress.review_step(done - last)
            last = done
        progress.advance(state, MOMENTUM if done else 1.0)
    return outcome
