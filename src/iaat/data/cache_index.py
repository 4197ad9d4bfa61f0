"""Index of a cache of decoded images: which images it holds, and in which state their files were."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import features

from iaat.data.formats import FORMATS
from iaat.data.npz import NpzFile
from iaat.data.sample_log import ALTERATIONS, digest_of
from iaat.runtime.files import replacing

_VERSION = 2
_DECODING = 1
"""To be raised by whoever changes what `iaat.data.image.decode` makes of a file."""
_DECODERS = ("jpg", "libjpeg_turbo", "jpg_2000", "libtiff", "webp", "avif")
_MOST_ABOUT = 1 << 16
ABSENT, UNREADABLE = -1, -2
"""In place of a row: the image is not in the file of pixels; it could not be read."""
_COLUMNS: dict[str, type[np.generic]] = {
    "names": np.int64,
    "states": np.int64,
    "rows": np.int64,
    "altered": np.uint8,
    "file_digests": np.int64,
    "digests": np.int64,
    "checksums": np.uint32,
}


class StaleError(Exception):
    """An index is of no use; the message continues "the cache ..."."""


@dataclass(eq=False)
class CacheIndex:
    """Index of the images of one split.

    Rows of the file of pixels are only ever added: who has read an older index finds the same pixels.

    Attributes:
        names: `[N]` int64, digest of each image's path.
        states: `[N, K]` int64, the state of its file, see `ImageFiles.states`.
        rows: `[N]` int64, its row in the file of pixels, or `ABSENT`, or `UNREADABLE`.
        altered: `[N]` uint8, how it was altered, see `SampleRecord`.
        file_digests: `[N]` int64, digest of its encoded bytes.
        digests: `[N]` int64, digest of its pixels.
        checksums: `[N]` uint32, CRC-32 of its pixels.
        count: Rows of the file of pixels that are in use or were.
        generation: Number of the file of pixels.
    """

    names: NDArray[np.int64]
    states: NDArray[np.int64]
    rows: NDArray[np.int64]
    altered: NDArray[np.uint8]
    file_digests: NDArray[np.int64]
    digests: NDArray[np.int64]
    checksums: NDArray[np.uint32]
    count: int = 0
    generation: int = 1

    @classmethod
    def blank(cls, names: NDArray[np.int64], states: NDArray[np.int64], *, generation: int = 1) -> CacheIndex:
        """Index that holds none of these images."""
        size = len(names)
        return cls(
            names,
            states,
            rows=np.full(size, ABSENT),
            altered=np.zeros(size, np.uint8),
            file_digests=np.zeros(size, np.int64),
            digests=np.zeros(size, np.int64),
            checksums=np.zeros(size, np.uint32),
            generation=generation,
        )

    @property
    def held(self) -> NDArray[np.bool_]:
        """Which images are in the file of pixels, `[N]`."""
        return self.rows >= 0

    def of_files(self, names: NDArray[np.int64], states: NDArray[np.int64]) -> tuple[CacheIndex, str]:
        """Index of the images that there are now, and how they differ; those with files in another state are absent.

        Raises:
            StaleError: The files are of another kind.
        """
        if self.states.shape[1:] != states.shape[1:]:
            raise StaleError("is of files of another kind")
        old, there = _places(self.names, names)
        looked_up = (states[:, 0] >= 0) | (self.rows[old] == UNREADABLE)
        same = there & (self.states[old] == states).all(1) & looked_up
        index = CacheIndex(
            names,
            states,
            rows=np.where(same, self.rows[old], ABSENT),
            altered=self.altered[old],
            file_digests=self.file_digests[old],
            digests=self.digests[old],
            checksums=self.checksums[old],
            count=self.count,
            generation=self.generation,
        )
        counts = {
            "changed": int((there & ~same & (self.rows[old] >= 0)).sum()),
            "added": len(names) - int(there.sum()),
            "removed": len(self.names) - int(there.sum()),
        }
        return index, ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)

    def save(self, path: Path, about: dict[str, Any]) -> None:
        """Write the index, whole or not at all.

        Raises:
            UserError: It cannot be written.
        """
        text = json.dumps({**about, "count": self.count, "generation": self.generation}).encode()
        columns = {name: np.ascontiguousarray(getattr(self, name)).reshape(-1) for name in _COLUMNS}
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, about=np.frombuffer(text, dtype=np.uint8), **columns)  # type: ignore[arg-type]

    @classmethod
    def read(cls, path: Path, about: dict[str, Any]) -> CacheIndex:
        """Read an index that was made in the way that `about` says; it is not trusted.

        Raises:
            StaleError: It is damaged, cannot be read, or was made in another way.
        """
        try:
            path.open("rb").close()
        except OSError as error:
            raise StaleError(f"has an index that cannot be read ({error.strerror})") from error
        try:
            return cls._read(path, about)
        except StaleError:
            raise
        except Exception as error:  # a damaged index can fail in any way
            raise StaleError("has a damaged index") from error

    @classmethod
    def _read(cls, path: Path, about: dict[str, Any]) -> CacheIndex:
        file, most = NpzFile(path, where=str(path), expected="an index"), path.stat().st_size
        known = json.loads(file.column("about", np.uint8, most=_MOST_ABOUT).tobytes())
        count, generation = known.pop("count"), known.pop("generation")
        if differing := [key for key, value in about.items() if known.get(key) != value]:
            raise StaleError(f"was made with another {' and '.join(differing)}")
        columns: dict[str, Any] = {name: file.column(name, dtype, most=most) for name, dtype in _COLUMNS.items()}
        columns["states"] = columns["states"].reshape(len(columns["names"]), -1)
        index = cls(**columns, count=count, generation=generation)
        if not index._is_sound():
            raise StaleError("has a damaged index")
        return index

    def _is_sound(self) -> bool:
        numbers = all(type(number) is int and 0 <= number < 2**40 for number in (self.count, self.generation))
        alike = {len(getattr(self, name)) for name in _COLUMNS} == {len(self.names)} and len(self.names) > 0
        if not (numbers and alike):
            return False
        rows = bool(((self.rows >= UNREADABLE) & (self.rows < self.count)).all())
        return rows and bool((self.altered < 1 << len(ALTERATIONS)).all())


def _places(names: NDArray[np.int64], wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Place of each wanted name in `names`, not empty, and whether it is there."""
    if np.array_equal(names, wanted):
        return np.arange(len(names)), np.ones(len(names), dtype=bool)
    order = np.argsort(names, kind="stable")
    places = order[np.searchsorted(names, wanted, sorter=order).clip(max=len(names) - 1)]
    return places, names[places] == wanted


def digests_of_names(paths: Sequence[str]) -> NDArray[np.int64]:
    """Digest of each path, `[N]`."""
    return np.array([digest_of(path.encode("utf-8", "surrogateescape")) for path in paths], dtype=np.int64)


def how_made() -> dict[str, Any]:
    """Format of the cache and versions of what decodes images: with another one, pixels may differ."""
    versions = {name: features.version(name) for name in _DECODERS}
    if "HEIF" in FORMATS:
        versions["pillow_heif"] = importlib.metadata.version("pillow_heif")
    return {"format": [_VERSION, _DECODING], "Pillow": PIL.__version__, "decoder": versions}
