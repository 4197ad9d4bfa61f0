"""`folder_lock`: one writer a folder; the lock names its owner and ends with the process."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from iaat.errors import UserError
from iaat.runtime.files import WriteError
from iaat.runtime.json_files import from_json

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

BEAT = 10.0
"""Seconds between two signs of life of an owner."""

SILENCE = 120.0
"""Seconds without one after which an owner on another machine is taken for dead."""

_PAUSE = 0.2

_SYNCHRONIZE, _ACCESS_DENIED, _WAIT_TIMEOUT = 0x100000, 5, 0x102
"""Of Windows: the right to wait for a process, the error of one of another user, and the answer of a living one."""

_held: set[int] = set()


def _let_go_in_child() -> None:
    """A forked worker shares its parent's lock, which would outlive the parent with it."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)


class LockedError(UserError):
    """Another process holds a lock."""


class _Owner(TypedDict):
    pid: int
    host: str
    since: str


@contextmanager
def folder_lock(file: Path, what: str) -> Iterator[None]:
    """Context in which one process writes a folder; a second one is refused with the first one's process id and host.

    On one machine the kernel decides: its lock ends with the process, whatever ends that. Between machines, where file
    systems differ in what locks they share, the owner renews the file's time every few seconds. A folder that is made
    for the lock alone goes with it.

    Args:
        file: The lock file, in the folder it guards.
        what: What the owner does there, for the message, such as `trains`.

    Raises:
        LockedError: another process holds it.
        WriteError: it cannot be written.
        UserError: it is a link or no file.
    """
    made_folder = not file.parent.exists()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        while (descriptor := _take(file, what)) is None:
            pass
    except OSError as error:
        raise WriteError(f"cannot write {file}: {error.strerror or error}; choose another folder") from error
    released = threading.Event()
    renewer = threading.Thread(target=_renew, args=(file, descriptor, released), daemon=True, name="lock")
    renewer.start()
    try:
        yield
    finally:
        released.set()
        renewer.join(_PAUSE)
        _release(file, descriptor)
        if made_folder:
            with suppress(OSError):  # of a folder that is not empty
                file.parent.rmdir()


def _release(file: Path, descriptor: int) -> None:
    """Remove the lock file, and close it: before, others may lock what is about to go."""
    if fcntl is None and descriptor in _held:
        # A system that removes no open file. Emptied it is nobody's, should another process have it open now.
        os.ftruncate(descriptor, 0)
        _close(descriptor)
    with suppress(OSError):
        file.unlink()
    if descriptor in _held:
        _close(descriptor)


def _close(descriptor: int) -> None:
    _held.discard(descriptor)
    os.close(descriptor)


@contextmanager
def waiting_lock(file: Path, what: str, say: Callable[[str], object]) -> Iterator[None]:
    """As `folder_lock`, but another process that holds it is waited for; one line names it.

    Args:
        file: The lock file, in the folder it guards.
        what: What the owner does there, for the message, such as `trains`.
        say: Takes the line.

    Raises:
        WriteError: it cannot be written.
        UserError: it is a link or no file.
    """
    with ExitStack() as held:
        waited = False
        while True:
            try:
                held.enter_context(folder_lock(file, what))
                break
            except LockedError as error:
                if not waited:
                    say(f"waiting: {error}")
                waited = True
                time.sleep(_PAUSE)
        yield


def _take(file: Path, what: str) -> int | None:
    """Lock the file; None if its last owner removed it meanwhile, which makes the lock worth nothing."""
    descriptor = _open(file)
    try:
        locked = _lock(descriptor)
        if not _is_same(descriptor, file):
            return None
        owner = _owner(descriptor)
        unsure = owner is not None and (owner["host"] != platform.node() or (locked is None and _lives(owner["pid"])))
        if locked is False or (unsure and _silence(file, descriptor) < SILENCE):
            raise LockedError(_refusal(file, what, owner))
        text = json.dumps({"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")})
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, text.encode())
        _held.add(descriptor)
        return descriptor
    finally:
        if descriptor not in _held:
            os.close(descriptor)


def _is_same(descriptor: int, file: Path) -> bool:
    """Whether the file is still there and is the one that was opened: its last owner removes it."""
    try:
        return os.fstat(descriptor).st_ino == file.stat().st_ino
    except FileNotFoundError:
        return False


def _silence(file: Path, descriptor: int) -> float:
    """Seconds since the owner's last sign of life, by the clock of the file system."""
    probe = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        probe.touch()
        return probe.stat().st_mtime - os.fstat(descriptor).st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _refusal(file: Path, what: str, owner: _Owner | None) -> str:
    who = "another process" if owner is None else f"process {owner['pid']} on {owner['host']}"
    since = "" if owner is None else f", since {owner['since']}"
    return (
        f"{file.parent} is in use: {who} {what} there{since}. Wait for it or stop it; of a machine that is gone the "
        f"lock ends after {SILENCE:.0f} s, or when {file} is removed"
    )


def _renew(file: Path, descriptor: int, released: threading.Event) -> None:
    by_descriptor = os.utime in os.supports_fd
    while not released.wait(BEAT):
        with suppress(OSError):
            if by_descriptor:
                os.utime(descriptor)
            elif _is_same(descriptor, file):
                os.utime(file)


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


def _lives(process: int) -> bool:
    """Whether a process of this machine may still be there."""
    if os.name == "nt":  # where os.kill would end it
        return _lives_on_windows(process)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def _lives_on_windows(process: int) -> bool:
    system: Any = ctypes  # has WinDLL on Windows alone
    kernel = system.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(_SYNCHRONIZE, False, process)
    if not handle:
        return bool(system.get_last_error() == _ACCESS_DENIED)
    try:
        return bool(kernel.WaitForSingleObject(ctypes.c_void_p(handle), 0) == _WAIT_TIMEOUT)
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))


def _lock(descriptor: int) -> bool | None:
    """Whether the kernel gave us the lock; None where there are no locks: the times of the file have to do."""
    if fcntl is None:
        return None
    try:
        # flock and not lockf: two locks of one process exclude each other, too.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True


def _owner(descriptor: int) -> _Owner | None:
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        return from_json(json.loads(os.read(descriptor, 4096)), _Owner)
    except (ValueError, RecursionError):  # just made, by a process killed while it wrote, or damaged
        return None
