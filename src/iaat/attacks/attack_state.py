"""State of a batch under attack: model, norm, objective; inputs, labels, radii and step sizes per sample."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from iaat.attacks.attack_mode import Mode, attack_mode
from iaat.attacks.geometry import Geometry, geometry, per_sample
from iaat.attacks.inputs import Classifier, as_length, check_inputs
from iaat.attacks.losses import AttackLoss, PerSampleLoss, Targeted, kl_from, resolve_loss
from iaat.errors import UserError
from iaat.runtime.async_checks import check_arrived, check_async
from iaat.runtime.device import uses_bfloat16
from iaat.units import Norm


class Evaluation(NamedTuple):
    """Model and objective at one point of each sample, all detached.

    Attributes:
        logits: `[B, classes]`.
        loss: `[B]`, the objective.
        gradient: `[B, ...]`, of the objective at the inputs.
    """

    logits: Tensor
    loss: Tensor
    gradient: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackState:
    """A batch under attack, as every attack sees it.

    Attributes:
        model: The model, in the mode of the attack and with frozen weights.
        ball: The norm.
        loss: The objective to maximise.
        bounds: Smallest and largest value of an input; None for unbounded inputs.
        x: Clean inputs `[B, ...]`.
        y: Labels `[B]`, or the classes to reach where `loss` is `Targeted`.
        radius: Radii `[B, 1, ...]`, finite and not negative.
        step: Step sizes `[B, 1, ...]`, likewise.
        box: Smallest and largest values `[B, ...]` within ball and bounds; only in L-inf, and once `boxed` is called.
    """

    model: Classifier
    ball: Geometry
    loss: AttackLoss
    bounds: tuple[float, float] | None
    x: Tensor
    y: Tensor
    radius: Tensor
    step: Tensor
    box: tuple[Tensor, Tensor] | None = None

    def boxed(self) -> AttackState:
        """The state with its L-inf ball as a box, so that `project` is one clamp, in place; itself in L2."""
        if not self.ball.is_box:
            return self
        low, high = self.x - self.radius, self.x + self.radius
        if self.bounds is not None:
            low, high = low.clamp_(*self.bounds), high.clamp_(*self.bounds)
        return replace(self, box=(low, high))

    def only(self, rows: Tensor | slice) -> AttackState:
        """The samples at positions `rows`; views where that is a slice."""
        return replace(
            self,
            loss=self.loss.only(rows) if isinstance(self.loss, PerSampleLoss | Targeted) else self.loss,
            x=self.x[rows],
            y=self.y[rows],
            radius=self.radius[rows],
            step=self.step[rows],
            box=None if self.box is None else (self.box[0][rows], self.box[1][rows]),
        )

    def start(self, x_init: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """First point of an attack `[B, ...]`: `x_init`, or a uniform draw from the ball; projected, in new memory."""
        x_adv = self.x + self.ball.random(self.x, self.radius, generator) if x_init is None else x_init
        return self.project(x_adv.detach())

    def evaluate(self, x_adv: Tensor) -> Evaluation:
        """Logits, loss and gradient at `x_adv` itself, never through a projection."""
        leaf = x_adv.detach().requires_grad_()
        logits = self.model(leaf)
        loss = self.objective(logits)
        return Evaluation(logits.detach(), loss.detach(), gradient_of(loss, leaf))

    def evaluate_loss(self, x_adv: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and loss at `x_adv`, without a backward."""
        with torch.no_grad():
            logits = self.model(x_adv)
            return logits, self.objective(logits)

    def steepest(self, x_adv: Tensor) -> Tensor:
        """Direction of steepest ascent at `x_adv`, of norm 1: the sign of the gradient in L-inf."""
        return self.ball.steepest(self.evaluate(x_adv).gradient)

    def project(self, x_adv: Tensor) -> Tensor:
        """`x_adv` projected into ball and bounds; a `boxed` state overwrites it."""
        if self.box is not None:
            return x_adv.clamp_(*self.box)
        x_adv = self.x + self.ball.project(x_adv - self.x, self.radius)
        return x_adv if self.bounds is None else x_adv.clamp(*self.bounds)

    def revert_outside(self, x_adv: Tensor) -> Tensor:
        """`x_adv` where its perturbation lies within the radius, the clean input elsewhere."""
        inside = self.ball.norm(x_adv - self.x) <= self.radius.flatten()
        return torch.where(per_sample(inside, self.x) > 0, x_adv, self.x)

    def objective(self, logits: Tensor) -> Tensor:
        """Loss to maximise, `[B]`.

        Raises:
            UserError: the loss does not return one value a sample.
        """
        loss = self.loss(logits, self.y)
        shape = getattr(loss, "shape", ())  # a plain number has none
        if shape != (len(logits),):
            raise UserError(
                f"the loss returned a tensor of shape {list(shape)} for a batch of {len(logits)}: it must return one "
                "value a sample, [B]; pass reduction='none'"
            )
        return loss

    def is_adversarial(self, logits: Tensor, rows: Tensor | slice = slice(None)) -> Tensor:
        """Attack success `[B]` bool of the samples at positions `rows`: misclassified, or classified as the target."""
        hit = logits.argmax(dim=1) == self.y[rows]
        return hit if isinstance(self.loss, Targeted) else ~hit


@contextmanager
def attack_state(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    radius: float | str | Tensor,
    norm: Norm,
    bounds: tuple[float, float] | None,
    loss: str | AttackLoss = "ce",
    steps: int | Tensor = 1,
    step_size: float | str | Tensor | None = None,
    path: float = 1.0,
    mode: Mode = "eval",
    x_init: Tensor | None = None,
    precision: str | None = None,
) -> Iterator[AttackState]:
    """Check the arguments of an attack, put the model in `mode` and freeze it, and give the state to attack with.

    Args:
        path: Sum of all default steps, in radii: a step is `path * radius / steps` where `step_size` is None.
        precision: `fp32`, `bf16` or `auto` for all forwards; None for that of the caller's autocast.

    The other arguments are those of `pgd`.

    Raises:
        UserError: what `pgd` refuses.
    """
    radius = as_length(radius, "radius", bounds)
    step_size = None if step_size is None else as_length(step_size, "step_size", bounds)
    labels = check_inputs(
        x, y, radius, step_size=step_size, steps=steps, norm=norm, bounds=bounds, loss=loss, x_init=x_init
    )
    if loss == "kl" and x_init is not None:
        _check_start_of_kl(x, x_init, radius)
    if precision is not None:
        precision = "bf16" if uses_bfloat16(precision, x.device) else "fp32"
    classifier = Classifier(model, labels, precision)
    with frozen_model(model, x, y, mode) as (x, y):
        limit = per_sample(sanitize_radius(radius, x), x)
        count = per_sample(steps.clamp_min(1), x) if isinstance(steps, Tensor) else steps
        step = path * limit / count if step_size is None else per_sample(sanitize_radius(step_size, x), x)
        yield AttackState(
            model=classifier,
            ball=geometry(norm),
            loss=kl_from(_clean_logits(classifier, x)) if loss == "kl" else resolve_loss(loss),
            bounds=bounds,
            x=x,
            y=y,
            radius=limit,
            step=step,
        )


def _check_start_of_kl(x: Tensor, x_init: Tensor, radius: float | Tensor) -> None:
    """Refuse to start at the clean inputs, where the KL divergence from their prediction has gradient 0."""
    if not x.numel():
        return
    stuck = (x_init.detach() == x.detach()).flatten(1).all(dim=1) & (sanitize_radius(radius, x.detach()) > 0)

    def complaint(count: list[float]) -> str | None:
        if not count[0]:
            return None
        return (
            f"x_init equals x in {count[0]:g} of {len(x)} samples, where loss 'kl' has gradient 0: they would not be "
            "attacked; leave x_init out, or start beside x, x + 0.001 * torch.randn_like(x)"
        )

    check_async(stuck.sum()[None], complaint)


@contextmanager
def frozen_model(model: nn.Module, x: Tensor, y: Tensor, mode: Mode = "eval") -> Iterator[tuple[Tensor, Tensor]]:
    """Model in `mode` with frozen weights, gradients on; gives `x` and `y` as ordinary tensors without history."""
    with attack_mode(model, mode), torch.inference_mode(False), torch.enable_grad():
        # What was made in inference mode can have no gradient; its clone can.
        x, y = (each.clone() if each.is_inference() else each.detach() for each in (x, y))
        yield x, y.long()
    check_arrived()


def _clean_logits(model: Classifier, x: Tensor) -> Tensor:
    """Clean logits for the KL divergence, outside of autocast.

    In bfloat16 inputs that differ by a small random start may have equal logits; the divergence from equal ones has
    gradient 0, and the attack never leaves.
    """
    if not len(x):
        return x.new_empty(0, 2)  # not every model takes an empty batch
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        return model(x)


def gradient_of(values: Tensor, leaf: Tensor, *, keep_graph: bool = False) -> Tensor:
    """Gradient `[B, ...]` at the inputs `leaf` of values `[B]`, each of which depends on its own sample.

    Raises:
        UserError: no path leads from the values back to the inputs.
    """
    gradient, scale = None, _loss_scale(leaf)
    if values.requires_grad:
        total = values.sum() if scale == 1 else values.sum() * scale
        (gradient,) = torch.autograd.grad(total, leaf, retain_graph=keep_graph, allow_unused=True)
    if gradient is None:
        raise UserError(
            "no gradient path leads from the model's logits back to its inputs: look for detach, no_grad, argmax or a "
            "comparison in its forward; `iaat evaluate --suspicious` reports what can still be measured"
        )
    return gradient if scale == 1 else gradient / scale


_FP16_SCALE = 1024.0


def _loss_scale(leaf: Tensor) -> float:
    """Factor on the loss: in fp16 the gradients of robust samples would underflow and stop the attack."""
    kind = leaf.device.type
    half = (
        torch.amp.is_autocast_available(kind)
        and torch.is_autocast_enabled(kind)
        and torch.get_autocast_dtype(kind) == torch.float16
    )
    return _FP16_SCALE if half else 1.0


def sanitize_radius(value: float | Tensor, x: Tensor) -> Tensor:
    """Radii or step sizes as a tensor like `x`; negative and NaN ones become 0 without waiting for the device."""
    return torch.as_tensor(value, dtype=x.dtype, device=x.device).nan_to_num(0.0).clamp_min(0)
