"""Source of batches for training and evaluation, in memory or streamed."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from iaat.data.augment import Augmentation, apply_draws
from iaat.data.sample_log import SampleLog
from iaat.errors import UserError
from iaat.types import Batch


class Source(Protocol):
    """Data set of samples with stable indices `0 .. N-1`.

    Attributes:
        labels: `[N]` int64 class ids, on the CPU.
        classes: Class names; the name of class `c` is `classes[c]`.
        shape: Shape of one input, `(C, H, W)` for images.
        fingerprint: Hex SHA-256 of the data set's size, shape, classes, labels and relative paths: differs if the
            data set has changed since a checkpoint was written. Pixels are not part of it.
        paths: Path of each sample relative to the root, in POSIX form; None where samples are no files, and "" for a
            sample that is none among others that are.
        sample_log: Records of the samples that were read; unreadable ones are all 0 in batches.
    """

    labels: Tensor
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    fingerprint: str
    paths: list[str] | None
    sample_log: SampleLog

    def __len__(self) -> int:
        """Number of samples N."""
        return len(self.labels)

    def batches(
        self,
        order: Sequence[Tensor],
        *,
        augment: tuple[int, int] | None = None,
        visits: Sequence[Tensor] | None = None,
    ) -> Iterator[Batch]:
        """Yield one batch for each index tensor.

        Args:
            order: Index tensors `[B]` int64, as from `epoch_order` or `sequential_order`.
            augment: `(seed, epoch)` that keys the augmentation; None: no augmentation.
            visits: For each index how often the epoch has visited it before, on the CPU: one that recurs is augmented
                anew by draws of its own. None: none recurs.

        Yields:
            Batches on the training device with x float32 in [0, 1], in the given order.

        Raises:
            UserError: An index is outside the data set.
        """
        ...


def fingerprint(labels: Tensor, classes: Sequence[str], shape: Sequence[int], paths: Sequence[str] | None) -> str:
    """Identify a data set by everything but its pixels.

    Args:
        labels: `[N]` int64 class ids.
        classes: Class names.
        shape: Shape of one input.
        paths: Relative path of each sample, or None.

    Returns:
        64 hexadecimal digits.
    """
    header = {"n": len(labels), "shape": list(shape), "classes": list(classes), "paths": paths}
    digest = hashlib.sha256(json.dumps(header, sort_keys=True, default=list).encode())
    digest.update(labels.numpy().astype("<i8").tobytes())
    return digest.hexdigest()


def finish_batch(
    stored: Tensor,
    y: Tensor,
    index: Tensor,
    augmentation: Augmentation,
    draws: Tensor | None,
) -> Batch:
    """Make a batch of stored inputs; all sources use it, so that they agree to the last bit.

    Args:
        stored: `[B, ...]` uint8, or float32 in [0, 1].
        y: `[B]` int64.
        index: `[B]` int64.
        augmentation: What is done to training images.
        draws: `[B, D]` from `augmentation_draws`, or None for no augmentation.
    """
    stored = apply_draws(stored, augmentation, draws)
    # Moving and cropping bytes is four times cheaper than moving floats: convert last.
    x = stored.to(torch.float32).div_(255) if stored.dtype == torch.uint8 else stored
    return Batch(x, y, index)


def check_order(order: Sequence[Tensor], n: int) -> Tensor:
    """Join the index tensors of an epoch and check them.

    Args:
        order: Index tensors `[B]`.
        n: Size of the data set.

    Returns:
        All indices, `[sum of B]` int64 on the CPU.

    Raises:
        UserError: An index is outside `0 .. n-1`.
    """
    index = torch.cat([part.to("cpu", torch.int64) for part in order]) if order else torch.empty(0, dtype=torch.int64)
    outside = index[(index < 0) | (index >= n)]
    if len(outside):
        raise UserError(f"the order asks for index {int(outside[0])}, outside the data set's 0..{n - 1}")
    return index
