"""Lines of a traceback that are the user's own code, which error messages show."""

from __future__ import annotations

import re
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType

_OURS = Path(__file__).parents[1]
_LIBRARY = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_MOST_FRAMES = 5
_FRAME = re.compile(
    r'^ *File "(?P<file>.+)", line (?P<line>\d+), in (?P<name>\S+)(?:\n +(?P<code>\S.*))?', re.MULTILINE
)
_NAMED: set[Path] = set()
"""Files and folders of the modules that the user has named."""


def register(module: ModuleType) -> None:
    """Count a module, with the package it is in, as the user's own, wherever it is installed; iaat's never is."""
    file = getattr(module, "__file__", None)
    if file is not None and _OURS not in Path(file).resolve().parents:
        path = Path(file).resolve()
        depth = module.__name__.count(".") - (path.name != "__init__.py")
        _NAMED.add(path if depth < 0 else path.parents[depth])


def users_traceback(error: BaseException) -> str | None:
    """The error with the user's own lines that led to it, the last ones; None where none of their code is in it.

    Lines that a reader process has put into the message of an error count, too.
    """
    lines = [
        _line(frame.filename, frame.lineno, frame.name, frame.line)
        for frame in traceback.extract_tb(error.__traceback__)
        if _is_users(frame.filename)
    ]
    lines += [
        _line(frame["file"], int(frame["line"]), frame["name"], frame["code"])
        for frame in _FRAME.finditer(str(error))
        if _is_users(frame["file"])
    ]
    if isinstance(error, SyntaxError) and error.filename and _is_users(error.filename):
        lines.append(_line(error.filename, error.lineno, "", error.text))
    if not lines:
        return None
    said = [line for line in str(error).strip().splitlines() if line.strip()] or [""]
    # Of an error in a reader process the last line says what it was, the others are its traceback.
    what = said[-1] if "Traceback" in str(error) else f"{type(error).__name__}: {said[0]}"
    notes = [f"  {note}" for note in getattr(error, "__notes__", ())]
    return "\n".join([f"your code failed: {what}", *lines[-_MOST_FRAMES:], *notes])


def users_place(error: BaseException) -> str:
    """The last line of the user's own code that led to an error, in brackets; empty where there is none."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    return f" ({frames[-1].filename}, line {frames[-1].lineno}: {frames[-1].line})" if frames else ""


def _line(file: str, number: int | None, name: str, code: str | None) -> str:
    place = f"  {file}, line {number}" + (f", in {name}" if name else "")
    return f"{place}\n    {code.strip()}" if code else place


def _is_users(file: str) -> bool:
    if file.startswith("<"):
        return False
    path = Path(file).resolve()
    if any(path == named or named in path.parents for named in _NAMED):
        return True
    outside = not any(folder in path.parents for folder in (_OURS, *_LIBRARY))
    return outside and not _INSTALLED & set(path.parts)
