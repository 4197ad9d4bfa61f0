"""Build sources and splits from the `data` section of a recipe."""

from dataclasses import replace

import torch
from torch import Tensor

from iaat.data.augment import Augmentation
from iaat.data.cached_split import CachedSplit, fill_caches, with_cache
from iaat.data.channel_statistics import channel_stats
from iaat.data.concat_source import ConcatSource
from iaat.data.data_config import DataConfig
from iaat.data.data_splits import DataSplits
from iaat.data.drawn_samples import DrawnSamples, draw_samples, seed_of_draws
from iaat.data.extra import ExtraImages
from iaat.data.given_data import EmptySource
from iaat.data.image_split import ImageSplit
from iaat.data.in_memory import InMemorySource
from iaat.data.raw_split import RawSplit
from iaat.data.read_splits import read_extra, read_splits, warn_ignored
from iaat.data.relabel import relabelled
from iaat.data.sample_log import SampleLog
from iaat.data.source import Source
from iaat.data.stratified import stratified_subset
from iaat.data.streaming import StreamingSource
from iaat.data.user_function import UserSplit
from iaat.errors import UserError
from iaat.runtime.distributed import ALONE, Ranks
from iaat.runtime.progress import Reporter


def build_data(
    config: DataConfig,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    reporter: Reporter | None = None,
    ranks: Ranks = ALONE,
) -> DataSplits:
    """Read a data set and split it.

    The validation split and the limits are drawn from `config.split_seed`, not from the training seed, so that runs
    with different seeds train on and are selected by the same samples.

    Args:
        config: The `data` section.
        seed: The training seed; used only where `config.split_seed` is None.
        device: Training device: samples in memory are kept there, batches are yielded there.
        reporter: Shows progress while `config.cache` is filled; None: nothing does.
        ranks: The processes that make this call; the main one reads first.

    Raises:
        UserError: The recipe or the data cannot be used; the message says what to change.
    """
    warn_ignored(config)
    reporter = reporter or Reporter(quiet=True)
    if config.cache is not None and ranks.several:  # the others wait without a timeout: decoding may take hours
        ranks.each(lambda: _fill_caches(config, seed, reporter) if ranks.main else None)
    return ranks.main_first(lambda: _build(config, seed, device, reporter))


def _build(config: DataConfig, seed: int, device: torch.device | str, reporter: Reporter) -> DataSplits:
    read = _drawn(config, seed)
    split_seed = seed_of_draws(config, seed)
    train_contents, listed = _contents(read.train), read.notices
    # After the draws: the same samples are for training and for validation as without corrections.
    train, corrections = relabelled(config.relabel, read.train)
    if corrections is not None:
        listed |= corrections.notices(read.train_index, read.validation_index)
    extra = _drawn_extra(config, train, split_seed)
    parts = ((train, read.used), (read.test, read.test_index))
    stream = _streams(config, *parts, extra=extra)
    fill_caches(config, read, reporter)
    keep = _streamed if stream else _in_memory
    train_source, test_source = (
        keep(split, index, config, device) if len(split) else EmptySource(split) for split, index in parts
    )
    for source in (train_source, test_source):
        source.sample_log.check_limit()
    if train_source.shape != test_source.shape:
        raise UserError(
            f"{train.where}: inputs have shape {list(train_source.shape)}, but {read.test.where}:"
            f" {list(test_source.shape)}: bring both to one shape"
        )
    mean, std = channel_stats(train_source, read.train_index, seed=split_seed)
    data = DataSplits(
        *(train_source, test_source, read.train_index, read.validation_index, read.test_index, mean, std),
        validation_size=train.validation_size,
        listed=train.notices | listed | read.test.notices,
        train_contents=train_contents,
        test_contents=_contents(read.test),
    )
    return data if extra is None else _with_extra(data, extra, config, device)


def _fill_caches(config: DataConfig, seed: int, reporter: Reporter) -> None:
    read = _drawn(config, seed)
    relabelled(config.relabel, read.train)  # a mistake in the table is found before hours of work
    fill_caches(config, read, reporter)


def _drawn(config: DataConfig, seed: int) -> DrawnSamples:
    return draw_samples(config, seed, *with_cache(config, *read_splits(config)))


def _contents(split: RawSplit) -> str | None:
    """Hash of what is in some samples; of data sets made by functions it is not kept."""
    if isinstance(split, UserSplit):
        return split.contents() if split.hashed else None
    return split.contents() if isinstance(split, ImageSplit | CachedSplit) else None


def _drawn_extra(config: DataConfig, train: RawSplit, seed: int) -> tuple[ExtraImages, Tensor] | None:
    """Extra images and the positions of those to use; None where there are none."""
    extra = read_extra(config, shape=train.shape, classes=len(train.classes))
    if extra is None:
        return None
    limit = len(extra) if config.extra_limit is None else config.extra_limit
    return extra, stratified_subset(extra.labels, limit, seed, at_least=0)


def _with_extra(
    data: DataSplits, extra: tuple[ExtraImages, Tensor], config: DataConfig, device: torch.device | str
) -> DataSplits:
    images, used = extra
    train = ConcatSource(data.train, images, used, augmentation=config.augmentation, device=device)
    return replace(
        data,
        train=train,
        extra_index=used + len(data.train),
        extra_ratio=config.extra_ratio,
        listed=data.listed | images.notices,
    )


def _streams(config: DataConfig, *parts: tuple[RawSplit, Tensor], extra: tuple[ExtraImages, Tensor] | None) -> bool:
    """Whether both splits are streamed from disk in every epoch; extra images never are and must fit in memory."""
    added = 0 if extra is None else len(extra[1]) * extra[0].sample_bytes
    needed, most = sum(len(index) * split.sample_bytes for split, index in parts), config.memory_gb * 2**30
    # Reading from host memory at each epoch would save nothing.
    resident = all(split.resident for split, _ in parts)
    wanted = True if config.resized_crop else config.stream
    stream = not resident and needed + added > most if wanted is None else wanted
    if extra is not None and added + (0 if stream else needed) > most:
        rest = "" if stream else f", the data set another {needed / 2**30:.3g}"
        raise UserError(
            f"{extra[0].where}: {len(extra[1]):,} images take {added / 2**30:.3g} GiB{rest}, more than"
            f" data.memory_gb={config.memory_gb:g}: raise it, or take fewer by data.extra_limit"
        )
    return stream


def _sample_log(split: RawSplit, config: DataConfig) -> SampleLog:
    limit, background = config.skip_damaged, config.background
    return SampleLog(len(split), where=split.where, paths=split.paths, limit=limit, background=background)


def streamed(
    split: RawSplit,
    config: DataConfig,
    device: torch.device | str,
    sample_log: SampleLog,
    *,
    augmentation: Augmentation | None = None,
    crops: bool = False,
    tolerant: bool = False,
) -> StreamingSource:
    """Source of a split that reads samples from disk each time; arguments are those of `StreamingSource`."""
    return StreamingSource(
        split,
        split.labels,
        split.classes,
        augmentation=augmentation,
        crops=crops,
        device=device,
        paths=split.paths,
        workers=config.workers,
        sample_log=sample_log,
        tolerant=tolerant,
        complete=split.complete,
        where=split.where,
    )


def _streamed(split: RawSplit, _used: Tensor, config: DataConfig, device: torch.device | str) -> Source:
    """Source of a split that reads samples from disk in every epoch."""
    sample_log, crops = _sample_log(split, config), config.resized_crop > 0
    return streamed(split, config, device, sample_log, augmentation=config.augmentation, crops=crops)


def _in_memory(split: RawSplit, used: Tensor, config: DataConfig, device: torch.device | str) -> Source:
    """Source of a split that keeps the used samples in memory."""
    sample_log = _sample_log(split, config)
    return InMemorySource(
        split.load(used, sample_log),
        split.labels,
        split.classes,
        augmentation=config.augmentation,
        device=device,
        paths=split.paths,
        stored=None if len(used) == len(split) else used,
        sample_log=sample_log,
        complete=split.complete,
        where=split.where,
    )


def keep_split(split: RawSplit, config: DataConfig, device: torch.device | str) -> Source:
    """Source of all samples of a split: in memory, or streamed where that is more than `data.memory_gb`."""
    everything = torch.arange(len(split))
    stream = config.stream if config.stream is not None else len(split) * split.sample_bytes > config.memory_gb * 2**30
    source = (_streamed if stream else _in_memory)(split, everything, config, device)
    source.sample_log.check_limit()
    return source
