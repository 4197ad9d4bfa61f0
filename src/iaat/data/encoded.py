"""Image files as a `RawSplit`, wherever their bytes are kept."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from iaat.data.config import DataConfig
from iaat.data.image import Crop, decode
from iaat.data.items import check_alike
from iaat.data.resized_crop import crop_box

_CHUNK = 256
# Of smaller files most time goes into Python, not into the decoder: a second thread would only fight for the
# interpreter lock (CIFAR-10's JPEGs took 1.7 times as long with two threads as with one).
_THREADED_FILE_BYTES = 4096
_SIZE_FIX = "set data.size to bring all images to one size"


class ImageFiles(Protocol):
    """Encoded images by their position, each in a file of its own or within another file.

    Attributes:
        paths: Path of each image relative to the root, in POSIX form.
    """

    paths: list[str]

    def place(self, position: int) -> str:
        """Names one image in messages."""
        ...

    def content(self, position: int) -> Path | bytes:
        """The file of one image, or what it would hold.

        Raises:
            UserError: It cannot be read.
        """
        ...

    def count_bytes(self, position: int) -> int:
        """Bytes of one encoded image."""
        ...


class _Reference(NamedTuple):
    """The image that all others must agree with in size."""

    image: Tensor
    place: str
    file_bytes: int


class ImageSplit:
    """The images of one split, decoded on access.

    Args:
        files: The images, at least one.
        labels: `[N]` int64.
        classes: Class names.
        config: Gives `size`, `resize`, `channels` and `resized_crop`.
        where: Names the split in messages.
        complete: Whether each class must have a sample.
        reference: The split whose first image all images must agree with in size; None: this one.

    Raises:
        UserError: The first image cannot be read. On access: an image cannot be, or differs in size from the
            reference; names the paths.
    """

    def __init__(
        self,
        files: ImageFiles,
        labels: Tensor,
        classes: tuple[str, ...],
        config: DataConfig,
        *,
        where: str,
        complete: bool = True,
        reference: "ImageSplit | None" = None,
    ) -> None:
        self.paths: list[str] | None = files.paths
        self.labels = labels
        self.classes = classes
        self.resident = False
        self.complete = complete
        self.deterministic = True
        self.where = where
        self._files = files
        self._config = config
        if reference is None:
            self._reference = _Reference(self._decode(0), files.place(0), files.count_bytes(0))
        else:
            self._reference = reference._reference
        self.sample_bytes = self._reference.image.numel()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def __getitem__(self, position: int, /) -> tuple[Tensor, int]:
        """One image `[C, H, W]` uint8 and its class id."""
        return self._read(position), int(self.labels[position])

    def cropped(self, position: int, draws: Sequence[float]) -> tuple[Tensor, int]:
        """The part of one image that these `resized_crop.DRAWS` draws choose, `[C, size, size]`, and its class id."""
        crop = partial(crop_box, draws=draws, smallest=self._config.resized_crop)
        return self._decode(position, crop), int(self.labels[position])

    def load(self, index: Tensor) -> Tensor:
        """Decode these images, by threads if they are large: `[len(index), C, H, W]` uint8.

        Raises:
            UserError: An image cannot be read or differs in size; names the first such.
        """
        positions = index.tolist()
        out = np.empty((len(positions), *self._reference.image.shape), dtype=np.uint8)

        def decode_chunk(start: int) -> None:
            for row, position in enumerate(positions[start : start + _CHUNK], start):
                out[row] = self._read(position).numpy()

        small = self._reference.file_bytes < _THREADED_FILE_BYTES
        threads = ThreadPoolExecutor(max_workers=1 if small else min(32, os.cpu_count() or 1))
        try:
            list(threads.map(decode_chunk, range(0, len(positions), _CHUNK)))
        finally:
            threads.shutdown(cancel_futures=True)
        return torch.from_numpy(out)

    def _read(self, position: int) -> Tensor:
        image = self._decode(position)
        first, place, _ = self._reference
        check_alike(image, first, where=self._files.place(position), first_where=place, fix=_SIZE_FIX)
        return image

    def _decode(self, position: int, crop: Crop | None = None) -> Tensor:
        config = self._config
        return decode(
            self._files.content(position),
            channels=config.channels,
            size=config.size,
            resize=config.resize,
            crop=crop,
            where=self._files.place(position),
        )
