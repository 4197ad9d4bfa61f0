"""Log of the samples that were read: alterations, digests, and errors of unreadable ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from iaat.data.notices import Notices
from iaat.errors import UserError
from iaat.runtime.distributed import Ranks

T = TypeVar("T")

ALTERATIONS = ("transparent", "depth", "levels", "dark", "grey", "frames")
"""Alterations of a sample, as kinds of `iaat.data.notices`: bits of a byte, in this order."""
_READ = 1 << 7
_SHOWN = 5


class SampleReadError(UserError):
    """A sample cannot be read: its file is damaged or missing, or the code that makes it fails."""


SKIP_ADVICE = "or skip up to N such samples by data.skip_damaged N; `iaat check RECIPE --data` lists all of them"
"""Advice at the end of a message about an unreadable sample."""


def with_skip_advice(error: UserError) -> UserError:
    """Add the advice to skip samples to the error of an unreadable one, once."""
    if not isinstance(error, SampleReadError) or SKIP_ADVICE in str(error):
        return error
    return SampleReadError(f"{error}; {SKIP_ADVICE}")


def first_readable(
    read: Callable[[int], T], *, size: int, skip: int, unreadable: type[UserError] = SampleReadError
) -> tuple[int, T]:
    """Position and content of the first of `size` samples that `read` can read.

    Raises:
        UserError: The first `skip + 1` are `unreadable`.
    """
    last = min(skip, size - 1)
    for position in range(last):
        with suppress(unreadable):
            return position, read(position)
    try:
        return last, read(last)
    except SampleReadError as error:
        raise with_skip_advice(error) from error


class SampleRecord(NamedTuple):
    """Record of one sample that was read.

    Attributes:
        position: Its index.
        altered: Bits of `ALTERATIONS`.
        digest: Of its file, or where there is none of its input: equal ones have equal digests.
        error: Why it cannot be read; empty where it can.
    """

    position: int
    altered: int = 0
    digest: int = 0
    error: str = ""


def digest_of(content: bytes | memoryview) -> int:
    """64-bit hash of bytes, as a signed number."""
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little", signed=True)


def input_digests(x: Tensor) -> list[int]:
    """Digest of each input `[N, ...]`."""
    rows = x.detach().cpu().contiguous().numpy().reshape(len(x), -1)
    return [digest_of(row.data) for row in rows]


def alteration_bits(altered: Iterable[str]) -> int:
    """Bits of some alterations."""
    return sum(1 << ALTERATIONS.index(kind) for kind in altered)


class SampleLog:
    """Log of the samples of one split; each gets its record when it is first read.

    Args:
        size: Number of samples N.
        where: Names the split in messages.
        paths: Path of each sample, or None.
        limit: Number of samples that may be unreadable: `data.skip_damaged`.
        background: `data.background`, the colour behind transparent pixels; "" where it is not known.

    Attributes:
        digests: `[N]` int64; 0 where a sample was not read.
        unreadable: Why samples cannot be read, by index.
    """

    def __init__(
        self, size: int, *, where: str, paths: Sequence[str] | None = None, limit: int = 0, background: str = ""
    ) -> None:
        self.where, self.limit, self._background = where, limit, background
        self.digests = np.zeros(size, dtype=np.int64)
        self.unreadable: dict[int, str] = {}
        self._flags = np.zeros(size, dtype=np.uint8)
        self._paths = paths
        self._shared = np.zeros(size, dtype=bool)

    def name(self, index: int) -> str:
        """Name of a sample: its path, or its index."""
        return f"index {index}" if self._paths is None else self._paths[index]

    @property
    def read(self) -> np.ndarray:
        """Which samples were read, `[N]` bool."""
        return (self._flags & _READ) > 0

    @property
    def readable(self) -> np.ndarray:
        """Sorted indices of the samples that were read without an error."""
        read = self.read
        read[list(self.unreadable)] = False
        return np.flatnonzero(read)

    def readable_rows(self, index: Tensor) -> Tensor:
        """Rows of `index` `[B]` without known unreadable samples."""
        return torch.tensor([index not in self.unreadable for index in index.tolist()]).nonzero().flatten()

    def was_read(self, index: int) -> bool:
        """Whether a sample was read."""
        return bool(self._flags[index] & _READ)

    def add(self, records: Iterable[SampleRecord]) -> None:
        """Add records of samples.

        Raises:
            SampleReadError: There are more unreadable samples than `limit`.
        """
        for record in records:
            self._add_one(record)
        self.check_limit()

    def _add_one(self, record: SampleRecord) -> None:
        position = record.position
        self._flags[position] = record.altered | _READ
        self.digests[position] = record.digest
        if record.error:
            self.unreadable.setdefault(position, record.error)

    def skip(self, unreadable: Mapping[int, str]) -> None:
        """Mark samples as unreadable that were so earlier in the run, even if their files were repaired."""
        for position, error in unreadable.items():
            self._add_one(SampleRecord(position, error=error))
            self._shared[position] = True

    def check_limit(self) -> None:
        """Check that no more than `limit` samples are unreadable.

        Raises:
            SampleReadError: The message names the first of them.
        """
        if len(self.unreadable) <= self.limit:
            return
        reasons = "; ".join(list(self.unreadable.values())[:_SHOWN])
        raise SampleReadError(
            f"{self.where}: {len(self.unreadable)} samples cannot be read, and data.skip_damaged is {self.limit}:"
            f" {reasons}; {SKIP_ADVICE}"
        )

    def new_records(self) -> tuple[Tensor, dict[int, str]]:
        """Records since the last call: rows `[k, 3]` of index, bits and digest, and errors by index."""
        fresh = np.flatnonzero(self.read & ~self._shared)
        self._shared[fresh] = True
        rows = np.stack([fresh, self._flags[fresh].astype(np.int64), self.digests[fresh]], axis=1)
        errors = {int(index): self.unreadable[int(index)] for index in fresh if int(index) in self.unreadable}
        return torch.from_numpy(rows), errors

    def merge(self, rows: Tensor, errors: Mapping[int, str]) -> None:
        """Add the `new_records` of another process."""
        index, flags, digests = rows.numpy().T
        self._flags[index], self.digests[index], self._shared[index] = flags, digests, True
        for position, error in errors.items():
            self.unreadable.setdefault(position, error)

    def notices(self) -> Notices:
        """Notices of altered and skipped samples."""
        notices, of = Notices(), int(self.read.sum())
        for bit, kind in enumerate(ALTERATIONS):
            hits = np.flatnonzero(self._flags & (1 << bit))
            if len(hits):
                detail = self._background if kind == "transparent" else ""
                notices.add(self.where, kind, self.name(int(hits[0])), count=len(hits), detail=detail, of=of)
        if self.unreadable:
            first = min(self.unreadable)
            notices.add(self.where, "damaged", self.name(first), count=len(self.unreadable), of=of)
        return notices


def gather_sample_log(sample_log: SampleLog, ranks: Ranks) -> None:
    """Merge what all processes have found about the samples of a split; all call it together.

    Raises:
        SampleReadError: together they have met more unreadable samples than are allowed.
    """
    if not ranks.several:
        return
    rows, errors = sample_log.new_records()
    found = ranks.all_gather_dict(errors)
    for part in ranks.all_gather(rows):
        numbers = part[:, 0].tolist()
        sample_log.merge(part, {number: found[number] for number in numbers if number in found})
    sample_log.check_limit()
