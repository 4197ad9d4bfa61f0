"""`CachedSplit`: an `ImageSplit` that reads decoded images from an `ImageCache`; caches of both splits of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from iaat.data.data_config import DataConfig
from iaat.data.drawn_samples import DrawnSamples, draw_samples
from iaat.data.image_cache import ImageCache, check_space
from iaat.data.image_split import ImageSplit
from iaat.data.raw_split import RawSplit
from iaat.data.sample_log import SampleLog, SampleRecord
from iaat.errors import UserError
from iaat.runtime.progress import Reporter


class CachedSplit(RawSplit):
    """A split with the pixels and records of an `ImageSplit`, most of which are decoded once for all runs.

    What the cache does not hold is decoded from its own file: random crops, images that cannot be read, and what is
    damaged in the cache.

    Args:
        split: The images.
        cache: Their cache; it holds nothing until `fill`.
    """

    def __init__(self, split: ImageSplit, cache: ImageCache) -> None:
        self.labels, self.classes, self.paths = split.labels, split.classes, split.paths
        self.shape, self.sample_bytes, self.where = split.shape, split.sample_bytes, split.where
        self.complete, self.validation_size, self.notices = split.complete, split.validation_size, split.notices
        self._split, self.cache = split, cache

    def fill(self, used: Tensor, reporter: Reporter) -> None:
        """Keep the samples `used` `[M]` in the cache: see `ImageCache.fill`."""
        self.cache.fill(used, reporter)

    def contents(self) -> str:
        """Hash of the encoded bytes of some images: see `ImageSplit.contents`."""
        return self._split.contents()

    def read(self, position: int, draws: Sequence[float] | None = None) -> tuple[Tensor, int]:
        """One image and its class id; a random crop is cut from the whole image in its file."""
        image = self.cache.image(position) if draws is None else None
        if image is not None:
            return image, int(self.labels[position])
        found = self._split.read(position, draws)
        self._mend(position, found[0], draws)
        return found

    def read_with_record(self, position: int, draws: Sequence[float] | None = None) -> tuple[Tensor, int, SampleRecord]:
        """As `read`, with the record of the sample, which has the digest of its file."""
        image = self.cache.image(position) if draws is None else None
        if image is not None:
            record = SampleRecord(position, self.cache.alterations(position), self.cache.digest(position, of_file=True))
            return image, int(self.labels[position]), record
        found = self._split.read_with_record(position, draws)
        self._mend(position, found[0], draws)
        return found

    def load(self, index: Tensor, sample_log: SampleLog | None = None) -> Tensor:
        """Images `[len(index), C, H, W]` uint8: see `ImageSplit.load`."""
        positions = index.tolist()
        out = np.zeros((len(positions), *self.shape), dtype=np.uint8)
        good = self.cache.images(positions, out)
        if sample_log is not None:
            sample_log.add(
                SampleRecord(position, self.cache.alterations(position), self.cache.digest(position, of_file=False))
                for position, is_there in zip(positions, good.tolist(), strict=True)
                if is_there
            )
        images, rest = torch.from_numpy(out), torch.from_numpy(~good).nonzero().flatten()
        if len(rest) == len(positions):
            del out
            images = self._split.load(index, sample_log)  # in place of the empty ones: two would not fit in memory
        elif len(rest):
            images[rest] = self._split.load(index[rest], sample_log)
        for row in rest.tolist():
            self.cache.mend(positions[row], images[row].numpy())
        return images

    def _mend(self, position: int, image: Tensor, draws: Sequence[float] | None) -> None:
        if draws is None:
            self.cache.mend(position, image.numpy())


def with_cache(config: DataConfig, train: RawSplit, test: RawSplit) -> tuple[RawSplit, RawSplit]:
    """Both splits, those of image files with the cache that the recipe names.

    Args:
        config: Gives the folder of the cache, and what decides pixels.
        train, test: The splits.

    Raises:
        UserError: The cache lies among the images, or is no folder.
    """
    return _cached(train, "train", config), _cached(test, "test", config)


def _cached(split: RawSplit, name: str, config: DataConfig) -> RawSplit:
    if config.cache is None or not isinstance(split, ImageSplit):
        return split
    among = (split.root / (split.paths or [""])[0].partition("/")[0]).resolve()
    if Path(config.cache).resolve().is_relative_to(among):
        raise UserError(
            f"data.cache is {config.cache}, which lies in {among}, among the images: give a folder beside it, such as"
            f" {split.root / 'cache'}"
        )
    return CachedSplit(split, ImageCache(split, name, config))


class CachedCount(NamedTuple):
    """How many samples `data.cache` holds of those that it is to hold."""

    held: int
    wanted: int


def count_cached(config: DataConfig, seed: int, train: RawSplit, test: RawSplit) -> CachedCount | None:
    """Count the samples that `data.cache` holds, and those that it is to hold; nothing is decoded or written.

    Args:
        config: The `data` section.
        seed: The training seed; used only where `config.split_seed` is None.
        train, test: The splits, as `read_splits` returns them.

    Returns:
        None without `data.cache`, and for data that are no image files.

    Raises:
        UserError: A class has no sample, or the limits do not fit; the folder cannot be read.
    """
    if config.cache is None:
        return None
    parts = _to_cache(config, draw_samples(config, seed, *with_cache(config, train, test)))
    wanted = sum(len(index) for _, index in parts)
    return CachedCount(wanted - sum(split.cache.missing(index) for split, index in parts), wanted) if parts else None


def fill_caches(config: DataConfig, drawn: DrawnSamples, reporter: Reporter) -> None:
    """Decode the samples to use into `config.cache`; without it nothing is done.

    Where training images are cut from the whole image in every epoch these are left out.

    Raises:
        UserError: see `ImageCache.fill`; the disk has not enough space.
    """
    if config.cache is None:
        return
    if config.resized_crop and isinstance(drawn.train, CachedSplit):
        reporter.say(
            "data.cache: for validation and test alone: data.resized_crop cuts training images from the whole image"
            " in every epoch"
        )
    parts = _to_cache(config, drawn)
    missing = [split.cache.missing(index) for split, index in parts]
    if config.may_write_cache:
        needed = sum(split.cache.bytes_of(count) for (split, _), count in zip(parts, missing, strict=True))
        check_space(Path(config.cache), needed, sum(missing))
    for (split, index), count in zip(parts, missing, strict=True):
        if count:
            split.fill(index, reporter)


def _to_cache(config: DataConfig, drawn: DrawnSamples) -> list[tuple[CachedSplit, Tensor]]:
    """Splits that have a cache, each with the sorted indices of the samples that it is to hold."""
    whole = drawn.validation_index if config.resized_crop else drawn.used
    parts = ((drawn.train, whole), (drawn.test, drawn.test_index))
    return [(split, index) for split, index in parts if isinstance(split, CachedSplit)]
