"""Several processes that train one network, and what they agree on.

Everywhere else the code asks `current()` who it is among them; with one process all of this costs nothing.
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
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from iaat.errors import UserError
from iaat.runtime.waiting import wait_for

T = TypeVar("T")

PATIENCE = timedelta(minutes=30)
"""How long a process waits for another that is still connected: as long as the main one may take to save, or to
download. One that has ended is noticed at once."""

ENDLESS = timedelta(days=365)
"""How long processes that have nothing left to do wait for the main one, which is still at work."""


class ElsewhereError(UserError):
    """Another process met an error that ends the work of all."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together; by default it is alone.

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
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.world > 1

    def sum_(self, values: Tensor) -> Tensor:
        """Put the sum over all processes in place of a tensor, on whichever device it is; returns it."""
        if self.several:
            assert values.is_contiguous() or values.is_contiguous(memory_format=torch.channels_last)  # else gloo errs
            work = dist.all_reduce(values, async_op=True)
            _finish(work, values.device)
        return values

    def mean_(self, values: Tensor) -> Tensor:
        """Put the mean over all processes in place of a tensor; returns it."""
        return self.sum_(values).div_(self.world) if self.several else values

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag whether it is set in any process; asked and answered on the CPU, no GPU is waited for."""
        return self._any(flags, patient=False) if self.several else flags

    def _any(self, flags: tuple[bool, ...], *, patient: bool) -> tuple[bool, ...]:
        votes = torch.tensor(flags, dtype=torch.int32)
        work = dist.all_reduce(votes, op=dist.ReduceOp.MAX, group=_between_cpus(), async_op=True)
        _finish(work, votes.device, patient=patient)
        return tuple(bool(vote) for vote in votes)

    def meet(self) -> None:
        """Wait until all processes come here, before an exchange that no signal can interrupt."""
        self.any(False)

    def gather(self, values: Tensor) -> list[Tensor]:
        """The tensor `[n_r, ...]` of every process r, in their order; only the first dimension may differ."""
        if not self.several:
            return [values]
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world)]
        _finish(dist.all_gather(sizes, torch.tensor([len(values)]), group=_between_cpus(), async_op=True), _CPU)
        counts = [int(size) for size in sizes]
        longest = max(counts)
        padded = values.new_zeros((longest, *values.shape[1:]))
        padded[: len(values)] = values
        found = [torch.empty_like(padded) for _ in counts]
        if longest:
            group = _between_cpus() if values.device.type == "cpu" else None
            _finish(dist.all_gather(found, padded, group=group, async_op=True), values.device)
        return [part[:count] for part, count in zip(found, counts, strict=True)]

    def gather_states(self, state: dict[str, Any]) -> list[dict[str, Any]]:
        """The state of every process, of tensors and plain values, on the CPU."""
        if not self.several:
            return [state]
        file = io.BytesIO()
        torch.save(state, file)
        parts = self.gather(torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8))
        return [torch.load(io.BytesIO(part.numpy().tobytes()), map_location="cpu", weights_only=True) for part in parts]

    def merged(self, found: Mapping[int, Any]) -> dict[int, Any]:
        """What all processes have found, each under numbers of its own, as JSON can say it."""
        if not self.several:
            return dict(found)
        parts = self.gather(_bytes(json.dumps(list(found.items()))))
        return {number: value for part in parts for number, value in json.loads(_text(part))}

    def told(self, text: str) -> str:
        """What the main process says, in every process."""
        return _text(self.gather(_bytes(text if self.main else ""))[0]) if self.several else text

    def check_same(self, text: str, what: str) -> None:
        """Refuse to go on where processes differ in what all must share.

        Raises:
            UserError: in every process: `what` is not the same everywhere.
        """
        differs = text != self.told(text)
        self.raise_together(
            UserError(f"{what} of process {self.rank} on {platform.node()} differ from those of process 0")
            if differs
            else None
        )

    def raise_together(self, error: UserError | None, *, patient: bool = False) -> None:
        """Raise in every process what went wrong in any.

        Args:
            error: What went wrong in this one; None: nothing.
            patient: Others may come late because they do something meanwhile that must not be cut in two.

        Raises:
            UserError: this one's own, or what the first other process says.
        """
        failed = error is not None
        if not (self._any((failed,), patient=patient)[0] if self.several else failed):
            return
        place = f"process {self.rank} of {self.world} on {platform.node()}"
        said = self.merged({} if error is None else {self.rank: f"{place}: {error}"})
        if error is not None:
            raise error
        raise ElsewhereError(said[min(said)])

    def await_main(self) -> None:
        """Wait until the main process comes here, too, however long that takes; a signal is answered meanwhile."""
        if self.several:
            there = dist.barrier(group=_endless_group(), async_op=True)
            assert there is not None
            while not there.is_completed():
                time.sleep(0.2)
            there.wait()

    def on_main(self, act: Callable[[], object]) -> None:
        """Have the main process do something while the others wait.

        Raises:
            UserError: it failed there, in every process.
        """
        if self.several:
            self.raise_together(_failure(act) if self.main else None, patient=True)
        else:
            act()

    def main_first(self, act: Callable[[], T]) -> T:
        """Do something in every process, in the main one before the others, which then find done what needs doing once.

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

_cpu_groups: dict[int, dist.ProcessGroup | None] = {}


def _between_cpus() -> dist.ProcessGroup | None:
    """The group that moves tensors of CPUs: the default one, or one made beside it where that knows GPUs alone."""
    world = dist.group.WORLD
    if id(world) not in _cpu_groups:
        has_cpu = "cpu:" in str(dist.get_backend_config())
        _cpu_groups[id(world)] = None if has_cpu else _group_of_cpus(PATIENCE)
    return _cpu_groups[id(world)]


def _finish(work: dist.Work | None, device: torch.device, *, patient: bool = False) -> None:
    """Wait for an exchange; on a GPU the device waits alone."""
    assert work is not None
    if device.type == "cpu":
        wait_for(work, patient=patient)
    else:
        work.wait()


_endless: dict[int, dist.ProcessGroup] = {}


def _endless_group() -> dist.ProcessGroup:
    """The group to wait in for the main process; made while all are there, because to make one no signal is heard."""
    world = dist.group.WORLD
    if id(world) not in _endless:
        _endless[id(world)] = _group_of_cpus(ENDLESS)
    return _endless[id(world)]


def prepare() -> None:
    """Make the groups that are needed later, in all processes together."""
    _between_cpus()
    _endless_group()


def _group_of_cpus(timeout: timedelta) -> dist.ProcessGroup:
    """All processes once more, over CPUs."""
    group = dist.new_group(backend="gloo", timeout=timeout)
    assert isinstance(group, dist.ProcessGroup)
    return group


def current() -> Ranks:
    """This process among those of PyTorch's default group, whoever has set it up."""
    if not (dist.is_available() and dist.is_initialized()):
        return ALONE
    return Ranks(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", dist.get_rank())))


def _failure(act: Callable[[], object]) -> UserError | None:
    """What goes wrong in doing something, of what is for users to mend."""
    try:
        act()
    except UserError as error:
        return error
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return UserError(f"{place}{error.strerror or error}")
    return None


def described(ranks: Ranks, device: torch.device) -> str:
    """Who trains, for people: `4 processes on 2 machines, on cuda`."""
    hosts = {_text(part) for part in ranks.gather(_bytes(platform.node()))}
    machines = f"{len(hosts)} machine{'s' if len(hosts) > 1 else ''}"
    return f"{ranks.world} processes on {machines}, on {device.type}"


def _bytes(text: str) -> Tensor:
    return torch.frombuffer(bytearray(text.encode() or b" "), dtype=torch.uint8)


def _text(values: Tensor) -> str:
    text = values.cpu().numpy().tobytes().decode()
    return "" if text == " " else text
