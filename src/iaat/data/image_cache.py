"""`ImageCache`: the decoded images of one split in one file, kept from run to run."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import IO, Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from iaat.data.cache_index import ABSENT, UNREADABLE, CacheIndex, StaleError, digests_of_names, how_made
from iaat.data.data_config import DataConfig
from iaat.data.image_split import ImageSplit
from iaat.data.positional_file import PositionalFile
from iaat.data.sample_log import SampleLog
from iaat.errors import UserError
from iaat.runtime.files import WriteError
from iaat.runtime.lock import waiting_lock
from iaat.runtime.progress import Reporter

_PART_BYTES = 1 << 26
"""Pixels in memory at once, beside those asked for."""
_SAVE_SECONDS = 10.0
"""Work that a kill costs at most."""
_INDEX_BYTES = 64
"""Of an image, at most."""


class ImageCache:
    """Decoded images of one split, in a file of pixels and an index beside it.

    An image is used as long as its file has the size and times of when it was decoded, see `file_states`. Its pixels
    are compared with a checksum at every reading. Processes share the file, and each opens it for itself.

    Args:
        split: The images. Their places in the split are their indices here.
        name: Name of the split, for the names of the files.
        config: Gives the folder, and what decides pixels.

    Raises:
        UserError: The folder is a file.
    """

    def __init__(self, split: ImageSplit, name: str, config: DataConfig) -> None:
        assert config.cache is not None
        self._folder, self._may_write = Path(config.cache), config.may_write_cache
        with self._readable():
            if self._folder.exists() and not self._folder.is_dir():
                raise UserError(f"data.cache is {self._folder}, which is no folder: {_ADVICE}")
        self._split, self._skip = split, config.skip_damaged
        self._stem = f"{name}-{'x'.join(map(str, split.shape))}-{_key(split, config)}"
        self._row_bytes = split.sample_bytes
        # Before anything is decoded: a file that changes meanwhile differs from its state here at the next start.
        self._names, self._states = digests_of_names(split.paths or ()), split.states()
        self._index = CacheIndex.blank(self._names, self._states)
        self._file: PositionalFile | None = None
        self._warned = False

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_file": None}

    @property
    def file(self) -> Path:
        """The file of pixels, `[M, C, H, W]` uint8 in C order."""
        return self._folder / f"{self._stem}.{self._index.generation}.pixels"

    @property
    def index_file(self) -> Path:
        """The index: see `CacheIndex`."""
        return self._folder / f"{self._stem}.npz"

    def missing(self, used: Tensor) -> int:
        """How many of the images `used` are not held, or older than their files; nothing is decoded or written.

        Raises:
            UserError: The folder cannot be read.
        """
        self._open()
        return len(self._missing(used))

    def bytes_of(self, count: int) -> int:
        """Space on the disk for `count` images more."""
        return count * (self._row_bytes + _INDEX_BYTES)

    def fill(self, used: Tensor, reporter: Reporter) -> None:
        """Decode those of the images `used` that are not held, and keep them.

        One process writes; another one waits for it, and goes on with what it has done. What was finished is kept where
        the work is interrupted.

        Args:
            used: `[M]` int64, positions in the split.
            reporter: Shows progress.

        Raises:
            UserError: The folder cannot be read or written; an image differs in size from the others, or more of them
                than `data.skip_damaged` cannot be read.
        """
        self._open()
        missing = self._missing(used)
        if not len(missing):
            return
        if not self._may_write:
            self._warn_of_lack(len(missing))
            return
        lock = waiting_lock(self._folder / f"{self._stem}.lock", "fills data.cache", reporter.say)
        with self._named_errors(len(missing)), lock:
            reason = self._open()  # another process may have filled it meanwhile
            missing = self._missing(used)
            if len(missing):
                self._warn_of_rest(reason, len(missing))
                self._decode(missing, reporter)

    def image(self, position: int) -> Tensor | None:
        """One image `[C, H, W]` uint8; None where it is not held, or damaged."""
        row = int(self._index.rows[position])
        if row < 0:
            return None
        out = np.empty(self._split.shape, dtype=np.uint8)
        with suppress(OSError):  # the checksum tells
            self._opened().read_into(out.reshape(-1).data, row * self._row_bytes)
        if crc32(out.data) == self._index.checksums[position]:
            return torch.from_numpy(out)
        if not self._warned:
            self._warned = True
            self._warn_of_damage(f"the image of {self._split.place(position)} is")
        return None

    def images(self, positions: Sequence[int], out: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Read images into `out` `[len(positions), C, H, W]`, all 0; returns which were held and whole, `[M]`."""
        good, places = np.zeros(len(positions), dtype=bool), np.asarray(positions, dtype=np.int64)
        at_once = max(1, _PART_BYTES // self._row_bytes)
        for start in range(0, len(places), at_once):
            part = slice(start, start + at_once)
            good[part] = self._read(places[part], out[part].reshape(len(places[part]), -1))
        if damaged := int((self._index.held[places] & ~good).sum()):
            self._warn_of_damage(f"{damaged:,} of {len(places):,} images are")
        return good

    def alterations(self, position: int) -> int:
        """How an image was altered when it was decoded: bits of `iaat.data.sample_log.ALTERATIONS`."""
        return int(self._index.altered[position])

    def digest(self, position: int, *, of_file: bool) -> int:
        """Digest of an image's encoded bytes, or of its pixels."""
        return int((self._index.file_digests if of_file else self._index.digests)[position])

    def mend(self, position: int, image: NDArray[np.uint8]) -> None:
        """Write an image that is damaged in the file once more, where that can be; another image is not written."""
        row, image = int(self._index.rows[position]), np.ascontiguousarray(image)
        if self._may_write and row >= 0 and crc32(image.data) == self._index.checksums[position]:
            with suppress(OSError), _for_writing(self.file) as file:
                file.seek(row * self._row_bytes)
                file.write(image.data)

    def _read(self, positions: NDArray[np.int64], out: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Read images into rows of `out`; returns which were held and agree with their checksums."""
        rows, checksums = self._index.rows[positions], self._index.checksums[positions]
        for start, end in _runs(rows):
            with suppress(OSError):  # the checksums tell
                self._opened().read_into(out[start:end].reshape(-1).data, int(rows[start]) * self._row_bytes)
        good: NDArray[np.bool_] = rows >= 0
        for place in np.flatnonzero(good):
            if crc32(out[place].data) != checksums[place]:
                good[place], out[place] = False, 0
        return good

    def _opened(self) -> PositionalFile:
        if self._file is None:
            self._file = PositionalFile(self.file)
        return self._file

    def _missing(self, used: Tensor) -> NDArray[np.int64]:
        """Positions that have to be decoded; unreadable ones only where their error ends the work."""
        positions = used.numpy()
        rows = self._index.rows[positions]
        missing: NDArray[np.int64] = positions[rows == ABSENT if self._skip else rows < 0]
        return missing

    def _open(self) -> str:
        """Read the index anew; returns why some images have to be decoded again, to go on "the cache ..."."""
        self._file = None
        with self._readable():
            return self._open_index()

    def _open_index(self) -> str:
        self._index = CacheIndex.blank(self._names, self._states, generation=max(self._generations(), default=0) + 1)
        if not self.index_file.exists():
            return ""
        try:
            index, changes = CacheIndex.read(self.index_file, how_made()).of_files(self._names, self._states)
            self._check_pixels(index)
        except StaleError as error:
            return str(error)
        self._index = index
        return changes and f"is older than files of the data ({changes})"

    def _check_pixels(self, index: CacheIndex) -> None:
        """Refuse an index with a file of pixels that is cut off, or mostly of images that are gone.

        Raises:
            StaleError: It is.
        """
        file = self._folder / f"{self._stem}.{index.generation}.pixels"
        if not file.is_file() or file.stat().st_size < index.count * self._row_bytes:
            raise StaleError(f"has lost {file.name}, or the end of it")
        if 2 * int(index.held.sum()) < index.count:
            raise StaleError("holds more images that are gone or changed than others")

    def _generations(self) -> dict[int, Path]:
        """Files of pixels by their number."""
        name = re.compile(re.escape(self._stem) + r"\.(\d{1,9})\.pixels")
        found = [(name.fullmatch(path.name), path) for path in self._folder.glob(f"{self._stem}.*.pixels")]
        return {int(match[1]): path for match, path in found if match}

    def _decode(self, missing: NDArray[np.int64], reporter: Reporter) -> None:
        size = _size_text(len(missing) * self._row_bytes)
        reporter.say(f"data.cache: {len(missing):,} of the {self._split.where} are decoded into {self.file}, {size}")
        for leftover in self._folder.glob(f".{self.index_file.name}.*.tmp"):  # of a writer that was killed
            leftover.unlink(missing_ok=True)
        sample_log = SampleLog(len(self._names), where=self._split.where, paths=self._split.paths, limit=self._skip)
        with _for_writing(self.file) as file:
            file.truncate(end := self._index.count * self._row_bytes)
            file.seek(end)
            try:
                self._add_parts(missing, file, sample_log, reporter)
            finally:
                self._save(file)
        for generation, path in self._generations().items():
            if generation != self._index.generation:
                with suppress(OSError):  # on Windows, where a process reads it
                    path.unlink()

    def _add_parts(
        self, missing: NDArray[np.int64], file: IO[bytes], sample_log: SampleLog, reporter: Reporter
    ) -> None:
        at_once = max(1, _PART_BYTES // self._row_bytes)
        parts, saved = np.split(missing, range(at_once, len(missing), at_once)), time.monotonic()
        for part in reporter.track(parts, total=len(missing), what="filling data.cache", size=len):
            self._add(part, file, sample_log)
            if time.monotonic() - saved > _SAVE_SECONDS:
                self._save(file)
                saved = time.monotonic()

    def _add(self, part: NDArray[np.int64], file: IO[bytes], sample_log: SampleLog) -> None:
        """Decode some images to the end of the file, then enter them in the index."""
        out, index = np.zeros((len(part), *self._split.shape), dtype=np.uint8), self._index
        with closing(self._split.decoded(part.tolist(), out, skip=self._skip > 0, hashed=True)) as chunks:
            found = [each for chunk in chunks for each in chunk]
        sample_log.add(each.record for each in found)
        readable = np.array([not each.record.error for each in found])
        kept, images = part[readable], out if readable.all() else out[readable]
        file.write(images.data)
        index.altered[part] = [each.record.altered for each in found]
        index.digests[part] = [each.record.digest for each in found]
        index.file_digests[part] = [each.file_digest for each in found]
        index.checksums[kept] = [crc32(image.data) for image in images]
        start, index.count = index.count, index.count + len(kept)
        index.rows[part[~readable]] = UNREADABLE
        index.rows[kept] = np.arange(start, index.count)

    def _save(self, file: IO[bytes]) -> None:
        """Bring the pixels to the disk, then the index that says so."""
        file.flush()
        os.fsync(file.fileno())
        self._index.save(self.index_file, how_made())

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Context in which a failure to read names the key and the fix."""
        try:
            yield
        except OSError as error:
            text = f"data.cache is {self._folder}, which cannot be read ({error.strerror}): {_ADVICE}"
            raise UserError(text) from error

    @contextmanager
    def _named_errors(self, count: int) -> Iterator[None]:
        """Context in which a failure to write names the key, the size that `count` images need, and the fix."""
        try:
            yield
        except (OSError, WriteError) as error:
            cause = error.__cause__ if isinstance(error, WriteError) else error
            number, reason = getattr(cause, "errno", None), getattr(cause, "strerror", None) or str(cause)
            needed = _size_text(self.bytes_of(count)) if number in _FULL else None
            raise UserError(_unwritable(self._folder, reason, needed, f"the {self._split.where}")) from error

    def _warn_of_lack(self, count: int) -> None:
        warnings.warn(
            f"data.cache: {self._folder} lacks {count:,} of the {self._split.where}, which are read from their own"
            " files: a file names data.cache, so it is not written;"
            f" type --data.cache {self._folder} to keep them there",
            stacklevel=3,
        )

    def _warn_of_rest(self, reason: str, count: int) -> None:
        if reason:
            warnings.warn(
                f"data.cache: {self.index_file} {reason}: {count:,} of the {self._split.where} are decoded",
                stacklevel=3,
            )

    def _warn_of_damage(self, what: str) -> None:
        warnings.warn(f"data.cache: {self.file}: {what} damaged there, and decoded again", stacklevel=3)


def check_space(folder: Path, needed: int, count: int) -> None:
    """Check that there is room for all images that are to be decoded, before the first one is.

    Args:
        folder: Of the caches; it need not be there yet.
        needed: Bytes.
        count: Images.

    Raises:
        UserError: Its disk has not enough space left.
    """
    there = next((each for each in (folder, *folder.absolute().parents) if each.is_dir()), None)
    if there is not None and needed > (free := shutil.disk_usage(there).free):
        reason = f"its disk has {_size_text(free)} left"
        raise UserError(_unwritable(folder, reason, _size_text(needed), f"{count:,} images"))


_FULL = (errno.ENOSPC, errno.EDQUOT)
_ADVICE = "give another folder, or leave data.cache out"


def _unwritable(folder: Path, reason: str, needed: str | None, images: str) -> str:
    """The message for a folder that cannot be written, with the size that `images` need where there is no room."""
    text = f"data.cache is {folder}, which cannot be written ({reason})"
    return f"{text}: {_ADVICE}" if needed is None else f"{text}; it needs {needed} for {images}: make room, {_ADVICE}"


def _for_writing(path: Path) -> IO[bytes]:
    """Open a file to read and write, which is made if it is not there; what a link leads to is not opened.

    Raises:
        OSError: It is a link, has a second name, or cannot be opened.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags, 0o666), "rb+")
    if os.fstat(file.fileno()).st_nlink > 1:
        file.close()
        raise OSError(errno.EMLINK, f"{path.name} is a hard link to a file that has another name, too")
    return file


def _key(split: ImageSplit, config: DataConfig) -> str:
    """Digest of the settings that decide pixels, and of the name of the data's folder.

    So data sets that share a cache have files of their own, as long as their folders have different names. The whole
    path is left out: data may be moved.
    """
    pixels = [config.channels or 3, config.background_rgb, config.max_value, config.size, config.resize]
    text = json.dumps([pixels, config.validation, split.root.resolve().name])
    return sha256(text.encode()).hexdigest()[:8]


def _runs(rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of places with rows, not negative, that follow each other."""
    before = np.concatenate([[ABSENT], rows[:-1]])
    starts = np.flatnonzero((rows != before + 1) | (before < 0)).tolist()
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        if rows[start] >= 0:
            yield start, end


def _size_text(size: int) -> str:
    return f"{size / 2**30:.3g} GiB" if size >= 2**30 else f"{size / 2**20:.3g} MiB"
