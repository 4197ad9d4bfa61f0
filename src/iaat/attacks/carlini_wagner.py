"""The attacks of Carlini and Wagner: their L2 attack as published, and PGD on their margin that goes by `CW-inf`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from iaat.attacks.batching import filled_up
from iaat.attacks.geometry import geometry, per_sample
from iaat.attacks.inputs import Classifier, check_inputs
from iaat.attacks.losses import AttackLoss, margin
from iaat.attacks.minimal import judged
from iaat.attacks.pgd import pgd
from iaat.attacks.task import attacking, lengths
from iaat.errors import UserError, check_choice
from iaat.units import Norm, Radius

EDGE = 1e-6
"""By which share of the range the search starts away from the bounds, whose variables would be infinite."""
LARGEST = 1e10
"""No constant beyond: the authors' code gives up there too."""


def cw_pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    radius: float | str | Tensor,
    steps: int = 30,
    step_size: float | str | Tensor | None = None,
    confidence: float = 50.0,
    norm: Norm = "linf",
    targeted: bool = False,
    random_start: bool = True,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    generator: torch.Generator | None = None,
) -> Tensor:
    """`CW-inf` as the literature on adversarial training reports it: PGD on the margin loss, up to `confidence`.

    Carlini and Wagner's own L-inf attack is another one, which shrinks the radius as it goes; hardly anybody runs it.

    Args:
        model: Maps inputs `[B, ...]` to logits `[B, classes]`; in eval mode.
        x: Clean inputs `[B, ...]` inside `bounds`.
        y: Labels `[B]`; with `targeted`, the classes to be reached.
        radius: Size of the ball, one number, text such as "8px", or `[B]`; as for `pgd`.
        steps: Gradient steps, at least 1.
        step_size: Length of a step, in the forms of `radius`; `2.5 * radius / steps` by default.
        confidence: Lead of the wrong class, in logits, beyond which a sample is left as it is; at least 0 (`kappa`).
        norm: `linf` or `l2`.
        targeted: Move towards the classes `y` instead of away from them.
        random_start: Start from a uniform draw in the ball instead of from `x`.
        bounds: Smallest and largest value of an input; None for unbounded inputs.
        generator: Source of the random start; PyTorch's global one if None.

    Returns:
        Adversarial inputs `[B, ...]`, detached, inside the ball and inside `bounds`.

    Raises:
        UserError: a confidence that is negative or NaN, and what `pgd` refuses.

    Source: the loss f6 of Carlini & Wagner 2017 (arXiv 1608.04644, section V.A, with the kappa of VI.A) climbed by PGD
    as in Madry et al. 2018 (arXiv 1706.06083, section 5: confidence 50); 30 steps as in MART (Wang et al. 2020).
    """
    if not confidence >= 0:
        raise UserError(f"confidence = {confidence:g}: must be at least 0")
    return pgd(
        model,
        x,
        y,
        radius=radius,
        steps=steps,
        step_size=step_size,
        norm=norm,
        loss=_capped_margin(confidence, targeted),
        targeted=targeted,
        random_start=random_start,
        bounds=bounds,
        generator=generator,
    )


def _capped_margin(confidence: float, targeted: bool) -> AttackLoss:
    """The margin, flat where the lead of the wrong class, or of the target, exceeds `confidence`."""
    if targeted:
        return lambda logits, y: margin(logits, y).clamp_min(-confidence)
    return lambda logits, y: margin(logits, y).clamp_max(confidence)


def cw_l2(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    radius: float | str | Tensor | None = None,
    steps: int = 1000,
    searches: int = 9,
    learning_rate: float = 0.01,
    confidence: float = 0.0,
    initial: float = 1e-3,
    norm: Norm = "l2",
    targeted: bool = False,
    bounds: tuple[float, float] = (0.0, 1.0),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Adversarial examples as near to `x` in L2 as found, by the attack of Carlini and Wagner; the model in eval mode.

    With x' = tanh(w), scaled to `bounds`, Adam minimises `||x' - x||^2 + c * max(confidence - lead, 0)` over w, where
    the lead is that of the wrong class over `y`. The constant c of each sample is searched: halved towards the largest
    that failed after a success, times 10 until the first. It takes `steps * searches` forwards and backwards.

    Args:
        model: Maps inputs `[B, ...]` to logits `[B, classes]`.
        x: Clean inputs `[B, ...]` of any rank, float32 or wider, inside `bounds`; an empty batch comes back empty.
        y: Labels `[B]`; with `targeted`, the classes to be reached.
        radius: None for whatever is found. A radius in the forms of `pgd` makes it an attack to be judged by: a sample
            counts only if its perturbation lies within its radius.
        steps: Steps of Adam for each constant, at least 1. Numbers that sit on a bound leave it slowly: at the
            default rate few have after 100 steps, all after 300.
        searches: Constants tried for each sample, at least 1.
        learning_rate: Of Adam, above 0.
        confidence: Lead of the wrong class that counts as success, in logits; at least 0 (`kappa`).
        initial: First constant, above 0.
        norm: `l2`; taken so that this stands wherever an attack does.
        targeted: Move towards the classes `y` instead of away from them.
        bounds: Smallest and largest value of an input, both finite.
        generator: Not used: nothing is drawn. Taken for the same reason as `norm`.

    Returns:
        Inputs `[B, ...]`, detached, inside `bounds`: an adversarial one where found (within the radius, if given), the
        clean one elsewhere and where it leads by `confidence` already.

    Raises:
        UserError: a radius `pgd` would refuse, a setting out of the range above, or integer inputs.

    Source: Carlini & Wagner 2017 (arXiv 1608.04644), section VI.A; loss f6, Adam at 0.01, first constant 1e-3 and 9
    searches as in the authors' code, which takes 10,000 steps, and stops a search that no longer falls.
    """
    check_choice(norm, ("l2",), "norm")
    ball = geometry(norm)
    radius = Radius(radius) if isinstance(radius, str) else radius
    labels = check_inputs(
        x,
        y,
        0.0 if radius is None else radius,
        steps=steps,
        norm=norm,
        bounds=bounds,
        loss="margin",
        targeted=targeted,
    )
    _check_search(searches, learning_rate, confidence, initial, bounds)
    with attacking(model, x, y) as (x, y):
        x_adv = x.clone()
        if not len(x):
            return x_adv
        task = _Task(Classifier(model, labels), x, y, bounds, targeted, confidence, steps, learning_rate)
        with torch.no_grad():
            standing = task.lead(task.model(x)) <= confidence
        if len(rows := filled_up(standing)):
            found = _search(task.only(rows), searches, initial)
            x_adv[rows] = torch.where(per_sample(standing[rows], found) > 0, found, x[rows])
        return x_adv if radius is None else judged(x, x_adv, lengths(radius, x), ball)


@dataclass(frozen=True, slots=True)
class _Task:
    """One batch under attack; all but `x` `[B, ...]` and `y` `[B]` are the same for every sample."""

    model: Classifier
    x: Tensor
    y: Tensor
    bounds: tuple[float, float]
    targeted: bool
    confidence: float
    steps: int
    learning_rate: float

    def only(self, rows: Tensor) -> _Task:
        return replace(self, x=self.x[rows], y=self.y[rows])

    def lead(self, logits: Tensor) -> Tensor:
        lead = margin(logits, self.y)
        return -lead if self.targeted else lead

    def variables(self) -> Tensor:
        low, high = self.bounds
        return (((self.x - low) / (high - low) * 2 - 1) * (1 - EDGE)).atanh()

    def inputs(self, variables: Tensor) -> Tensor:
        low, high = self.bounds
        return low + (variables.tanh() + 1) / 2 * (high - low)


def _search(task: _Task, searches: int, initial: float) -> Tensor:
    """Inputs `[B, ...]`: the nearest break of each sample over all constants tried, `x` where there was none."""
    best, best_square = task.x.clone(), torch.full_like(task.x.flatten(1)[:, 0], torch.inf)
    low, high = torch.zeros_like(best_square), torch.full_like(best_square, torch.inf)
    constant = torch.full_like(best_square, initial)
    for _ in range(searches):
        point, square = _descend(task, constant)
        nearer = square < best_square
        best = torch.where(per_sample(nearer, best) > 0, point, best)
        best_square = torch.where(nearer, square, best_square)
        found = square.isfinite()
        high = torch.where(found, high.minimum(constant), high)
        low = torch.where(found, low, low.maximum(constant))
        constant = torch.where(high.isfinite(), (low + high) / 2, (10 * constant).clamp_max(LARGEST))
    return best


def _descend(task: _Task, constant: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest break `[B, ...]` that a descent with `constant` `[B]` came by, and its squared distance or infinity."""
    best, best_square = task.x, torch.full_like(constant, torch.inf)
    variables = task.variables().requires_grad_()
    optimizer = torch.optim.Adam([variables], lr=task.learning_rate)
    for _ in range(task.steps):
        point = task.inputs(variables)
        lead = task.lead(task.model(point))
        square = (point - task.x).square().flatten(1).sum(dim=1)
        nearer = (lead > task.confidence) & (square < best_square)
        best = torch.where(per_sample(nearer, point) > 0, point.detach().clamp(*task.bounds), best)
        best_square = torch.where(nearer, square.detach(), best_square)
        loss = square + constant * (task.confidence - lead).clamp_min(0)
        (variables.grad,) = torch.autograd.grad(loss.sum(), variables)
        optimizer.step()
    return best, best_square


def _check_search(
    searches: int, learning_rate: float, confidence: float, initial: float, bounds: tuple[float, float] | None
) -> None:
    if searches < 1:
        raise UserError(f"searches = {searches}: an attack needs at least 1")
    for name, value in (("learning_rate", learning_rate), ("initial", initial)):
        if not 0 < value < math.inf:
            raise UserError(f"{name} = {value:g}: must be finite and above 0")
    if not 0 <= confidence < math.inf:
        raise UserError(f"confidence = {confidence:g}: must be finite and not negative")
    if bounds is None or not all(math.isfinite(bound) for bound in bounds):
        raise UserError(f"bounds = {bounds}: the change of variables needs a smallest and a largest value")
