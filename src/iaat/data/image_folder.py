"""Image folders as a `RawSplit`."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iaat.data.data_config import DEFAULT_ROOT, DataConfig
from iaat.data.file_states import file_states
from iaat.data.folder_listing import FolderListing, aligned, joined
from iaat.data.folder_scan import scan_folder
from iaat.data.image import read_file
from iaat.data.image_root import note_unused_splits, path_prefix, where_of
from iaat.data.image_split import ImageSplit
from iaat.errors import UserError, shown


class FolderFiles:
    """Image files of a folder, as `ImageFiles`.

    Args:
        root: The folder that the paths are relative to.
        split: Name of the split.
        listing: Its images.
    """

    def __init__(self, root: Path, split: str, listing: FolderListing) -> None:
        self.root, self.where = root, where_of(split, root)
        self.paths, self.labels, _, self.notices = listing
        self._prefix = path_prefix(root)

    def content(self, position: int) -> bytes:
        """Bytes of one image file."""
        return read_file(f"{self._prefix}{self.paths[position]}")

    def states(self) -> NDArray[np.int64]:
        """`[N, 3]`: see `file_states`."""
        return file_states(self.root, self.paths)


def folder_splits(config: DataConfig) -> tuple[ImageSplit, ImageSplit]:
    """Read the image folder at `config.root`.

    Args:
        config: Uses `root` and `validation`, and what `ImageSplit` does.

    Returns:
        The training and the test split.

    Raises:
        UserError: The layout is not train/<class>/<image> and test/<class>/<image>; classes differ; the first
            training image cannot be read.
    """
    root = Path(config.root or DEFAULT_ROOT)
    train, test = scan_folder(root, "train"), scan_folder(root, "test")
    test = aligned(train, test, root)
    used, validation_size = ["train", Path(test.paths[0]).parts[0]], 0
    if config.validation is not None:
        validation = scan_folder(root, config.validation)
        used.append(Path(validation.paths[0]).parts[0])
        check_validation(config.validation, used, root)
        validation = aligned(train, validation, root, config.validation)
        validation_size, train = len(validation.paths), joined(train, validation)
    note_unused_splits(train.notices, root, used)
    first = ImageSplit(FolderFiles(root, "train", train), train.classes, config, validation_size=validation_size)
    return first, ImageSplit(FolderFiles(root, "test", test), test.classes, config, reference=first)


def check_validation(name: str, used: list[str], root: Path) -> None:
    """Refuse a validation folder that is the training or test folder, or a link to it.

    Args:
        name: `data.validation`; "test" may be found under another name, see `SPLIT_FOLDERS`.
        used: Names under which the training, test and validation split were found.
        root: The folder that holds them.

    Raises:
        UserError: It is the training or the test folder.
    """
    *others, found = used
    for role, other in zip(("training", "test"), others, strict=True):
        if _is_same(root / found, root / other):
            place = "" if found == name else f" (found as {shown(found)})"
            raise UserError(
                f"data.validation is {shown(name)}{place}, which is the {role} folder already: give the data set a"
                " folder test beside it"
            )


def _is_same(one: Path, other: Path) -> bool:
    return one == other or (one.is_dir() and other.is_dir() and one.samefile(other))
