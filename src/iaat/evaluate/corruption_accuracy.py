"""Accuracy on corrupted test images: published files, or made on the fly from the test images themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from iaat.attacks import predict
from iaat.config.evaluate_config import EvaluateConfig
from iaat.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    constant_set,
    corrupt,
    find_published,
    label_map,
    mean_corruption_error,
)
from iaat.data import sequential_order
from iaat.data.notices import Notices
from iaat.errors import UserError
from iaat.evaluate.result_files import title_of
from iaat.evaluate.sections import Context, Extras, Section
from iaat.evaluate.subject import TestSet
from iaat.runtime import rng
from iaat.runtime.console_table import PlainTable, plain_table
from iaat.runtime.device import device_of

_CONSTANTS_OF = {"cifar": "CIFAR-C", "tiny-imagenet": "Tiny-ImageNet-C", "imagenet": "ImageNet-C"}

Batches = Callable[[str, int], Iterator[tuple[Tensor, Tensor]]]
"""`(corruption, severity) -> batches (x in [0, 1], labels)`."""


@dataclass(frozen=True, slots=True)
class Corrupted:
    """Corrupted images to be judged on.

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


def check_corruptions(test: TestSet, config: EvaluateConfig, extras: Extras) -> None:
    """Find what would stop the section, before hours of attacks.

    Raises:
        UserError: inputs that are not images, published files that do not fit the data, or a baseline that was not
            evaluated on the same images.
    """
    _check_baseline(corrupted_images(test, config, extras), extras.baseline)


def corruption_section(context: Context) -> Section:
    """Accuracy for each corruption and severity, their mean, and mCE against a baseline where one is given.

    Raises:
        UserError: as `check_corruptions`.
    """
    images = corrupted_images(context.test, context.config, context.extras)
    tasks = [(name, severity) for name in images.names for severity in images.severities]
    shown = context.reporter.track(tasks, total=len(tasks), what="corruptions")
    values = {
        task: context.journal.unit("corruption#{}/{}".format(*task), partial(_accuracy, context, images, *task))
        for task in shown
    }
    images.notices.log(context.reporter.say)
    accuracy = {name: [values[name, severity] for severity in images.severities] for name in images.names}
    results = {
        "source": images.source,
        "identity": images.identity,
        "severities": list(images.severities),
        "accuracy": accuracy,
        "mean_accuracy": mean(mean(row) for row in accuracy.values()),
        **_against_baseline(images, accuracy, context.extras.baseline),
    }
    return Section({"corruptions": results})


def corrupted_images(test: TestSet, config: EvaluateConfig, extras: Extras) -> Corrupted:
    """The published images that were named, or those made of the test images.

    Raises:
        UserError: inputs that are not images, or published files that do not fit the data.
    """
    return _generated(test, config) if extras.corrupted is None else _published(test, config, extras.corrupted)


def _generated(test: TestSet, config: EvaluateConfig) -> Corrupted:
    source = test.data.test
    if len(source.shape) != 3 or source.shape[0] not in (1, 3):
        raise UserError(f"corruptions need images of 1 or 3 channels, the inputs have shape {list(source.shape)}")

    def batches(name: str, severity: int) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in source.batches(sequential_order(test.index, config.batch_size)):
            x = corrupt(batch.x, name=name, severity=severity, index=batch.index, seed=config.seed)
            yield x, batch.y

    constants = constant_set("auto", *source.shape[1:])
    identity = _hash(source.fingerprint, test.index.tolist(), config.seed, constants)
    where = f"made of the test images with the constants of {_CONSTANTS_OF[constants]}"
    return Corrupted(where, identity, CORRUPTIONS, SEVERITIES, batches)


def _published(test: TestSet, config: EvaluateConfig, folder: Path) -> Corrupted:
    """The published images; of each file those whose place is among the first n of a fixed random order."""
    files = find_published(folder)
    own_class = label_map(files, test.classes)

    def batches(name: str, severity: int) -> Iterator[tuple[Tensor, Tensor]]:
        size = files.size(name, severity)
        chosen = rng.permutation(size, seed=0, epoch=0)[: config.samples].sort().values
        labels = own_class[files.labels(name, severity)]
        for index in torch.split(chosen, config.batch_size):
            yield files.images(name, severity, index), labels[index]

    identity = _hash(fingerprint_of_folder(folder), config.samples)
    return Corrupted(f"published, {files.folder.name}", identity, files.names, files.severities, batches, files.notices)


def fingerprint_of_folder(folder: Path) -> str:
    """Hash of the names, sizes and times of all files in a folder: differs once any of them is replaced."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    states = [(path.relative_to(folder).as_posix(), path.stat()) for path in files]
    return _hash([[name, state.st_size, state.st_mtime_ns] for name, state in states])


def _hash(*values: object) -> str:
    return sha256(json.dumps(values).encode()).hexdigest()


def _accuracy(context: Context, images: Corrupted, name: str, severity: int) -> float:
    model = context.subject.model
    device = device_of(model)
    right, n = 0, 0
    for x, y in images.batches(name, severity):
        right += int((predict(model, x.to(device)) == y.to(device)).sum())
        n += len(y)
    return right / n


def _check_baseline(images: Corrupted, baseline: dict[str, Any] | None) -> None:
    if baseline is None:
        return
    theirs = baseline.get("corruptions", {})
    if theirs.get("identity") != images.identity or theirs.get("severities") != list(images.severities):
        raise UserError(
            f"the baseline {baseline['run']} was not evaluated on the same corrupted images: evaluate it first with "
            "the same --suite, --n and --corrupted"
        )


def _against_baseline(
    images: Corrupted, accuracy: dict[str, list[float]], baseline: dict[str, Any] | None
) -> dict[str, float | str]:
    if baseline is None:
        return {}
    _check_baseline(images, baseline)
    errors, base = (_errors(each) for each in (accuracy, baseline["corruptions"]["accuracy"]))
    return {
        "mce": mean_corruption_error(errors, base),
        "baseline": Path(baseline.get("folder", baseline["run"])).resolve().name,
    }


def _errors(accuracy: dict[str, list[float]]) -> dict[str, list[float]]:
    return {name: [1 - value for value in row] for name, row in accuracy.items()}


def corruptions_table(row: dict[str, Any]) -> PlainTable:
    """Accuracy in percent of each corruption at each severity."""
    section = row["corruptions"]
    mce = f"; mCE {100 * section['mce']:.1f} % of {section['baseline']}" if "mce" in section else ""
    title = f"{title_of(row)}: accuracy in % on corrupted images ({section['source']}); mean "
    table = plain_table(f"{title}{100 * section['mean_accuracy']:.2f}{mce}")
    table.add_column("corruption", no_wrap=True)
    for name in (*(f"severity {severity}" for severity in section["severities"]), "mean"):
        table.add_column(name, justify="right")
    for name, accuracies in section["accuracy"].items():
        table.add_row(name, *(f"{100 * value:.2f}" for value in (*accuracies, mean(accuracies))))
    return table
