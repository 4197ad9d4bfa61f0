"""Messages about a model that returns no logits: its output, and the path to logits in it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def describe_output(output: object) -> str:
    """An output that is no tensor, for a message."""
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} with the keys {', '.join(map(str, output))}"
    return f"a {type(output).__name__}" + (f" of {len(output)}" if isinstance(output, tuple | list) else "")


def path_to_logits(output: object, batch: int, classes: int | None = None) -> str | None:
    """Path to the logits in an output, such as `.logits`, `['out']` or `[0]`; None where nothing can be logits.

    They are `[batch, classes]`; of another number of classes only if there are none of so many.
    """
    items: list[tuple[str, object]] = []
    if isinstance(getattr(output, "logits", None), Tensor):
        items.append((".logits", output.logits))  # type: ignore[attr-defined]
    if isinstance(output, Mapping):
        items += [(f"[{key!r}]", value) for key, value in output.items()]
    elif isinstance(output, tuple | list):
        items += [(f"[{number}]", value) for number, value in enumerate(output)]
    elif hasattr(output, "__dict__"):
        items += [(f".{key}", value) for key, value in vars(output).items()]
    tensors = [(key, value) for key, value in items if isinstance(value, Tensor) and len(value.shape) == 2]
    fitting = [key for key, value in tensors if value.shape == (batch, classes)]
    near = fitting or [key for key, value in tensors if len(value) == batch]
    return near[0] if near else None
