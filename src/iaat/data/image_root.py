"""The layout of a root of images: which folders are splits, and what they hold."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from iaat.data.notices import Notices
from iaat.errors import UserError, did_you_mean
from iaat.runtime.files import is_of_system

T = TypeVar("T")

SPLIT_FOLDERS = {"train": ("train",), "test": ("test", "val", "valid", "validation")}
"""What the folder of a split may be called; the first there is counts."""
FOLDER_LAYOUT = "the layout is train/<class>/<image> and test/<class>/<image>"


def where_of(split: str, root: str | Path) -> str:
    """Name of a split for messages."""
    return f"{'training' if split == 'train' else split} images of {root}"


def note_unused_splits(notices: Notices, root: Path, used: Sequence[str]) -> None:
    """Count folders that look like a split but are not in use."""
    for name in (*SPLIT_FOLDERS["test"], "dev", "eval"):
        folder = root / name
        is_there = folder.is_dir() and next(folder.iterdir(), None) is not None
        if name not in used and (is_there or any(root.glob(f"{name}-*.tar"))):
            notices.add(f"data.root={root}", "split", name)


def is_image_folder(root: str | Path) -> bool:
    """Whether `root` has a train and a test folder, each with at least one folder in it."""
    base = Path(root)
    tests = [base / name for name in SPLIT_FOLDERS["test"]]
    return _has_folders(base / "train") and any(map(_has_folders, tests))


def begins_image_folder(root: str | Path) -> bool:
    """Whether `root` has a train folder with at least one folder in it: images of the user's, perhaps without test."""
    return _has_folders(Path(root) / "train")


def has_shards(root: str | Path) -> bool:
    """Whether `root` holds tar shards for training, and no image folder: that may lie beside the archive it is from."""
    base = Path(root)
    shards = (*base.glob("train*.tar"), *(base / "train").glob("*.tar"))
    return any(map(_is_visible, shards)) and not is_image_folder(base)


def _is_visible(path: Path) -> bool:
    return not path.name.startswith(".")


def _has_folders(folder: Path) -> bool:
    return folder.is_dir() and bool(visible(folder, files=False))


def split_folder(base: Path, split: str) -> Path:
    """The folder of a split: the first there of the names that it may have.

    Raises:
        UserError: There is none; names what is there instead.
    """
    if not base.is_dir():
        raise UserError(f"data.root: {base} is no folder (seen from {Path.cwd()}): {FOLDER_LAYOUT}")
    names = SPLIT_FOLDERS.get(split, (split,))
    for name in names:
        if (base / name).is_dir():
            return base / name
    there = [path.name for path in visible(base, files=False)]
    root = _root_of(base)
    fix = did_you_mean(names[0], there) if root is None else f"; give data.root {root}, which holds both"
    raise UserError(
        f"data.root: {base} has no folder {' or '.join(names)}; it holds {', '.join(there[:10]) or 'no folders'}:"
        f" {FOLDER_LAYOUT}{fix}"
    )


def _root_of(folder: Path) -> Path | None:
    """The folder that holds both splits, where `folder` is one of them; None where it is not."""
    whole = folder.absolute()
    is_split = any(whole.name in names for names in SPLIT_FOLDERS.values())
    if not is_split or not is_image_folder(whole.parent):
        return None
    return folder.parent if folder.name == whole.name else whole.parent


def visible(folder: Path, *, files: bool) -> list[Path]:
    """Files or folders in `folder` that are neither hidden nor a system's, sorted by code point."""
    return [
        folder / name
        for name, is_folder, _ in readable(folder, lambda: entries(folder))
        if not (name.startswith(".") or is_of_system(name)) and is_folder is not files
    ]


def readable(folder: Path, look: Callable[[], T]) -> T:
    """Result of `look`, which reads a folder.

    Raises:
        UserError: It may not be read, or vanished meanwhile.
    """
    try:
        return look()
    except OSError as error:
        raise UserError(
            f"data.root: {error.filename or folder} cannot be read ({error.strerror}): put it back, or change its"
            " permissions"
        ) from error


def entries(folder: Path) -> list[tuple[str, bool, bool]]:
    """Entries of a folder: name, whether it is or leads to a folder, and whether it is a link."""
    with os.scandir(folder) as found:
        return sorted((entry.name, entry.is_dir(), entry.is_symlink()) for entry in found)


def path_prefix(folder: Path) -> str:
    """What stands before a name in the path of a file of a folder. Joining `Path`s takes as long as a small image."""
    return str(folder / "x")[:-1]
