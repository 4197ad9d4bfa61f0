"""Training set and extra images, concatenated as one source."""

import hashlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from iaat.data.augment import Augmentation
from iaat.data.extra import ExtraImages
from iaat.data.in_memory import InMemorySource
from iaat.data.source import Source, check_order
from iaat.types import Batch


class ConcatSource(Source):
    """Source of a training set of N samples and of extra images, which have the indices from N on.

    Each part reads and augments its own samples, keyed by the index in the whole. So a sample is the same alone and in
    a batch of both.

    Args:
        original: The training set.
        extra: The extra images; those used are held in the memory of the device.
        used: Sorted int64 positions of the extra images to hold.
        augmentation: What `batches(augment=...)` does to the extra images: the same as for the training set.
        device: Training device.
    """

    def __init__(
        self,
        original: Source,
        extra: ExtraImages,
        used: Tensor,
        *,
        augmentation: Augmentation,
        device: torch.device | str,
    ) -> None:
        self.labels = torch.cat([original.labels, extra.labels])
        self.classes = original.classes
        self.shape = original.shape
        self.paths: list[str] | None = (original.paths or [""] * len(original)) + extra.paths
        self.fingerprint = hashlib.sha256(f"{original.fingerprint} {extra.fingerprint}".encode()).hexdigest()
        self.sample_log = original.sample_log
        self._original = original
        self._extra = InMemorySource(
            extra.load(used),
            self.labels,
            self.classes,
            augmentation=augmentation,
            device=device,
            stored=used + len(original),
            complete=False,
            where=extra.where,
        )

    def batches(
        self,
        order: Sequence[Tensor],
        *,
        augment: tuple[int, int] | None = None,
        visits: Sequence[Tensor] | None = None,
    ) -> Iterator[Batch]:
        """Yield one batch for each index tensor: see `Source.batches`."""
        index = check_order(order, len(self))
        of_extra = torch.split(index >= len(self._original), [len(part) for part in order])
        parts = torch.split(index, [len(part) for part in order])

        def read(source: Source, masks: Sequence[Tensor]) -> Iterator[Batch]:
            again = None if visits is None else _picked(visits, masks)
            return source.batches(_picked(parts, masks), augment=augment, visits=again)

        return self._join(of_extra, read(self._original, [~mask for mask in of_extra]), read(self._extra, of_extra))

    def _join(self, of_extra: Sequence[Tensor], original: Iterator[Batch], extra: Iterator[Batch]) -> Iterator[Batch]:
        for mask in of_extra:
            if mask.all() or not mask.any():
                yield next(extra if len(mask) and mask[0] else original)
            else:
                yield _merged(next(original), next(extra), mask)


def _picked(parts: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
    """Of each part what its mask picks, without parts of which that is nothing."""
    return [part[mask] for part, mask in zip(parts, masks, strict=True) if mask.any()]


def _merged(original: Batch, extra: Batch, of_extra: Tensor) -> Batch:
    """Merge two batches: extra samples go where the mask `[B]` is true."""
    x, y, index = (torch.cat([getattr(original, name), getattr(extra, name)]) for name in ("x", "y", "index"))
    place = of_extra.long().argsort(stable=True).argsort()
    # A training batch has its extra samples last.
    if bool((of_extra[1:] < of_extra[:-1]).any()):
        place = place.to(x.device)
        x, y, index = x[place], y[place], index[place]
    return Batch(x, y, index)
