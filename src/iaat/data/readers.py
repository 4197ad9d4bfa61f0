"""The reader processes of a `DataLoader`: who ends them, and what is said when they end by themselves."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from torch.utils.data import DataLoader

from iaat.errors import UserError

# Sent to a whole group of processes. The main process decides when to stop, saves, and ends its readers itself.
_NOT_FOR_READERS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGXCPU")
_DEATH = "DataLoader worker (pid"


def ignore_signals(_worker: int) -> None:
    """For `worker_init_fn`: leave it to the main process to stop."""
    for number in _numbers():
        signal.signal(number, signal.SIG_IGN)


def start_readers(loader: DataLoader[Any]) -> Iterator[Any]:
    """An iterator over a loader whose reader processes can be ended, whatever they ignore.

    Readers end with the iterator, or within seconds of the main process where that is killed.
    """
    with _held_back():
        iterator = iter(loader)
    for reader in getattr(iterator, "_workers", ()):
        # PyTorch, and multiprocessing when Python exits, end a reader that hangs by SIGTERM and wait for it.
        reader._popen.terminate = reader._popen.kill
    _explain_deaths()
    return iterator


@contextmanager
def explained() -> Iterator[None]:
    """Say what a reader that died means.

    Raises:
        UserError: PyTorch found that one did.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith(_DEATH):
            raise
        raise UserError(
            f"a process that reads samples ended by itself ({' '.join(str(error).split())}): most likely there was too"
            " little memory; set fewer data.workers (0: the main process reads) or a smaller train.batch_size, or raise"
            " the limits on memory and on shared memory (/dev/shm)"
        ) from error


def _numbers() -> list[int]:
    return [int(getattr(signal, name)) for name in _NOT_FOR_READERS if hasattr(signal, name)]


@contextmanager
def _held_back() -> Iterator[None]:
    """Hold signals back while readers start: until `ignore_signals` they have the handlers of the main process."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _numbers())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Explained:
    """PyTorch's handler of SIGCHLD, which raises wherever the main process is when a reader dies."""

    def __init__(self, handler: Any) -> None:  # noqa: ANN401
        self._handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        with explained():
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
