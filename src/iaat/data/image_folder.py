"""Image folders as a `RawSplit`."""

from pathlib import Path

from iaat.data.data_config import DataConfig
from iaat.data.folder_scan import aligned, joined, note_unused_splits, scan_folder, where_of
from iaat.data.image_split import ImageSplit
from iaat.errors import UserError


class FolderFiles:
    """Image files of a folder, as `ImageFiles`.

    Args:
        root: The folder that the paths are relative to.
        paths: Path of each image.
    """

    def __init__(self, root: Path, paths: list[str]) -> None:
        self.paths = paths
        self._root = root

    def place(self, position: int) -> str:
        """Path of an image, for messages."""
        return str(self.content(position))

    def content(self, position: int) -> Path:
        """Path of one image file."""
        return self._root / self.paths[position]

    def count_bytes(self, position: int) -> int:
        """Bytes of one image file."""
        return self.content(position).stat().st_size


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
    if config.root is None:
        raise UserError("data.root is not set: give the folder that holds train/ and test/")
    root = Path(config.root)
    train, test = scan_folder(root, "train"), scan_folder(root, "test")
    test = aligned(train, test, root)
    used, validation_size = ["train", Path(test.paths[0]).parts[0]], 0
    if config.validation is not None:
        check_validation(config.validation, used)
        validation = aligned(train, scan_folder(root, config.validation), root, config.validation)
        validation_size, train = len(validation.paths), joined(train, validation)
        used.append(config.validation)
    note_unused_splits(train.notices, root, used)
    first = ImageSplit(
        FolderFiles(root, train.paths),
        train.labels,
        train.classes,
        config,
        where=where_of("train", root),
        validation_size=validation_size,
        notices=train.notices,
    )
    second = ImageSplit(
        FolderFiles(root, test.paths),
        test.labels,
        test.classes,
        config,
        where=where_of("test", root),
        reference=first,
        notices=test.notices,
    )
    return first, second


def check_validation(name: str, used: list[str]) -> None:
    """Refuse a validation folder that is the training or test folder.

    Raises:
        UserError: It is the training or the test folder.
    """
    if name in used:
        raise UserError(
            f"data.validation is {name!r}, which is the {'training' if name == 'train' else 'test'} folder already:"
            " give the data set a folder test beside it"
        )
