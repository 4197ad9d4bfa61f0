"""Waiting for other processes: who is missing is said, and a request to stop is answered meanwhile."""

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
from iaat.runtime.text import printable

SAY_AFTER = 5.0
"""Seconds after which a process says for whom it waits; it says so again when six times as many have passed."""

GRACE = 30.0
"""Seconds after a request to stop for which processes that have to agree on it wait for each other."""

_ENTER_AFTER = 1.0
_TURN = timedelta(seconds=0.2)
_AGAIN = 6
_NAMED = 4


class RollCall:
    """Who waits at which exchange, known to all through a store.

    The store may be on a machine that answers no more, and its calls know no signals, so they are made in threads.

    Args:
        rank, world: This process and the number of all.
        place: `host:port` of the store.
        store: Of PyTorch; only this object uses it.
        hosts: Host of each process.
    """

    def __init__(self, rank: int, world: int, place: str, store: Store, hosts: Sequence[str]) -> None:
        self._rank, self._world, self._place, self._store, self._hosts = rank, world, place, store, hosts

    def enter(self, number: int) -> None:
        """Let the others know that this process waits at exchange `number`."""
        _in_thread(lambda: self._store.set(f"waits/{self._rank}", str(number)))

    def look(self, number: int) -> Callable[[], list[int] | None]:
        """Begin to find out who has not come to exchange `number`; what is returned says so, None while not known."""
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
        """Whether it is for this process to speak: the first of those that wait does."""
        return self._rank == min(rank for rank in range(self._world) if rank not in missing)

    def names(self, missing: Sequence[int] | None) -> str:
        """Those who are missing, for people."""
        if missing is None:
            return f"others; the store at {self._place}, on the machine of process 0, does not answer"
        if not missing:
            return "the network"
        named = ", ".join(f"process {rank} on {self._hosts[rank]}" for rank in missing[:_NAMED])
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        return f"{len(missing)} of {self._world} processes (they met at {self._place}): {named}{more}"

    @property
    def me(self) -> str:
        """This process, for people."""
        return f"process {self._rank} of {self._world} on {platform.node()}"


_calls: list[RollCall] = []
_numbers = count()


def call_roll(roll: RollCall | None) -> None:
    """Have `wait_for` name those who are missing by this roll call; None: by none."""
    _calls[:] = [] if roll is None else [roll]


def wait_for(work: dist.Work, *, patient: bool = False) -> None:
    """Wait until an exchange on CPUs is done.

    Args:
        work: The exchange, begun with `async_op=True`, in the same order in all processes.
        patient: The others may be at work, such as at saving: a request to stop does not end the wait by itself.

    Raises:
        Stopped: a stop was asked for, and `GRACE` seconds later others are still missing.
        RuntimeError: the exchange failed: a process is lost.
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
        if work.is_completed():  # it failed
            work.wait()
            raise
        return False
    return True


class _Wait:
    """What one wait has said so far."""

    def __init__(self, roll: RollCall | None, number: int, begun: float) -> None:
        self._roll, self._number, self._begun = roll, number, begun
        self._entered = False
        self._say_at = SAY_AFTER
        self._look: Callable[[], list[int] | None] | None = None
        self._look_at = 0.0

    def go_on(self) -> None:
        """Say what is to be said by now."""
        if self._roll is None:
            return
        waited = time.monotonic() - self._begun
        if waited > _ENTER_AFTER and not self._entered:
            self._entered = True
            self._roll.enter(self._number)
        if self._look is None and waited > self._say_at:
            self._look, self._look_at = self._roll.look(self._number), waited
        elif self._look is not None and (self._look() is not None or waited > self._look_at + SAY_AFTER):
            missing = self._look()
            if missing is None or (missing and self._roll.speaks(missing)):
                say(f"{self._roll.me} has waited {waited:.0f} s for {self._roll.names(missing)}")
            self._look = None
            self._say_at *= _AGAIN

    def missing(self) -> str:
        """Those who are missing, for people, as far as is known."""
        if self._roll is None:
            return "other processes"
        look = self._roll.look(self._number)
        for _ in range(10):
            if look() is not None:
                break
            time.sleep(0.1)
        return self._roll.names(look())


def say(text: str) -> None:
    """A line on standard error, whichever process says it."""
    print(printable(text), file=sys.stderr, flush=True)


def _in_thread(act: Callable[[], object]) -> None:
    def run() -> None:
        with suppress(RuntimeError):  # the store is gone, and with it whoever could read
            act()

    threading.Thread(target=run, daemon=True, name="roll call").start()
