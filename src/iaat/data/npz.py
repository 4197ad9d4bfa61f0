"""Arrays in a .npz file, read as numbers only and a few MiB at a time."""

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from iaat.errors import UserError, did_you_mean

_READ_AT_ONCE = 1 << 22
_MOST_EXPANSION = 1100
"""Bytes that one of zip's method "deflate" unpacks to, at most 1,032."""
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)


class ArrayHeader(NamedTuple):
    """What a file says of one of its arrays.

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
        expected: Says in messages what the file should hold.
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
        """What the file says of the array `name`, which is not read.

        Raises:
            UserError: The file is missing or damaged; or the array is, or its numbers cannot be read row by row.
        """
        with self._opened() as archive:
            there = [member.removesuffix(".npy") for member in archive.namelist()]
            if name not in there:
                raise UserError(
                    f"{self._where}: has no array {name!r}; it holds {', '.join(there[:10]) or 'nothing'}"
                    f"{did_you_mean(name, there)}: {self._expected}"
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
        """Refuse a part that says it unpacks to more than can be in it, before memory is taken for it."""
        packed = min(member.compress_size, self._path.stat().st_size)
        if member.file_size > _MOST_EXPANSION * packed:
            raise UserError(
                f"{self._where}: {member.filename} claims {member.file_size:,} bytes in {packed:,} packed ones, which"
                " nothing unpacks to: copy or download it again"
            )

    def chunks(self, name: str) -> Iterator[NDArray[Any]]:
        """All rows of the array `name`, which `header` has accepted, in parts `[n, ...]` of a few MiB.

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

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        if not self._path.is_file():
            raise UserError(f"{self._where}: there is no such file (seen from {Path.cwd()})")
        try:
            if not zipfile.is_zipfile(self._path):
                raise UserError(f"{self._where}: is no .npz file, or cut off: {self._expected}")
            with zipfile.ZipFile(self._path) as archive:
                yield archive
        except UserError:
            raise
        except _DAMAGE as error:
            raise UserError(f"{self._where}: cannot be read ({error}): copy or download it again") from error


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and type of the array that a .npy file begins with."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"version {version} of the .npy format is not known")
