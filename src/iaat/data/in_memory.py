"""Samples held in the memory of the training device."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from iaat.data.augment import Augmentation, augmentation_draws
from iaat.data.sample_checks import check_classes, check_labels, check_lengths, check_pixels
from iaat.data.sample_log import SampleLog
from iaat.data.source import Source, check_order, fingerprint, finish_batch
from iaat.errors import UserError
from iaat.types import Batch


class InMemorySource(Source):
    """Source that gathers, converts and augments whole batches on the device.

    Args:
        x: Inputs `[N, ...]`, uint8 in 0..255 or float32 in [0, 1]; with `stored`, `[M, ...]`.
        y: Class ids `[N]`, integers in `0 .. classes-1`.
        classes: Class names, at least two.
        augmentation: What `batches(augment=...)` does to images.
        device: Training device; batches are yielded there.
        paths: Relative path of each sample.
        stored: `[M]` int64, the indices of the samples that `x` holds, if it does not hold all.
        sample_log: Records of the samples from when they were read; None: none.
        complete: Whether each class needs a sample.
        where: Names the data in messages.

    Raises:
        UserError: Labels or pixels are not as described; names the index and the value.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        classes: Sequence[str],
        *,
        augmentation: Augmentation | None = None,
        device: torch.device | str = "cpu",
        paths: list[str] | None = None,
        stored: Tensor | None = None,
        sample_log: SampleLog | None = None,
        complete: bool = True,
        where: str = "data",
    ) -> None:
        self.labels = check_labels(y, where=where)
        self.classes = tuple(classes)
        self.shape = tuple(x.shape[1:])
        self.paths = paths
        self.sample_log = sample_log or SampleLog(len(self.labels), where=where, paths=paths)
        self._augmentation = augmentation or Augmentation()
        check_lengths(x, self.labels if stored is None else stored, where=where)
        check_classes(self.labels, self.classes, where=where, complete=complete)
        self._augmentation.check(self.shape)
        self._x = x.to(device)
        check_pixels(self._x, where=where, index=stored)
        self._y = self.labels.to(device)
        self._row: Tensor | None = None
        if stored is not None:  # the place of each index in `x`, -1 where it is absent
            self._row = torch.full((len(self.labels),), -1, dtype=torch.int64)
            self._row[stored] = torch.arange(len(stored))
        self.fingerprint = fingerprint(self.labels, self.classes, self.shape, paths)

    def batches(
        self,
        order: Sequence[Tensor],
        *,
        augment: tuple[int, int] | None = None,
        visits: Sequence[Tensor] | None = None,
    ) -> Iterator[Batch]:
        """Yield one batch for each index tensor: see `Source.batches`."""
        index = check_order(order, len(self))
        rows = index if self._row is None else self._row[index]
        if bool((rows < 0).any()):
            raise UserError(f"index {int(index[rows < 0][0])} is left out by data.limit: order other samples")
        return self._gather(index, rows, [len(part) for part in order], augment, visits)

    def _gather(
        self,
        index: Tensor,
        rows: Tensor,
        sizes: list[int],
        key: tuple[int, int] | None,
        visits: Sequence[Tensor] | None,
    ) -> Iterator[Batch]:
        # Once an epoch, not once a batch: a transfer makes the host wait for the device, and hashing a batch is nothing
        # but the start of some 40 operations.
        device = self._x.device
        index = index.to(device)
        index_parts = torch.split(index, sizes)
        row_parts = index_parts if self._row is None else torch.split(rows.to(device), sizes)
        again = torch.cat(list(visits)) if visits else None
        drawn = augmentation_draws(self._augmentation, index, key, again)
        draw_parts = [None] * len(sizes) if drawn is None else torch.split(drawn, sizes)
        for part, row, draws in zip(index_parts, row_parts, draw_parts, strict=True):
            # index_select copies whole samples where indexing by a tensor goes value by value.
            yield finish_batch(self._x.index_select(0, row), self._y[part], part, self._augmentation, draws)
