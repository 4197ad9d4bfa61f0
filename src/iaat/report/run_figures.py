"""Table of radii and figures of a run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from iaat.analysis.charts import (
    Thumbnail,
    TrainingRun,
    draw_class_radii,
    draw_extremes,
    draw_radius_histograms,
    draw_training,
    labelled_thumbnail,
)
from iaat.analysis.radius_order import radius_order
from iaat.analysis.radius_summary import quantiles_by_class, radius_histograms
from iaat.analysis.style import SCREEN
from iaat.analysis.tables import radii_table, write_table
from iaat.config.radii_files import norm_of_run
from iaat.data import Source, sequential_order
from iaat.errors import UserError
from iaat.runs.epoch_record import EpochRecord
from iaat.runs.run_folder import RunFolder
from iaat.statistics import QUANTILES
from iaat.units import Norm, unit_of

EXTREMES = 20
"""Images of the smallest radii that are drawn, and of the largest."""

Series = list[float | None]
"""One value an epoch; None where there is none."""


def write_radii(
    run: RunFolder, source: Source, prediction: Tensor | None, epoch: int | None = None, out: Path | None = None
) -> tuple[pa.Table, Path]:
    """Write the radii after an epoch as a table, one row a trained sample; return the table and its file.

    Args:
        run: Folder of a run of a method that has radii.
        source: Its training samples.
        prediction: Predicted class of each trained sample, `[n]`; None where the model of that epoch is not kept.
        epoch: Which snapshot; the last by default.
        out: A `.parquet` or `.csv` file; `radii.parquet` in the run folder by default, or for an epoch that is asked
            for `radii/EPOCH.parquet`.

    Raises:
        UserError: the run has no radii, or none of that epoch.
    """
    file = out or run.radii_table_file(epoch)
    epoch = epoch_with_radii(run, epoch)
    index, radius = run.radii_after(epoch)
    if len(index) and index.max() >= len(source):
        raise UserError(
            f"{run.path} has a radius of sample {index.max()}, and the data {len(source)} samples: give the run's own"
            " data (--data.root), with its extra images (--data.extra)"
        )
    predicted = np.full(len(index), -1) if prediction is None else prediction.numpy()
    paths = None if source.paths is None else [source.paths[number] for number in index]
    table = radii_table(index, source.labels.numpy()[index], predicted, radius, epoch, source.classes, paths)
    if (norm := norm_of_run(run.path)) is not None:
        table = table.replace_schema_metadata({"norm": norm})
    write_table(table, file)
    return table, file


def epoch_with_radii(run: RunFolder, epoch: int | None) -> int:
    """The epoch that is asked for, by default the last with radii.

    Raises:
        UserError: the run has no radii, or none of that epoch.
    """
    run.check_has_radii()
    saved = run.radii_epochs()
    if epoch is not None and epoch not in saved:
        raise UserError(f"{run.path} has no radii of epoch {epoch}; it has those of {_ranges(saved)}")
    return saved[-1] if epoch is None else epoch


def _ranges(numbers: Sequence[int]) -> str:
    return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]} ({len(numbers)} in all)"


def draw_run(
    run: RunFolder, source: Source, table: pa.Table | None, uniform_px: float | None, norm: Norm = "linf"
) -> list[Path]:
    """Draw all figures of a run; return their files.

    Args:
        run: A finished run.
        source: Its training samples, for the images.
        table: Its radii as `write_radii` gives them; None for a method without.
        uniform_px: The uniform radius its radii are compared with, in px, or in L2 as it is.
        norm: Of the radii.
    """
    title = run.name()
    figures = {"training": draw_training([training_run(run.metrics(), norm=norm)], style=SCREEN, title=title)}
    if table is not None:
        history = radius_histograms({epoch: run.radii_after(epoch)[1] for epoch in run.radii_epochs()}, norm=norm)
        figures["radii"] = draw_radius_histograms([history], style=SCREEN, reference_px=uniform_px, title=title)
        radius, label = (table[name].to_numpy() for name in ("radius", "label_id"))
        classes = {"radii by class": quantiles_by_class(radius, label, source.classes, norm=norm)}
        figures["radii-per-class"] = draw_class_radii(classes, source.classes, style=SCREEN, title=title, norm=norm)
        if len(source.shape) == 3 and source.shape[0] in (1, 3):
            extremes = extreme_thumbnails(table, source, run.radius_history(), norm=norm)
            figures["extremes"] = draw_extremes(*extremes, style=SCREEN, title=title)
    files = {run.pictures / f"{name}.png": figure for name, figure in figures.items()}
    for file, figure in files.items():
        SCREEN.save(figure, file)
    return list(files)


def training_run(
    records: Sequence[EpochRecord], name: str = "", number: int = 0, *, norm: Norm = "linf"
) -> TrainingRun:
    """Return the logged quantities of a run in the order of their epochs; `norm` is that of its radii."""
    records = sorted(records, key=lambda record: record.epoch)
    return TrainingRun(name, number, [record.epoch for record in records], *series(records, norm), norm)


def series(records: Sequence[EpochRecord | None], norm: Norm = "linf") -> tuple[dict[str, Series], dict[str, Series]]:
    """Return the numbers of each record, and the quantiles of the radii, by name; None where there is none.

    Records have radii times 255 whatever their norm; here those of L2 are as they are, under the same names.
    """
    numbers = [{} if record is None else record.numbers() for record in records]
    quantiles = [{} if record is None else record.radius_quantiles_px or {} for record in records]
    names = dict.fromkeys(name for row in numbers for name in row)
    levels = map(str, QUANTILES) if any(quantiles) else ()
    length = unit_of(norm).of_record(1.0)
    by_name = {name: _series(numbers, name, length if name.endswith("_px") else 1.0) for name in names}
    return by_name, {level: _series(quantiles, level, length) for level in levels}


def _series(rows: Sequence[Mapping[str, float]], name: str, factor: float) -> Series:
    return [None if (value := row.get(name)) is None else factor * float(value) for row in rows]


def extreme_thumbnails(
    table: pa.Table, source: Source, history: tuple[np.ndarray, np.ndarray] | None = None, *, norm: Norm = "linf"
) -> tuple[list[Thumbnail], list[Thumbnail]]:
    """Return the images of the smallest radii and of the largest, in `radius_order`.

    Args:
        table: Radii as `radii_table` gives them.
        source: The training samples.
        history: Indices `[n]` and radii `[E, n]` of `RunFolder.radius_history`; None: those of the table alone.
        norm: Of the radii.
    """
    index = table["index"].to_numpy()
    shared, radii = (index, table["radius"].to_numpy()[None]) if history is None else history
    rows = np.searchsorted(index, shared)[radius_order(radii, shared)]
    return (
        _thumbnails(table, source, rows[:EXTREMES], norm),
        _thumbnails(table, source, rows[::-1][:EXTREMES], norm),
    )


def _thumbnails(table: pa.Table, source: Source, rows: np.ndarray, norm: Norm) -> list[Thumbnail]:
    chosen = table.take(rows)
    order = sequential_order(torch.tensor(chosen["index"].to_pylist()), len(rows))
    (batch,) = source.batches(order)
    label, prediction, radius = (chosen[name].to_pylist() for name in ("label", "prediction", "radius"))
    length = [unit_of(norm).scale * each for each in radius]
    columns = zip(batch.x.cpu().numpy(), label, prediction, length, strict=True)
    return [labelled_thumbnail(*column, norm) for column in columns]
