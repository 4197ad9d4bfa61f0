"""What is found out about samples when they are first read: alterations, digests, and which cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from iaat.data.notices import Notices
from iaat.errors import UserError

ALTERATIONS = ("transparent", "depth", "levels", "dark", "grey", "frames")
"""What may be altered of a sample, as kinds of `iaat.data.notices`: bits of a byte, in this order."""
_READ = 1 << 7
_SHOWN = 5


class SampleReadError(UserError):
    """A sample that cannot be read: its file is damaged or gone, or the code that makes it fails."""


SKIP_ADVICE = "or skip up to N such samples by data.skip_damaged N; `iaat check RECIPE --data` lists all of them"
"""How to go on, for the end of a message about an unreadable sample."""


def with_skip_advice(error: UserError) -> UserError:
    """The error with the way out, if it is of a sample that cannot be read and does not have it yet."""
    if not isinstance(error, SampleReadError) or SKIP_ADVICE in str(error):
        return error
    return SampleReadError(f"{error}; {SKIP_ADVICE}")


class SampleRecord(NamedTuple):
    """What was found out about one sample.

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
    """64 bits, as a signed number, that differ in practice where contents do."""
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little", signed=True)


def input_digests(x: Tensor) -> list[int]:
    """The digest of each input `[N, ...]`."""
    rows = x.detach().cpu().contiguous().numpy().reshape(len(x), -1)
    return [digest_of(row.data) for row in rows]


def alteration_bits(altered: Iterable[str]) -> int:
    """The bits of these kinds."""
    return sum(1 << ALTERATIONS.index(kind) for kind in altered)


class SampleLog:
    """What is known of the samples of one split; each is examined once, when it is first read.

    Args:
        size: Number of samples N.
        where: Names the split in messages.
        paths: Path of each sample, or None.
        limit: How many samples may be unreadable: `data.skip_damaged`.
        background: `data.background`, the colour behind transparent pixels; "" where it is not known.

    Attributes:
        digests: `[N]` int64; 0 where a sample was not examined.
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
        """What a person finds a sample by."""
        return f"index {index}" if self._paths is None else self._paths[index]

    @property
    def read(self) -> np.ndarray:
        """`[N]` bool: which samples were examined."""
        return (self._flags & _READ) > 0

    @property
    def readable(self) -> np.ndarray:
        """Sorted indices of the samples that were examined and can be read."""
        read = self.read
        read[list(self.unreadable)] = False
        return np.flatnonzero(read)

    def readable_rows(self, index: Tensor) -> Tensor:
        """The rows of `index` `[B]` whose samples are not known to be unreadable."""
        return torch.tensor([index not in self.unreadable for index in index.tolist()]).nonzero().flatten()

    def is_known(self, index: int) -> bool:
        """Whether a sample was examined."""
        return bool(self._flags[index] & _READ)

    def add(self, records: Iterable[SampleRecord]) -> None:
        """Take up what was found out about samples.

        Raises:
            SampleReadError: There are more unreadable samples than may be.
        """
        for record in records:
            self._enter(record)
        self.check_limit()

    def _enter(self, record: SampleRecord) -> None:
        position = record.position
        self._flags[position] = record.altered | _READ
        self.digests[position] = record.digest
        if record.error:
            self.unreadable.setdefault(position, record.error)

    def skip(self, unreadable: Mapping[int, str]) -> None:
        """Take samples for unreadable that were so before, whatever their files are by now."""
        for position, error in unreadable.items():
            self._enter(SampleRecord(position, error=error))
            self._shared[position] = True

    def check_limit(self) -> None:
        """Refuse to go on where too many samples are unreadable.

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
        """What was found out since the last call: rows `[k, 3]` of index, bits and digest; and reasons by index."""
        fresh = np.flatnonzero(self.read & ~self._shared)
        self._shared[fresh] = True
        rows = np.stack([fresh, self._flags[fresh].astype(np.int64), self.digests[fresh]], axis=1)
        errors = {int(index): self.unreadable[int(index)] for index in fresh if int(index) in self.unreadable}
        return torch.from_numpy(rows), errors

    def merge(self, rows: Tensor, errors: Mapping[int, str]) -> None:
        """Take up the `news` of another process."""
        index, flags, digests = rows.numpy().T
        self._flags[index], self.digests[index], self._shared[index] = flags, digests, True
        for position, error in errors.items():
            self.unreadable.setdefault(position, error)

    def notices(self) -> Notices:
        """What was altered, and what is skipped."""
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
