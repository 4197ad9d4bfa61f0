"""Split of image files, in a folder or in tar shards, as a `RawSplit`."""

import os
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from iaat.data.data_config import DataConfig
from iaat.data.image import decode
from iaat.data.image_root import path_prefix
from iaat.data.notices import Notices
from iaat.data.raw_split import RawSplit
from iaat.data.read_item import check_alike
from iaat.data.resized_crop import crop_box
from iaat.data.sample_log import (
    SampleLog,
    SampleReadError,
    SampleRecord,
    alteration_bits,
    digest_of,
    first_readable,
    with_skip_advice,
)
from iaat.errors import UserError
from iaat.runtime import rng

SAMPLED = 256
"""Image files of a split that are compared byte for byte when a run is resumed: a resumed run must not read all."""

_CHUNK = 256
# Small files take most of their time in Python, not in the decoder: a second thread would only wait for the
# interpreter lock (CIFAR-10's JPEGs took 1.7 times as long with two threads as with one).
_THREADED_FILE_BYTES = 4096
_SIZE_FIX = "set data.size to bring all images to one size"


class ImageFiles(Protocol):
    """Encoded images of one split by position, each in a file of its own or inside a tar shard.

    Attributes:
        root: The folder that the paths are relative to.
        paths: Path of each image, in POSIX form.
        labels: `[N]` int64.
        where: Names the split in messages.
        notices: Notices from listing the files.
    """

    root: Path
    paths: list[str]
    labels: Tensor
    where: str
    notices: Notices

    def content(self, position: int) -> bytes:
        """Bytes of one image file.

        Raises:
            UserError: It cannot be read.
        """
        ...

    def states(self) -> NDArray[np.int64]:
        """State of the file of each image, `[N, K]`: numbers that differ if it has changed.

        The first is the size of the encoded image in bytes, -1 where it cannot be looked up.
        """
        ...


class Decoded(NamedTuple):
    """What was found out about an image when it was decoded.

    Attributes:
        record: Its record, with the digest of its pixels.
        file_digest: Digest of its encoded bytes; 0 where it is not wanted.
    """

    record: SampleRecord
    file_digest: int


class _Reference(NamedTuple):
    """First image, which sets the size of all others."""

    image: Tensor
    place: str
    file_bytes: int


class ImageSplit(RawSplit):
    """Images of one split, decoded on access.

    Args:
        files: The images, at least one.
        classes: Class names.
        config: Gives `size`, `resize`, `channels` and `resized_crop`.
        complete: Whether each class must have a sample.
        validation_size: Number of samples, the last ones, that are for validation only.
        reference: The split that sets the size of all images by its first one; None: this split.

    Raises:
        UserError: The first image cannot be read. On access: an image cannot be, or differs in size from the
            reference; names the paths.
    """

    def __init__(
        self,
        files: ImageFiles,
        classes: tuple[str, ...],
        config: DataConfig,
        *,
        complete: bool = True,
        validation_size: int = 0,
        reference: "ImageSplit | None" = None,
    ) -> None:
        self.paths = files.paths
        self.labels = files.labels
        self.classes = classes
        self.complete = complete
        self.where = files.where
        self.validation_size = validation_size
        self.notices = files.notices
        self._files = files
        self._prefix = path_prefix(files.root)
        self._config = config
        if reference is None:
            _, self._reference = first_readable(self._as_reference, size=len(self), skip=config.skip_damaged)
        else:
            self._reference = reference._reference
        self.shape = tuple(self._reference.image.shape)
        self.sample_bytes = self._reference.image.numel()

    def read(self, position: int, draws: Sequence[float] | None = None) -> tuple[Tensor, int]:
        """One image `[C, H, W]` uint8 and its class id; with `resized_crop.DRAWS` draws a random crop."""
        image = self._read(position) if draws is None else self._decode(position, draws)
        return image, int(self.labels[position])

    def contents(self) -> str:
        """Hash of the encoded bytes of `SAMPLED` images, always the same ones; of all where there are fewer."""
        digest = sha256()
        for position in rng.fixed_sample(len(self), SAMPLED).tolist():
            content = b""
            with suppress(UserError):  # reported when the image is decoded
                content = self._files.content(position)
            digest.update(sha256(content).digest())
        return digest.hexdigest()

    def read_with_record(self, position: int, draws: Sequence[float] | None = None) -> tuple[Tensor, int, SampleRecord]:
        """As `read`, with the record of the sample."""
        content, altered = self._files.content(position), set[str]()
        image = self._decode(position, draws, content=content, altered=altered)
        return image, int(self.labels[position]), SampleRecord(position, alteration_bits(altered), digest_of(content))

    def load(self, index: Tensor, sample_log: SampleLog | None = None) -> Tensor:
        """Decode images to `[len(index), C, H, W]` uint8, in threads if they are large.

        Args:
            index: Which.
            sample_log: Receives the records of the samples; unreadable ones that it allows become all 0.

        Raises:
            UserError: An image cannot be read or differs in size; names the first such.
        """
        out = np.zeros((len(index), *self.shape), dtype=np.uint8)
        skip = sample_log is not None and sample_log.limit > 0
        with closing(self.decoded(index.tolist(), out, skip=skip)) as parts:  # an error ends the threads at once
            for found in parts:
                if sample_log is not None:
                    sample_log.add(each.record for each in found)
        return torch.from_numpy(out)

    def decoded(
        self, positions: Sequence[int], out: NDArray[np.uint8], *, skip: bool, hashed: bool = False
    ) -> Generator[list[Decoded], None, None]:
        """Decode images, in threads if they are large, and yield what was found out about them, in order, in parts.

        Args:
            positions: Which.
            out: `[len(positions), C, H, W]`, receives the pixels; of unreadable images it is left as it is.
            skip: Whether unreadable images are left out.
            hashed: Whether the digests of the files are wanted.

        Raises:
            UserError: An image cannot be read or differs in size; names the first such.
        """

        small = self._reference.file_bytes < _THREADED_FILE_BYTES
        workers = 1 if small else min(32, os.cpu_count() or 1)
        at_once = max(1, min(_CHUNK, len(positions) // (4 * workers)))

        def decode_part(start: int) -> list[Decoded]:
            part = positions[start : start + at_once]
            return [self._decoded(*each, skip=skip, hashed=hashed) for each in zip(part, out[start:], strict=False)]

        threads = ThreadPoolExecutor(workers)
        try:
            yield from threads.map(decode_part, range(0, len(positions), at_once))
        finally:
            threads.shutdown(cancel_futures=True)

    def _decoded(self, position: int, out: NDArray[np.uint8], *, skip: bool, hashed: bool) -> Decoded:
        altered = set[str]()
        try:
            content = self._files.content(position)
            out[...] = self._read(position, altered, content).numpy()
        except SampleReadError as error:
            if not skip:
                raise with_skip_advice(error) from error
            return Decoded(SampleRecord(position, error=str(error)), 0)
        record = SampleRecord(position, alteration_bits(altered), digest_of(out.data))
        return Decoded(record, digest_of(content) if hashed else 0)

    @property
    def root(self) -> Path:
        """The folder that `paths` are relative to."""
        return self._files.root

    def states(self) -> NDArray[np.int64]:
        """State of each image's file, `[N, K]`, which differs if the file has changed: see `ImageFiles.states`."""
        return self._files.states()

    def _as_reference(self, position: int) -> _Reference:
        content = self._files.content(position)
        return _Reference(self._decode(position, content=content), self.place(position), len(content))

    def place(self, position: int) -> str:
        """Path of one image, for messages."""
        return f"{self._prefix}{self._files.paths[position]}"

    def _read(self, position: int, altered: set[str] | None = None, content: bytes | None = None) -> Tensor:
        image = self._decode(position, altered=altered, content=content)
        first, place, _ = self._reference
        if image.shape != first.shape:
            check_alike(image, first, where=self.place(position), first_where=place, fix=_SIZE_FIX)
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
            where=self.place(position),
            altered=altered,
        )
