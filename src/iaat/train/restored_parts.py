"""Check the saved state of a part of training before it is loaded."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from iaat.errors import shown
from iaat.runs.checkpoint import check_fit
from iaat.runs.checkpoint_schema import check_same_types

_PROGRESS = ("last_epoch", "_step_count", "_last_lr")
"""State of a schedule that moves; the rest is the recipe's."""


def checked_part(key: str, new: dict[str, Any], part: Any) -> dict[str, Any]:  # noqa: ANN401
    """The state of a part, checked; optimiser, schedule and scaler would accept anything, and fail at the next step.

    Raises:
        ValueError: it does not fit the part as it was built.
    """
    if key == "model":
        check_fit(part, new)
    elif key == "schedule":
        new = {name: new[name] for name in _PROGRESS}
        check_same_types(new, part.state_dict())
        if not 0 <= new["last_epoch"] <= getattr(part, "total_steps", new["last_epoch"]):
            raise ValueError(f"last_epoch is {shown(new['last_epoch'])}")
        new = {**part.state_dict(), **new}  # LambdaLR needs its functions, too
    elif key == "scaler":
        check_same_types(new, part.state_dict())
    elif key == "optimizer":
        own = part.state_dict()["param_groups"]
        check_same_types(new["param_groups"], own, "param_groups")
        # All settings but the rate, which the schedule moves, are the recipe's.
        groups = [{**settings, "lr": group["lr"]} for settings, group in zip(own, new["param_groups"], strict=True)]
        new = {**new, "param_groups": groups}
        weights = [weight for group in part.param_groups for weight in group["params"]]
        for number, buffers in new["state"].items():
            check_buffers(buffers, weights[number].shape, f"state.{number}")
    return new


def check_buffers(buffers: dict[str, Any], shape: torch.Size, name: str) -> None:
    """Refuse what no optimiser keeps of a weight: other than numbers, or of a shape that does not broadcast to its."""
    for key, value in buffers.items():
        if value is None:
            continue
        if not isinstance(value, Tensor):
            raise ValueError(f"{name}.{key} is a {type(value).__name__}")
        pairs = zip(value.shape, shape, strict=False)
        if value.ndim not in (0, len(shape)) or any(own not in (1, full) for own, full in pairs):
            raise ValueError(f"{name}.{key} has shape {list(value.shape)}, not {list(shape)}")
