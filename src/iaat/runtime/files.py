"""Atomic file writes: written beside their place, synced, then renamed; names of files that are a system's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from iaat.errors import UserError

_SYSTEM = frozenset(
    (
        *("@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "__macosx", "__pycache__"),
        *("system volume information", "lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@__thumb"),
    )
)
"""Names, in lower case, that operating systems and network drives give to their own files."""


class WriteError(UserError):
    """A file cannot be written; the system's error is its cause."""


def expand_home(path: str) -> str:
    """A path as its user means it: `~` at its start is the home folder, also where no shell has replaced it."""
    return os.path.expanduser(path)  # noqa: PTH111  # Path.expanduser fails on ~name of nobody


def user_path(path: str | Path) -> Path:
    """As `expand_home`, for what is used as a path at once."""
    return Path(expand_home(str(path)))


def is_of_system(name: str) -> bool:
    """Whether an operating system or a network drive has put a file or folder of this name there."""
    return name.lower() in _SYSTEM or name.startswith("._") or name in (".DS_Store", ".thumbnails")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to, renamed to `path` when the block ends well and removed when it does not.

    Raises:
        WriteError: the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk: without it a power failure may undo a rename."""
    if os.name != "posix":  # Windows opens no folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that a killed process left in a folder; nobody may be writing there."""
    for file in folder.glob(".*.tmp"):
        with suppress(OSError):
            file.unlink()


def cannot_write(path: Path, error: OSError) -> WriteError:
    """Error for a file that the system does not let be written."""
    return WriteError(f"cannot write {path}: {error.strerror or error}; free space or choose another folder")


def write_text(path: Path, text: str) -> None:
    """Write a whole text file."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401
    """Write a whole JSON file, indented."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def append_json_line(path: Path, *records: dict[str, Any]) -> None:
    """Append records to a JSON-lines file, one a line, on the disk when this returns.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as handle:
            handle.write("".join(json.dumps(record) + "\n" for record in records))
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        raise cannot_write(path, error) from error


def encodable(text: str) -> str:
    """Return `text` with `?` for characters that UTF-8 cannot hold, such as bytes of a file name."""
    return text.encode("utf-8", "replace").decode("utf-8")
