"""Waiting for a collective: names the ranks that are missing, and answers requests to stop meanwhile."""

from __future__ import annotations

import platform
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import count

import torch.distributed as dist
from torch.distributed import Store  # type: ignore[attr-defined]

from iaat.runtime.signals import Stopped, requested_stop
from iaat.runtime.text import first_few, printable

REPORT_AFTER = 5.0
"""Seconds after which a process reports the ranks it waits for; it reports again after six times as many."""

GRACE = 30.0
"""Seconds after a request to stop for which processes that have to agree on it wait for each other."""

_ENTER_AFTER = 1.0
_TURN = timedelta(seconds=0.2)
_AGAIN = 6
_NAMED = 4


class RollCall:
    """Which process waits at which collective, known to all through a store at `place`, `host:port`.

    The store may be on a machine that answers no more, and no signal interrupts its calls, so they run in threads. Only
    this object uses it.
    """

    def __init__(self, rank: int, world: int, place: str, store: Store, hosts: Sequence[str]) -> None:
        self._rank, self._world, self._place, self._store, self._hosts = rank, world, place, store, hosts

    def enter(self, number: int) -> None:
        """Record that this process waits at collective `number`."""
        _in_thread(lambda: self._store.set(f"waits/{self._rank}", str(number)))

    def look(self, number: int) -> Callable[[], list[int] | None]:
        """Start to look up the ranks missing at collective `number`; returns a function that gives them, or None."""
        found: list[list[int]] = []
        _in_thread(lambda: found.append(self._missing(number)))
        return lambda: found[0] if found else None

    def _missing(self, number: int) -> list[int]:
        others = [rank for rank in range(self._world) if rank != self._rank]
        return [rank for rank in others if self._at(rank) != number]

    def _at(self, rank: int) -> int | None:
        key = f"waits/{rank}"
        return int(self._store.get(key)) if self._store.check([key]) else None

    def speaks(self, missing: Sequence[int]) -> bool:
        """Whether this process reports: the first of those that wait does."""
        return self._rank == min(rank for rank in range(self._world) if rank not in missing)

    def names(self, missing: Sequence[int] | None) -> str:
        """The missing ranks, for a message."""
        if missing is None:
            return f"others; the store at {self._place}, on the machine of process 0, does not answer"
        if not missing:
            return "the network"
        named = first_few([f"process {rank} on {self._hosts[rank]}" for rank in missing], _NAMED)
        return f"{len(missing)} of {self._world} processes (they met at {self._place}): {named}"

    @property
    def me(self) -> str:
        """This process, for a message."""
        return f"process {self._rank} of {self._world} on {platform.node()}"


_calls: list[RollCall] = []
_numbers = count()


def call_roll(roll: RollCall | None) -> None:
    """Set the roll call by which `wait_for` names missing ranks; None for none."""
    _calls[:] = [] if roll is None else [roll]


def wait_for(work: dist.Work, *, patient: bool = False) -> None:
    """Wait until a collective on CPUs is done.

    Args:
        work: The collective, begun with `async_op=True`, in the same order in all processes.
        patient: The others may be working, such as saving: a request to stop does not end the wait by itself.

    Raises:
        Stopped: a stop was asked for, and `GRACE` seconds later others are still missing.
        RuntimeError: the collective failed: a process is lost.
    """
    number, begun = next(_numbers), time.monotonic()
    roll = _calls[0] if _calls else None
    wait = _Wait(roll, number, begun)
    while not _is_done(work):
        wait.go_on()
        stop = requested_stop()
        if stop is not None and not patient and time.monotonic() - max(begun, stop.requested_at) > GRACE:
            raise Stopped(f"{stop.requested} while waiting for {wait.missing()}")


def _is_done(work: dist.Work) -> bool:
    try:
        work.wait(_TURN)
    except RuntimeError:
        if not work.is_completed():
            return False
        work.wait()  # raises again what failed; nothing where the work was done just after the turn
    return True


class _Wait:
    """Reports of one wait so far."""

    def __init__(self, roll: RollCall | None, number: int, begun: float) -> None:
        self._roll, self._number, self._begun = roll, number, begun
        self._entered = False
        self._report_at = REPORT_AFTER
        self._look: Callable[[], list[int] | None] | None = None
        self._look_at = 0.0

    def go_on(self) -> None:
        """Report what is due by now."""
        if self._roll is None:
            return
        waited = time.monotonic() - self._begun
        if waited > _ENTER_AFTER and not self._entered:
            self._entered = True
            self._roll.enter(self._number)
        if self._look is None and waited > self._report_at:
            self._look, self._look_at = self._roll.look(self._number), waited
        elif self._look is not None and (self._look() is not None or waited > self._look_at + REPORT_AFTER):
            missing = self._look()
            if missing is None or (missing and self._roll.speaks(missing)):
                print_line(f"{self._roll.me} has waited {waited:.0f} s for {self._roll.names(missing)}")
            self._look = None
            self._report_at *= _AGAIN

    def missing(self) -> str:
        """The missing ranks for a message, as far as they are known."""
        if self._roll is None:
            return "other processes"
        look = self._roll.look(self._number)
        for _ in range(10):
            if look() is not None:
                break
            time.sleep(0.1)
        return self._roll.names(look())


def print_line(text: str) -> None:
    """Print a line on standard error, in any process."""
    print(printable(text), file=sys.stderr, flush=True)


def _in_thread(act: Callable[[], object]) -> None:
    def run() -> None:
        with suppress(RuntimeError):  # the store is gone, and with it whoever could read
            act()

    threading.Thread(target=run, daemon=True, name="roll call").start()
