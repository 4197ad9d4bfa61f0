"""`FolderLock`: one writer a folder; the lock names its owner and ends with the process."""

from __future__ import annotations

import json
import os
import platform
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from typing_extensions import TypedDict

from iaat.errors import UserError
from iaat.runtime.json_files import from_json

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

BEAT = 10.0
"""Seconds between two signs of life of an owner."""

SILENCE = 120.0
"""Seconds without one after which an owner on another machine is taken for dead."""


_held: set[int] = set()


def _let_go_in_child() -> None:
    """A forked worker shares its parent's lock, which would outlive the parent with it."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)


class _Owner(TypedDict):
    pid: int
    host: str
    since: str


class FolderLock:
    """Held while one process writes a folder; a second one is refused with the first one's process id and host.

    On one machine the kernel decides: its lock ends with the process, whatever ends that. Between machines, where file
    systems differ in what locks they share, the owner renews the file's time every few seconds.

    Args:
        file: The lock file, in the folder it guards.
        what: What the owner does there, for the message, such as `trains`.

    Raises:
        UserError: on entering: another process holds it, it cannot be written, or is a link or no file.
    """

    def __init__(self, file: Path, what: str) -> None:
        self._file, self._what = file, what
        self._made_folder = False
        self._descriptor = -1
        self._released = threading.Event()

    def __enter__(self) -> FolderLock:
        """Take the lock."""
        try:
            self._made_folder = not self._file.parent.exists()
            self._file.parent.mkdir(parents=True, exist_ok=True)
            while not self._take():
                pass
        except OSError as error:
            raise UserError(f"cannot write {self._file}: {error.strerror or error}; choose another folder") from error
        self._released.clear()
        threading.Thread(target=self._live, daemon=True, name="lock").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back, and the folder with it where it was made for the lock alone."""
        self._released.set()
        with suppress(OSError):
            self._file.unlink()
        if self._descriptor in _held:
            _held.discard(self._descriptor)
            os.close(self._descriptor)
        self._descriptor = -1
        if self._made_folder:
            with suppress(OSError):  # of a folder that is not empty
                self._file.parent.rmdir()

    def _take(self) -> bool:
        """Lock the file; False if its last owner removed it meanwhile, which makes the lock worth nothing."""
        descriptor = _open(self._file)
        try:
            held = not _lock(descriptor)
            with suppress(FileNotFoundError):
                if os.fstat(descriptor).st_ino != self._file.stat().st_ino:
                    held = False
                    return False
            owner = _owner(descriptor)
            elsewhere = owner is not None and owner["host"] != platform.node()
            if held or (elsewhere and self._silence(descriptor) < SILENCE):
                raise UserError(self._refusal(owner))
            text = json.dumps(
                {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
            )
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, text.encode(), 0)
            self._descriptor = descriptor
            _held.add(descriptor)
            return True
        finally:
            if self._descriptor != descriptor:
                os.close(descriptor)

    def _silence(self, descriptor: int) -> float:
        """Seconds since the owner's last sign of life, by the clock of the file system."""
        probe = self._file.with_name(f".{self._file.name}.{os.getpid()}.tmp")
        try:
            probe.touch()
            return probe.stat().st_mtime - os.fstat(descriptor).st_mtime
        finally:
            probe.unlink(missing_ok=True)

    def _refusal(self, owner: _Owner | None) -> str:
        who = "another process" if owner is None else f"process {owner['pid']} on {owner['host']}"
        since = "" if owner is None else f", since {owner['since']}"
        return (
            f"{self._file.parent} is in use: {who} {self._what} there{since}. Wait for it or stop it; of a machine "
            f"that is gone the lock ends after {SILENCE:.0f} s, or when {self._file} is removed"
        )

    def _live(self) -> None:
        while not self._released.wait(BEAT):
            with suppress(OSError):
                os.utime(self._descriptor)


def _open(file: Path) -> int:
    """A descriptor of the lock file, made if it is not there; what a link leads to is not opened.

    Raises:
        UserError: it is a link, has a second name, or is no file.
    """
    refusal = UserError(f"{file} is a link or no plain file, and nothing is written through it: remove it")
    if file.is_symlink():
        raise refusal
    try:
        # No link that is made meanwhile is followed; without waiting, a pipe is opened at once.
        flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | flags, 0o644)
    except OSError:
        if os.path.lexists(file) and not stat.S_ISREG(file.lstat().st_mode):
            raise refusal from None
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise refusal
    return descriptor


def _lock(descriptor: int) -> bool:
    """Whether the kernel gave us the lock; where there are no locks, the times of the file have to do."""
    if fcntl is None:
        return True
    try:
        # flock and not lockf: two locks of one process exclude each other, too.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _owner(descriptor: int) -> _Owner | None:
    try:
        return from_json(json.loads(os.pread(descriptor, 4096, 0)), _Owner)
    except (ValueError, RecursionError):  # just made, by a process killed while it wrote, or damaged
        return None
