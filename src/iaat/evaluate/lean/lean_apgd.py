"""Auto-PGD of the reference, without the samples that it has broken.

Source: Croce & Hein 2020 (arXiv 2003.01690), algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.checks import check_zero_gradients
from torch import Tensor
from torch.nn.functional import cross_entropy

_MOMENTUM = 0.75
_LEAVE = 8
"""Broken samples leave once one sample in so many is broken."""


@dataclass(frozen=True, slots=True)
class _State:
    """The attack on `b` samples after a step; all tensors have b rows.

    Attributes:
        row: Position in the batch.
        x: Clean inputs, of labels `y`.
        target: Class aimed at; None in an untargeted attack.
        low: Lowest values allowed in L-inf, by ball and image range; None in L2.
        high: Highest.
        point: Iterate to go on from; `gradient` is that of the loss there.
        before: The one that the step before went on from.
        tried: Iterate of the last step; `loss` is that there, 0 before the first step.
        wrong: Whether it is misclassified.
        best: Iterate of the largest loss; `best_gradient` and `best_loss` are those there.
        step: Step size `[b, 1, ...]`.
        rises: How often the loss has risen since the step size was last checked.
        checked_loss: `best_loss` at that check.
        halved: Whether that check halved the step size.
    """

    row: Tensor
    x: Tensor
    y: Tensor
    target: Tensor | None
    low: Tensor | None
    high: Tensor | None
    point: Tensor
    gradient: Tensor
    before: Tensor
    tried: Tensor
    loss: Tensor
    wrong: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    step: Tensor
    rises: Tensor
    checked_loss: Tensor
    halved: Tensor

    def __getitem__(self, rows: Tensor) -> _State:
        values: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        chosen: dict[str, Any] = {name: None if value is None else value[rows] for name, value in values.items()}
        return _State(**chosen)

    def equals(self, other: _State) -> bool:
        """Whether all values are equal bit for bit."""
        pairs = ((getattr(self, each.name), getattr(other, each.name)) for each in fields(self))
        return all(mine is its or torch.equal(mine, its) for mine, its in pairs)


class _WithoutBroken:
    """Auto-PGD in which broken samples leave, because their verdict is known and nothing is drawn after the start.

    A model may round a sample's logits differently in a smaller batch. So where samples are to leave, one step is taken
    with and without them; unless that of the others is equal bit for bit, nobody leaves until the end.
    """

    def attack_single_run(self: Any, x: Tensor, y: Tensor, x_init: Tensor | None = None) -> tuple[Any, ...]:
        """As the reference: `(_, robust [n], _, x_adv [n, ...])`; what its `perturb` does not use is None.

        Of a broken sample it is the first adversarial iterate that is returned, where the reference returns the last.
        """
        if self.norm == "L1" or x_init is not None or self.eot_iter != 1:
            return tuple(super().attack_single_run(x, y, x_init))  # type: ignore[misc]
        state = self._first(x, y)
        robust, found = ~state.wrong, state.point.clone()
        window, since, may_leave = self.n_iter_2, 0, True
        for number in range(self.n_iter):
            since += 1
            checked = window if since == window else 0
            stay = robust[state.row]
            staying = int(stay.sum())
            if not staying:
                break
            after = self._next(state, number, checked)
            if may_leave and (len(stay) - staying) * _LEAVE >= len(stay) > staying:
                fewer = self._next(state[stay], number, checked)
                may_leave = fewer.equals(after[stay])
                after = fewer if may_leave else after
            state = after
            if checked:
                window, since = max(window - self.size_decr, self.n_iter_min), 0
            new = state.wrong & robust[state.row]
            found[state.row[new]] = state.tried[new]
            robust[state.row[new]] = False
        return None, robust, None, found

    def _first(self: Any, x: Tensor, y: Tensor) -> _State:
        """The random start with its gradient."""
        linf = self.norm == "Linf"
        drawn = (2 * torch.rand(x.shape) - 1 if linf else torch.randn(x.shape)).to(x.device)
        start = (x + self.eps * self.normalize(drawn)).clamp(0.0, 1.0)
        target = self.y_target if self.loss == "dlr-targeted" else None
        loss, wrong, gradient = self._gradient(start, y, target)
        if self.loss != "ce":
            check_zero_gradients(gradient, logger=self.logger)
        return _State(
            row=torch.arange(len(x), device=x.device),
            x=x,
            y=y,
            target=target,
            low=(x - self.eps).clamp(0.0, 1.0) if linf else None,
            high=(x + self.eps).clamp(0.0, 1.0) if linf else None,
            point=start,
            gradient=gradient,
            before=start,
            tried=start,
            loss=torch.zeros_like(loss),  # the reference's first step counts as a rise if its loss is positive
            wrong=wrong,
            best=start,
            best_gradient=gradient,
            best_loss=loss,
            step=torch.full((len(x), *[1] * (x.ndim - 1)), 2.0 * self.eps, device=x.device),
            rises=torch.zeros_like(y),
            checked_loss=loss,
            halved=torch.ones_like(wrong),
        )

    def _next(self: Any, state: _State, number: int, checked: int) -> _State:
        """One step; where `checked` is not 0, then the check of the step sizes, after so many steps."""
        point = self._stepped(state, _MOMENTUM if number else 1.0)
        loss, wrong, gradient = self._gradient(point, state.y, state.target)
        higher = loss > state.best_loss
        after = replace(
            state,
            point=point,
            gradient=gradient,
            before=state.point,
            tried=point,
            loss=loss,
            wrong=wrong,
            best=_pick(higher, point, state.best),
            best_gradient=_pick(higher, gradient, state.best_gradient),
            best_loss=torch.where(higher, loss, state.best_loss),
            rises=state.rises + (loss > state.loss),
        )
        return self._checked(after, checked) if checked else after

    def _checked(self: Any, state: _State, steps: int) -> _State:
        """Halve the step size and go back to the best iterate where the loss rose too rarely, or not at all."""
        stuck = ~state.halved & (state.checked_loss >= state.best_loss)
        halve = (state.rises <= steps * self.thr_decr) | stuck
        return replace(
            state,
            point=_pick(halve, state.best, state.point),
            gradient=_pick(halve, state.best_gradient, state.gradient),
            step=_pick(halve, state.step / 2, state.step),
            rises=torch.zeros_like(state.rises),
            checked_loss=state.best_loss,
            halved=halve,
        )

    def _stepped(self: Any, state: _State, share: float) -> Tensor:
        """The next iterate: a step, mixed by `share` with the move before it."""
        point, move = state.point, state.point - state.before
        if state.low is not None:
            there = torch.clamp(point + state.step * state.gradient.sign(), state.low, state.high)
            return torch.clamp(point + (there - point) * share + move * (1 - share), state.low, state.high)
        there = _into_ball(point + state.step * self.normalize(state.gradient), state.x, self.eps)
        return _into_ball(point + (there - point) * share + move * (1 - share), state.x, self.eps)

    def _gradient(self: Any, point: Tensor, y: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Losses `[b]` at a point, whether it is misclassified, and the gradient to it."""
        leaf = point.detach().requires_grad_()
        with torch.enable_grad():
            logits = self.model(leaf)
            loss = self._losses(logits, y, target)
            (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        # Contiguous, as the reference's: norms are summed in the order of the memory.
        return loss.detach(), logits.detach().max(1)[1] != y, gradient.contiguous()

    def _losses(self: Any, logits: Tensor, y: Tensor, target: Tensor | None) -> Tensor:
        if self.loss == "ce":
            return cross_entropy(logits, y, reduction="none")
        if target is None:
            losses: Tensor = self.dlr_loss(logits, y)
            return losses
        self.y_target = target  # where the reference's loss looks for it
        targeted: Tensor = self.dlr_loss_targeted(logits, y)
        return targeted


def _into_ball(point: Tensor, x: Tensor, radius: float) -> Tensor:
    """The projection onto the L2 ball around `x`, then clipped."""
    away = point - x
    norm = (away**2).view(len(x), -1).sum(-1).sqrt().view(-1, *[1] * (x.ndim - 1))
    return torch.clamp(x + away / (norm + 1e-12) * norm.clamp(max=radius), 0.0, 1.0)


def _pick(rows: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Rows of `first` where `rows` `[b]` is True, else of `second`."""
    return torch.where(rows.view(-1, *[1] * (first.ndim - 1)), first, second)


class LeanAPGD(_WithoutBroken, APGDAttack):  # type: ignore[misc]
    """APGD on cross-entropy or DLR."""


class LeanAPGDT(_WithoutBroken, APGDAttack_targeted):  # type: ignore[misc]
    """APGD on the targeted DLR loss."""
