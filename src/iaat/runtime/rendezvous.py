"""How the processes that a launcher has started find each other, with a word to the user where one does not come."""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from iaat.runtime.distributed import PATIENCE
from iaat.runtime.waiting import SAY_AFTER, RollCall, call_roll, say

_PAUSE, _TRY = 0.2, 2.0
_NAMED = 8


def meet(launch: Mapping[str, str]) -> Store:
    """Wait until all processes have come to the store that the launcher, or the main process, keeps for them.

    PyTorch's own call for it hears no signal and says nothing for as long as it waits.

    Raises:
        RuntimeError, OSError: there is no store, or others have not come within `PATIENCE`.
    """
    rank, world, port = (int(launch[key]) for key in ("RANK", "WORLD_SIZE", "MASTER_PORT"))
    host = launch["MASTER_ADDR"]
    kept_by_launcher = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    hosts = rank == 0 and not kept_by_launcher
    waiting = _Waiting(f"process {rank} of {world} on {platform.node()}", f"{host}:{port}")
    if not hosts:
        _await_store(host, port, waiting)
    store = TCPStore(host, port, world, hosts, timeout=PATIENCE, wait_for_workers=False)
    # torchrun keeps one store for all attempts to start the processes.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    own = PrefixStore(f"iaat/{attempt}", store)
    own.set(f"there/{rank}", platform.node())
    keys = [f"there/{number}" for number in range(world)]
    while not own.check(keys):
        waiting.turn(lambda: _absent(own, keys, rank))
    names = [own.get(key).decode() for key in keys]
    call_roll(RollCall(rank, world, f"{host}:{port}", PrefixStore(f"iaat/{attempt}", store.clone()), names))
    return PrefixStore(f"torch/{attempt}", store)


def _await_store(host: str, port: int, waiting: _Waiting) -> None:
    while True:
        try:
            socket.create_connection((host, port), timeout=_TRY).close()
        except OSError as error:
            reason = f"the main process, which does not answer there ({error.strerror or error})"
            waiting.turn(partial(str, reason))
        else:
            return


def _absent(store: Store, keys: Sequence[str], rank: int) -> str | None:
    """Who has not come, for people; None where another process is the one to say it."""
    there = [number for number, key in enumerate(keys) if store.check([key])]
    absent = [str(number) for number in range(len(keys)) if number not in there]
    more = "" if len(absent) <= _NAMED else ", ..."
    return f"{len(absent)} more: process {', '.join(absent[:_NAMED])}{more}" if rank == min(there) else None


class _Waiting:
    """Waiting where processes meet, with a word to the user now and then."""

    def __init__(self, me: str, place: str) -> None:
        self._me, self._place = me, place
        self._begun, self._say_at = time.monotonic(), SAY_AFTER

    def turn(self, missing: Callable[[], str | None]) -> None:
        """Wait a little, in which signals are answered.

        Raises:
            RuntimeError: it has taken too long.
        """
        time.sleep(_PAUSE)
        waited = time.monotonic() - self._begun
        if waited > PATIENCE.total_seconds():
            raise RuntimeError(f"{waited:.0f} s are over, still waiting for {missing() or 'others'}")
        if waited > self._say_at:
            self._say_at *= 2
            if text := missing():
                say(f"{self._me} waits at {self._place} for {text}")
