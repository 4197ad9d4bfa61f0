"""Check of all samples before a run: which cannot be read, and which are altered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from iaat.data.batch_order import sequential_order
from iaat.data.build_data import streamed
from iaat.data.data_config import DataConfig
from iaat.data.duplicates import duplicates
from iaat.data.notices import Notices
from iaat.data.raw_split import RawSplit
from iaat.data.read_splits import read_splits
from iaat.data.relabel import relabelled
from iaat.data.sample_checks import check_classes
from iaat.data.sample_log import SampleLog
from iaat.types import Batch

_BATCH = 64

Track = Callable[[Iterator[Batch], int, str], Iterator[Batch]]
"""Shows progress: passes batches on, of so many samples, under a name."""


@dataclass(frozen=True, slots=True)
class DataCheck:
    """Result of a check of all samples.

    Attributes:
        notices: What is left out or altered.
        faulty: Why each sample that cannot be used is not, of both splits.
        size: Samples read.
    """

    notices: Notices
    faulty: list[str]
    size: int


def check_all_samples(config: DataConfig, track: Track) -> DataCheck:
    """Read every sample of both splits once, one batch in memory at a time.

    Args:
        config: The `data` section; limits are ignored.
        track: Shows progress.

    Raises:
        UserError: The data cannot be found, or not a single sample can be used.
    """
    stored, test_split = read_splits(replace(config, skip_damaged=_ANY))
    corrected, _ = relabelled(config.relabel, stored)
    splits = (corrected, test_split)
    train, test = (_read_all(split, config, track) for split in splits)
    notices = Notices()
    for split, sample_log in zip(splits, (train, test), strict=True):
        notices |= split.notices | sample_log.notices()
    labels, classes = splits[0].labels, splits[0].classes
    notices |= duplicates(train, test, labels, classes, validation_size=splits[0].validation_size)
    faulty = [reason for each in (train, test) for _, reason in sorted(each.unreadable.items())]
    return DataCheck(notices, faulty, sum(map(len, splits)))


_ANY = 10**9


def _read_all(split: RawSplit, config: DataConfig, track: Track) -> SampleLog:
    check_classes(split.labels, split.classes, where=split.where, complete=split.complete)
    sample_log = SampleLog(
        len(split), where=split.where, paths=split.paths, limit=len(split), background=config.background
    )
    source = streamed(split, config, "cpu", sample_log, tolerant=True)
    batches = source.batches(sequential_order(torch.arange(len(split)), _BATCH))
    for _ in track(batches, len(split), split.where):
        pass
    return sample_log
