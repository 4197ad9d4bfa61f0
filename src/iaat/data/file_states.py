"""In which state files are: what shows whether they have changed since they were read."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_LOOKED_UP = 512
"""Files that are looked up at once."""
_THREADS = 16
_SLOW = 50e-6
"""Seconds that a file takes, from which on threads look."""
_LARGEST = 2**63 - 1
"""Of an int64; times after 2262 are larger."""


def file_states(root: Path, paths: Sequence[str]) -> NDArray[np.int64]:
    """Size in bytes and two times in ns of files, `[N, 3]`; -1 of one that cannot be looked up.

    The times are those of the last change of its content (mtime, which copies and archives may set to what they like)
    and of its content, name or rights (ctime, which is the system's own; on Windows, of its creation).
    """
    states = np.full((len(paths), 3), -1, dtype=np.int64)

    def look_up(start: int) -> None:
        for number, path in enumerate(paths[start : start + _LOOKED_UP], start):
            with suppress(OSError):  # reported when the image is decoded
                found = os.stat(os.path.join(root, path))  # noqa: PTH116, PTH118 (a Path takes as long as the look-up)
                states[number] = found.st_size, found.st_mtime_ns & _LARGEST, found.st_ctime_ns & _LARGEST

    began = time.perf_counter()
    look_up(0)
    # A network's file system takes a fraction of a millisecond for each. On a local disk threads hinder each other.
    slow = time.perf_counter() - began > _SLOW * min(len(paths), _LOOKED_UP)
    with ThreadPoolExecutor(_THREADS if slow else 1) as threads:
        list(threads.map(look_up, range(_LOOKED_UP, len(paths), _LOOKED_UP)))
    return states
