"""What a network gives back: logits `[B, classes]`, or else which mistake it is and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from iaat.errors import UserError
from iaat.models.check import evaluating

_LAYOUTS = {
    "channels last, [B, H, W, C]": "let its forward start with x = x.permute(0, 2, 3, 1)",
    "one row of numbers, [B, N]": "let its forward start with x = x.flatten(1)",
}


def check_fits(model: nn.Module, *, shape: tuple[int, ...], classes: int, device: torch.device | str = "cpu") -> None:
    """Run two grey inputs through a model in eval mode and judge what comes back.

    Args:
        model: Maps inputs `[B, *shape]` in [0, 1] to logits.
        shape: Shape of one input.
        classes: Number of classes of the data.
        device: Where the model is.

    Raises:
        UserError: it cannot take such inputs, or does not return logits `[2, classes]`.
    """
    with evaluating(model), torch.no_grad():
        logits_of(model, torch.full((2, *shape), 0.5, device=device), classes=classes)


def logits_of(model: nn.Module, x: Tensor, *, classes: int) -> Tensor:
    """The model's logits `[B, classes]` of inputs `x` `[B, ...]`.

    Raises:
        UserError: the model cannot take the inputs, or returns anything else.
    """
    try:
        output = model(x)
    except UserError:
        raise
    except Exception as error:  # whatever a network of others raises, the user has to learn which input it was given
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"the model cannot take inputs of shape {list(x.shape)}, {x.dtype} in [0, 1]: {type(error).__name__}: {why}"
            f"; {_other_layout(model, x)}"
        ) from error
    return as_logits(output, batch=len(x), classes=classes)


def as_logits(output: object, *, batch: int, classes: int) -> Tensor:
    """The output itself where it is logits `[batch, classes]`.

    Raises:
        UserError: it is something else.
    """
    if not isinstance(output, Tensor):
        raise UserError(f"the model returns {_described(output)} and no tensor: {_unpacked(output, batch)}")
    if output.shape == (batch, classes) and output.is_floating_point():
        return output
    raise UserError(
        f"the model returns {_shape(output)} for {batch} inputs of {classes} classes: {_advice(output, batch, classes)}"
    )


def _advice(output: Tensor, batch: int, classes: int) -> str:
    if not output.is_floating_point():
        return f"these are {output.dtype} and no logits; return the scores before argmax"
    if output.ndim == 1 or output.shape == (batch, 1):
        return (
            "this is the one logit z of a sigmoid; return two, torch.stack([torch.zeros_like(z), z], dim=1) with z [B]"
            if classes == 2
            else f"return {classes} logits an input"
        )
    if output.ndim == 2 and len(output) == batch:
        return (
            f"the model has {output.shape[1]} classes, the data {classes}; give the data the model was trained on, or "
            f"choose the {classes} outputs in a factory of yours, logits[:, [...]], in the order of the data's classes"
        )
    if output.ndim > 2 and output.flatten(1).shape == (batch, classes):
        return "take the last dimensions away, logits.flatten(1)"
    return f"return one logit a class and an input, shape {[batch, classes]}"


def _unpacked(output: object, batch: int) -> str:
    """How to get at the logits in what a model returned in their place."""
    if isinstance(getattr(output, "logits", None), Tensor):
        return "return its .logits, from the forward of a module of yours around it"
    items: list[tuple[object, object]] = []
    if isinstance(output, Mapping):
        items = list(output.items())
    elif isinstance(output, tuple | list):
        items = list(enumerate(output))
    for key, value in items:
        if isinstance(value, Tensor) and value.ndim == 2 and len(value) == batch:
            return f"return output[{key!r}], from the forward of a module of yours around it"
    return "return the logits alone, from the forward of a module of yours around it"


def _described(output: object) -> str:
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} with the keys {', '.join(map(str, output))}"
    return f"a {type(output).__name__}" + (f" of {len(output)}" if isinstance(output, tuple | list) else "")


def _shape(output: Tensor) -> str:
    return f"shape {list(output.shape)}"


def _other_layout(model: nn.Module, x: Tensor) -> str:
    """What to do about inputs a model refuses: name the layout that it takes, if there is one."""
    layouts = [x.permute(0, 2, 3, 1) if x.ndim == 4 else x, x.flatten(1)]
    for other, (name, advice) in zip(layouts, _LAYOUTS.items(), strict=True):
        if other.shape == x.shape:
            continue
        try:
            model(other)
        except Exception:
            continue
        return f"it takes them {name}: {advice}"
    return "bring the data to the size it was trained on (--data.size for image folders), or the network to the data's"
