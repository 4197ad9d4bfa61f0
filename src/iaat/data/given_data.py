"""Data that was passed to a function as an object: data sets, tensors, and folders of one split."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
)

from iaat.data.data_config import DataConfig
from iaat.data.folder_listing import FolderListing, aligned, joined
from iaat.data.folder_scan import scan_folder
from iaat.data.image_folder import FolderFiles
from iaat.data.image_root import is_image_folder
from iaat.data.image_split import ImageSplit
from iaat.data.notices import Notices
from iaat.data.raw_split import RawSplit
from iaat.data.read_item import ImageSettings
from iaat.data.sample_checks import check_same_classes
from iaat.data.sample_log import SampleLog, SampleRecord
from iaat.data.source import Source, check_order
from iaat.data.user_function import UserSplit, warn_without_images
from iaat.errors import UserError
from iaat.runtime.user_code import GIVEN, passed_as_object
from iaat.types import Batch


@dataclass(frozen=True, eq=False)
class GivenData:
    """Data of a run that no file names.

    Attributes:
        train: A map-style data set of (x, y), a pair of tensors, or a folder with a folder for each class.
        validation: The same for the samples that select the checkpoint; None: a part of the others.
    """

    train: object
    validation: object = None


def is_class_folder(data: object) -> bool:
    """Whether data is the path of a folder of one split, with a folder for each class."""
    return isinstance(data, str | Path) and Path(data).is_dir() and not is_image_folder(data)


def given_splits(config: DataConfig) -> tuple[RawSplit, RawSplit]:
    """The training split of the data that was given, and a test split without samples.

    Raises:
        UserError: It is not there, it is of kinds that do not go together, or it cannot be read.
    """
    given = config.given
    if given is None:
        raise UserError(
            f"{passed_as_object(f'data.name {GIVEN}', 'data')}: in Python call iaat.fit as before, with out=, which "
            "reads the finished run: run = iaat.fit(...); then run.evaluate(), run.report('report.html') or run.radii"
        )
    folders = [is_class_folder(each) for each in (given.train, given.validation) if each is not None]
    if any(folders) and not all(folders):
        raise UserError("train_data and validation are of two kinds: give both as folders, or both as data sets")
    train = _folder_split(config, given) if any(folders) else _user_split(config, given)
    return train, EmptySplit(train)


def _folder_split(config: DataConfig, given: GivenData) -> ImageSplit:
    root, listing = _listed(given.train)
    size = 0
    if given.validation is not None:
        other_root, other = _listed(given.validation)
        other = aligned(listing, _moved(other, other_root, root), root, Path(str(given.validation)).name)
        size, listing = len(other.paths), joined(listing, other)
    return ImageSplit(FolderFiles(root, "train", listing), listing.classes, config, validation_size=size)


def _listed(folder: object) -> tuple[Path, FolderListing]:
    """Images of a folder of one split, by paths from the folder above it."""
    path = Path(str(folder)).resolve()
    return path.parent, scan_folder(path.parent, path.name)


def _moved(listing: FolderListing, root: Path, new: Path) -> FolderListing:
    """The listing with paths from another root."""
    prefix = Path(os.path.relpath(root, new)).as_posix()
    return listing if prefix == "." else listing._replace(paths=[f"{prefix}/{path}" for path in listing.paths])


def _user_split(config: DataConfig, given: GivenData) -> UserSplit:
    train = user_split(given.train, config, where="train_data")
    splits = [train]
    if given.validation is not None:
        validation = user_split(given.validation, config, where="validation", classes=train.classes)
        splits.append(validation)
        parts: list[Any] = [train.dataset, validation.dataset]
        both: Any = ConcatDataset(parts)
        both.targets, both.classes = torch.cat([train.labels, validation.labels]), train.classes
        train = user_split(both, config, where="train_data and validation")
        train.validation_size = len(validation)
    warn_without_images(config, train.where, *splits)
    train.warn_if_random(streamed=config.stream is True)
    train.hashed = True
    return train


def user_split(
    data: object, config: DataConfig, *, where: str, classes: Sequence[str] = (), complete: bool | None = None
) -> UserSplit:
    """A data set of the user, or tensors, as a split.

    Args:
        data: A map-style data set of (x, y), a `DataLoader` of one, or a pair of tensors.
        config: How PIL images are converted, and how many samples may be unreadable.
        where: Names the data in messages.
        classes: Names of the classes; none: those of its `classes`, or "0", "1", ... up to its largest label.
        complete: Whether each class has to have a sample; by default where no names are given.

    Raises:
        UserError: It is none of these, or numbers the classes in another way.
    """
    images = ImageSettings(config.channels, config.background_rgb, config.max_value)
    dataset = as_dataset(data, where=where)
    complete = not classes if complete is None else complete
    split = UserSplit(dataset, complete=complete, where=where, images=images, skip=config.skip_damaged)
    own = split.classes
    check_same_classes(own, classes, where)
    split.classes = tuple(classes) or own or tuple(map(str, range(int(split.labels.max()) + 1)))
    return split


def as_dataset(data: object, *, where: str) -> Any:  # noqa: ANN401
    """A map-style data set of what was given: tensors as one, a loader's own, anything else as it is.

    Raises:
        UserError: A `DataLoader` that makes batches in a way of its own, or leaves out or repeats samples.
    """
    if isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(each, Tensor) for each in data):
        x, y = data
        if len(x) != len(y):
            raise UserError(f"{where}: {len(x)} inputs but {len(y)} labels: give one label an input")
        tensors: Any = TensorDataset(x, y)
        tensors.targets = y
        return tensors
    if isinstance(data, DataLoader):
        if data.collate_fn is not torch.utils.data.default_collate:
            raise UserError(f"{where}: the DataLoader has a collate_fn of its own: pass a data set of its samples")
        _check_sampler(data, where=where)
        return data.dataset
    return data


def _check_sampler(loader: DataLoader[Any], *, where: str) -> None:
    """Refuse a loader that does not give each sample once: its data set is used without the loader."""
    if isinstance(loader.dataset, IterableDataset):  # has no sampler, and is refused as a data set
        return
    batches = loader.batch_sampler
    sampler: Any = batches.sampler if type(batches) is BatchSampler else batches
    dataset: Any = loader.dataset
    whole = type(sampler) in (SequentialSampler, RandomSampler) and len(sampler) == len(dataset)
    if not whole or getattr(sampler, "replacement", False):
        raise UserError(
            f"{where}: the DataLoader takes its samples by a {type(sampler).__name__} of its own, which is not used"
            " here: pass its data set, or torch.utils.data.Subset(dataset, indices) for some of the samples"
        )


class EmptySplit(RawSplit):
    """Test split of data that has none.

    Args:
        train: The training split, which decides shape and classes.
    """

    def __init__(self, train: RawSplit) -> None:
        self.labels = torch.empty(0, dtype=torch.int64)
        self.classes, self.shape = train.classes, train.shape
        self.sample_bytes, self.resident, self.complete = 0, True, False
        self.where, self.notices = "test set", Notices()

    def read(self, position: int, draws: Sequence[float] | None = None) -> tuple[Tensor, int]:
        """There is no sample."""
        raise IndexError(f"position {position} of a split without samples")

    def read_with_record(self, position: int, draws: Sequence[float] | None = None) -> tuple[Tensor, int, SampleRecord]:
        """There is no sample."""
        raise IndexError(f"position {position} of a split without samples")

    def load(self, index: Tensor, sample_log: SampleLog | None = None) -> Tensor:
        """No inputs: `[0, ...]`."""
        return torch.empty((0, *self.shape), dtype=torch.uint8)


class EmptySource(Source):
    """Source without samples.

    Args:
        split: Decides shape and classes.
    """

    def __init__(self, split: RawSplit) -> None:
        self.labels, self.classes, self.shape = split.labels, split.classes, split.shape
        self.fingerprint = ""
        self.paths: list[str] | None = None
        self.sample_log = SampleLog(0, where=split.where)

    def batches(
        self,
        order: Sequence[Tensor],
        *,
        augment: tuple[int, int] | None = None,
        visits: Sequence[Tensor] | None = None,
    ) -> Iterator[Batch]:
        """Yield nothing."""
        check_order(order, 0)
        yield from ()
