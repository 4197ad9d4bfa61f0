"""List the samples of tar shards of WebDataset: `root/<split>/*.tar` or `root/<split>-*.tar`."""

import io
import re
import tarfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from posixpath import splitext
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from iaat.data.formats import IMAGE_SUFFIXES, UNREAD
from iaat.data.image import MOST_FILE_BYTES
from iaat.data.image_root import SPLIT_FOLDERS, visible
from iaat.data.notices import Notices
from iaat.errors import UserError, shown

LAYOUT = "the layout is train/*.tar and test/*.tar, or train-*.tar and test-*.tar"
_COMPRESSED = re.compile(r"\.(tar\.(gz|bz2|xz|zst|lz4|z)|tgz|tbz2?|txz|tzst)$", re.IGNORECASE)
# Names and extended attributes; what else a header holds is in blocks of 512 bytes.
_LONGEST_HEADER = 1 << 16
# With white space around it.
_LONGEST_NUMBER = 32
_CLASS = ".cls"
MOST_LABEL = 10**9 - 1
"""Largest class number that can be written."""


class ShardListing(NamedTuple):
    """Samples of one split: shards by name, samples in the order of the shard.

    Attributes:
        shards: Paths of the shards relative to the root, POSIX form, sorted; not empty.
        shard: `[N]` int64, the place in `shards` of each sample's shard.
        offset: `[N]` int64, where in the shard its encoded image begins.
        size: `[N]` int64, the bytes of its encoded image.
        labels: `[N]` int64 class numbers, from 0 to `MOST_LABEL`.
        names: The image's name within the shard. It is never opened as a path.
        notices: What was left out.
    """

    shards: list[str]
    shard: NDArray[np.int64]
    offset: NDArray[np.int64]
    size: NDArray[np.int64]
    labels: NDArray[np.int64]
    names: list[str]
    notices: Notices

    @property
    def paths(self) -> list[str]:
        """Path of each sample, such as `train/000.tar/cat-17.jpg`."""
        return [f"{self.shards[shard]}/{name}" for shard, name in zip(self.shard.tolist(), self.names, strict=True)]


def joined_listings(first: ShardListing, second: ShardListing) -> ShardListing:
    """Concatenate two listings."""
    return ShardListing(
        first.shards + second.shards,
        shard=np.concatenate([first.shard, second.shard + len(first.shards)]),
        names=first.names + second.names,
        notices=first.notices | second.notices,
        **{
            name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in ("offset", "size", "labels")
        },
    )


def find_shards(root: Path, split: str) -> list[Path]:
    """Find the shards of a split, "train", "test" or another by its name, sorted by name.

    Raises:
        UserError: There are none, or compressed ones.
    """
    if not root.is_dir():
        raise UserError(f"data.root: {root} is no folder (seen from {Path.cwd()}): {LAYOUT}")
    for name in SPLIT_FOLDERS.get(split, (split,)):
        folder = root / name
        files = visible(folder, files=True) if folder.is_dir() else []
        files += [file for file in visible(root, files=True) if file.name.startswith(f"{name}-")]
        for file in files:
            if _COMPRESSED.search(file.name):
                raise UserError(f"{file}: a compressed tar cannot be read at any place: unpack it to a plain .tar")
        if shards := [file for file in files if file.suffix.lower() == ".tar"]:
            return sorted(shards)
    raise UserError(f"data.root: {root} has no tar files of the {split} split: {LAYOUT}")


def scan_shards(root: Path, shards: Sequence[Path], *, where: str) -> ShardListing:
    """Read headers and class numbers of shards; images are skipped.

    WebDataset divides a member's name at the first dot of its last part: `KEY.jpg` and `KEY.cls` are a sample. Where
    keys hold dots themselves, such as `scale_0.5.jpg` and `scale_0.5.cls`, members that agree up to the last dot are
    one. Hidden members, folders, and members that are neither an image nor a class of a sample are left out and
    counted.

    Args:
        root: The folder that the listing's paths are relative to.
        shards: Tar files.
        where: Names the split in notices.

    Raises:
        UserError: A shard cannot be read; a member is no plain file; a sample lacks its image or its class, has two of
            them, or a class that is no number. Names the shard and the member.
    """
    columns = {name: array("q") for name in ("shard", "offset", "size", "labels")}
    names: list[str] = []
    notices = Notices()
    for number, shard in enumerate(shards):
        for image, label in _samples(shard, notices, where):
            for column, value in zip(columns.values(), (number, image.offset_data, image.size, label), strict=True):
                column.append(value)
            names.append(image.name.removeprefix("./"))  # which tar writes of a folder packed as "."
    relative = [shard.relative_to(root).as_posix() for shard in shards]
    arrays = {name: np.array(column) for name, column in columns.items()}
    return ShardListing(relative, names=names, notices=notices, **arrays)


@dataclass
class _Found:
    """Image and class of one name up to the last dot."""

    image: tarfile.TarInfo | None = None
    label: tuple[tarfile.TarInfo, int] | None = None


def _samples(shard: Path, notices: Notices, where: str) -> list[tuple[tarfile.TarInfo, int]]:
    """Image and class of each sample of one shard, in the order in which their names first appear."""
    groups: dict[str, dict[str, _Found]] = {}
    for member, label in _members(shard, notices, where):
        folder, slash, last = member.name.rpartition("/")
        key, name = f"{folder}{slash}{last.partition('.')[0]}", splitext(member.name)[0]
        place, found = f"{shard}/{member.name}", groups.setdefault(key, {}).setdefault(name, _Found())
        if label is None:
            if found.image is not None:
                raise UserError(
                    f"{place}: is the second image of the sample {shown(name)}, beside {found.image.name}:"
                    " give each sample one, and a name of its own up to the first dot"
                )
            if member.size > MOST_FILE_BYTES:
                raise UserError(
                    f"{place}: has {member.size:,} bytes, more than any image that is read here: resize the image"
                )
            found.image = member
        else:
            if found.label is not None:
                raise UserError(f"{place}: is the second class of the sample {shown(name)}: give each sample one")
            found.label = member, _class_number(label, place)
    return [sample for key, group in groups.items() for sample in _of_group(key, group, shard, notices, where)]


def _of_group(
    key: str, group: dict[str, _Found], shard: Path, notices: Notices, where: str
) -> Iterator[tuple[tarfile.TarInfo, int]]:
    """Samples among the members with the same name up to the first dot."""
    whole = [found for found in group.values() if found.image is not None and found.label is not None]
    images = [found.image for found in group.values() if found.image is not None]
    labels = [found.label for found in group.values() if found.label is not None]
    if not whole and len(images) == len(labels) == 1:  # such as 17.input.png and 17.cls
        yield images[0], labels[0][1]
        return
    own = group.get(key)
    has_own = own is not None and own.image is not None and own.label is not None
    for name, found in group.items():
        if found.image is not None and found.label is not None:
            yield found.image, found.label[1]
        elif found.image is not None and has_own:  # such as a mask: 17.seg.png beside 17.png and 17.cls
            member = found.image
            notices.add(where, "member", f"{shard.name}/{member.name}", detail=f".{member.name.rpartition('.')[2]}")
        elif found.image is not None:
            raise UserError(
                f"{shard}/{found.image.name}: the sample {shown(name)} has no class: add {name}.cls, which holds its"
                " class number"
            )
        elif found.label is not None:
            raise UserError(
                f"{shard}/{found.label[0].name}: the sample {shown(name)} has a class, but no image: add one, or remove"
                f" {name}.cls"
            )


def _members(shard: Path, notices: Notices, where: str) -> Iterator[tuple[tarfile.TarInfo, bytes | None]]:
    """Yield images and class numbers of one shard, the latter with their bytes."""
    if not shard.is_file():  # to open a pipe would wait for ever
        raise UserError(f"{shard}: is no regular file: remove it, or give it another suffix")
    try:
        with _Headers(io.FileIO(shard)) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined] # it would keep the header of every file
                if member.size < 0:
                    raise tarfile.ReadError(f"{member.name} has {member.size} bytes")
                if _is_wanted(member, shard, notices, where):
                    yield member, _start(file, member) if _suffix(member) == _CLASS else None
            _check_end(file, tar.offset)
    except UserError:
        raise
    # A damaged file surfaces as whatever tarfile stumbles on: TarError, ValueError, OverflowError, RecursionError, ...
    except Exception as error:
        raise UserError(
            f"{shard}: cannot be read as an uncompressed tar file ({error}): unpack it if it is compressed, else copy"
            " or download it again"
        ) from error


class _Headers(io.BufferedReader):
    """Tar file for reading headers only: a header that claims gigabytes is refused."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size)


def _check_end(file: io.BufferedReader, end: int) -> None:
    """Refuse a file that was cut off or overwritten, which `tarfile` takes for its end."""
    file.seek(end)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"it is cut off or damaged at byte {end}")


def _start(file: io.BufferedReader, member: tarfile.TarInfo) -> bytes:
    """First bytes of a member: all of a class number, or enough to see that it is too long."""
    file.seek(member.offset_data)
    content = file.read(min(member.size, _LONGEST_NUMBER + 1))
    if len(content) < min(member.size, _LONGEST_NUMBER + 1):
        raise tarfile.ReadError("unexpected end of data")
    return content


def _is_wanted(member: tarfile.TarInfo, shard: Path, notices: Notices, where: str) -> bool:
    """Whether a member is an image or a class number; counts the others.

    Raises:
        UserError: It is called so, but is no file with content of its own.
    """
    if member.isdir():
        return False
    suffix = _suffix(member)
    last = member.name.rpartition("/")[2]
    if last.startswith(".") or "__MACOSX" in member.name.split("/"):
        kind = "hidden" if last.startswith(".") and not last.startswith("._") else "system"
        notices.add(where, kind, f"{shard.name}/{member.name}")
        return False
    if suffix != _CLASS and suffix not in IMAGE_SUFFIXES:
        kind = "unread" if suffix in UNREAD else "member"
        notices.add(where, kind, f"{shard.name}/{member.name}", detail=suffix if suffix.strip(".") else "no suffix")
        return False
    if not member.isreg() or member.issparse():
        raise UserError(
            f"{shard}/{member.name}: is a link, a device or a sparse file, which are not read: pack the file that is"
            " meant (tar --dereference --hard-dereference)"
        )
    return True


def _suffix(member: tarfile.TarInfo) -> str:
    return splitext(member.name)[1].lower()


def _class_number(content: bytes, place: str) -> int:
    text = content.strip()
    if len(content) > _LONGEST_NUMBER or len(text) > len(str(MOST_LABEL)) or not text.isdigit():
        raise UserError(
            f"{place}: holds {shown(content.decode('utf-8', 'replace'))}, not a class number: write a whole number from"
            f" 0 to {MOST_LABEL:,}, such as 7"
        )
    return int(text)
