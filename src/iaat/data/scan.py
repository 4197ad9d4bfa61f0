"""Find the images of a folder data set: `root/<split>/<class>/**/<image>`."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from iaat.errors import UserError, did_you_mean

T = TypeVar("T")

SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
)
SPLIT_FOLDERS = {"train": ("train",), "test": ("test", "val", "valid", "validation")}
"""What the folder of a split may be called; the first there is counts."""
"""What the folder of a split may be called; the first there is counts."""
_LAYOUT = "the layout is train/<class>/<image> and test/<class>/<image>"


class FolderListing(NamedTuple):
    """The images of one split.

    Attributes:
        paths: Paths relative to the root, POSIX form, sorted by class and then by path; a sample's index is its place.
        labels: `[N]` int64, the place of each sample's class in `classes`.
        classes: Names of the class folders, sorted.
    """

    paths: list[str]
    labels: Tensor
    classes: tuple[str, ...]


def scan_folder(root: str | Path, split: str) -> FolderListing:
    """List the images of one split.

    Hidden files and folders, and files that are no images by their suffix, are left out. Symbolic links are followed.

    Args:
        root: The folder that holds the splits.
        split: "train" (folder `train`) or "test" (the first there is of `test`, `val`, `valid`, `validation`).

    Raises:
        UserError: A folder is missing, or a class has no images; names the folder.
    """
    base = Path(root)
    folder = _split_folder(base, split)
    class_folders = visible(folder, files=False)
    if not class_folders:
        raise UserError(f"data.root: {folder} has no class folders: {_LAYOUT}")
    paths: list[str] = []
    labels: list[int] = []
    for label, class_folder in enumerate(class_folders):
        found = sorted(path.relative_to(base).as_posix() for path in _images(class_folder, frozenset()))
        if not found:
            raise UserError(
                f"data.root: class folder {class_folder} has no images ({', '.join(sorted(SUFFIXES))}):"
                " add images or remove the folder"
            )
        paths += found
        labels += [label] * len(found)
    return FolderListing(paths, torch.tensor(labels), tuple(path.name for path in class_folders))


def check_same_classes(train: FolderListing, test: FolderListing, root: str | Path) -> None:
    """Check that both splits have the same class folders.

    Raises:
        UserError: They differ; names the classes and the side each is missing on.
    """
    for here, there, side in ((train, test, "test"), (test, train, "train")):
        missing = sorted(set(here.classes) - set(there.classes))
        if missing:
            hint = did_you_mean(missing[0], set(there.classes) - set(here.classes))
            raise UserError(
                f"data.root: {root}: the {side} folder has no class {', '.join(map(repr, missing[:10]))},"
                f" which the other has: give both the same class folders{hint}"
            )


def is_image_folder(root: str | Path) -> bool:
    """Whether `root` holds a train and a test folder, each with at least one folder in it."""
    base = Path(root)
    tests = [base / name for name in SPLIT_FOLDERS["test"]]
    return _has_folders(base / "train") and any(map(_has_folders, tests))


def _has_folders(folder: Path) -> bool:
    return folder.is_dir() and bool(visible(folder, files=False))


def _split_folder(base: Path, split: str) -> Path:
    if not base.is_dir():
        raise UserError(f"data.root: {base} is no folder (seen from {Path.cwd()}): {_LAYOUT}")
    names = SPLIT_FOLDERS[split]
    for name in names:
        if (base / name).is_dir():
            return base / name
    there = [path.name for path in visible(base, files=False)]
    raise UserError(
        f"data.root: {base} has no folder {' or '.join(names)}; it holds {', '.join(there[:10]) or 'no folders'}:"
        f" {_LAYOUT}{did_you_mean(names[0], there)}"
    )


def _images(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    status = _readable(folder, folder.stat)
    identity = (status.st_dev, status.st_ino)
    # A link to a folder above would be descended for ever.
    if identity in above:
        return
    yield from (path for path in visible(folder, files=True) if path.suffix.lower() in SUFFIXES)
    for child in visible(folder, files=False):
        yield from _images(child, above | {identity})


def visible(folder: Path, *, files: bool) -> list[Path]:
    """Files or folders in `folder` that are not hidden, sorted by code point, whatever the locale."""
    names = _readable(folder, lambda: _names(folder, files=files))
    return [folder / name for name in sorted(names)]


def _names(folder: Path, *, files: bool) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir() is not files]


def _readable(folder: Path, look: Callable[[], T]) -> T:
    """What is seen of a folder.

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
