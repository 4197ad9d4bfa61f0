"""Check that a model returns logits `[B, classes]`; messages name the mistake and the fix."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from iaat.attacks import attack_mode
from iaat.errors import UserError
from iaat.runtime.lack_of_memory import is_lack_of_memory
from iaat.runtime.model_output import describe_output, path_to_logits
from iaat.runtime.text import first_line
from iaat.runtime.user_traceback import users_place

_HALF = (torch.float16, torch.bfloat16)
_LAYOUTS = {
    "channels last, [B, H, W, C]": "let its forward start with x = x.permute(0, 2, 3, 1)",
    "one row of numbers, [B, N]": "let its forward start with x = x.flatten(1)",
}


def check_fits(
    model: nn.Module,
    *,
    shape: tuple[int, ...],
    classes: int,
    device: torch.device | str = "cpu",
    name: str = "the model",
    training: bool = False,
    outputs_fix: str | None = None,
) -> None:
    """Check a model on two inputs; logits in half precision are cast to float32 from then on.

    Modes and buffers, such as running statistics, stay as they were.

    Args:
        model: Maps inputs `[B, *shape]` in [0, 1] to logits.
        shape: Shape of one input.
        classes: Number of classes of the data.
        device: Where the model is.
        name: Its name in messages.
        training: Whether to check train mode, too, in which auxiliary classifiers are active.
        outputs_fix: What to do about another number of outputs than classes; None: the advice for a trained model.

    Raises:
        UserError: it cannot take such inputs, changes them, or does not return logits `[2, classes]`.
    """
    x = torch.linspace(0, 1, 2 * math.prod(shape), device=device).reshape(2, *shape)
    with torch.no_grad(), kept_buffers(model):
        with attack_mode(model, "eval"):
            logits = logits_of(model, x, classes=classes, name=name, outputs_fix=outputs_fix)
        if training:
            with attack_mode(model, "train"):
                logits_of(model, x, classes=classes, name=f"in train mode {name}", outputs_fix=outputs_fix)
    if logits.dtype in _HALF:
        cast_logits(model)


def cast_logits(model: nn.Module) -> RemovableHandle:
    """Cast a model's logits to float32: losses and differences of logits are too coarse in half precision."""
    return model.register_forward_hook(_in_float32)


@contextmanager
def casting(model: nn.Module) -> Iterator[None]:
    """Context in which logits are float32; see `cast_logits`."""
    handle = cast_logits(model)
    try:
        yield
    finally:
        handle.remove()


def _in_float32(_model: nn.Module, _inputs: object, output: object) -> object:
    return output.float() if isinstance(output, Tensor) and output.dtype in _HALF else output


@contextmanager
def kept_buffers(model: nn.Module) -> Iterator[None]:
    """Give the buffers of a model their values back: running statistics move at every forward in train mode."""
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)


def logits_of(
    model: nn.Module, x: Tensor, *, classes: int, name: str = "the model", outputs_fix: str | None = None
) -> Tensor:
    """Logits `[B, classes]` of inputs `x` `[B, ...]`, checked; name and fix as for `check_fits`.

    Raises:
        UserError: the model cannot take the inputs, changes them, or returns anything else.
    """
    output, batch = output_of(model, x, name), len(x)
    if not isinstance(output, Tensor):
        line = _line(output, batch, classes, training=name.startswith("in train mode"))
        raise UserError(f"{name} returns {describe_output(output)} and no tensor: {line}")
    if output.shape == (batch, classes) and output.is_floating_point():
        return output
    raise UserError(
        f"{name} returns shape {list(output.shape)} for {batch} inputs of {classes} classes:"
        f" {_advice(output, batch, classes, outputs_fix)}"
    )


def output_of(model: nn.Module, x: Tensor, name: str = "the model") -> object:
    """Whatever a model returns for inputs `x` `[B, ...]`.

    Raises:
        UserError: the model cannot take the inputs, or changes them.
    """
    before = x.clone()
    try:
        output = model(x)
    except UserError:
        raise
    except Exception as error:  # the user must learn which input the model was given, whatever it raises
        if is_lack_of_memory(error):
            raise
        why = first_line(error)
        raise UserError(
            f"{name} cannot take inputs of shape {list(x.shape)}, {x.dtype} in [0, 1]: {type(error).__name__}: {why}"
            f"{users_place(error)}; {_fix_of_inputs(model, before)}"
        ) from error
    if not torch.equal(x, before):
        raise UserError(f"{name} writes into its input: let its forward begin with x = x.clone()")
    return output


def check_is_module(value: object, what: str) -> nn.Module:
    """Check that a value is a `torch.nn.Module`, and return it.

    Args:
        value: Should be one.
        what: Start of messages, such as `the model is` or `model.name my_net:build returned`.

    Raises:
        UserError: it is something else, with the line that makes a module of it.
    """
    if isinstance(value, nn.Module):
        return value
    if isinstance(value, type):
        raise UserError(f"{what} the class {value.__name__}: call it, {value.__name__}()")
    kind = type(value).__name__
    if callable(value):
        name = getattr(value, "__name__", "f")
        name = name if name.isidentifier() else "f"
        raise UserError(
            f"{what} a {kind}; it must be a torch.nn.Module: class Net(torch.nn.Module): forward = staticmethod({name})"
        )
    raise UserError(f"{what} a {kind}; it must return a torch.nn.Module")


def _advice(output: Tensor, batch: int, classes: int, outputs_fix: str | None) -> str:
    if not output.is_floating_point():
        return f"these are {output.dtype} and no logits; return the scores before argmax"
    if output.ndim == 1 or output.shape == (batch, 1):
        return (
            "this is the one logit of a sigmoid; return two: z = self.network(x).flatten(); return "
            "torch.stack([torch.zeros_like(z), z], dim=1)"
            if classes == 2
            else f"return {classes} logits an input"
        )
    if output.ndim == 2 and len(output) == batch:
        fix = outputs_fix or (
            f"give the data the model was trained on, or choose the {classes} outputs in a factory of yours, "
            "logits[:, [...]], in the order of the data's classes"
        )
        return f"the model has {output.shape[1]} classes, the data {classes}; {fix}"
    if output.ndim > 2 and output.flatten(1).shape == (batch, classes):
        return "take the last dimensions away, logits.flatten(1)"
    return f"return one logit a class and an input, shape {[batch, classes]}"


def _line(output: object, batch: int, classes: int, *, training: bool) -> str:
    """Line of code that gets the logits out of what a model returned instead."""
    path = path_to_logits(output, batch, classes)
    if path is None:
        return "return the logits alone, from the forward of a module of yours around it"
    around = "let the forward of a module of yours around it be"
    if training:
        return f"{around}: out = self.network(x); return out{path} if self.training else out"
    return f"{around}: return self.network(x){path}"


def _fix_of_inputs(model: nn.Module, x: Tensor) -> str:
    """Fix for inputs that a model refuses: the number format or layout that it takes, if there is one."""
    weight = next((each for each in model.parameters() if each.is_floating_point()), None)
    if weight is not None and weight.dtype != x.dtype:
        return f"its weights are {weight.dtype}: call model.float()"
    layouts = [x.permute(0, 2, 3, 1) if x.ndim == 4 else x, x.flatten(1)]
    for other, (name, advice) in zip(layouts, _LAYOUTS.items(), strict=True):
        if other.shape == x.shape:  # of inputs that are rows already
            continue
        try:
            model(other)
        except Exception:
            continue
        return f"it takes them {name}: {advice}"
    return (
        "bring the data to the size it takes (--data.size for image folders), or the model to the data's "
        "(model.options)"
    )
