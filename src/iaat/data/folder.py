"""Image folders as a `RawSplit`."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from iaat.data.config import DataConfig
from iaat.data.image import decode
from iaat.data.items import check_alike
from iaat.data.scan import FolderListing, check_same_classes, scan_folder
from iaat.errors import UserError

_CHUNK = 256
# Of smaller files most time goes into Python, not into the decoder: a second thread would only fight for the
# interpreter lock (CIFAR-10's JPEGs took 1.7 times as long with two threads as with one).
_THREADED_FILE_BYTES = 4096
_SIZE_FIX = "set data.size to bring all images to one size"


class FolderSplit:
    """The images of one split, decoded on access.

    Args:
        root: The folder that the paths are relative to.
        listing: Paths, labels and classes.
        config: Gives `size` and `channels`.
        reference: An image that all others must agree with in size; None: the first of the listing.
        where: Names the split in messages.

    Raises:
        UserError: The first image cannot be read. On access: an image cannot be, or differs in size from the
            reference; names the paths.
    """

    def __init__(
        self,
        root: Path,
        listing: FolderListing,
        config: DataConfig,
        *,
        where: str,
        reference: str | None = None,
    ) -> None:
        self.paths: list[str] | None = listing.paths
        self.labels = listing.labels
        self.classes = listing.classes
        self.resident = False
        self.complete = True
        self.deterministic = True
        self.where = where
        self._root = root
        self._files = listing.paths
        self._config = config
        self._reference = reference or listing.paths[0]
        self._first = self._decode(self._reference)
        self._reference_bytes = (root / self._reference).stat().st_size
        self.sample_bytes = self._first.numel()

    def __len__(self) -> int:
        """Number of images."""
        return len(self._files)

    def __getitem__(self, position: int, /) -> tuple[Tensor, int]:
        """One image `[C, H, W]` uint8 and its class id."""
        return self._read(self._files[position]), int(self.labels[position])

    def load(self, index: Tensor) -> Tensor:
        """Decode these images, by threads if they are large: `[len(index), C, H, W]` uint8.

        Raises:
            UserError: An image cannot be read or differs in size; names the first such.
        """
        files = [self._files[position] for position in index.tolist()]
        out = np.empty((len(files), *self._first.shape), dtype=np.uint8)

        def decode_chunk(start: int) -> None:
            for row, file in enumerate(files[start : start + _CHUNK], start):
                out[row] = self._read(file).numpy()

        small = self._reference_bytes < _THREADED_FILE_BYTES
        threads = ThreadPoolExecutor(max_workers=1 if small else min(32, os.cpu_count() or 1))
        try:
            list(threads.map(decode_chunk, range(0, len(files), _CHUNK)))
        finally:
            threads.shutdown(cancel_futures=True)
        return torch.from_numpy(out)

    def _read(self, file: str) -> Tensor:
        image = self._decode(file)
        reference = str(self._root / self._reference)
        check_alike(image, self._first, where=str(self._root / file), first_where=reference, fix=_SIZE_FIX)
        return image

    def _decode(self, file: str) -> Tensor:
        return decode(self._root / file, channels=self._config.channels, size=self._config.size)


def folder_splits(config: DataConfig) -> tuple[FolderSplit, FolderSplit]:
    """Read the image folder at `config.root`.

    Args:
        config: Uses `root`, `size` and `channels`.

    Returns:
        The training and the test split.

    Raises:
        UserError: The layout is not train/<class>/<image> and test/<class>/<image>; classes differ; the first
            image of a split cannot be read.
    """
    if config.root is None:
        raise UserError("data.root is not set: give the folder that holds train/ and test/")
    root = Path(config.root)
    train, test = scan_folder(root, "train"), scan_folder(root, "test")
    check_same_classes(train, test, root)
    first = train.paths[0]
    return (
        FolderSplit(root, train, config, where=f"training images of {root}"),
        FolderSplit(root, test, config, where=f"test images of {root}", reference=first),
    )
