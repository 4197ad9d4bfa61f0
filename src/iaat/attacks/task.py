"""One batch under attack: what is climbed, and the gradient it is climbed by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from iaat.attacks.context import Mode, attack_mode
from iaat.attacks.geometry import Geometry
from iaat.attacks.inputs import Classifier
from iaat.attacks.losses import AttackLoss, objective
from iaat.errors import UserError
from iaat.runtime.deferred import judge_arrived


@dataclass(frozen=True, slots=True)
class Task:
    """One batch under attack, every field of it per sample but the first five; `box` is made by `boxed`."""

    model: Classifier
    ball: Geometry
    loss: str | AttackLoss
    targeted: bool
    bounds: tuple[float, float] | None
    x: Tensor
    y: Tensor
    radius: Tensor
    step: Tensor
    clean_logits: Tensor | None
    loss_data: Tensor | None = None
    box: tuple[Tensor, Tensor] | None = None

    def boxed(self) -> Task:
        """The same task with its region as a lower and an upper bound a pixel, in the norm where it is a box."""
        return replace(self, box=_box(self.x, self.radius, self.bounds)) if self.ball.is_box else self

    def only(self, rows: Tensor | slice) -> Task:
        """The samples at positions `rows`; of a slice views, which cost nothing."""
        return replace(
            self,
            x=self.x[rows],
            y=self.y[rows],
            radius=self.radius[rows],
            step=self.step[rows],
            clean_logits=None if self.clean_logits is None else self.clean_logits[rows],
            loss_data=None if self.loss_data is None else self.loss_data[rows],
            box=None if self.box is None else (self.box[0][rows], self.box[1][rows]),
        )

    def start(self, random: bool, generator: torch.Generator | None, x_init: Tensor | None = None) -> Tensor:
        """Where the attack begins, in memory of its own: `x_init`, a uniform draw in the ball, or the clean inputs."""
        if x_init is not None:
            return self.inside(x_init)
        if not random:
            return self.x.clone()
        return self.inside(self.x + self.ball.random(self.x, self.radius, generator))

    def inside(self, x_adv: Tensor) -> Tensor:
        """`x_adv` projected into the ball and the bounds."""
        return inside(x_adv, self.x, self.radius, self.ball, self.bounds)

    def gradient(self, x_adv: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient `[B, ...]` of the objective at `x_adv` itself, never through a projection, and the logits there."""
        leaf = x_adv.detach().requires_grad_()
        logits = self.model(leaf)
        return gradient_of(self.objective(logits), leaf), logits.detach()

    def ascend(self, x_adv: Tensor, gradient: Tensor) -> Tensor:
        """One projected step of steepest ascent from `x_adv`, which is overwritten and returned; so is the gradient."""
        if self.box is None:
            return x_adv.copy_(self.inside(x_adv + self.step * self.ball.steepest(gradient)))
        direction = gradient.sign_().nan_to_num_(nan=0.0)
        return x_adv.addcmul_(direction, self.step).clamp_(*self.box)

    def objective(self, logits: Tensor) -> Tensor:
        """What is climbed, `[B]`.

        Raises:
            UserError: the loss does not return one value a sample.
        """
        climbed = objective(self.loss, self.targeted, self.clean_logits, self.loss_data)
        return one_each(climbed(logits, self.y), len(logits))

    def fooled(self, logits: Tensor) -> Tensor:
        """`[B]` bool: where the attack has what it wants."""
        hit = logits.argmax(dim=1) == self.y
        return hit if self.targeted else ~hit


@contextmanager
def attacking(model: nn.Module, x: Tensor, y: Tensor, mode: Mode = "eval") -> Iterator[tuple[Tensor, Tensor]]:
    """The state an attack runs in: the model in `mode` and frozen, gradients on; gives the `x` and `y` to work with."""
    with attack_mode(model, mode), torch.inference_mode(False), torch.enable_grad():
        # What was made in inference mode can have no gradient; its clone can.
        x, y = (each.clone() if each.is_inference() else each.detach() for each in (x, y))
        yield x, y.long()
    judge_arrived()


def inside(x_adv: Tensor, x: Tensor, radius: Tensor, ball: Geometry, bounds: tuple[float, float] | None) -> Tensor:
    """`x_adv` projected into the ball of `radius` `[B, 1, ...]` around `x`, then into the bounds."""
    x_adv = x + ball.project(x_adv - x, radius)
    return x_adv if bounds is None else x_adv.clamp(*bounds)


def _box(x: Tensor, radius: Tensor, bounds: tuple[float, float] | None) -> tuple[Tensor, Tensor]:
    low, high = x - radius, x + radius
    return (low, high) if bounds is None else (low.clamp_(*bounds), high.clamp_(*bounds))


def one_each(value: Tensor, n: int) -> Tensor:
    """The losses of `n` samples, if they are one a sample.

    Raises:
        UserError: they are of another shape.
    """
    shape = getattr(value, "shape", ())  # a plain number has none
    if shape != (n,):
        raise UserError(
            f"the loss returned a tensor of shape {list(shape)} for a batch of {n}: it must return one value a "
            "sample, [B]; pass reduction='none'"
        )
    return value


def gradient_of(values: Tensor, leaf: Tensor, *, keep_graph: bool = False) -> Tensor:
    """Gradient `[B, ...]` at the inputs `leaf` of values `[B]`, each of which depends on its own sample.

    Raises:
        UserError: no path leads from the values back to the inputs.
    """
    gradient, scale = None, _scale(leaf)
    if values.requires_grad:
        height = values.sum() if scale == 1 else values.sum() * scale
        (gradient,) = torch.autograd.grad(height, leaf, retain_graph=keep_graph, allow_unused=True)
    if gradient is None:
        raise UserError(
            "no gradient path leads from the model's logits back to its inputs: look for detach, no_grad, argmax or a "
            "comparison in its forward; `iaat evaluate --suspicious` says what can still be measured"
        )
    return gradient if scale == 1 else gradient / scale


_FP16_SCALE = 1024.0


def _scale(leaf: Tensor) -> float:
    """Factor on what is climbed: in fp16 the gradients of samples that are safe would underflow and stop the attack."""
    kind = leaf.device.type
    half = (
        torch.amp.is_autocast_available(kind)
        and torch.is_autocast_enabled(kind)
        and torch.get_autocast_dtype(kind) == torch.float16
    )
    return _FP16_SCALE if half else 1.0


def lengths(value: float | Tensor, x: Tensor) -> Tensor:
    """Lengths as a tensor; negative and NaN ones become 0 without waiting for the device."""
    return torch.as_tensor(value, dtype=x.dtype, device=x.device).nan_to_num(0.0).clamp_min(0)
