"""Which samples of the splits are used: limits, and the split for validation, drawn by class."""

from typing import NamedTuple

import torch
from torch import Tensor

from iaat.data.data_config import DataConfig
from iaat.data.notices import Notices
from iaat.data.raw_split import RawSplit
from iaat.data.sample_checks import check_classes
from iaat.data.stratified import stratified_split, stratified_subset
from iaat.errors import UserError


class DrawnSamples(NamedTuple):
    """Splits as they are stored, and sorted indices of the samples to use, with notices about these."""

    train: RawSplit
    test: RawSplit
    train_index: Tensor
    validation_index: Tensor
    notices: Notices
    test_index: Tensor

    @property
    def used(self) -> Tensor:
        """Sorted indices of the samples of `train` for training and for validation."""
        return torch.cat([self.train_index, self.validation_index]).sort().values


def draw_samples(config: DataConfig, seed: int, train: RawSplit, test: RawSplit) -> DrawnSamples:
    """Draw the samples to use.

    Args:
        config: The `data` section.
        seed: The training seed; used only where `config.split_seed` is None.
        train, test: The splits.

    Raises:
        UserError: A class has no sample, or a limit is too small.
    """
    for split in (train, test):  # before anything is drawn by class
        check_classes(split.labels, split.classes, where=split.where, complete=split.complete)
    seed = seed_of_draws(config, seed)
    test_index = _limited(test, config.test_limit, seed, key="test_limit", at_least=0)
    return DrawnSamples(train, test, *_train_and_validation(train, config, seed), test_index)


def seed_of_draws(config: DataConfig, seed: int) -> int:
    """The seed that samples are drawn by: that of the recipe's data, else of the training."""
    return seed if config.split_seed is None else config.split_seed


def _train_and_validation(split: RawSplit, config: DataConfig, seed: int) -> tuple[Tensor, Tensor, Notices]:
    """Sorted indices for training and for validation, and notices about them."""
    used = _limited(
        split, config.limit, seed, key="limit", at_least=_at_least(validation_given=split.validation_size > 0)
    )
    if split.validation_size:
        return used, torch.arange(len(split) - split.validation_size, len(split)), Notices()
    train, held = stratified_split(split.labels, config.validation_fraction, seed, used)
    notices, counts = Notices(), torch.bincount(split.labels[used])
    single = (counts == 1).nonzero().flatten().tolist()
    if single:
        notices.add(split.where, "single", repr(split.classes[single[0]]), count=len(single), of=len(split.classes))
    return train, held, notices


def _limited(split: RawSplit, limit: int | None, seed: int, *, key: str, at_least: int) -> Tensor:
    """Sorted indices of `limit` samples, none of them for validation only."""
    labels = split.labels[: len(split) - split.validation_size]
    if limit is None:
        return torch.arange(len(labels))
    _check_limit(limit, torch.bincount(labels, minlength=len(split.classes)), key=key, at_least=at_least)
    return stratified_subset(labels, limit, seed, at_least=at_least)


def check_training_limit(config: DataConfig, counts: Tensor, *, validation_given: bool) -> None:
    """Refuse a limit that leaves classes without a sample for training or for validation, as `draw_samples` does.

    Args:
        config: The `data` section.
        counts: `[classes]`, training samples of each class.
        validation_given: Whether validation samples are given, and not drawn from those for training.

    Raises:
        UserError: The limit is too small; the message says which is enough.
    """
    if config.limit is not None:
        _check_limit(config.limit, counts, key="limit", at_least=_at_least(validation_given=validation_given))


def _at_least(*, validation_given: bool) -> int:
    """Samples of each class that training needs, and validation where it is drawn from them."""
    return 1 if validation_given else 2


def _check_limit(limit: int, counts: Tensor, *, key: str, at_least: int) -> None:
    if limit >= (smallest := int(counts.clamp(max=at_least).sum())):
        return
    each = "a sample" if at_least == 1 else f"{at_least} samples"
    why = " (one for training, one for validation)" if at_least == 2 else ""
    raise UserError(
        f"data.{key} is {limit}, too few for {each} of each of {len(counts)} classes{why}: give at least {smallest}"
    )
