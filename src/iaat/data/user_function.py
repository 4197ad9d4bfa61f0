"""Data sets made by a function of the user: `data.name = module:function`."""

import inspect
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Subset

from iaat.data.data_config import DataConfig, ignored_settings
from iaat.data.hugging_face import as_pairs
from iaat.data.image_split import SAMPLED
from iaat.data.indexed_dataset import check_map_style
from iaat.data.notices import Notices
from iaat.data.raw_split import RawSplit
from iaat.data.read_item import (
    AS_THEY_ARE,
    UNKEYED,
    ImageSettings,
    MapDataset,
    as_sample,
    check_item,
    get_item,
    read_item,
    seed_item,
)
from iaat.data.sample_checks import check_labels, check_same_classes, item_label
from iaat.data.sample_log import (
    SampleLog,
    SampleReadError,
    SampleRecord,
    alteration_bits,
    first_readable,
    input_digests,
    with_skip_advice,
)
from iaat.errors import UserError, did_you_mean
from iaat.runtime.rng import fixed_sample, preserved_globals
from iaat.runtime.user_code import import_function

_EPOCHS_TRIED = 16
_SECONDS = 1.0
_LEAST_READ = 6
"""Reads, in search of items that are random, that are not given up after `_SECONDS`: two of each of three items."""


class UserSplit(RawSplit):
    """Map-style data set of the user, as a `RawSplit`.

    Labels are taken from its attribute `targets` or `labels`, also through `Subset`s; without one, each item is read
    once to get its label. Items are checked against them whenever they are read. What items draw from the global
    generators of Python, NumPy and PyTorch depends on their index alone, and moves no draw of anyone else.

    Args:
        dataset: Gives (x, y) with x a PIL image, a uint8 tensor or a float tensor in [0, 1]; or one of Hugging Face.
        complete: Whether each class must have a sample.
        where: Names the data set in messages.
        images: How PIL images are converted.
        skip: Number of items that may be unreadable.

    Attributes:
        dataset: The data set.
        of_tensors: Whether the first item has a tensor for its input, not an image.
        hashed: Whether a run keeps what is in some of its samples, to compare them when it is resumed.

    Raises:
        UserError: Not a map-style data set, or items of another form.
    """

    def __init__(
        self,
        dataset: MapDataset,
        *,
        complete: bool,
        where: str,
        images: ImageSettings = AS_THEY_ARE,
        skip: int = 0,
    ) -> None:
        check_map_style(dataset, where=where)
        self.dataset, self._images = as_pairs(dataset, where=where), images
        self.hashed = False
        self.where = where
        self.notices = Notices()
        with preserved_globals():
            self._first_position, found = first_readable(self._first_sample, size=len(dataset), skip=skip)
            self._first, item = found
            self.labels = self._labels()
        self.notices.add(where, "values", count=len(item) - 2)
        self.of_tensors = isinstance(item[0], Tensor)
        self.classes = _class_names(self.dataset)
        self.shape = tuple(self._first.shape)
        self.sample_bytes = self._first.numel() * self._first.element_size()
        self.complete = complete
        self.deterministic = False

    def read(self, position: int, draws: Sequence[float] | None = None) -> tuple[Tensor, int]:
        """One input, uint8 or float32, and its class id; the caller seeds the global generators."""
        return self._read(position, None)

    def read_with_record(self, position: int, draws: Sequence[float] | None = None) -> tuple[Tensor, int, SampleRecord]:
        """One input, its class id and its record; the caller seeds the global generators."""
        altered = set[str]()
        x, y = self._read(position, altered)
        return x, y, SampleRecord(position, alteration_bits(altered), input_digests(x[None])[0])

    def _read(self, position: int, altered: set[str] | None) -> tuple[Tensor, int]:
        x, y = read_item(self.dataset, position, where=self.where, images=self._images, altered=altered)
        place, first_place = f"{self.where}: item {position}", f"item {self._first_position}"
        check_item(x, y, label=int(self.labels[position]), first=self._first, where=place, first_where=first_place)
        return x, y

    def load(self, index: Tensor, sample_log: SampleLog | None = None) -> Tensor:
        """Read these samples: `[len(index), ...]` uint8 or float32; see `RawSplit.load`."""
        out = torch.zeros((len(index), *self._first.shape), dtype=self._first.dtype)
        with preserved_globals():
            for row, position in enumerate(index.tolist()):
                seed_item(position)
                try:
                    out[row], _, record = self.read_with_record(position)
                except SampleReadError as error:
                    if sample_log is None or not sample_log.limit:
                        raise with_skip_advice(error) from error
                    record = SampleRecord(position, error=str(error))
                if sample_log is not None:
                    sample_log.add([record])
        return out

    def _first_sample(self, position: int) -> tuple[Tensor, Sequence[Any]]:
        """Input of an item, decoded, and the item."""
        item = self._get_item(position)
        where = f"{self.where}: item {position}"
        return as_sample(item, where=where, images=self._images, altered=set())[0], item

    def _get_item(self, position: int) -> Any:  # noqa: ANN401
        seed_item(position)
        return get_item(self.dataset, position, where=self.where)

    def _labels(self) -> Tensor:
        owner, positions = _owner(self.dataset, ("targets", "labels"))
        listed = getattr(owner, "targets", getattr(owner, "labels", None))
        if not isinstance(listed, Sequence | Tensor) and not hasattr(listed, "__array__"):
            pairs = ((position, self._get_item(position)) for position in range(len(self.dataset)))
            return torch.tensor([item_label(item[1], where=f"{self.where}: item {number}") for number, item in pairs])
        ids = check_labels(listed, where=self.where)
        if len(ids) != len(owner):
            raise UserError(
                f"{self.where}: {len(owner)} items but {len(ids)} labels in its targets: give one label an item"
            )
        return ids[positions]

    def contents(self) -> str | None:
        """Hash of `SAMPLED` inputs, always the same ones; None where they change from read to read."""
        if not self._repeats([UNKEYED] * 2):
            return None
        digest = sha256()
        positions = fixed_sample(len(self), SAMPLED)
        log = SampleLog(len(self), where=self.where, limit=len(self))
        for row in self.load(positions, log):
            digest.update(row.numpy().tobytes())
        return digest.hexdigest()

    def warn_if_random(self, *, streamed: bool) -> None:
        """Warn if items change from read to read in a way that the run cannot reproduce.

        Some are read again, for no longer than is needed to see it, and about a second where they are slow.

        Args:
            streamed: Items are read anew in every epoch; else once, if they fit into memory.
        """
        if not self._repeats([UNKEYED] * 2):
            message = (
                f"{self.where}: items change from read to read, and not by the global generators, which are seeded for"
                " each item: no run can be repeated; draw from random, numpy.random or torch without a generator of"
                " your own"
            )
        elif not streamed and self._changes_by_epoch():
            message = (
                f"{self.where}: items change from read to read: a random transform is drawn once when the data is kept"
                " in memory; use data.crop / data.flip, or data.stream=true"
            )
        else:
            return
        warnings.warn(message, UserWarning, stacklevel=2)

    def _repeats(self, keys: Sequence[tuple[int, int]]) -> bool:
        """Whether the first item stays the same when the global generators are seeded by these keys."""
        return all(torch.equal(self._drawn(self._first_position, key), self._first) for key in keys)

    def _changes_by_epoch(self) -> bool:
        """Whether an item differs between epochs: of a flip that is drawn, half of the reads do not show it."""
        end = time.monotonic() + _SECONDS
        read = 0
        first = dict[int, Tensor]()
        for epoch in range(1, _EPOCHS_TRIED + 1):
            for position in sorted({self._first_position, len(self) // 2, len(self) - 1}):
                if read >= _LEAST_READ and time.monotonic() > end:
                    return False
                read += 1
                with suppress(UserError):  # a sample that cannot be used is named where it is needed
                    x = self._drawn(position, (0, epoch))
                    if not torch.equal(x, first.setdefault(position, x)):
                        return True
        return False

    def _drawn(self, position: int, key: tuple[int, int]) -> Tensor:
        """An item with the global generators seeded by a key."""
        with preserved_globals():
            seed_item(position, key)
            return self._read(position, None)[0]


def function_splits(config: DataConfig) -> tuple[UserSplit, UserSplit]:
    """Call the user's function for both splits.

    Args:
        config: Uses `name`, `options` and `stream`, and of PIL images `channels`, `background` and `max_value`.

    Returns:
        The training and the test split. Class names are those of the training set's `classes`, or "0", "1", ... up
        to its largest label; the test set need not have samples of each.

    Raises:
        UserError: The function cannot be found or called, does not return map-style data sets, or the test set numbers
            the classes in another way.
    """
    factory = import_function(config.name, key="data.name")
    images = ImageSettings(config.channels, config.background_rgb, config.max_value)
    splits = []
    for split in ("train", "test"):
        dataset = _call(factory, config, split)
        where = f"data.name={config.name}, split={split}"
        splits.append(
            UserSplit(dataset, complete=split == "train", where=where, images=images, skip=config.skip_damaged)
        )
        splits[-1].warn_if_random(streamed=config.stream is True)
    train, test = splits
    warn_without_images(config, train.where, *splits)
    check_same_classes(test.classes, train.classes, test.where)
    if not train.classes:
        train.classes = tuple(map(str, range(int(train.labels.max()) + 1)))
    test.classes = train.classes
    return train, test


def warn_without_images(config: DataConfig, where: str, *splits: UserSplit) -> None:
    """Warn of settings for images where a data set of the user has tensors."""
    if all(split.of_tensors for split in splits):
        reason = f"on {where}, which has tensors and not images"
        for line in ignored_settings(config, dict.fromkeys(("channels", "background", "max_value"), reason)):
            warnings.warn(line, UserWarning, stacklevel=2)


def _call(factory: Callable[..., Any], config: DataConfig, split: str) -> MapDataset:
    signature = inspect.signature(factory)
    try:
        signature.bind(split=split, **config.options)
    except TypeError as error:
        unknown = [key for key in config.options if key not in signature.parameters]
        hints = "".join(did_you_mean(key, signature.parameters) for key in unknown)
        raise UserError(
            f"data.options {config.options} do not fit {config.name}{signature}, which is called with split={split!r}"
            f" and the options ({error}): give those it takes{hints}"
        ) from error
    try:
        return factory(split=split, **config.options)  # type: ignore[no-any-return]
    except Exception as error:
        error.add_note(f"raised by data.name={config.name}, called with split={split!r} and {config.options}")
        raise


def _class_names(dataset: MapDataset) -> tuple[str, ...]:
    names = getattr(_owner(dataset, ("classes",))[0], "classes", None)
    return tuple(map(str, names)) if isinstance(names, list | tuple) else ()


def _owner(dataset: MapDataset, attributes: tuple[str, ...]) -> tuple[MapDataset, Tensor]:
    """Data set with one of the attributes, searched inside `Subset`s, and the positions in it."""
    owner: Any = dataset
    positions = torch.arange(len(dataset))
    while isinstance(owner, Subset) and not any(hasattr(owner, name) for name in attributes):
        positions = torch.as_tensor(owner.indices, dtype=torch.int64)[positions]
        owner = owner.dataset
    return owner, positions
