"""Stop signals (SIGTERM, SIGINT, ...): the first ends the work where nothing is lost, the second at once."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = 75
"""Exit code of work that was stopped on request, kept what it had done and can go on: EX_TEMPFAIL of sysexits.h."""

# Ctrl-C; kill, schedulers, preemption; SLURM's --signal=USR1@60; a closed terminal; a spent CPU-time limit.
_SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP", "SIGXCPU")

_AGAIN = 0.05
"""Seconds until a stop that was swallowed comes again."""


def ignore_stops() -> None:
    """Ignore stop signals for the rest of the process, when its work is done; Ctrl-C still ends it."""
    for name in _SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL if name == "SIGINT" else signal.SIG_IGN)


_listening: list[Stop] = []


def requested_stop() -> Stop | None:
    """The stop that was requested of this process; None for none."""
    return next((stop for stop in _listening if stop.requested is not None), None)


class Stopped(KeyboardInterrupt):
    """The work was stopped on request; what it had done is kept.

    Like Ctrl-C no `Exception`, so that no handler of errors takes it for one.
    """

    def __init__(self, signal_name: str) -> None:
        super().__init__(signal_name)
        self.signal_name = signal_name


class Stop:
    """A request to stop, set by a signal.

    Nothing asks before `listening` is entered, so a `Stop()` of its own never stops.
    """

    def __init__(self) -> None:
        self._deferred = 0
        self._swallowed = False
        self.requested: str | None = None
        self.requested_at = 0.0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals that ask for a stop; only the main thread can. A signal that is ignored stays ignored."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
        old = {number: signal.getsignal(number) for number in numbers}
        taken = {number: handler for number, handler in old.items() if handler is not signal.SIG_IGN}
        for number in taken:
            signal.signal(number, self._receive)
        hook = sys.unraisablehook

        def noticed(raised: sys.UnraisableHookArgs) -> None:
            if not self._raise_again(raised):
                hook(raised)

        sys.unraisablehook = noticed
        _listening.append(self)
        try:
            yield
        finally:
            _listening.remove(self)
            sys.unraisablehook = hook
            for number, handler in taken.items():
                signal.signal(number, handler)

    def stopped(self) -> Stopped:
        """The error that ends this process where processes agreed to stop, whichever was asked to."""
        return Stopped(self.requested or "another process, which was asked to stop")

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Context that a stop does not interrupt: it waits for `check`, or for the end of the block.

        An exception that leaves the block goes first.
        """
        self._deferred += 1
        try:
            yield
        finally:
            self._deferred -= 1
        self.check()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Context inside of `deferred` that a stop interrupts at once, also where it hangs.

        Raises:
            Stopped: a stop was asked for.
        """
        deferred, self._deferred = self._deferred, 0
        try:
            self.check()
            yield
        finally:
            self._deferred = deferred

    def check(self) -> None:
        """Raise here if a stop was requested.

        Raises:
            Stopped: it was, and no block of `deferred` is open around this one.
        """
        if self.requested is not None and not self._deferred:
            raise Stopped(self.requested)

    def _raise_again(self, raised: sys.UnraisableHookArgs) -> bool:
        """Whether a stop was swallowed, as everything is that is raised in a `__del__`: then it is asked for anew."""
        if not isinstance(raised.exc_value, Stopped):
            return False
        self._swallowed = True
        # Not here and now, where it would be swallowed again.
        threading.Timer(_AGAIN, _thread.interrupt_main, [signal.SIGINT]).start()
        return True

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self._swallowed:
            self._swallowed = False
            self.check()
            return
        if self.requested is not None:
            raise KeyboardInterrupt
        self.requested, self.requested_at = signal.Signals(number).name, time.monotonic()
        if self._deferred:
            print(f"{self.requested}: stopping after this step; once more stops at once", file=sys.stderr, flush=True)
        self.check()
