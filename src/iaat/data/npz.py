"""Reader of .npz files: numbers only, a few MiB at a time."""

import io
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from iaat.errors import UserError, did_you_mean
from iaat.runtime.text import cut

_READ_AT_ONCE = 1 << 22
_MOST_EXPANSION = 1100
"""Bytes that one of zip's method "deflate" unpacks to, at most 1,032."""
_LONGEST_HEADER = 10_000
_MOST_DIMENSIONS = 8


class ArrayHeader(NamedTuple):
    """Header of an array in a file.

    Attributes:
        shape: Its shape.
        dtype: Its type, which holds no Python objects.
        checksum: CRC-32 of its bytes.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    checksum: int


class NpzFile:
    """A .npz file as `numpy.savez` and `numpy.savez_compressed` write it.

    In place of `numpy.load`, which reads an array whole: of a file of 30 GB a tenth may be wanted.

    Args:
        path: The file.
        where: Names it in messages.
        expected: What the file should hold, for messages.
    """

    def __init__(self, path: Path, *, where: str, expected: str) -> None:
        self._path, self._where, self._expected = path, where, expected

    def names(self) -> list[str]:
        """Names of the arrays in the file.

        Raises:
            UserError: The file is missing or damaged.
        """
        with self._opened() as archive:
            return [member.removesuffix(".npy") for member in archive.namelist()]

    def header(self, name: str) -> ArrayHeader:
        """Header of the array `name`; its data is not read.

        Raises:
            UserError: The file is missing or damaged; or the array is, or its numbers cannot be read row by row.
        """
        with self._opened() as archive:
            members = archive.namelist()
            if f"{name}.npy" not in members:
                arrays = [member.removesuffix(".npy") for member in members if member.endswith(".npy")]
                there = arrays + [f"{member} (not .npy)" for member in members if not member.endswith(".npy")]
                raise UserError(
                    f"{self._where}: has no array {name!r}; it holds {cut(', '.join(there[:10]), 200) or 'nothing'}"
                    f"{did_you_mean(name, arrays)}: {self._expected}"
                )
            member = archive.getinfo(f"{name}.npy")
            self._check_member(member)
            with archive.open(member) as file:
                shape, in_columns, dtype = _read_header(file)
                held = member.file_size - file.tell()
            checksum = member.CRC
        if dtype.hasobject:
            raise UserError(
                f"{self._where}: {name} holds Python objects, which are refused because reading them could run code:"
                " save it as an array of numbers"
            )
        if in_columns and len(shape) > 1:
            raise UserError(f"{self._where}: {name} is in Fortran order: save numpy.ascontiguousarray({name})")
        if (claimed := math.prod(shape) * dtype.itemsize) != held:
            raise UserError(
                f"{self._where}: {name} claims {claimed:,} bytes, shape {[*shape]}, and the file holds {held:,} of it:"
                " copy or download it again"
            )
        return ArrayHeader(shape, dtype, checksum)

    def _check_member(self, member: zipfile.ZipInfo) -> None:
        """Refuse a part that claims to unpack to more than possible, before it takes memory."""
        packed = min(member.compress_size, self._path.stat().st_size)
        if member.file_size > _MOST_EXPANSION * packed:
            raise UserError(
                f"{self._where}: {member.filename} claims {member.file_size:,} bytes in {packed:,} packed ones, which"
                " is impossible: copy or download it again"
            )

    def chunks(self, name: str) -> Iterator[NDArray[Any]]:
        """Yield all rows of the array `name`, which `header` has accepted, in parts `[n, ...]` of a few MiB.

        Raises:
            UserError: The file is damaged.
        """
        with self._opened() as archive, archive.open(f"{name}.npy") as file:
            shape, _, dtype = _read_header(file)
            row = math.prod(shape[1:]) * dtype.itemsize
            at_once = max(1, _READ_AT_ONCE // max(1, row))
            for start in range(0, shape[0], at_once):
                count = min(at_once, shape[0] - start)
                data = file.read(count * row)
                if len(data) != count * row:
                    raise EOFError(f"{name} ends before its {shape[0]} rows do")
                yield np.frombuffer(data, dtype).reshape(count, *shape[1:])
            # Reading on is what compares the checksum.
            if file.read(1):
                raise EOFError(f"{name} is longer than its {shape[0]} rows")

    def column(self, name: str, dtype: type[np.generic], *, most: int) -> NDArray[Any]:
        """The array `name` of one dimension.

        Raises:
            UserError: The file is missing or damaged.
            ValueError: The array is of another type, of more dimensions, or has more than `most` entries.
        """
        header = self.header(name)
        if header.dtype != dtype or len(header.shape) != 1 or header.shape[0] > most:
            raise ValueError(f"{name} is {header.dtype} {header.shape}")
        return np.concatenate([np.zeros(0, dtype), *self.chunks(name)])

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        if not self._path.is_file():
            raise UserError(f"{self._where}: there is no such file (seen from {Path.cwd()})")
        try:
            if not zipfile.is_zipfile(self._path):
                raise UserError(f"{self._where}: is no .npz file, or cut off: {self._expected}")
            with zipfile.ZipFile(self._path) as archive:
                yield archive
        except (UserError, MemoryError):
            raise
        except Exception as error:  # every method of packing has errors of its own
            reason = cut(str(error), 200) or type(error).__name__
            raise UserError(f"{self._where}: cannot be read ({reason}): copy or download it again") from error


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Header of a .npy file: shape, whether in Fortran order, and type.

    Raises:
        ValueError: the header is damaged, or longer than one of numbers is.
    """
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the .npy format is not known")
    size = file.read(2 if version == (1, 0) else 4)
    if (length := int.from_bytes(size, "little")) > _LONGEST_HEADER:
        raise ValueError(f"the header claims {length:,} bytes")
    header = io.BytesIO(size + file.read(length))
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, in_columns, dtype = read(header)
    except Exception as error:  # of the parser, too, which gives up as if memory had run out
        raise ValueError("the header describes no array") from error
    if len(shape) > _MOST_DIMENSIONS or not all(0 <= length < 2**63 for length in shape):
        raise ValueError("the header describes an impossible shape")
    return shape, in_columns, dtype
