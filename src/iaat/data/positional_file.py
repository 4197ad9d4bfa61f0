"""`PositionalFile`: a file read at given places, by several threads and processes at once."""

import os
from pathlib import Path


class PositionalFile:
    """Open file without a position of its own, closed when it is no longer in use.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)

    @property
    def size(self) -> int:
        """Bytes of the file as it is now."""
        return os.fstat(self._file.fileno()).st_size

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset` on; fewer at the end of the file.

        Raises:
            OSError: The file cannot be read.
        """
        if hasattr(os, "pread"):
            return os.pread(self._file.fileno(), size, offset)
        with Path(self._file.name).open("rb") as file:  # Windows
            file.seek(offset)
            return file.read(size)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill a buffer of bytes from `offset` on; returns how many there were.

        Raises:
            OSError: The file cannot be read.
        """
        done = 0
        while done < len(buffer):
            part = buffer[done:]
            if hasattr(os, "preadv"):
                count = os.preadv(self._file.fileno(), [part], offset + done)
            else:
                content = self.read(len(part), offset + done)
                part[: (count := len(content))] = content
            if not count:
                break
            done += count
        return done

    def __del__(self) -> None:
        if hasattr(self, "_file"):  # it could be opened
            self._file.close()
