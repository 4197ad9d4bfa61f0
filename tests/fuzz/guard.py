"""No effects outside a scratch folder: what code under a fuzzer may not do, whatever its input says."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROCESSES = frozenset(
    {
        *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty"),
        *("pty.spawn", "os.startfile", "os.kill", "os.putenv", "os.unsetenv", "os.chdir"),
    }
)
_NETWORK = frozenset(
    {
        *("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"),
        *("urllib.Request", "ftplib.connect", "smtplib.connect", "http.client.connect"),
    }
)
_CHANGES = frozenset(
    {
        *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"),
        *("os.chown", "os.utime", "os.setxattr", "shutil.rmtree", "shutil.move", "shutil.copyfile"),
    }
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_scratch: Path | None = None
_violations: list[str] = []
_installed = False


class ForbiddenEffectError(BaseException):
    """Stops an effect where it begins; no `except Exception` of the code under test can take it for its own."""


@contextmanager
def guarded(scratch: Path) -> Iterator[None]:
    """Within, nothing is written or removed outside `scratch`, no process is started, no network is reached for.

    An effect is stopped before it happens. The block then fails, also where the code in it has caught the exception.

    Args:
        scratch: The only folder in which files may be changed.

    Raises:
        AssertionError: naming the effects that were stopped.
    """
    global _scratch
    _install()
    _violations.clear()
    _scratch = scratch.resolve()
    try:
        yield
    except ForbiddenEffectError:
        pass  # reported below
    finally:
        _scratch = None
        if _violations:
            raise AssertionError(f"forbidden: {'; '.join(_violations)}") from None


def _install() -> None:
    global _installed
    if not _installed:  # a hook stays for the life of the process
        sys.addaudithook(_hook)
        sys.dont_write_bytecode = True
        _installed = True


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _scratch is not None and (what := _forbidden(event, arguments, _scratch)):
        _violations.append(what)
        raise ForbiddenEffectError(what)


def _forbidden(event: str, arguments: tuple[object, ...], scratch: Path) -> str | None:
    """What is wrong about an audit event of Python; None if nothing is."""
    if event in _PROCESSES or event in _NETWORK:
        return f"{event}{arguments!r:.200}"
    if event == "open" and _writes(arguments) and not _inside(arguments[0], scratch):
        return f"open for writing {arguments[0]!r:.200}"
    if event in _CHANGES:
        paths = [path for path in arguments if isinstance(path, (str, bytes, os.PathLike))]
        if not paths or not all(_inside(path, scratch) for path in paths):
            return f"{event}{arguments!r:.200}"
    return None


def _writes(arguments: tuple[object, ...]) -> bool:
    _path, mode, flags = arguments
    named = isinstance(mode, str) and any(letter in mode for letter in "wax+")
    return named or bool(isinstance(flags, int) and flags & _WRITING)


def _inside(path: object, scratch: Path) -> bool:
    if isinstance(path, int):  # of a descriptor that is open already
        return True
    place = os.path.abspath(os.fsdecode(path))  # type: ignore[type-var, arg-type]  # noqa: PTH100 - resolves no links
    return place == os.devnull or Path(place).is_relative_to(scratch) or Path(place).resolve().is_relative_to(scratch)
