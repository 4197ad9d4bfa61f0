"""Checks of values in tensors that never wait for the device: at once on the CPU, elsewhere when they have arrived."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from iaat.errors import UserError

Complaint = Callable[[list[float]], str | None]
"""What is wrong with some numbers, in words; None where nothing is."""

TRAVELS = ("cuda", "xpu")
"""Kinds of device from which numbers are copied while the host goes on."""
_AT_ONCE = ("cpu",)


@dataclass(frozen=True, slots=True)
class _Copy:
    """Numbers on their way to the host."""

    numbers: Tensor
    arrival: torch.Event
    complaint: Complaint
    error: type[UserError]


class _Underway(threading.local):
    def __init__(self) -> None:
        self.copies: deque[_Copy] = deque()


_underway = _Underway()


def judge(numbers: Tensor, complaint: Complaint, error: type[UserError] = UserError) -> None:
    """Refuse values, without waiting for the device they are on.

    On the CPU they are judged at once. On a GPU (CUDA, ROCm, XPU) they are copied while the host goes on, and judged by
    the first later check of this thread that finds them there; so the error comes a call or a few late. Waiting would
    cost a GPU its queue at every step, and an assertion on the device would end the process. Other devices, and CUDA
    graphs being captured, are not judged.

    Args:
        numbers: A few values `[n]`.
        complaint: Given them as Python numbers, says what is wrong; runs later where they have to travel.
        error: What is raised.

    Raises:
        UserError: what `complaint` says of these or of earlier numbers.
    """
    kind = numbers.device.type
    if kind in _AT_ONCE:
        if found := complaint(numbers.tolist()):
            raise error(found)
    elif kind in TRAVELS and not (kind == "cuda" and torch.cuda.is_current_stream_capturing()):
        _underway.copies.append(_sent(numbers, complaint, error))
        judge_arrived()


def judge_arrived() -> None:
    """Judge the numbers that have arrived since the last check; never waits.

    Raises:
        UserError: what their complaints say.
    """
    copies = _underway.copies
    while copies and copies[0].arrival.query():
        first = copies.popleft()
        if found := first.complaint(first.numbers.tolist()):
            copies.clear()  # what came after it would be told of a call that has been mended
            raise first.error(f"{found} (noticed on the GPU, after the call had returned)")


def _sent(numbers: Tensor, complaint: Complaint, error: type[UserError]) -> _Copy:
    there = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
    there.copy_(numbers.detach(), non_blocking=True)
    arrival = torch.Event(numbers.device)
    arrival.record(torch.accelerator.current_stream(numbers.device))
    return _Copy(there, arrival, complaint, error)
