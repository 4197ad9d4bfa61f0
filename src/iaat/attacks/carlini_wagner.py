"""Carlini-Wagner attacks: L2 as published, and PGD on their margin loss, known as `CW-inf`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from iaat.attacks.attack_state import AttackState, attack_state
from iaat.attacks.batching import padded_rows
from iaat.attacks.geometry import per_sample
from iaat.attacks.losses import AttackLoss, Targeted, margin
from iaat.attacks.pgd import pgd
from iaat.errors import UserError, check_choice
from iaat.units import Norm

EDGE = 1e-6
"""Fraction of the range by which the search starts away from the bounds, where the variables are infinite."""
LARGEST = 1e10
"""Largest constant tried, as in the authors' code."""


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
    """Adversarial examples by PGD on the margin loss up to `confidence`: `CW-inf` as adversarial training reports it.

    Carlini and Wagner's own L-inf attack is another one, which shrinks the radius on its way and is hardly ever run.

    Args:
        model: Maps inputs `[B, ...]` to logits `[B, classes]`; in eval mode.
        x: Clean inputs `[B, ...]` inside `bounds`.
        y: Labels `[B]`; with `targeted`, the classes to reach.
        radius: Largest norm of a perturbation, in the forms of `pgd`.
        steps: Gradient steps, at least 1.
        step_size: Norm of a step, in the forms of `radius`; `2.5 * radius / steps` by default.
        confidence: Lead of another class over `y`, in logits, at which a sample gets no gradient; at least 0 (`kappa`).
        norm: `linf` or `l2`.
        targeted: Move towards the classes `y` instead of away from them.
        random_start: Start from a uniform draw in the ball instead of from `x`.
        bounds: Smallest and largest value of an input; None for unbounded inputs.
        generator: Source of the random start; PyTorch's global one if None.

    Returns:
        Adversarial inputs `[B, ...]`, detached, inside the ball and inside `bounds`.

    Raises:
        UserError: a confidence that is negative or NaN, and what `pgd` refuses.

    Source: the loss f6 of Carlini & Wagner 2017 (arXiv 1608.04644, section V.A, with the kappa of VI.A) by PGD as
    in Madry et al. 2018 (arXiv 1706.06083, section 5: confidence 50); 30 steps as in MART (Wang et al. 2020).

    Example:
        >>> import torch
        >>> from iaat.attacks import cw_pgd
        >>> model = torch.nn.Identity()  # the inputs are the logits
        >>> x, y = torch.tensor([[0.6, 0.4], [0.9, 0.1]]), torch.tensor([0, 0])
        >>> x_adv = cw_pgd(model, x, y, radius=0.2)
        >>> model(x_adv).argmax(dim=1)  # the second is 0.4 away from the boundary
        tensor([1, 0])
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
        x_init=None if random_start else x,
        bounds=bounds,
        generator=generator,
    )


def _capped_margin(confidence: float, targeted: bool) -> AttackLoss:
    """Margin loss, constant where the lead of another class, or of the target, exceeds `confidence`."""
    if targeted:
        return Targeted(lambda logits, y: margin(logits, y).clamp_min(-confidence))
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
    """Adversarial examples as close to `x` in L2 as found, by the attack of Carlini and Wagner; the model in eval mode.

    With x' = tanh(w), scaled to `bounds`, Adam minimises `||x' - x||^2 + c * max(confidence - lead, 0)` over w. The
    lead is that of the largest other logit over that of `y`. The constant c of each sample is searched: times 10 until
    the first success, then by bisection. It takes `steps * searches` forwards and backwards.

    Args:
        model: Maps inputs `[B, ...]` to logits `[B, classes]`.
        x: Clean inputs `[B, ...]` of any rank, float32 or wider, inside `bounds`; an empty batch comes back empty.
        y: Labels `[B]`; with `targeted`, the classes to reach.
        radius: None keeps whatever is found. With a radius, in the forms of `pgd`, only perturbations within it count.
        steps: Steps of Adam for each constant, at least 1. Numbers that sit on a bound leave it slowly: at the
            default rate few have after 100 steps, all after 300.
        searches: Constants tried for each sample, at least 1.
        learning_rate: Of Adam, above 0.
        confidence: Lead that counts as success, in logits; at least 0 (`kappa`).
        initial: First constant, above 0.
        norm: `l2`. All attacks take one.
        targeted: Move towards the classes `y` instead of away from them.
        bounds: Smallest and largest value of an input, both finite.
        generator: Not used: nothing is drawn. All attacks take one.

    Returns:
        Inputs `[B, ...]`, detached, inside `bounds`: an adversarial one where found (within the radius, if given), the
        clean one elsewhere and where it leads by `confidence` already.

    Raises:
        UserError: a radius `pgd` would refuse, a setting out of the range above, or inputs that are integers or in
            half precision.

    Source: Carlini & Wagner 2017 (arXiv 1608.04644), section VI.A; loss f6, Adam at 0.01, first constant 1e-3 and 9
    searches as in the authors' code, which takes 10,000 steps, and stops a search that no longer falls.

    Example:
        >>> import torch
        >>> from iaat.attacks import cw_l2
        >>> model = torch.nn.Identity()  # the inputs are the logits
        >>> x, y = torch.tensor([[0.6, 0.4]]), torch.tensor([0])
        >>> x_adv = cw_l2(model, x, y, steps=100)  # the boundary is 0.1 * 2**0.5 = 0.141 away
        >>> f"{(x_adv - x).norm():.2f}", model(x_adv).argmax(dim=1)
        ('0.14', tensor([1]))
    """
    check_choice(norm, ("l2",), "norm")
    _check_search(searches, learning_rate, confidence, initial, bounds)
    if getattr(x, "dtype", None) in (torch.float16, torch.bfloat16):
        raise UserError(f"x is {x.dtype}, too coarse for this search: pass x.float(), and model.float()")
    with attack_state(
        model,
        x,
        y,
        radius=0.0 if radius is None else radius,
        norm=norm,
        bounds=bounds,
        loss=Targeted("margin") if targeted else "margin",
        steps=steps,
    ) as state:
        x_adv = state.x.clone()
        if not len(x):
            return x_adv
        active = state.evaluate_loss(state.x)[1] <= confidence
        if len(rows := padded_rows(active)):
            found = _search(state.only(rows), _Adam(steps, learning_rate, confidence, bounds), searches, initial)
            x_adv[rows] = torch.where(per_sample(active[rows], found) > 0, found, state.x[rows])
        return x_adv if radius is None else state.revert_outside(x_adv)


def _search(state: AttackState, adam: _Adam, searches: int, initial: float) -> Tensor:
    """Nearest adversarial inputs `[B, ...]` over all constants tried; `x` where there was none."""
    best, best_square = state.x.clone(), torch.full_like(state.x.flatten(1)[:, 0], torch.inf)
    low, high = torch.zeros_like(best_square), torch.full_like(best_square, torch.inf)
    constant = torch.full_like(best_square, initial)
    for _ in range(searches):
        point, square = adam.minimise(state, constant)
        nearer = square < best_square
        best = torch.where(per_sample(nearer, best) > 0, point, best)
        best_square = torch.where(nearer, square, best_square)
        found = square.isfinite()
        high = torch.where(found, high.minimum(constant), high)
        low = torch.where(found, low, low.maximum(constant))
        constant = torch.where(high.isfinite(), (low + high) / 2, (10 * constant).clamp_max(LARGEST))
    return best


@dataclass(frozen=True, slots=True)
class _Adam:
    """Minimisation for one constant: settings, and the change of variables that keeps inputs within `bounds`."""

    steps: int
    learning_rate: float
    confidence: float
    bounds: tuple[float, float]

    def minimise(self, state: AttackState, constant: Tensor) -> tuple[Tensor, Tensor]:
        """Nearest adversarial input `[B, ...]` on the way and its squared distance `[B]`, infinite where none."""
        best, best_square = state.x, torch.full_like(constant, torch.inf)
        variables = self._variables(state.x).requires_grad_()
        optimizer = torch.optim.Adam([variables], lr=self.learning_rate)
        for _ in range(self.steps):
            point = self._inputs(variables)
            lead = state.objective(state.model(point))
            square = (point - state.x).square().flatten(1).sum(dim=1)
            nearer = (lead > self.confidence) & (square < best_square)
            best = torch.where(per_sample(nearer, point) > 0, point.detach().clamp(*self.bounds), best)
            best_square = torch.where(nearer, square.detach(), best_square)
            loss = square + constant * (self.confidence - lead).clamp_min(0)
            (variables.grad,) = torch.autograd.grad(loss.sum(), variables)
            optimizer.step()
        return best, best_square

    def _variables(self, x: Tensor) -> Tensor:
        low, high = self.bounds
        return (((x - low) / (high - low) * 2 - 1) * (1 - EDGE)).atanh()

    def _inputs(self, variables: Tensor) -> Tensor:
        low, high = self.bounds
        return low + (variables.tanh() + 1) / 2 * (high - low)


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
