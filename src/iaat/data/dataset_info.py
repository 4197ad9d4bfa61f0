"""Size and shape of a data set, without reading its samples."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from torch import Tensor

from iaat.data.batch_order import batch_sizes, check_enough
from iaat.data.cached_split import CachedCount, count_cached
from iaat.data.data_config import TORCHVISION_NAMES, DataConfig
from iaat.data.notices import Notices
from iaat.data.read_splits import check_crops, check_root, read_extra, read_splits, reads_folder
from iaat.data.relabel import relabelled


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """Size and shape of a data set, as a cost estimate needs them.

    Attributes:
        shape: Shape of one input.
        classes: Number of classes.
        train_size: Training samples, validation samples included.
        test_size: Test samples.
        sample_bytes: Memory of one decoded sample.
        extra_size: Extra images in their file.
        validation_size: Training samples that are for validation only.
        notices: Notices from before samples are read.
        labels: Labels `[train_size]` of the training samples; None where they are not known before samples are read.
        cached: Samples that `data.cache` holds and is to hold; None without it, or not counted.
    """

    shape: tuple[int, ...]
    classes: int
    train_size: int
    test_size: int
    sample_bytes: int
    extra_size: int = 0
    validation_size: int = 0
    notices: Notices = field(default_factory=Notices, compare=False)
    labels: Tensor | None = field(default=None, compare=False, repr=False)
    cached: CachedCount | None = None

    def trained(self, config: DataConfig) -> int:
        """Number of samples trained on, after limit and validation split; to within the rounding of each class."""
        size = self.train_size - self.validation_size
        return round(min(config.limit or size, size) * (1 if self.validation_size else 1 - config.validation_fraction))

    def decoded_bytes(self, config: DataConfig) -> int:
        """Memory of all used samples, decoded: both splits and extra images."""
        size = self.train_size - self.validation_size
        used = min(config.limit or size, size) + self.validation_size
        used += min(config.test_limit or self.test_size, self.test_size)
        return used * self.sample_bytes + self.extra_used(config) * math.prod(self.shape)

    def extra_used(self, config: DataConfig) -> int:
        """Number of extra images in use."""
        return min(config.extra_limit or self.extra_size, self.extra_size)

    def batch_sizes(self, config: DataConfig, batch_size: int) -> list[tuple[int, int]]:
        """Number of original and of extra samples in each batch of an epoch; see `trained`.

        Raises:
            UserError: the batches are too small for samples of both kinds, or the extra ones too few.
        """
        sizes = batch_sizes(self.trained(config), batch_size, config.extra_ratio if self.extra_size else 0.0)
        check_enough(self.extra_used(config), max(count for _, count in sizes))
        return sizes


_PUBLISHED = {
    "cifar10": DatasetInfo((3, 32, 32), 10, 50_000, 10_000, 3072),
    "cifar100": DatasetInfo((3, 32, 32), 100, 50_000, 10_000, 3072),
    "svhn": DatasetInfo((3, 32, 32), 10, 73_257, 26_032, 3072),
    "mnist": DatasetInfo((1, 28, 28), 10, 60_000, 10_000, 784),
}


def read_dataset_info(config: DataConfig, *, seed: int | None = None) -> DatasetInfo:
    """Read size and shape of a data set; nothing is downloaded, and of image files one is read.

    Args:
        config: The `data` section.
        seed: The training seed, to count what `data.cache` holds of the samples that are drawn by it; None: this is
            not counted.

    Raises:
        UserError: the data cannot be found or read.
    """
    if config.name in TORCHVISION_NAMES and not reads_folder(config):
        check_root(config)
        check_crops(config)
        info = _PUBLISHED[config.name]
    else:
        train, test = read_splits(config)
        cached = None if seed is None else count_cached(config, seed, train, test)
        train, corrections = relabelled(config.relabel, train)
        info = DatasetInfo(
            train.shape,
            len(train.classes),
            len(train),
            len(test),
            train.sample_bytes,
            validation_size=train.validation_size,
            notices=train.notices | test.notices | (Notices() if corrections is None else corrections.notices()),
            labels=train.labels,
            cached=cached,
        )
    extra = read_extra(config, shape=info.shape, classes=info.classes)
    return info if extra is None else replace(info, extra_size=len(extra), notices=info.notices | extra.notices)
