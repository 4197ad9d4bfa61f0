"""Training steps with NaN or infinite numbers: found on the device, reported a few steps later."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from iaat.config.train_config import TrainConfig
from iaat.errors import UserError
from iaat.runtime.distributed import ALONE, Ranks
from iaat.runtime.text import first_few

_WHAT = ("the loss", "the norm of the gradient", "the norm of the new weights", "the norm of BatchNorm's statistics")
_SHOWN = 8
_STATISTICS = ("running_mean", "running_var")
_LARGE = 1e15
"""Norm of a buffer from which on the square of its numbers comes near to what float32 holds."""

LAG = 16
"""Steps that may pass on an accelerator until a fault is reported; on a CPU it is reported at once."""


class NonfiniteError(UserError):
    """A training step had a number that is not finite, and was not taken."""


class NonfiniteMonitor:
    """Checks the steps of an epoch on the device, and reports those that failed a few steps later.

    Args:
        lag: Steps between two reads from the device.
        ranks: The processes that train.
        unchecked: Names of buffers that are as they should be whatever is in them: see `unbounded_buffers`.
    """

    def __init__(self, lag: int, ranks: Ranks = ALONE, unchecked: Collection[str] = ()) -> None:
        self._lag, self._ranks, self._unchecked = lag, ranks, unchecked
        self._unread: list[tuple[int, Tensor]] = []

    @torch.no_grad()
    def check(self, step: int, model: nn.Module, loss: Tensor, scale: Tensor | None = None) -> Tensor:
        """Check loss, gradients, weights and buffers after step number `step`: a bool on the device, True if finite.

        The norms are those of all numbers together; one that overflows is a fault, too. Several processes come to one
        result: all numbers are averaged over them, and the average is finite only where each is.

        Args:
            step: Number of the step.
            model: The model after it, with the gradients of the step.
            loss: Loss of this process, weighted so that its mean over processes is that of the batch.
            scale: Loss scale of fp16. Where it is above 1, a gradient that overflows is no fault but the way the scale
                is found: the step is undone, and not reported.
        """
        weights = [each for each in model.parameters() if each.requires_grad]
        gradients = [each.grad for each in weights if each.grad is not None]
        buffers = [
            each for name, each in model.named_buffers() if each.is_floating_point() and name not in self._unchecked
        ]
        norms = [
            get_total_norm(each).to(loss) if each else torch.zeros_like(loss) for each in (gradients, weights, buffers)
        ]
        values = self._ranks.mean_(torch.stack([loss.detach(), *norms]))
        finite = values.isfinite().all()
        if scale is not None:
            overflow = (scale > 1) & ~values[1].isfinite() & values[0].isfinite() & values[3].isfinite()
            values = torch.where(overflow, torch.zeros_like(values), values)
        self._unread.append((step, values))
        return finite

    def due(self) -> bool:
        """Whether it is time to read from the device."""
        return len(self._unread) >= self._lag

    def read(self) -> list[tuple[int, str]]:
        """Number and cause of each failed step since the last read; waits for the device."""
        if not self._unread:
            return []
        steps = [step for step, _ in self._unread]
        table = torch.stack([values for _, values in self._unread]).cpu()
        self._unread = []
        return [(step, _cause(row)) for step, row in zip(steps, table, strict=True) if not bool(row.isfinite().all())]


def unbounded_buffers(model: nn.Module) -> frozenset[str]:
    """Names of buffers with infinite or very large numbers before training, such as the -inf of a causal mask.

    Their norm says nothing about a step, and they have no moving average. Running statistics are never among them.
    """
    return frozenset(
        name
        for name, buffer in model.named_buffers()
        if buffer.is_floating_point()
        and name.rpartition(".")[2] not in _STATISTICS
        and not float(torch.linalg.vector_norm(buffer)) < _LARGE
    )


def _cause(row: Tensor) -> str:
    """Name and value of the first of the four numbers that is not finite."""
    number = int((~row.isfinite()).nonzero()[0])
    return f"{_WHAT[number]} is {float(row[number]):g}"


def fault_record(epoch: int, step: int, cause: str, index: Tensor) -> dict[str, Any]:
    """Line of `faults.jsonl`: epoch and step counted from 1, cause, indices of the samples."""
    return {"epoch": epoch + 1, "step": step + 1, "cause": cause, "index": index.tolist()}


def describe_fault(record: dict[str, Any], paths: Sequence[str] | None, *, in_memory: bool = False) -> str:
    """A fault for a message, with its first samples by path or index; a run `in_memory` has no file with the others."""
    index = record["index"]
    names = [paths[number] if paths is not None and paths[number] else str(number) for number in index]
    listed = "" if in_memory else " (all in faults.jsonl)"
    return (
        f"epoch {record['epoch']}, step {record['step']}: {record['cause']}; the step was not taken. Its samples: "
        f"{first_few(names, _SHOWN)}{listed}"
    )


def apply_policy(
    fault: str, count: int, config: TrainConfig, say: Callable[[str], object], *, in_memory: bool = False
) -> None:
    """Do what the recipe says about a fault: show it and go on, or raise.

    Args:
        fault: The fault, described.
        count: Faults of the run so far, with this one.
        config: The recipe's `nonfinite` and `nonfinite_limit`.
        say: Shows a message.
        in_memory: The run has no folder; the message names no file and no option of the command line.

    Raises:
        NonfiniteError: the recipe says stop or rollback.
        UserError: there were too many.
    """
    lower = lower_rate(config, in_memory=in_memory)
    if config.nonfinite == "stop":
        go_on = (
            "Give nonfinite='skip' or nonfinite='rollback'"
            if in_memory
            else "What the finished epochs left is kept: go on with --train.nonfinite skip, or rollback "
            "(`iaat train` needs --resume, too)"
        )
        raise NonfiniteError(f"{fault}. {go_on}, or {lower}")
    if count >= config.nonfinite_limit:
        limit = f"train.nonfinite_limit is {config.nonfinite_limit}"
        raise UserError(f"{fault}. That is one too many, {limit}: {lower}")
    say(fault)
    if config.nonfinite == "rollback":
        raise NonfiniteError(fault)


def lower_rate(config: TrainConfig, *, in_memory: bool = False) -> str:
    """What to do where numbers overflow."""
    place = "" if in_memory else ", in another --out (`iaat train` takes --overwrite, too)"
    return f"start again with a lower train.lr ({config.lr:g}) or train.precision fp32{place}"
