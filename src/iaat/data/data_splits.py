"""Training, validation and test split of a data set, and the order of its training samples."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from iaat.data.batch_order import batch_sizes, earlier_visits, epoch_order, extra_visited
from iaat.data.duplicates import duplicates
from iaat.data.notices import Notices
from iaat.data.source import Source


def _nothing() -> Tensor:
    return torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class DataSplits:
    """A data set ready for training and evaluation.

    Attributes:
        train: The full training set, extra images behind it; radii are kept for all of it, by index.
        test: The full test set.
        train_index: Sorted int64 indices of `train` to train on, each once an epoch.
        validation_index: Sorted int64 indices of `train` for validation: not trained on, used to select the checkpoint.
        test_index: Sorted int64 indices of `test` to evaluate.
        mean: `[C]` mean of the training inputs per channel, on the [0, 1] scale; without extra images.
        std: `[C]` standard deviation likewise, at least 1e-3.
        extra_index: Sorted int64 indices of `train` that are extra images, which fill up the batches.
        extra_ratio: Their fraction of each batch; 0 without them.
        validation_size: Samples of `train`, the last ones before the extra ones, that come from a validation folder.
        listed: Notices from before samples were read.
        train_contents, test_contents: Hash of some of the image files of each split; None where there are none.
    """

    train: Source
    test: Source
    train_index: Tensor
    validation_index: Tensor
    test_index: Tensor
    mean: Tensor
    std: Tensor
    extra_index: Tensor = field(default_factory=_nothing)
    extra_ratio: float = 0.0
    validation_size: int = 0
    listed: Notices = field(default_factory=Notices)
    train_contents: str | None = None
    test_contents: str | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return self.train.classes

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return self.train.shape

    @property
    def all_read(self) -> bool:
        """Whether all samples for training and validation were read."""
        used = torch.cat([self.train_index, self.validation_index])
        return bool(self.train.sample_log.read[used.numpy()].all())

    def notices(self) -> Notices:
        """Notices of what was left out or altered so far; streamed samples count once they are read."""
        train, test, size = self.train.sample_log, self.test.sample_log, len(self.train.sample_log.digests)
        labels, separate = self.train.labels[:size], self.validation_size
        twins = duplicates(
            train, test, labels, self.classes, validation_size=separate, validation=self.validation_index
        )
        return self.listed | train.notices() | test.notices() | twins

    def order(self, batch_size: int, *, seed: int, epoch: int) -> list[Tensor]:
        """The batches of one epoch, as index tensors: see `epoch_order`."""
        extra = self.extra_index if len(self.extra_index) else None
        return epoch_order(self.train_index, batch_size, seed=seed, epoch=epoch, extra=extra, ratio=self.extra_ratio)

    def earlier_visits(self, order: Sequence[Tensor]) -> list[Tensor] | None:
        """How often each sample of an epoch's batches came in it before; None where no extra image comes twice."""
        return earlier_visits(order) if len(self.extra_index) else None

    def extra_visits(self, batch_size: int) -> float:
        """Visits of an extra image in an epoch, the mean; 0 without extra images."""
        drawn = self.samples(batch_size) - len(self.train_index)
        return drawn / max(1, len(self.extra_index))

    def samples(self, batch_size: int) -> int:
        """Number of samples an epoch trains on, extra ones included."""
        return sum(map(sum, batch_sizes(len(self.train_index), batch_size, self.extra_ratio)))

    def class_counts(self, batch_size: int) -> Tensor:
        """Samples of each class that an epoch trains on, `[classes]`; of extra ones, which it draws, the mean."""
        counts = torch.bincount(self.train.labels[self.train_index], minlength=len(self.classes))
        if not len(self.extra_index):
            return counts
        of_extra = torch.bincount(self.train.labels[self.extra_index], minlength=len(self.classes))
        return counts + of_extra * self.extra_visits(batch_size)

    def trained_index(self, batch_size: int, *, seed: int, epochs: int) -> Tensor:
        """Sorted int64 indices of the samples of `train` that `epochs` epochs, at least one, have trained on."""
        if not len(self.extra_index):
            return self.train_index
        counts = [count for _, count in batch_sizes(len(self.train_index), batch_size, self.extra_ratio)]
        visited = extra_visited(self.extra_index, epochs * sum(counts), apart=max(counts), seed=seed)
        return torch.cat([self.train_index, visited])
