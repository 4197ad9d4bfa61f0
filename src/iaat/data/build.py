"""From the `data` section of a recipe to sources and splits."""

import warnings
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from iaat.data.augment import Augmentation
from iaat.data.config import TORCHVISION_NAMES, DataConfig
from iaat.data.folder import folder_splits
from iaat.data.function import function_splits
from iaat.data.memory import InMemorySource
from iaat.data.named import DEFAULT_ROOT, digits_splits, torchvision_splits
from iaat.data.raw import RawSplit
from iaat.data.scan import is_image_folder
from iaat.data.source import Source
from iaat.data.split import stratified_split, stratified_subset
from iaat.data.stats import channel_stats
from iaat.data.streaming import StreamingSource
from iaat.data.validate import check_classes
from iaat.errors import UserError


@dataclass(frozen=True, eq=False)
class DataBundle:
    """A data set ready for training and evaluation.

    Attributes:
        train: The full training set; radii are kept for all of it, by index.
        test: The full test set.
        train_index: Sorted int64 indices of `train` to train on.
        holdout_index: Sorted int64 indices of `train` kept out of training, to select the checkpoint.
        test_index: Sorted int64 indices of `test` to evaluate.
        mean: `[C]` mean of the training inputs per channel, on the [0, 1] scale.
        std: `[C]` standard deviation likewise, at least 1e-3.
    """

    train: Source
    test: Source
    train_index: Tensor
    holdout_index: Tensor
    test_index: Tensor
    mean: Tensor
    std: Tensor

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return self.train.classes

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return self.train.shape


def build_data(config: DataConfig, *, seed: int, device: torch.device | str = "cpu") -> DataBundle:
    """Read a data set and split it.

    The hold-out split and the limits are drawn from `config.split_seed`, not from the training seed, so that runs
    with different seeds train on and are selected by the same samples.

    Args:
        config: The `data` section.
        seed: The training seed; used only where `config.split_seed` is None.
        device: Training device: samples in memory are kept there, batches are yielded there.

    Raises:
        UserError: Something in the recipe or in the data needs the user's hand.
    """
    _warn_ignored(config)
    train, test = read_splits(config)
    for split in (train, test):  # before anything is drawn by class
        check_classes(split.labels, split.classes, where=split.where, complete=split.complete)
    split_seed = seed if config.split_seed is None else config.split_seed
    used = _limited(train, config.limit, split_seed, key="limit", at_least=2)
    test_index = _limited(test, config.test_limit, split_seed, key="test_limit", at_least=0)
    train_index, holdout_index = stratified_split(train.labels, config.holdout, split_seed, used, classes=train.classes)
    stream = _streams(config, (train, used), (test, test_index))
    train_source = _source(train, used, config, device, stream=stream)
    test_source = _source(test, test_index, config, device, stream=stream)
    if train_source.shape != test_source.shape:
        raise UserError(
            f"{train.where}: inputs have shape {list(train_source.shape)}, but {test.where}: {list(test_source.shape)}:"
            " bring both to one shape"
        )
    mean, std = channel_stats(train_source, train_index, seed=split_seed)
    return DataBundle(train_source, test_source, train_index, holdout_index, test_index, mean, std)


def read_splits(config: DataConfig) -> tuple[RawSplit, RawSplit]:
    """The training and the test split as their reader gives them, before samples are read.

    Raises:
        UserError: The data cannot be found.
    """
    if config.is_user_function:
        return function_splits(config)
    if config.name == "folder":
        return folder_splits(config)
    return torchvision_splits(config) if config.name in TORCHVISION_NAMES else digits_splits()


def _limited(split: RawSplit, limit: int | None, seed: int, *, key: str, at_least: int) -> Tensor:
    if limit is None:
        return torch.arange(len(split))
    smallest = at_least * len(split.classes)
    if limit < smallest:
        raise UserError(
            f"data.{key} is {limit}, too few for {at_least} samples of each of {len(split.classes)} classes (one to"
            f" train on, one to hold out): give at least {smallest}"
        )
    return stratified_subset(split.labels, limit, seed, at_least=at_least)


def _streams(config: DataConfig, *parts: tuple[RawSplit, Tensor]) -> bool:
    if config.stream is not None:
        return config.stream
    needed = sum(len(index) * split.sample_bytes for split, index in parts)
    # Reading from host memory at each epoch would save nothing.
    resident = all(split.resident for split, _ in parts)
    return not resident and needed > config.memory_gb * 2**30


def _source(split: RawSplit, used: Tensor, config: DataConfig, device: torch.device | str, *, stream: bool) -> Source:
    augmentation = Augmentation(crop=config.crop, padding=config.padding, flip=config.flip)
    if stream:
        return StreamingSource(
            split,
            split.labels,
            split.classes,
            augmentation=augmentation,
            device=device,
            paths=split.paths,
            workers=config.workers,
            complete=split.complete,
            where=split.where,
        )
    return InMemorySource(
        split.load(used),
        split.labels,
        split.classes,
        augmentation=augmentation,
        device=device,
        paths=split.paths,
        stored=None if len(used) == len(split) else used,
        complete=split.complete,
        where=split.where,
    )


def _warn_ignored(config: DataConfig) -> None:
    """Warn of settings that the data set named has no use for."""
    folder = config.name == "folder" or (
        config.name in TORCHVISION_NAMES and is_image_folder(config.root or DEFAULT_ROOT)
    )
    ignored = []
    if not folder:
        ignored += ["size", "channels"]
    if config.name not in TORCHVISION_NAMES:
        ignored += ["download"] + (["root"] if config.name != "folder" else [])
    if not config.is_user_function:
        ignored.append("options")
    defaults = {field.name: field.default for field in fields(config)} | {"options": {}}
    for key in ignored:
        if getattr(config, key) != defaults[key]:
            message = f"data.{key}={getattr(config, key)!r} has no effect with data.name={config.name}"
            warnings.warn(message, UserWarning, stacklevel=3)
