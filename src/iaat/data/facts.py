"""Size and shape of a data set, without reading its samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from iaat.data.build import read_splits
from iaat.data.config import TORCHVISION_NAMES, DataConfig
from iaat.data.named import DEFAULT_ROOT
from iaat.data.scan import is_image_folder


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What a cost estimate needs to know of a data set.

    Attributes:
        shape: Shape of one input.
        classes: Number of classes.
        train_size: Training samples, hold-out included.
        test_size: Test samples.
        sample_bytes: Memory of one decoded sample.
    """

    shape: tuple[int, ...]
    classes: int
    train_size: int
    test_size: int
    sample_bytes: int

    def trained(self, config: DataConfig) -> int:
        """Samples trained on, after limit and hold-out; to within the rounding of each class."""
        return round(min(config.limit or self.train_size, self.train_size) * (1 - config.holdout))

    def decoded_bytes(self, config: DataConfig) -> int:
        """Memory of the samples used of both splits, decoded."""
        used = min(config.limit or self.train_size, self.train_size)
        return (used + min(config.test_limit or self.test_size, self.test_size)) * self.sample_bytes


_PUBLISHED = {
    "cifar10": DataFacts((3, 32, 32), 10, 50_000, 10_000, 3072),
    "cifar100": DataFacts((3, 32, 32), 100, 50_000, 10_000, 3072),
    "svhn": DataFacts((3, 32, 32), 10, 73_257, 26_032, 3072),
    "mnist": DataFacts((1, 28, 28), 10, 60_000, 10_000, 784),
}


def data_facts(config: DataConfig) -> DataFacts:
    """Size and shape of the data set; a published one is not downloaded for it, and of a folder one image is read.

    Raises:
        UserError: the data cannot be found or read.
    """
    if config.name in TORCHVISION_NAMES and not is_image_folder(Path(config.root or DEFAULT_ROOT)):
        return _PUBLISHED[config.name]
    train, test = read_splits(config)
    return DataFacts(tuple(train[0][0].shape), len(train.classes), len(train), len(test), train.sample_bytes)
