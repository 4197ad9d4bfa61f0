"""Samples streamed from disk in every epoch, optionally by worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from copy import copy
from itertools import repeat

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from iaat.data.augment import Augmentation, augmentation_draws
from iaat.data.loader_workers import ignore_signals, start_workers
from iaat.data.raw_split import RawSplit
from iaat.data.read_item import UNKEYED, MapDataset, check_item, read_item, seed_item
from iaat.data.resized_crop import DRAWS
from iaat.data.sample_checks import check_classes, check_labels, check_pixels
from iaat.data.sample_log import (
    SampleLog,
    SampleReadError,
    SampleRecord,
    first_readable,
    input_digests,
    with_skip_advice,
)
from iaat.data.source import Source, check_order, fingerprint, finish_batch
from iaat.errors import UserError
from iaat.runtime.rng import derive_seed, generator, keyed_uniform, preserved_globals
from iaat.types import Batch

_Item = tuple[Tensor, int, int, SampleRecord | None]
_Collated = tuple[Tensor, Tensor, Tensor, list[SampleRecord]]


class StreamingSource(Source):
    """Source over a map-style data set, read through a `DataLoader`.

    Workers start anew with each call of `batches` and end with it. Batches depend neither on their number nor on what
    was read before: a random transform of the data set draws from the global generators of Python, NumPy and PyTorch,
    which are seeded for each item by `(seed, epoch)` of `batches(augment=...)`, or alike in every epoch without, and
    are left as they were. A data set with an attribute `deterministic` that is true is spared that.

    Args:
        dataset: Gives (x, y) for a position, x a PIL image, a uint8 tensor or a float tensor in [0, 1].
        labels: Class ids `[N]`, known beforehand; items are checked against them.
        classes: Class names, at least two.
        augmentation: What `batches(augment=...)` does to images.
        crops: Random crops in `batches(augment=...)`, of an `ImageSplit`, by draws keyed by `(seed, epoch)`.
        device: Training device; batches are yielded there.
        paths: Relative path of each sample.
        workers: Reader processes; 0: the calling process reads.
        sample_log: Receives the records of items when they are first read; unreadable ones that it allows are all
            0. None: a new one, which allows none.
        tolerant: Treat any error of an item as unreadable.
        complete: Whether each class needs a sample.
        where: Names the data in messages.

    Raises:
        UserError: Labels or the first item are not as described. While iterating: an item is not (the message has its
            index), or a worker died.
    """

    def __init__(
        self,
        dataset: MapDataset,
        labels: Tensor,
        classes: Sequence[str],
        *,
        augmentation: Augmentation | None = None,
        crops: bool = False,
        device: torch.device | str = "cpu",
        paths: list[str] | None = None,
        workers: int = 0,
        sample_log: SampleLog | None = None,
        tolerant: bool = False,
        complete: bool = True,
        where: str = "data",
    ) -> None:
        self.labels = check_labels(labels, where=where)
        self.classes = tuple(classes)
        self.paths = paths
        self._augmentation = augmentation or Augmentation()
        self._device = torch.device(device)
        self._workers = workers
        if len(dataset) != len(self.labels) or len(dataset) == 0:
            raise UserError(f"{where}: {len(dataset)} items but {len(self.labels)} labels: give one label an item")
        check_classes(self.labels, self.classes, where=where, complete=complete)
        self.sample_log = sample_log or SampleLog(len(self.labels), where=where, paths=paths)
        self._items = _CheckedItems(dataset, self.labels, where, crops, self.sample_log, tolerant)
        self.shape = tuple(self._items.first.shape)
        self._augmentation.check(self.shape)
        self.fingerprint = fingerprint(self.labels, self.classes, self.shape, paths)

    def batches(
        self,
        order: Sequence[Tensor],
        *,
        augment: tuple[int, int] | None = None,
        visits: Sequence[Tensor] | None = None,
    ) -> Iterator[Batch]:
        """Yield one batch for each index tensor: see `Source.batches`.

        What is drawn while an item is read, its crop and the transforms of the data set, is the same in all visits of
        an epoch.
        """
        index = check_order(order, len(self))
        return self._read(torch.split(index, [len(part) for part in order]), augment, visits)

    def _read(
        self, order: Sequence[Tensor], key: tuple[int, int] | None, visits: Sequence[Tensor] | None
    ) -> Iterator[Batch]:
        loader = DataLoader(
            self._items.keyed(key),
            batch_sampler=[part.tolist() for part in order],
            num_workers=self._workers,
            collate_fn=_collate,
            pin_memory=self._device.type == "cuda",
            # Without its own generator the loader draws the workers' seed from the global one and so moves it.
            generator=generator(*(key or UNKEYED), "data loader"),
            worker_init_fn=ignore_signals,
        )
        for collated, again in zip(start_workers(loader), visits or repeat(None), strict=False):
            if isinstance(collated, UserError):
                raise collated
            *tensors, records = collated
            self.sample_log.add(records)
            stored, y, index = (part.to(self._device, non_blocking=True) for part in tensors)
            draws = augmentation_draws(self._augmentation, index, key, again)
            yield finish_batch(stored, y, index, self._augmentation, draws)


class _CheckedItems(Dataset[_Item | UserError]):
    """Items of the data set with their index, checked; read a batch at a time for a `DataLoader`."""

    def __init__(
        self,
        dataset: MapDataset,
        labels: Tensor,
        where: str,
        crops: bool,
        sample_log: SampleLog,
        tolerant: bool,
    ) -> None:
        self._dataset = dataset
        self._crops = crops
        self._key: tuple[int, int] | None = None
        self._labels = labels
        self._where = where
        self._sample_log = sample_log
        self._unreadable = UserError if tolerant else SampleReadError
        self._deterministic = bool(getattr(dataset, "deterministic", False))
        with preserved_globals():
            size, skip = len(dataset), sample_log.limit
            place, self.first = first_readable(self._read_plain, size=size, skip=skip, unreadable=self._unreadable)
        self._first_where = f"item {place}"
        check_pixels(self.first[None], where=where)

    def _read_plain(self, position: int) -> Tensor:
        seed_item(position)
        return read_item(self._dataset, position, where=self._where)[0]

    def keyed(self, key: tuple[int, int] | None) -> _CheckedItems:
        """Items with random draws keyed by `(seed, epoch)`; without a key they are not cropped."""
        items = copy(self)
        items._key = key
        return items

    def __getitems__(self, positions: list[int]) -> list[_Item | UserError]:
        """Read items; the last one is an error, if any.

        An error is returned, not raised: raised in a worker, its message would reach the user wrapped in a traceback.
        """
        found: list[_Item | UserError] = []
        with nullcontext() if self._deterministic else preserved_globals():
            for position, draws in zip(positions, self._draws(positions), strict=True):
                if not self._deterministic:
                    seed_item(position, self._key)
                try:
                    found.append(self._read(position, draws))
                except UserError as error:
                    if not (self._sample_log.limit and isinstance(error, self._unreadable)):
                        return [*found, with_skip_advice(error)]
                    found.append(self._blank(position, SampleRecord(position, error=str(error))))
        return found

    def _draws(self, positions: Sequence[int]) -> Sequence[list[float] | None]:
        """Draws that decide how each item is cropped; None for one that is not."""
        if self._key is None or not self._crops:
            return [None] * len(positions)
        seed, epoch = self._key
        return keyed_uniform(derive_seed(seed, "resized crop"), epoch, torch.tensor(positions), DRAWS).tolist()

    def _blank(self, position: int, record: SampleRecord | None) -> _Item:
        """Blank item in place of one that cannot be read."""
        return torch.zeros_like(self.first), int(self._labels[position]), position, record

    def _read(self, position: int, draws: list[float] | None) -> _Item:
        if position in self._sample_log.unreadable:
            return self._blank(position, None)
        x, y, record = self._read_with_record(position, draws)
        place, label = f"{self._where}: item {position}", int(self._labels[position])
        check_item(x, y, label=label, first=self.first, where=place, first_where=self._first_where)
        check_pixels(x[None], where=self._where, index=torch.tensor([position]))
        return x, y, position, record

    def _read_with_record(self, position: int, draws: list[float] | None) -> tuple[Tensor, int, SampleRecord | None]:
        """One item, and its record where it is read for the first time."""
        first = not self._sample_log.was_read(position)
        if isinstance(self._dataset, RawSplit):
            if first:
                return self._dataset.read_with_record(position, draws)
            return *self._dataset.read(position, draws), None
        x, y = read_item(self._dataset, position, where=self._where)
        return x, y, SampleRecord(position, digest=input_digests(x[None])[0]) if first else None


def _collate(items: list[_Item | UserError]) -> _Collated | UserError:
    good: list[_Item] = []
    for item in items:
        if isinstance(item, UserError):
            return item
        good.append(item)
    x, y, index, records = zip(*good, strict=True)
    found = [record for record in records if record is not None]
    return torch.stack(x), torch.tensor(y), torch.tensor(index), found
