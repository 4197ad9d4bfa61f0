"""List the images of a folder data set: `root/<split>/<class>/**/<image>`."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch

from iaat.data.folder_listing import FolderListing
from iaat.data.formats import IMAGE_SUFFIXES, UNREAD
from iaat.data.image_root import FOLDER_LAYOUT, SPLIT_FOLDERS, entries, readable, split_folder, visible, where_of
from iaat.data.notices import Notices
from iaat.errors import UserError
from iaat.runtime.files import is_of_system
from iaat.runtime.text import composed


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
    folder = split_folder(base, split)
    scan = _Scan(base, where_of(split, base))
    content = scan.content(folder)
    for file in content.images:
        scan.note("loose", base / file)
    class_folders = [each for each in content.folders if not scan.is_other_class(each, content)]
    if not class_folders:
        raise UserError(f"data.root: {folder} has no class folders: {FOLDER_LAYOUT}")
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
        for name, is_folder, is_link in readable(folder, lambda: entries(folder)):
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
        status = readable(folder, folder.stat)
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


def _suffix(name: str) -> str:
    """Suffix of a file in lower case, as `Path.suffix` has it."""
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
    return "" if suffix == "." else suffix
