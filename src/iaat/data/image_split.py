"""Image files as a `RawSplit`, wherever their bytes are kept."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from iaat.data.data_config import DataConfig
from iaat.data.image import decode, read_file
from iaat.data.notices import Notices
from iaat.data.read_item import check_alike
from iaat.data.resized_crop import crop_box
from iaat.data.sample_log import SampleLog, SampleReadError, SampleRecord, alteration_bits, digest_of, with_skip_advice
from iaat.errors import UserError
from iaat.runtime import rng

SAMPLED = 256
"""Image files of a split that are compared byte for byte when a run is resumed: a resumed run must not read all."""

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
        validation_size: How many samples, the last ones, are for validation only.
        notices: What was left out when the files were listed.
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
        validation_size: int = 0,
        notices: Notices | None = None,
        reference: "ImageSplit | None" = None,
    ) -> None:
        self.paths: list[str] | None = files.paths
        self.labels = labels
        self.classes = classes
        self.resident = False
        self.complete = complete
        self.deterministic = True
        self.where = where
        self.validation_size = validation_size
        self.notices = Notices() if notices is None else notices
        self._files = files
        self._config = config
        if reference is None:
            self._reference = self._first_readable()
        else:
            self._reference = reference._reference
        self.shape = tuple(self._reference.image.shape)
        self.sample_bytes = self._reference.image.numel()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def __getitem__(self, position: int, /) -> tuple[Tensor, int]:
        """One image `[C, H, W]` uint8 and its class id."""
        return self._read(position), int(self.labels[position])

    def contents(self) -> str:
        """Hash of the encoded bytes of `SAMPLED` images, the same ones every time; of all where there are fewer."""
        digest = sha256()
        for position in rng.permutation(len(self), seed=0, epoch=0)[:SAMPLED].sort().values.tolist():
            content = b""
            with suppress(UserError, OSError):  # said where it is to be decoded
                found = self._files.content(position)
                content = found if isinstance(found, bytes) else read_file(found)
            digest.update(sha256(content).digest())
        return digest.hexdigest()

    def cropped(self, position: int, draws: Sequence[float]) -> tuple[Tensor, int]:
        """The part of one image that these `resized_crop.DRAWS` draws choose, `[C, size, size]`, and its class id."""
        return self._decode(position, draws), int(self.labels[position])

    def read_with_record(self, position: int, draws: Sequence[float] | None = None) -> tuple[Tensor, int, SampleRecord]:
        """One image, with draws as `cropped` gives it, its class id, and what is found out about its file."""
        content, altered = self._files.content(position), set[str]()
        content = content if isinstance(content, bytes) else read_file(content)
        image = self._decode(position, draws, content=content, altered=altered)
        return image, int(self.labels[position]), SampleRecord(position, alteration_bits(altered), digest_of(content))

    def load(self, index: Tensor, sample_log: SampleLog | None = None) -> Tensor:
        """Decode these images, by threads if they are large: `[len(index), C, H, W]` uint8.

        Args:
            index: Which.
            sample_log: Takes up what is found out about them; those that it lets be unreadable are all 0.

        Raises:
            UserError: An image cannot be read or differs in size; names the first such.
        """
        positions = index.tolist()
        out = np.zeros((len(positions), *self._reference.image.shape), dtype=np.uint8)

        def decode_chunk(start: int) -> None:
            found = []
            for row, position in enumerate(positions[start : start + _CHUNK], start):
                altered = set[str]()
                try:
                    out[row] = self._read(position, None if sample_log is None else altered).numpy()
                    found.append(SampleRecord(position, alteration_bits(altered), digest_of(out[row].data)))
                except SampleReadError as error:
                    if sample_log is None or not sample_log.limit:
                        raise with_skip_advice(error) from error
                    found.append(SampleRecord(position, error=str(error)))
            if sample_log is not None:
                with taking:
                    sample_log.add(found)

        taking = Lock()

        small = self._reference.file_bytes < _THREADED_FILE_BYTES
        threads = ThreadPoolExecutor(max_workers=1 if small else min(32, os.cpu_count() or 1))
        try:
            list(threads.map(decode_chunk, range(0, len(positions), _CHUNK)))
        finally:
            threads.shutdown(cancel_futures=True)
        return torch.from_numpy(out)

    def _first_readable(self) -> _Reference:
        """The first image that can be read, of as many as may be unreadable and one."""
        for position in range(min(self._config.skip_damaged, len(self) - 1)):
            with suppress(SampleReadError):
                return self._as_reference(position)
        try:
            return self._as_reference(min(self._config.skip_damaged, len(self) - 1))
        except SampleReadError as error:
            raise with_skip_advice(error) from error

    def _as_reference(self, position: int) -> _Reference:
        return _Reference(self._decode(position), self._files.place(position), self._files.count_bytes(position))

    def _read(self, position: int, altered: set[str] | None = None) -> Tensor:
        image = self._decode(position, altered=altered)
        first, place, _ = self._reference
        check_alike(image, first, where=self._files.place(position), first_where=place, fix=_SIZE_FIX)
        return image

    def _decode(
        self,
        position: int,
        draws: Sequence[float] | None = None,
        *,
        content: bytes | None = None,
        altered: set[str] | None = None,
    ) -> Tensor:
        config = self._config
        crop = None if draws is None else partial(crop_box, draws=draws, smallest=config.resized_crop)
        return decode(
            self._files.content(position) if content is None else content,
            channels=config.channels or 3,
            background=config.background_rgb,
            max_value=config.max_value,
            size=config.size,
            resize=config.resize,
            crop=crop,
            where=self._files.place(position),
            altered=altered,
        )
