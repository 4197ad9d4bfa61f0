"""Accuracy on corrupted test images: published files, or made on the fly from the test images themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import mean
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from iaat import rng
from iaat.corruptions import CORRUPTIONS, SEVERITIES, corrupt, find_published, label_map, mean_corruption_error
from iaat.data import sequential_order
from iaat.device import device_of
from iaat.errors import UserError
from iaat.evaluate.report import plain_table
from iaat.evaluate.robust import predict
from iaat.evaluate.sections import Context, Section

Batches = Callable[[str, int], Iterator[tuple[Tensor, Tensor]]]
"""`(corruption, severity) -> batches (x in [0, 1], labels)`."""


def corruption_section(context: Context) -> Section:
    """Accuracy for each corruption and severity, their mean, and mCE against a baseline where one is given.

    Raises:
        UserError: inputs that are not images, published files that do not fit the data, or a baseline that was not
            evaluated on the same corruptions.
    """
    source, names, severities, batches = _published(context) if context.extras.corrupted else _generated(context)
    tasks = [(name, severity) for name in names for severity in severities]
    shown = context.reporter.track(tasks, total=len(tasks), what="corruptions")
    values = {
        task: context.journal.unit("corruption#{}/{}".format(*task), partial(_accuracy, context, batches, *task))
        for task in shown
    }
    accuracy = {name: [values[name, severity] for severity in severities] for name in names}
    results = {
        "source": source,
        "severities": list(severities),
        "accuracy": accuracy,
        "mean_accuracy": mean(mean(row) for row in accuracy.values()),
        **_against_baseline(accuracy, source, context.extras.baseline),
    }
    return Section({"corruptions": results})


def _generated(context: Context) -> tuple[str, Sequence[str], Sequence[int], Batches]:
    test, config = context.test.data.test, context.config
    if len(test.shape) != 3 or test.shape[0] not in (1, 3):
        raise UserError(f"corruptions need images of 1 or 3 channels, the inputs have shape {list(test.shape)}")

    def batches(name: str, severity: int) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in test.batches(sequential_order(context.test.index, config.batch_size)):
            x = corrupt(batch.x, name=name, severity=severity, index=batch.index, seed=config.seed)
            yield x, batch.y

    return "made of the test images", CORRUPTIONS, SEVERITIES, batches


def _published(context: Context) -> tuple[str, Sequence[str], Sequence[int], Batches]:
    """The published images; of each file those whose place is among the first n of a fixed random order."""
    assert context.extras.corrupted is not None
    files = find_published(context.extras.corrupted)
    config, classes = context.config, context.test.classes
    own_class = label_map(files, classes)

    def batches(name: str, severity: int) -> Iterator[tuple[Tensor, Tensor]]:
        size = files.size(name, severity)
        chosen = rng.permutation(size, seed=0, epoch=0)[: config.samples].sort().values
        labels = own_class[files.labels(name, severity)]
        for index in torch.split(chosen, config.batch_size):
            yield files.images(name, severity, index), labels[index]

    return f"published, {files.folder.name}", files.names, files.severities, batches


def _accuracy(context: Context, batches: Batches, name: str, severity: int) -> float:
    model = context.subject.model
    device = device_of(model)
    right, n = 0, 0
    for x, y in batches(name, severity):
        right += int((predict(model, x.to(device)) == y.to(device)).sum())
        n += len(y)
    return right / n


def _against_baseline(
    accuracy: dict[str, list[float]], source: str, baseline: dict[str, Any] | None
) -> dict[str, float | str]:
    if baseline is None:
        return {}
    theirs = baseline.get("corruptions")
    if theirs is None or theirs["source"] != source:
        raise UserError(
            f"the baseline {baseline['run']} has no evaluation on the same corruptions: evaluate it first with the "
            "same --suite, --n and --corrupted"
        )
    errors, base = (_errors(each) for each in (accuracy, theirs["accuracy"]))
    return {"mce": mean_corruption_error(errors, base), "baseline": baseline["run"]}


def _errors(accuracy: dict[str, list[float]]) -> dict[str, list[float]]:
    return {name: [1 - value for value in row] for name, row in accuracy.items()}


def corruptions_table(row: dict[str, Any]) -> Table:
    """Accuracy in percent of each corruption at each severity."""
    section = row["corruptions"]
    mce = f"; mCE {100 * section['mce']:.1f} % of {section['baseline']}" if "mce" in section else ""
    title = f"{row['run']}: accuracy in % on corrupted images ({section['source']}); mean "
    table = plain_table(f"{title}{100 * section['mean_accuracy']:.2f}{mce}")
    table.add_column("corruption", no_wrap=True)
    for name in (*(f"severity {severity}" for severity in section["severities"]), "mean"):
        table.add_column(name, justify="right")
    for name, accuracies in section["accuracy"].items():
        table.add_row(name, *(f"{100 * value:.2f}" for value in (*accuracies, mean(accuracies))))
    return table
