"""Ranks of several processes that train or evaluate together: broadcast, all-gather, all-reduce, shared errors.

Everywhere else the code calls `current()` for its rank; with one process all of this costs nothing.
"""

from __future__ import annotations

import io
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from iaat.errors import UserError
from iaat.runtime.stragglers import wait_for

T = TypeVar("T")

TIMEOUT = timedelta(minutes=30)
"""How long a process waits for another that is still connected: as long as the main one may take to save, or to
download. One that has ended is noticed at once."""

_ENDLESS = timedelta(days=365)
"""How long processes that have nothing left to do wait for those that are still working."""

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.001, 0.2


class ElsewhereError(UserError):
    """Another process met an error that ends the work of all."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that work together; by default it is alone.

    Attributes:
        rank: Its number, from 0; number 0 is the main one, which writes files.
        world: Number of processes.
        local: Its number among those of its machine, which is the number of its GPU.
    """

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.world > 1

    def sum_(self, values: Tensor) -> Tensor:
        """Sum a tensor over all processes in place (all-reduce), on any device; returns it."""
        if self.several:
            assert values.is_contiguous() or values.is_contiguous(memory_format=torch.channels_last)  # else gloo errs
            work = dist.all_reduce(values, async_op=True)
            _finish(work, values.device)
        return values

    def mean_(self, values: Tensor) -> Tensor:
        """Average a tensor over all processes in place; returns it."""
        return self.sum_(values).div_(self.world) if self.several else values

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Whether each flag is set in any process; done on the CPU, so that no GPU is waited for."""
        return self._any(flags, patient=False) if self.several else flags

    def _any(self, flags: tuple[bool, ...], *, patient: bool) -> tuple[bool, ...]:
        votes = torch.tensor(flags, dtype=torch.int32)
        work = dist.all_reduce(votes, op=dist.ReduceOp.MAX, group=_default_cpu_group(), async_op=True)
        _finish(work, votes.device, patient=patient)
        return tuple(bool(vote) for vote in votes)

    def barrier(self) -> None:
        """Wait until all processes come here, before a collective that no signal can interrupt."""
        self.any(False)

    def all_gather(self, values: Tensor) -> list[Tensor]:
        """The tensor `[n_r, ...]` of every process r, in their order; only the first dimension may differ."""
        if not self.several:
            return [values]
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world)]
        _finish(dist.all_gather(sizes, torch.tensor([len(values)]), group=_default_cpu_group(), async_op=True), _CPU)
        counts = [int(size) for size in sizes]
        longest = max(counts)
        padded = values.new_zeros((longest, *values.shape[1:]))
        padded[: len(values)] = values
        found = [torch.empty_like(padded) for _ in counts]
        if longest:
            group = _default_cpu_group() if values.device.type == "cpu" else None
            _finish(dist.all_gather(found, padded, group=group, async_op=True), values.device)
        return [part[:count] for part, count in zip(found, counts, strict=True)]

    def all_gather_states(self, state: dict[str, Any]) -> list[dict[str, Any]]:
        """The state of every process, of tensors and plain values, on the CPU."""
        if not self.several:
            return [state]
        file = io.BytesIO()
        torch.save(state, file)
        parts = self.all_gather(torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8))
        return [torch.load(io.BytesIO(part.numpy().tobytes()), map_location="cpu", weights_only=True) for part in parts]

    def all_gather_dict(self, found: Mapping[int, Any]) -> dict[int, Any]:
        """The dicts of all processes as one; each has keys of its own, and values that JSON can hold."""
        if not self.several:
            return dict(found)
        parts = self.all_gather(_bytes(json.dumps(list(found.items()))))
        return {number: value for part in parts for number, value in json.loads(_text(part))}

    def broadcast_text(self, text: str) -> str:
        """The text of the main process, in every process."""
        return _text(self.all_gather(_bytes(text if self.main else ""))[0]) if self.several else text

    def check_same(self, text: str, what: str) -> None:
        """Raise where processes differ in what all must have equal.

        Raises:
            UserError: in every process: `what` is not the same everywhere.
        """
        differs = text != self.broadcast_text(text)
        self.raise_together(
            UserError(f"{what} of process {self.rank} on {platform.node()} differ from those of process 0")
            if differs
            else None
        )

    def raise_together(self, error: UserError | None, *, patient: bool = False) -> None:
        """Raise the error of any process in every process: its own, or that of the first other one.

        Where the others may come late because of work that must not be interrupted, it is `patient`.
        """
        failed = error is not None
        if not (self._any((failed,), patient=patient)[0] if self.several else failed):
            return
        place = f"process {self.rank} of {self.world} on {platform.node()}"
        errors = self.all_gather_dict({} if error is None else {self.rank: f"{place}: {error}"})
        if error is not None:
            raise error
        raise ElsewhereError(errors[min(errors)])

    def wait_for_all(self) -> None:
        """Wait until all processes come here, without a timeout; signals are answered meanwhile."""
        if self.several:
            there = dist.barrier(group=_endless_group(), async_op=True)
            assert there is not None
            pause = _SHORTEST_PAUSE
            while not there.is_completed():
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            there.wait()

    def on_main(self, act: Callable[[], object]) -> None:
        """Call a function in the main process while the others wait.

        Raises:
            UserError: it failed there, in every process.
        """
        if self.several:
            self.raise_together(_failure(act) if self.main else None, patient=True)
        else:
            act()

    def each(self, compute: Callable[[], T]) -> T:
        """What a function returns in this process; all call it, and wait for the slowest without a timeout.

        Raises:
            UserError: it failed in one, in every process.
        """
        if not self.several:
            return compute()
        found: list[T] = []
        error = _failure(lambda: found.append(compute()))
        self.wait_for_all()
        self.raise_together(error)
        return found[0]

    def from_main(self, compute: Callable[[], T]) -> T:
        """What a function returns in the main process, a value that JSON can hold; the others wait without a timeout.

        Raises:
            UserError: it failed there, in every process.
        """
        if not self.several:
            return compute()
        found = self.each(lambda: compute() if self.main else None)
        value: T = json.loads(self.broadcast_text(json.dumps(found)))
        return value

    def main_first(self, act: Callable[[], T]) -> T:
        """Call a function in the main process, then in the others, which find done what is needed once.

        Raises:
            UserError: it failed in one, in every process.
        """
        if not self.several:
            return act()
        found: list[T] = []
        for turn in (self.main, not self.main):
            self.raise_together(_failure(lambda: found.append(act())) if turn else None, patient=True)
        return found[0]


ALONE = Ranks()

_CPU = torch.device("cpu")


def _default_cpu_group() -> dist.ProcessGroup | None:
    """The process group for CPU tensors: the default one, or one beside it where that is for GPUs alone."""
    return None if "cpu:" in str(dist.get_backend_config()) else _cpu_group(id(dist.group.WORLD), TIMEOUT)


def _endless_group() -> dist.ProcessGroup:
    """The group to wait in without a timeout."""
    return _cpu_group(id(dist.group.WORLD), _ENDLESS)


@cache
def _cpu_group(world: int, timeout: timedelta) -> dist.ProcessGroup:
    """All processes of the default group `world` once more, over CPUs."""
    group = dist.new_group(backend="gloo", timeout=timeout)
    assert isinstance(group, dist.ProcessGroup)
    return group


def create_groups() -> None:
    """Create the process groups that are needed later, in all processes together: no signal interrupts that."""
    _default_cpu_group()
    _endless_group()


def _finish(work: dist.Work | None, device: torch.device, *, patient: bool = False) -> None:
    """Wait for a collective; on a GPU the device waits alone."""
    assert work is not None
    if device.type == "cpu":
        wait_for(work, patient=patient)
    else:
        work.wait()


def current() -> Ranks:
    """This process among those of PyTorch's default group, whoever has set it up."""
    if not (dist.is_available() and dist.is_initialized()):
        return ALONE
    return Ranks(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", dist.get_rank())))


def unwrap_ddp(model: nn.Module) -> nn.Module:
    """The model inside of a `DistributedDataParallel`; any other model as it is.

    Forwards through the wrapper broadcast buffers, so that processes that attack with different numbers of steps would
    wait for each other for ever.
    """
    return model.module if isinstance(model, DistributedDataParallel) else model


def _failure(act: Callable[[], object]) -> UserError | None:
    """The error of a call, of the kinds that users can mend."""
    try:
        act()
    except UserError as error:
        return error
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return UserError(f"{place}{error.strerror or error}")
    return None


def describe_processes(ranks: Ranks, device: torch.device) -> str:
    """The processes for a message: `4 processes on 2 machines, on cuda`."""
    hosts = {_text(part) for part in ranks.all_gather(_bytes(platform.node()))}
    machines = f"{len(hosts)} machine{'s' if len(hosts) > 1 else ''}"
    return f"{ranks.world} processes on {machines}, on {device.type}"


def _bytes(text: str) -> Tensor:
    return torch.frombuffer(bytearray(text.encode() or b" "), dtype=torch.uint8)


def _text(values: Tensor) -> str:
    text = values.cpu().numpy().tobytes().decode()
    return "" if text == " " else text
