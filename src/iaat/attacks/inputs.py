"""Checks of the arguments of attacks and of the output of models."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor, nn

from iaat.attacks.geometry import geometry
from iaat.attacks.losses import AttackLoss, check_loss, full_precision
from iaat.errors import UserError, shown
from iaat.runtime.async_checks import check_async
from iaat.runtime.device import autocast
from iaat.runtime.distributed import unwrap_ddp
from iaat.runtime.model_output import describe_output, path_to_logits
from iaat.units import Radius, check_radius

ROUNDING = 1e-5
"""How far outside of the bounds an input may lie, as a fraction of them: rounding of scaled inputs."""
_NEAR = 0.2
"""Overshoot of a resize, which clamping removes, as a fraction; farther out inputs are on another scale."""


@dataclass(slots=True)
class Labels:
    """Range of the labels of a batch, checked once the number of classes is known, too.

    The range is known at once on the CPU and later on a GPU; the number of classes is that of the first logits.
    """

    range: tuple[float, float] | None = None
    classes: int | None = None

    def set_classes(self, classes: int) -> None:
        """Set the number of classes.

        Raises:
            UserError: a label is not among them.
        """
        if self.classes is None:
            self.classes = classes
            if found := self.error():
                raise UserError(found)

    def error(self) -> str | None:
        """Message about a label out of range; None where there is none, or not enough is known yet."""
        if self.range is None:
            return None
        low, high = self.range
        if low < 0:
            return f"y holds the label {low:g}: labels are 0 to classes - 1; leave samples without a label out"
        if self.classes is None or high < self.classes:
            return None
        last = self.classes - 1
        fix = "subtract 1" if low >= 1 and high == self.classes else "check the labels, or the model's last layer"
        return f"y holds labels {low:g} to {high:g}, but the model has {self.classes} classes, 0 to {last}: {fix}"


@dataclass(frozen=True, slots=True)
class Classifier:
    """A model under attack; its output is checked to be logits that have a class for every label.

    Attributes:
        model: Maps inputs `[B, ...]` to logits.
        labels: Labels of the batch.
        precision: `fp32` or `bf16`; None for that of the caller's autocast.
    """

    model: nn.Module
    labels: Labels
    precision: str | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Logits `[B, classes]` in at least float32.

        Raises:
            UserError: the model returns something else, or has no class for a label.
        """
        with nullcontext() if self.precision is None else autocast(self.precision, x.device):
            logits = full_precision(checked_logits(unwrap_ddp(self.model)(x), len(x)))
        self.labels.set_classes(logits.shape[1])
        return logits


def checked_logits(output: object, batch: int) -> Tensor:
    """Output of a model, if it is logits `[batch, classes]`.

    Raises:
        UserError: it is something else, such as a dict or a tuple that holds logits.
    """
    if not isinstance(output, Tensor):
        path = path_to_logits(output, batch)
        raise UserError(
            f"the model returns {describe_output(output)}, not logits [B, classes]: let the forward of a module of "
            f"yours around it return {'the logits alone' if path is None else f'self.network(x){path}'}"
        )
    if output.ndim != 2 or len(output) != batch or not output.is_floating_point():
        raise UserError(
            f"the model returns {_tensor(output)} for a batch of {batch}, not logits [B, classes]: return one float a "
            "class and sample"
        )
    if output.shape[1] < 2:
        raise UserError(
            "the model has 1 output, which no attack can move to another class: return the logits of 2 classes, "
            "torch.cat([-z, z], dim=1) / 2 of the logit z of a sigmoid"
        )
    return output


def check_batch(x: Tensor, y: Tensor, *, bounds: tuple[float, float] | None = (0.0, 1.0)) -> Labels:
    """Refuse a batch that is not inputs `[B, ...]` inside `bounds` with labels `[B]`; never waits for the device.

    Values are checked as `iaat.runtime.async_checks.check_async` does: at once on the CPU. NaN is not refused: its loss
    is NaN, too, and the training loop names the sample.

    Returns:
        The labels, to be checked once the number of classes is known.

    Raises:
        UserError: naming the value, the argument and the fix.
    """
    _check_tensors(x, y, bounds)
    labels = Labels()
    _check_values(x, y, None, None, norm="linf", bounds=bounds, labels=labels)
    return labels


def check_inputs(
    x: Tensor,
    y: Tensor,
    radius: float | Tensor,
    *,
    steps: int | Tensor,
    norm: str,
    bounds: tuple[float, float] | None,
    step_size: float | Tensor | None = None,
    loss: str | AttackLoss = "ce",
    x_init: Tensor | None = None,
) -> Labels:
    """Check a batch as `check_batch`, and the settings of an attack on it.

    Raises:
        UserError: steps that are no whole number from 1 on, an unknown loss, a step size or radius that is negative,
            not finite or above every distance between two inputs, shapes that do not fit, and what `check_batch`
            refuses. Negative and NaN entries of radii `[B]` count as 0.
    """
    if not isinstance(steps, Tensor):
        check_count(steps, "steps")
    _check_tensors(x, y, bounds)
    check_loss(loss, len(x))
    if x_init is not None:
        check_fits_inputs(x_init, x, "x_init")
    width = math.inf if bounds is None else bounds[1] - bounds[0]
    largest = geometry(norm).diameter(x.shape[1:].numel(), width)
    _check_radius(step_size, "step_size", x, norm="l2", width=width, most=2 * largest)
    _check_radius(radius, "radius", x, norm=norm, width=width, most=largest)
    labels = Labels()
    _check_values(x, y, radius, step_size, norm=norm, bounds=bounds, labels=labels)
    return labels


def check_count(value: object, name: str) -> None:
    """Refuse what is no whole number from 1 on.

    Raises:
        UserError: naming the value.
    """
    if not isinstance(value, Integral) or value < 1:
        raise UserError(f"{name} = {shown(value)}: an attack needs a whole number, at least 1")


def check_fits_inputs(value: object, x: Tensor, name: str) -> None:
    """Refuse what is no tensor of the shape of the inputs `x`.

    Raises:
        UserError: naming the argument and its type or shape.
    """
    if not isinstance(value, Tensor):
        raise UserError(f"{name} is a {type(value).__name__}: pass a tensor like x, of shape {list(x.shape)}")
    if value.shape != x.shape:
        raise UserError(
            f"{name} of shape {list(value.shape)} does not fit inputs of shape {list(x.shape)}: they must agree"
        )


def as_length(
    value: float | str | Tensor, name: str, bounds: tuple[float, float] | None = (0.0, 1.0)
) -> float | Tensor:
    """A radius or step size on the scale of the inputs: text such as "8px" is read, all else comes back as it is.

    Args:
        value: Number, tensor or text.
        name: Its name in messages.
        bounds: Smallest and largest input: px and fractions are those of images in [0, 1].

    Raises:
        UserError: a text that cannot be read, or a length with a unit for inputs on another scale.
    """
    length = Radius(value) if isinstance(value, str) else value
    if isinstance(length, Radius) and not length.unitless and (bounds is None or tuple(bounds) != (0, 1)):
        number = "" if bounds is None else f", {float(length) * (bounds[1] - bounds[0]):.6g}"
        raise UserError(
            f"{name} = {length.given} is a length of images in [0, 1], and these inputs have bounds = {shown(bounds)}: "
            f"give the number on the scale of the inputs{number}"
        )
    return length


def _check_radius(value: object, name: str, x: Tensor, *, norm: str, width: float, most: float) -> None:
    if value is None:
        return
    if isinstance(value, Tensor) and value.ndim:
        if value.shape != (len(x),):
            raise UserError(
                f"{name} of shape {list(value.shape)} does not fit a batch of {len(x)}: pass one number, or [B]"
            )
        return
    if isinstance(value, Tensor) and value.device.type != "cpu":
        return  # checked with the other values: reading it would wait for the device
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise UserError(f"{name} is a {type(value).__name__}: pass one number, or a tensor [B]") from None
    check_radius(number, norm, name=name, width=width)
    if number > most:
        raise UserError(f"{name} = {number:g} exceeds every distance between two inputs; for pixel levels write px")


def _check_tensors(x: object, y: object, bounds: tuple[float, float] | None) -> None:
    """Refuse tensors of a shape or type that does not fit."""
    if not isinstance(x, Tensor):
        raise UserError(f"x is a {type(x).__name__}: pass a tensor [B, ...], such as torch.as_tensor(x)")
    if not x.is_floating_point():
        raise UserError(f"x is {x.dtype}: an attack needs floats; for images in 0..255 pass x.float() / 255")
    if x.ndim < 2:
        raise UserError(f"x is {_tensor(x)}: an attack takes a batch [B, ...]; add the missing dimension")
    if not isinstance(y, Tensor):
        raise UserError(f"y is a {type(y).__name__}: pass a tensor of labels [B], such as torch.as_tensor(y)")
    if y.ndim == 2 and y.shape[1] > 1 and len(y) == len(x):
        raise UserError(f"y is {_tensor(y)}, which looks one-hot: pass class numbers [B], y.argmax(dim=1)")
    if y.shape != (len(x),):
        raise UserError(f"y is {_tensor(y)} for a batch of {len(x)}: pass one class number a sample, [B]")
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise UserError(f"y is {y.dtype}: labels are whole numbers; pass y.long()")
    if y.device != x.device:
        raise UserError(f"x is on {x.device} and y on {y.device}: move one, y.to(x.device)")
    if bounds is not None and not (len(bounds) == 2 and bounds[0] < bounds[1]):
        raise UserError(f"bounds = {shown(bounds)}: give the smallest and the largest value of an input, or None")


def _check_values(
    x: Tensor,
    y: Tensor,
    radius: float | Tensor | None,
    step: float | Tensor | None,
    *,
    norm: str,
    bounds: tuple[float, float] | None,
    labels: Labels,
) -> None:
    """Refuse values out of range; all extremes in one vector, so that a GPU sends one."""
    if not x.numel():
        return
    width = math.inf if bounds is None else bounds[1] - bounds[0]
    most = geometry(norm).diameter(x.shape[1:].numel(), width)
    # Twice the largest radius leads from any point of the ball to any other.
    limits = {"radius": most, "step_size": 2 * most}
    sizes = {name: value for name, value in (("radius", radius), ("step_size", step)) if isinstance(value, Tensor)}
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    highest = [value.detach().nan_to_num(0.0).amax().to(x.device, dtype, non_blocking=True) for value in sizes.values()]
    numbers = torch.stack([each.to(dtype) for each in (*_extremes(x.detach(), bounds), *y.aminmax())] + highest)

    def complaint(values: list[float]) -> str | None:
        low, high, *labelled = values[:4]
        labels.range = (labelled[0], labelled[1])
        if found := _outside(low, high, bounds) or labels.error():
            return found
        for name, value in zip(sizes, values[4:], strict=True):
            if value > limits[name] * (1 + ROUNDING):
                return _too_large(name, value, limits[name])
        return None

    check_async(numbers, complaint)


def _extremes(x: Tensor, bounds: tuple[float, float] | None) -> tuple[Tensor, Tensor]:
    """Smallest and largest number; a sample that is NaN is left to its loss, and the others are checked beside it."""
    low, high = x.aminmax()
    if x.device.type == "cpu" and not low.isnan():  # no copy; to look on a GPU would be to wait for it
        return low, high
    least, most = x.nan_to_num(nan=0.0 if bounds is None else bounds[0], posinf=math.inf, neginf=-math.inf).aminmax()
    return least, most


def _too_large(name: str, value: float, most: float) -> str:
    hint = f"; for {value:g} pixel levels pass {value:g} / 255" if value <= 255 else ""
    return f"{name} holds {value:g}, beyond {most:g}, the largest that can matter for these inputs{hint}"


def _outside(low: float, high: float, bounds: tuple[float, float] | None) -> str | None:
    """Message about inputs between `low` and `high`; None where they are fine."""
    if math.isinf(low) or math.isinf(high):
        return f"x holds {low if math.isinf(low) else high}: inputs have to be finite"
    if bounds is None:
        return None
    first, last = bounds
    slack = ROUNDING * max(abs(first), abs(last))
    if low >= first - slack and high <= last + slack:
        return None
    near = _NEAR * (last - first)
    if low >= first - near and high <= last + near:
        fix = f"clamp it, x.clamp({first:g}, {last:g})"
    elif (first, last) == (0, 1) and low >= 0 and high <= 255:
        fix = "divide images in 0..255 by 255"
    elif (first, last) == (0, 1):
        fix = "remove Normalize from the data and let the model normalise, so that radii are pixels"
    else:
        fix = "scale the inputs, or give their smallest and largest value as bounds"
    return f"x holds values from {low:g} to {high:g}, outside of bounds [{first:g}, {last:g}]: {fix}"


def _tensor(value: object) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
