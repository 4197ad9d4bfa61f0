"""Worker processes of a `DataLoader`: signals, shutdown, and the message when one dies."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from torch.utils.data import DataLoader

from iaat.errors import UserError

# Sent to a whole group of processes. The main process decides when to stop, saves, and ends its workers itself.
_NOT_FOR_WORKERS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGXCPU")
_DEATH = "DataLoader worker (pid"
_ENDING = 2.0
_DYING = 2.0
"""Seconds in which a worker that failed to send must have ended for that to be the reason."""


def ignore_signals(_worker: int) -> None:
    """Ignore signals in a worker (for `worker_init_fn`): the main process decides when to stop."""
    for number in _numbers():
        signal.signal(number, signal.SIG_IGN)


def start_workers(loader: DataLoader[Any]) -> Iterator[Any]:
    """Yield what a loader yields, from workers that can be ended although they ignore signals.

    Workers end with the iterator, or within seconds of the main process where that is killed.

    Raises:
        UserError: A worker died.
    """
    with _held_back():
        iterator = iter(loader)
    end, workers = _End(), getattr(iterator, "_workers", ())
    for worker in workers:
        # PyTorch, and multiprocessing when Python exits, end a worker that hangs by SIGTERM and wait for it.
        worker._popen.terminate = worker._popen.kill
        worker.join = partial(end.join, worker.join)
    _explain_deaths()
    while True:
        with _explained(workers):
            found = next(iterator, None)
        if found is None:
            return
        yield found


class _End:
    """Shutdown of the workers of one loader, which have `_ENDING` seconds together.

    PyTorch gives each 5 seconds in turn, and Python the last ones for ever: a stop would wait for every worker with a
    file system that hangs.
    """

    def __init__(self) -> None:
        self._deadline: float | None = None

    def join(self, wait: Callable[[float], None], timeout: float | None = None) -> None:
        """Wait for a worker by `wait`, until the deadline at most, which begins with the first call."""
        now = time.monotonic()
        self._deadline = now + _ENDING if self._deadline is None else self._deadline
        left = max(0.0, self._deadline - now)
        # The handler of dead workers raises in whatever runs: here they are meant to die.
        with suppress(UserError):
            wait(left if timeout is None else min(timeout, left))


@contextmanager
def _explained(workers: Sequence[BaseProcess] = ()) -> Iterator[None]:
    """Explain the death of a worker, where PyTorch finds that one did, or where what it sent cannot be fetched."""
    try:
        yield
    except (RuntimeError, EOFError, OSError) as error:
        reason = " ".join(str(error).split())
        if not isinstance(error, RuntimeError):
            if (dead := _dead(workers)) is None:
                raise
            reason = f"DataLoader worker (pid {dead.pid}) was gone: {reason or type(error).__name__}"
        elif not reason.startswith(_DEATH):
            raise
        raise UserError(
            f"a process that reads samples ended by itself ({reason}): most likely there was too"
            " little memory; set fewer data.workers (0: the main process reads) or a smaller train.batch_size, or raise"
            " the limits on memory and on shared memory (/dev/shm)"
        ) from error


def _dead(workers: Sequence[BaseProcess]) -> BaseProcess | None:
    """A worker that has ended; one that is just ending is waited for."""
    deadline = time.monotonic() + (_DYING if workers else 0.0)
    while True:
        dead = next((worker for worker in workers if not worker.is_alive()), None)
        if dead is not None or time.monotonic() > deadline:
            return dead
        time.sleep(0.05)


def _numbers() -> list[int]:
    return [int(getattr(signal, name)) for name in _NOT_FOR_WORKERS if hasattr(signal, name)]


@contextmanager
def _held_back() -> Iterator[None]:
    """Hold signals back until the workers have started: a handler that raises would leave a loader half made.

    Until `ignore_signals` workers have the handlers of the main process, so they are harmless, too. Blocking would not
    do: the kernel gives a signal of the process to another of its threads.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone runs handlers
        yield
        return
    received: list[int] = []
    old = {number: signal.getsignal(number) for number in _numbers()}
    taken = {number: handler for number, handler in old.items() if handler not in (signal.SIG_IGN, None)}
    for number in taken:
        signal.signal(number, lambda got, _frame: received.append(got))
    try:
        yield
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)
    for number in received:
        signal.raise_signal(number)


class _Explained:
    """PyTorch's handler of SIGCHLD, with our message: it raises in the main process when a worker dies."""

    def __init__(self, handler: Any) -> None:  # noqa: ANN401
        self._handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        with _explained():
            self._handler(number, frame)


def _explain_deaths() -> None:
    if not hasattr(signal, "SIGCHLD"):  # Windows
        return
    handler = signal.getsignal(signal.SIGCHLD)
    # PyTorch sets its handler once, in the main thread only, as Python demands.
    if getattr(handler, "__module__", "") == "torch.utils.data._utils.signal_handling":
        try:
            signal.signal(signal.SIGCHLD, _Explained(handler))
        except ValueError:  # not the main thread
            return
