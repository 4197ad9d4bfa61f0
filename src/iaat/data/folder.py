"""Image folders as a `RawSplit`."""

from pathlib import Path

from iaat.data.config import DataConfig
from iaat.data.encoded import ImageSplit
from iaat.data.scan import check_same_classes, scan_folder
from iaat.errors import UserError


class FolderFiles:
    """The image files of a folder, as `ImageFiles`.

    Args:
        root: The folder that the paths are relative to.
        paths: Path of each image.
    """

    def __init__(self, root: Path, paths: list[str]) -> None:
        self.paths = paths
        self._root = root

    def place(self, position: int) -> str:
        """The path, which names the image in messages."""
        return str(self.content(position))

    def content(self, position: int) -> Path:
        """The file of one image."""
        return self._root / self.paths[position]

    def count_bytes(self, position: int) -> int:
        """Bytes of one image file."""
        return self.content(position).stat().st_size


def folder_splits(config: DataConfig) -> tuple[ImageSplit, ImageSplit]:
    """Read the image folder at `config.root`.

    Args:
        config: Uses `root`, and what `ImageSplit` does.

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
    check_same_classes(train, test, root)
    first = ImageSplit(
        FolderFiles(root, train.paths), train.labels, train.classes, config, where=f"training images of {root}"
    )
    second = ImageSplit(
        FolderFiles(root, test.paths),
        test.labels,
        test.classes,
        config,
        where=f"test images of {root}",
        reference=first,
    )
    return first, second
