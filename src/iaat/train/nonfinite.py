"""Steps whose numbers are not finite: noticed without waiting for the device at each, and named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from iaat.errors import UserError
from iaat.runtime.distributed import ALONE, Ranks

_WHAT = ("the loss", "the norm of the gradient", "the norm of the new weights", "the norm of BatchNorm's statistics")
_SHOWN = 8

LAG = 16
"""Steps that may pass on an accelerator until a fault is noticed; on a CPU it is noticed at once."""


class NotFinite(UserError):  # noqa: N818 - it names what was seen
    """A step of training whose numbers are not finite, and which was not taken."""


class Faults:
    """Judges the steps of an epoch on the device, and tells the host of those that failed a few steps later.

    Args:
        lag: Steps between two looks at the device.
        ranks: The processes that train.
    """

    def __init__(self, lag: int, ranks: Ranks = ALONE) -> None:
        self._lag, self._ranks = lag, ranks
        self._unread: list[tuple[int, Tensor]] = []

    @torch.no_grad()
    def judge(self, step: int, model: nn.Module, loss: Tensor, scale: Tensor | None = None) -> Tensor:
        """Whether loss, gradients, weights and buffers are finite after step number `step`: a bool on the device.

        The norms are those of all numbers together; one that overflows counts as a fault, too. Several processes come
        to one judgement: all numbers are averaged over them, which leaves none finite that was not in each.

        Args:
            step: Number of the step.
            model: The network after it, with the gradients it took.
            loss: Loss of this process's share of the batch, so weighted that its mean over processes is the batch's.
            scale: What the loss was multiplied by for gradients in fp16. Where it is above 1 a gradient that overflows
                is no fault, but how the right scale is found: the step is undone, and not told.
        """
        weights = [each for each in model.parameters() if each.requires_grad]
        gradients = [each.grad for each in weights if each.grad is not None]
        buffers = [each for each in model.buffers() if each.is_floating_point()]
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
        """Whether it is time to look."""
        return len(self._unread) >= self._lag

    def read(self) -> list[tuple[int, str]]:
        """Number and cause of each step judged since the last reading that was not finite; waits for the device."""
        if not self._unread:
            return []
        steps = [step for step, _ in self._unread]
        table = torch.stack([values for _, values in self._unread]).cpu()
        self._unread = []
        return [(step, _cause(row)) for step, row in zip(steps, table, strict=True) if not bool(row.isfinite().all())]


def _cause(row: Tensor) -> str:
    """The first of the four numbers that is not finite, in words."""
    number = int((~row.isfinite()).nonzero()[0])
    return f"{_WHAT[number]} is {float(row[number]):g}"


def fault_record(epoch: int, step: int, cause: str, index: Tensor) -> dict[str, Any]:
    """What `faults.jsonl` says of a fault: epoch and step counted from 1, cause, indices of the samples."""
    return {"epoch": epoch + 1, "step": step + 1, "cause": cause, "index": index.tolist()}


def told(record: dict[str, Any], paths: Sequence[str] | None) -> str:
    """A fault in words, with the first samples by path or index."""
    index = record["index"]
    names = [paths[number] if paths is not None and paths[number] else str(number) for number in index[:_SHOWN]]
    more = f" and {len(index) - _SHOWN} more" if len(index) > _SHOWN else ""
    return (
        f"epoch {record['epoch']}, step {record['step']}: {record['cause']}; the step was not taken. Its samples: "
        f"{', '.join(names)}{more} (all in faults.jsonl)"
    )
