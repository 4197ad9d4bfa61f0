"""Accuracy on corrupted test images: published files, or made on the fly from the test images themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from iaat.attacks import predict_classes
from iaat.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    STANDARD,
    PublishedSet,
    constant_set,
    corrupt,
    find_published,
    label_map,
    mean_corruption_error,
)
from iaat.data import sequential_order
from iaat.data.notices import Notices
from iaat.errors import UserError
from iaat.evaluate.corruption_mean import corruption_mean
from iaat.evaluate.results import CorruptionResult, EvaluationResult
from iaat.evaluate.sections import Context, Section, Task
from iaat.runtime import rng
from iaat.runtime.device import device_of
from iaat.runtime.files import is_of_system

_CONSTANTS_OF = {"cifar": "CIFAR-C", "tiny-imagenet": "Tiny-ImageNet-C", "imagenet": "ImageNet-C"}

Batches = Callable[[str, int], Iterator[tuple[Tensor, Tensor]]]
"""`(corruption, severity) -> batches (x in [0, 1], labels)`."""


@dataclass(frozen=True, slots=True)
class Corrupted:
    """Corrupted images to evaluate on.

    Attributes:
        source: Where they come from, for people.
        identity: What decides every pixel and which images are used.
        names: Corruptions.
        severities: Of each corruption.
        batches: Reads them.
        notices: What was left out, of what was read so far.
    """

    source: str
    identity: str
    names: Sequence[str]
    severities: Sequence[int]
    batches: Batches
    notices: Notices = field(default_factory=Notices)


def check_corruptions(task: Task) -> None:
    """Check everything the section needs, before hours of attacks.

    Raises:
        UserError: inputs that are not images, published files that do not fit the data, a baseline that was not
            evaluated on the same images, or images of which there is no mCE where there is a baseline.
    """
    images = corrupted_images(task)
    if task.extras.is_baseline or task.extras.baseline is not None:
        _check_complete(images)
    _check_baseline(images, task.extras.baseline)


def corruption_section(context: Context) -> Section:
    """Accuracy for each corruption and severity, its mean, and mCE against a baseline where one is given.

    Raises:
        UserError: as `check_corruptions`.
    """
    images = corrupted_images(context)
    tasks = [(name, severity) for name in images.names for severity in images.severities]

    def measure(numbers: Sequence[int]) -> Iterator[float]:
        for number in context.reporter.track(numbers, total=len(numbers), what="corruptions"):
            yield _accuracy(context, images, *tasks[number])

    keys = [f"corruption#{name}/{severity}" for name, severity in tasks]
    values = dict(zip(tasks, context.journal.units(keys, measure), strict=True))
    images.notices.log(context.reporter.say)
    accuracy = {name: tuple(values[name, severity] for severity in images.severities) for name in images.names}
    mce, baseline = _against_baseline(images, accuracy, context.extras.baseline)
    results = CorruptionResult(
        source=images.source,
        identity=images.identity,
        severities=tuple(images.severities),
        accuracy=accuracy,
        mean_accuracy=corruption_mean(accuracy)[0],
        mce=mce,
        baseline=baseline,
    )
    return Section(corruptions=results)


def corrupted_images(task: Task) -> Corrupted:
    """The published images that were named, or those made of the test images.

    Raises:
        UserError: inputs that are not images, or published files that do not fit the data.
    """
    return _generated(task) if task.extras.corrupted is None else _published(task, task.extras.corrupted)


def _generated(task: Task) -> Corrupted:
    source, config = task.data.test, task.config
    # Before the attacks as after them, when those that cannot be read are out.
    index = task.index[source.sample_log.readable_rows(task.index)]
    if len(source.shape) != 3 or source.shape[0] not in (1, 3):
        raise UserError(f"corruptions need images of 1 or 3 channels, the inputs have shape {list(source.shape)}")

    def batches(name: str, severity: int) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in source.batches(sequential_order(index, config.batch_size)):
            x = corrupt(batch.x, name=name, severity=severity, index=batch.index, seed=config.seed)
            yield x, batch.y

    constants = constant_set("auto", *source.shape[1:])
    identity = _hash(source.fingerprint, index.tolist(), config.seed, constants)
    where = f"made of the test images with the constants of {_CONSTANTS_OF[constants]}"
    return Corrupted(where, identity, CORRUPTIONS, SEVERITIES, batches)


def _published(task: Task, folder: Path) -> Corrupted:
    """The published images; of each file the first n of a fixed random order."""
    files = find_published(folder)
    own_class = label_map(files, task.data.classes)
    _check_shape(files, task.data.shape)

    def batches(name: str, severity: int) -> Iterator[tuple[Tensor, Tensor]]:
        size = files.size(name, severity)
        chosen = rng.permutation(size, seed=0, epoch=0)[: task.config.samples].sort().values
        labels = own_class[files.labels(name, severity)]
        for index in torch.split(chosen, task.config.batch_size):
            yield files.images(name, severity, index), labels[index]

    identity = _hash(fingerprint_of_folder(folder), task.config.samples)
    return Corrupted(f"published, {files.folder.name}", identity, files.names, files.severities, batches, files.notices)


def _check_shape(files: PublishedSet, shape: Sequence[int]) -> None:
    """Refuse published images of another size or number of channels than the model's inputs; reads the first."""
    found = list(files.images(files.names[0], files.severities[0], torch.tensor([0])).shape[1:])
    if found != list(shape):
        raise UserError(
            f"the published images in {files.folder} have shape {found}, the inputs of the model {list(shape)}: name a"
            " folder with images of that shape, or leave it out to corrupt the test images themselves"
        )


def fingerprint_of_folder(folder: Path) -> str:
    """Hash of the names, sizes and times of a folder's files but the system's: differs once any of them is replaced."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not is_of_system(path.name))
    states = [(path.relative_to(folder).as_posix(), path.stat()) for path in files]
    return _hash([[name, state.st_size, state.st_mtime_ns] for name, state in states])


def _hash(*values: object) -> str:
    return sha256(json.dumps(values).encode()).hexdigest()


def _accuracy(context: Context, images: Corrupted, name: str, severity: int) -> float:
    model = context.evaluated.model
    device = device_of(model)
    correct, n = 0, 0
    for x, y in images.batches(name, severity):
        correct += int((predict_classes(model, x.to(device)) == y.to(device)).sum())
        n += len(y)
    return correct / n


def _check_complete(images: Corrupted) -> None:
    """Refuse images of which the mean corruption error is not defined."""
    severities = [str(severity) for severity in SEVERITIES if severity not in images.severities]
    names = [name for name in STANDARD if name not in images.names]
    lacking = [f"severity {', '.join(severities)}"] if severities else []
    if lacking := [*lacking, *names]:
        raise UserError(
            f"mCE is over severities 1 to 5 of the {len(STANDARD)} standard corruptions, and the images"
            f" ({images.source}) lack {', '.join(lacking)}: give the whole set, or leave out the baseline"
        )


def _check_baseline(images: Corrupted, baseline: EvaluationResult | None) -> None:
    if baseline is None:
        return
    theirs = baseline.corruptions
    if theirs is None or (theirs.identity, theirs.severities) != (images.identity, tuple(images.severities)):
        raise UserError(
            f"the baseline {baseline.run} was not evaluated on the same corrupted images: evaluate it first with "
            "the same --suite, --samples and --corrupted"
        )
    errors = _errors(theirs.accuracy)
    mean_corruption_error(errors, errors)  # refuses a baseline without an error, to which nothing is relative


def _against_baseline(
    images: Corrupted, accuracy: dict[str, tuple[float, ...]], baseline: EvaluationResult | None
) -> tuple[float | None, str | None]:
    """The mean corruption error relative to the baseline and the baseline's name; None without one."""
    if baseline is None:
        return None, None
    _check_baseline(images, baseline)
    assert baseline.corruptions is not None
    errors, base = _errors(accuracy), _errors(baseline.corruptions.accuracy)
    return mean_corruption_error(errors, base), Path(baseline.folder or baseline.run).resolve().name


def _errors(accuracy: dict[str, tuple[float, ...]]) -> dict[str, list[float]]:
    return {name: [1 - value for value in row] for name, row in accuracy.items()}
