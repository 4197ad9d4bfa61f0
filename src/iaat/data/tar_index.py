"""Index file of tar shards, kept beside them: reading a million headers takes minutes."""

import json
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaat.data.image import MOST_FILE_BYTES
from iaat.data.image_root import where_of
from iaat.data.notices import Notices
from iaat.data.npz import NpzFile
from iaat.data.tar_scan import MOST_LABEL, ShardListing, find_shards, scan_shards
from iaat.errors import UserError
from iaat.runtime.files import replacing

_VERSION = 2
_COLUMNS = ("shard", "offset", "size", "labels")
# A sample is an image and a class number, each behind a header of 512 bytes.
_LEAST_SAMPLE_BYTES = 1024


def list_shards(root: Path, split: str, *, keep: bool = True) -> ShardListing:
    """List the samples in the shards of a split, from `root/.iaat-index-<split>.npz` if that is up to date.

    Else they are read from the shards, and the file is written if it is to be kept and the folder can be. It is up to
    date if names, sizes and times of change of all shards are as they were; it holds numbers and text only.

    Args:
        root: The folder of the data set.
        split: "train", "test", or another by its name.
        keep: Whether the file may be written.

    Raises:
        UserError: There are no shards, or they cannot be read: see `scan_shards`.
    """
    shards, path = find_shards(root, split), root / f".iaat-index-{split}.npz"
    names = [shard.relative_to(root).as_posix() for shard in shards]
    sizes, stamp = _stamp(shards, names)
    listing = _read(path, stamp, names, sizes)
    if listing is None:
        listing = scan_shards(root, shards, where=where_of(split, root))
        if not listing.names:
            raise UserError(f"data.root: the {len(shards)} tar files of the {split} split in {root} hold no samples")
        if keep:
            with suppress(UserError):  # a folder that cannot be written
                _write(path, stamp, listing)
        else:
            warnings.warn(
                f"the list of samples is not kept in {root}, because data.download is false (as always where a file"
                " names data.root): type --data.download true to keep it, which saves reading all shards next time",
                stacklevel=2,
            )
    return listing


def _stamp(shards: Sequence[Path], names: Sequence[str]) -> tuple[list[int], bytes]:
    """Sizes of the shards, and a stamp that differs if they have changed."""
    try:
        states = [shard.stat() for shard in shards]
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror}): put it back") from error
    sizes = [state.st_size for state in states]
    return sizes, json.dumps([_VERSION, names, sizes, [state.st_mtime_ns for state in states]]).encode()


def _write(path: Path, stamp: bytes, listing: ShardListing) -> None:
    left_out = listing.notices.to_records()
    texts = {"stamp": stamp, "names": json.dumps(listing.names).encode(), "left_out": json.dumps(left_out).encode()}
    arrays: dict[str, Any] = {name: np.frombuffer(text, dtype=np.uint8) for name, text in texts.items()}
    arrays |= {name: getattr(listing, name) for name in _COLUMNS}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def _read(path: Path, stamp: bytes, shards: list[str], sizes: Sequence[int]) -> ShardListing | None:
    """Listing in the index file; None where it is missing, outdated or damaged."""
    if not path.is_file():
        return None
    file, total = NpzFile(path, where=str(path), expected="an index"), sum(sizes)
    try:
        if file.column("stamp", np.uint8, most=len(stamp)).tobytes() != stamp:
            return None
        names, left_out = (
            json.loads(file.column(name, np.uint8, most=4 * total).tobytes()) for name in ("names", "left_out")
        )
        most = total // _LEAST_SAMPLE_BYTES
        columns = {name: file.column(name, np.int64, most=most) for name in _COLUMNS}
        listing = ShardListing(shards, names=names, notices=Notices.from_records(left_out), **columns)
        return listing if _is_sound(listing, np.array(sizes)) else None
    # A damaged index can fail in any way: the shards are there.
    except Exception:
        return None


def _is_sound(listing: ShardListing, sizes: NDArray[np.int64]) -> bool:
    """Whether every sample lies within its shard."""
    shards, shard, offset, size, labels, names, _ = listing
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return False
    if any(len(column) != len(names) for column in (shard, offset, size, labels)):
        return False
    within = (shard >= 0) & (shard < len(shards)) & (size >= 0) & (size <= MOST_FILE_BYTES)
    within &= (labels >= 0) & (labels <= MOST_LABEL) & (offset >= 0)
    return bool(within.all()) and bool((offset <= sizes[shard] - size).all())
