"""Tar shards of WebDataset as a `RawSplit`: samples in a fixed order, read by offset."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from iaat.data.data_config import DataConfig
from iaat.data.file_states import file_states
from iaat.data.image_folder import check_validation
from iaat.data.image_root import note_unused_splits, where_of
from iaat.data.image_split import ImageSplit
from iaat.data.positional_file import PositionalFile
from iaat.data.tar_index import list_shards
from iaat.data.tar_scan import ShardListing, joined_listings
from iaat.errors import UserError

_CLASSES = "classes.txt"
_MOST_CLASSES_BYTES = 1 << 24
# Below the usual limit of 1,024 of a process. To open a shard again is cheap, except on a network's file system.
_MOST_OPEN = 256


class ShardFiles:
    """Images in tar shards, as `ImageFiles`: each is read at its offset, nothing is unpacked.

    Worker processes open the shards themselves, or share descriptors; their position is not used.

    Args:
        root: The folder that the shards' paths are relative to.
        split: Name of the split.
        listing: Where each image is.
    """

    def __init__(self, root: Path, split: str, listing: ShardListing) -> None:
        self.root, self.where = root, where_of(split, root)
        self.paths, self.labels, self.notices = listing.paths, torch.from_numpy(listing.labels), listing.notices
        self._shards = listing.shards
        self._shard, self._offset, self._size = listing.shard, listing.offset, listing.size
        self._opened = lru_cache(maxsize=_MOST_OPEN)(PositionalFile)

    def content(self, position: int) -> bytes:
        """Bytes of one image file.

        Raises:
            UserError: The shard is gone, or shorter than it was.
        """
        shard, size = self.root / self._shards[self._shard[position]], int(self._size[position])
        try:
            content = self._opened(shard).read(size, int(self._offset[position]))
        except OSError as error:
            raise UserError(f"{shard}: cannot be read ({error.strerror}): put it back, or change its rights") from error
        if len(content) < size:
            place = self.root / self.paths[position]
            raise UserError(f"{place}: ends too early, the shard has changed since the start: start anew")
        return content

    def states(self) -> NDArray[np.int64]:
        """`[N, 5]`: size and offset of each image, and the state of its shard, see `file_states`."""
        return np.column_stack([self._size, self._offset, file_states(self.root, self._shards)[self._shard]])

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_opened"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _opened=lru_cache(maxsize=_MOST_OPEN)(PositionalFile))


def webdataset_splits(config: DataConfig) -> tuple[ImageSplit, ImageSplit]:
    """Read the tar shards at `config.root`.

    Args:
        config: Uses `root` and `validation`, and what `ImageSplit` does.

    Returns:
        The training and the test split. Class names are the lines of `classes.txt` in the root, or "0", "1", ... up to
        the largest class number of the training set; the test set need not have samples of each.

    Raises:
        UserError: There are no shards, or they cannot be read; a class number has no class; the first training image
            cannot be read.
    """
    assert config.root is not None  # a recipe without it is refused
    root, validation_size = Path(config.root), 0
    train, test = (list_shards(root, split, keep=config.download) for split in ("train", "test"))
    classes, why = _class_names(root, train)
    used = ["train", _split_name(test)]
    if config.validation is not None:
        validation = list_shards(root, config.validation, keep=config.download)
        used.append(_split_name(validation))
        check_validation(config.validation, used, root)
        validation_size, train = len(validation.names), joined_listings(train, validation)
    for listing in (train, test):
        _check_labels(listing, len(classes), root, why)
    note_unused_splits(train.notices, root, used)
    first = ImageSplit(ShardFiles(root, "train", train), classes, config, validation_size=validation_size)
    return first, ImageSplit(ShardFiles(root, "test", test), classes, config, complete=False, reference=first)


def _split_name(listing: ShardListing) -> str:
    """Name of the split on disk: the folder of its shards, or the start of their names."""
    folder, slash, _ = listing.shards[0].partition("/")
    return folder if slash else folder.partition("-")[0]


def _class_names(root: Path, train: ShardListing) -> tuple[tuple[str, ...], str]:
    """Class names, and their origin for messages."""
    path = root / _CLASSES
    if path.exists():
        return _read_names(path), str(path)
    # Each class has a sample, so a number beyond them all is a slip; and as many names would fill the memory.
    count = min(int(train.labels.max()) + 1, len(train.labels))
    return tuple(map(str, range(count))), f"training samples: {len(train.labels)}"


def _read_names(path: Path) -> tuple[str, ...]:
    try:
        if not path.is_file() or path.stat().st_size > _MOST_CLASSES_BYTES:
            raise UserError(f"{path}: is no text file of class names: write one name a line")
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").rstrip().splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}): write one class name a line, in UTF-8") from error
    if "" in names:
        raise UserError(f"{path}: line {names.index('') + 1} is empty: write one class name a line")
    return names


def _check_labels(listing: ShardListing, classes: int, root: Path, why: str) -> None:
    outside = np.flatnonzero(listing.labels >= classes)
    if len(outside):
        position = int(outside[0])
        raise UserError(
            f"{root / listing.paths[position]}: has class number {listing.labels[position]}, outside 0..{classes - 1}"
            f" ({why}): number the classes from 0, alike in the training and the test set"
        )
