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
"""Returns the error message for some numbers; None where they are fine."""

ASYNC_DEVICES = ("cuda", "xpu")
"""Kinds of device from which numbers are copied while the host goes on."""
_SYNC_DEVICES = ("cpu",)


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


def check_async(numbers: Tensor, complaint: Complaint, error: type[UserError] = UserError) -> None:
    """Refuse values, without waiting for the device they are on.

    On the CPU they are checked at once. On a GPU (CUDA, ROCm, XPU) they are copied while the host goes on, and checked
    by the first later call of this thread that finds them there; so the error comes a call or a few late. Waiting would
    cost a GPU its queue at every step, and an assertion on the device would end the process. On other devices, and
    while a CUDA graph is captured, nothing is checked.

    Args:
        numbers: A few values `[n]`.
        complaint: Gets them as Python numbers and returns the error message; runs later where they have to travel.
        error: Kind of the error.

    Raises:
        UserError: `complaint` refuses these or earlier numbers.
    """
    kind = numbers.device.type
    if kind in _SYNC_DEVICES:
        if found := complaint(numbers.tolist()):
            raise error(found)
    elif kind in ASYNC_DEVICES and not (kind == "cuda" and torch.cuda.is_current_stream_capturing()):
        _underway.copies.append(_start_copy(numbers, complaint, error))
        check_arrived()


def check_arrived() -> None:
    """Check the numbers that have arrived since the last call; never waits.

    Raises:
        UserError: as their complaints say.
    """
    copies = _underway.copies
    while copies and copies[0].arrival.query():
        first = copies.popleft()
        if found := first.complaint(first.numbers.tolist()):
            copies.clear()  # later numbers may belong to a call that has been mended
            raise first.error(f"{found} (noticed on the GPU, after the call had returned)")


def _start_copy(numbers: Tensor, complaint: Complaint, error: type[UserError]) -> _Copy:
    on_host = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
    on_host.copy_(numbers.detach(), non_blocking=True)
    arrival = torch.Event(numbers.device)
    arrival.record(torch.accelerator.current_stream(numbers.device))
    return _Copy(on_host, arrival, complaint, error)
