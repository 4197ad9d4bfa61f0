"""List the images of a folder data set: `root/<split>/<class>/**/<image>`."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from iaat.data.formats import IMAGE_SUFFIXES, UNREAD
from iaat.data.notices import Notices
from iaat.errors import UserError, did_you_mean
from iaat.runtime.files import is_of_system
from iaat.runtime.text import composed

T = TypeVar("T")

SPLIT_FOLDERS = {"train": ("train",), "test": ("test", "val", "valid", "validation")}
"""What the folder of a split may be called; the first there is counts."""
_LAYOUT = "the layout is train/<class>/<image> and test/<class>/<image>"


class FolderListing(NamedTuple):
    """List of the images of one split.

    Attributes:
        paths: Paths relative to the root, POSIX form, sorted by class and then by path; a sample's index is its place.
        labels: `[N]` int64, the place of each sample's class in `classes`.
        classes: Names of the class folders, sorted.
        notices: What was left out.
    """

    paths: list[str]
    labels: Tensor
    classes: tuple[str, ...]
    notices: Notices


def scan_folder(root: str | Path, split: str) -> FolderListing:
    """List the images of one split.

    Hidden files and folders, system files, thumbnails, and files without the suffix of an image are left
    out. Symbolic links are followed, but for those that lead to a folder above them, to another class, or to a folder
    that the class has already. All that is left out is counted.

    Args:
        root: The folder that holds the splits.
        split: "train" (folder `train`), "test" (the first there is of `test`, `val`, `valid`, `validation`), or the
            name of another folder.

    Raises:
        UserError: A folder is missing, or a class has no images; names the folder.
    """
    base = Path(root)
    folder = _split_folder(base, split)
    scan = _Scan(base, where_of(split, base))
    content = scan.content(folder)
    for file in content.images:
        scan.note("loose", base / file)
    class_folders = [each for each in content.folders if not scan.is_other_class(each, content)]
    if not class_folders:
        raise UserError(f"data.root: {folder} has no class folders: {_LAYOUT}")
    paths: list[str] = []
    labels: list[int] = []
    for label, class_folder in enumerate(class_folders):
        found = sorted(scan.images(class_folder, class_folder, set()))
        if not found:
            raise UserError(
                f"data.root: class folder {class_folder} has no images{scan.held(class_folder)}: add images or remove"
                f" the folder ({', '.join(sorted(IMAGE_SUFFIXES))} are read)"
            )
        paths += found
        labels += [label] * len(found)
    names = tuple(path.name for path in class_folders)
    _check_distinct(names, folder)
    return FolderListing(paths, torch.tensor(labels), names, scan.notices)


def aligned(train: FolderListing, other: FolderListing, root: str | Path, split: str = "test") -> FolderListing:
    """Listing of another split with the class numbers and names of the training split.

    Names are matched by what they show: systems write `é` in two Unicode forms. The samples are sorted by class again.

    Raises:
        UserError: Classes differ; names them and the side each is missing on.
    """
    mine, theirs = ({composed(name): name for name in listing.classes} for listing in (train, other))
    for here, there, side in ((mine, theirs, split), (theirs, mine, "train")):
        missing = sorted(here.keys() - there.keys())
        if missing:
            hint = did_you_mean(missing[0], there.keys() - here.keys())
            raise UserError(
                f"data.root: {root}: the {side} folder has no class {', '.join(map(repr, missing[:10]))},"
                f" which the other has: give both the same class folders{hint}"
            )
    place = {composed(name): number for number, name in enumerate(train.classes)}
    renamed = [name for key, name in theirs.items() if name != mine[key]]
    other.notices.add(where_of(split, root), "unicode", repr(next(iter(renamed), "")), count=len(renamed))
    labels = torch.tensor([place[composed(name)] for name in other.classes])[other.labels]
    order = labels.argsort(stable=True)
    return FolderListing([other.paths[row] for row in order.tolist()], labels[order], train.classes, other.notices)


def joined(train: FolderListing, validation: FolderListing) -> FolderListing:
    """Listing of the samples of `train`, followed by those of an aligned `validation`."""
    labels = torch.cat([train.labels, validation.labels])
    return FolderListing(train.paths + validation.paths, labels, train.classes, train.notices | validation.notices)


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


def _check_distinct(names: Sequence[str], folder: Path) -> None:
    seen: dict[str, str] = {}
    for name in names:
        twin = seen.setdefault(composed(name), name)
        if twin != name:
            raise UserError(
                f"data.root: {folder} has two class folders {name!r} that differ in their Unicode form only: merge them"
            )


def _touches(target: Path, folder: Path) -> bool:
    """Whether two folders are the same, or one is inside the other."""
    return target == folder or folder in target.parents or target in folder.parents


class _Content(NamedTuple):
    """Content of a folder, sorted by code point: image files by their paths from the root, folders and links to
    folders, and which are links.
    """

    images: list[str]
    folders: list[Path]
    links: set[Path]


def _entries(folder: Path) -> list[tuple[str, bool, bool]]:
    """Entries of a folder: name, whether it is or leads to a folder, and whether it is a link."""
    with os.scandir(folder) as entries:
        return sorted((entry.name, entry.is_dir(), entry.is_symlink()) for entry in entries)


@dataclass(slots=True)
class _Scan:
    """Scan of one split, which counts what is left out.

    Attributes:
        base: The root.
        where: Names the split in notices.
        notices: What was left out so far.
        real: All class folders and where they really are, once they are needed.
    """

    base: Path
    where: str
    notices: Notices = field(default_factory=Notices)
    real: dict[Path, Path] | None = None

    def relative(self, path: Path) -> str:
        """Path relative to the root."""
        return path.relative_to(self.base).as_posix()

    def note(self, kind: str, path: Path, detail: str = "") -> None:
        """Count a file or folder."""
        self.notices.add(self.where, kind, self.relative(path), detail=detail)

    def content(self, folder: Path) -> _Content:
        """Content of a folder."""
        content, prefix = _Content([], [], set()), f"{self.relative(folder)}/"
        for name, is_folder, is_link in _readable(folder, lambda: _entries(folder)):
            suffix = _suffix(name)
            if is_of_system(name):
                self.note("system", folder / name)
            elif name.startswith("."):
                self.note("hidden", folder / name)
            elif is_folder:
                content.folders.append(folder / name)
                if is_link:
                    content.links.add(folder / name)
            elif suffix in IMAGE_SUFFIXES:
                # As text: with millions of paths as objects the scan takes thrice as long.
                content.images.append(prefix + name)
            else:
                self.note("unread" if suffix in UNREAD else "other", folder / name, suffix or "no suffix")
        return content

    def is_other_class(self, folder: Path, content: _Content) -> bool:
        """Whether a class folder is a link to one beside it; counts it if so."""
        if folder not in content.links:
            return False
        target = folder.resolve()
        if not any(_touches(target, other.resolve()) for other in content.folders if other not in content.links):
            return False
        self.note("link", folder)
        return True

    def images(self, folder: Path, top: Path, seen: set[tuple[int, int]], *, by_link: bool = False) -> Iterator[str]:
        """Yield paths from the root of the images of a folder of the class `top` and below; a link to it is counted.

        `seen` says where the folders walked through really are.
        """
        status = _readable(folder, folder.stat)
        if (status.st_dev, status.st_ino) in seen:
            self.note("link", folder)
            return
        seen.add((status.st_dev, status.st_ino))
        if by_link:
            self.note("followed", folder)
        content = self.content(folder)
        yield from content.images
        # Links last: of two ways to a folder the one without a link counts.
        for child in sorted(content.folders, key=content.links.__contains__):
            if child in content.links and not self._follows(child, top):
                self.note("link", child)
            else:
                yield from self.images(child, top, seen, by_link=child in content.links)

    def _follows(self, link: Path, top: Path) -> bool:
        target = link.resolve()
        # A link to a folder above would be descended for ever.
        above = target in link.parent.resolve().parents or target == link.parent.resolve()
        other = any(_touches(target, real) for folder, real in self._class_folders() if folder != top)
        return not above and not other

    def _class_folders(self) -> Iterable[tuple[Path, Path]]:
        """Class folders of all splits and their real places; looked up only where there is a link."""
        if self.real is None:
            splits = [self.base / name for names in SPLIT_FOLDERS.values() for name in names]
            found = (folder for split in splits if split.is_dir() for folder in visible(split, files=False))
            self.real = {folder: folder.resolve() for folder in found}
        return self.real.items()

    def held(self, folder: Path) -> str:
        """Content of a class folder that has no images, for a message."""
        inside = _Scan(self.base, self.where)
        content = inside.content(folder)
        found = next((notice.example for notice in inside.notices), "") or next(map(str, content.folders), "")
        return f"; it holds {found}" if found else ""


def path_prefix(folder: Path) -> str:
    """What stands before a name in the path of a file of a folder. Joining `Path`s takes as long as a small image."""
    return str(folder / "x")[:-1]


def _suffix(name: str) -> str:
    """Suffix of a file in lower case, as `Path.suffix` has it."""
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
    return "" if suffix == "." else suffix


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


def _split_folder(base: Path, split: str) -> Path:
    if not base.is_dir():
        raise UserError(f"data.root: {base} is no folder (seen from {Path.cwd()}): {_LAYOUT}")
    names = SPLIT_FOLDERS.get(split, (split,))
    for name in names:
        if (base / name).is_dir():
            return base / name
    there = [path.name for path in visible(base, files=False)]
    root = _root_of(base)
    fix = did_you_mean(names[0], there) if root is None else f"; give data.root {root}, which holds both"
    raise UserError(
        f"data.root: {base} has no folder {' or '.join(names)}; it holds {', '.join(there[:10]) or 'no folders'}:"
        f" {_LAYOUT}{fix}"
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
    entries = _readable(folder, lambda: _entries(folder))
    return [
        folder / name
        for name, is_folder, _ in entries
        if not (name.startswith(".") or is_of_system(name)) and is_folder is not files
    ]


def _readable(folder: Path, look: Callable[[], T]) -> T:
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
