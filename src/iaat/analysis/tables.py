"""Per-sample table of radii: building it, writing it, summaries by class."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import ArrayLike, NDArray

from iaat.analysis.array_checks import as_integers, as_labels, as_radii, suffix_of
from iaat.errors import UserError
from iaat.runtime.files import encodable, replacing
from iaat.runtime.text import printable
from iaat.statistics import QUANTILES
from iaat.units import PX_PER_UNIT

_FORMULA_START = r"^([=+\-@\t])"


def radii_table(
    index: ArrayLike,
    label: ArrayLike,
    prediction: ArrayLike,
    radius: ArrayLike,
    epoch: int | ArrayLike,
    classes: Sequence[str],
    paths: Sequence[str | os.PathLike[str]] | None = None,
) -> pa.Table:
    """Make the table of radii, one row per sample.

    Columns: `index` int64, `label` string, `label_id` int64, `prediction` string, `prediction_id` int64, `radius_px`
    float32 in px, `radius` float32 on the [0, 1] scale, `epoch` int64, and `path` string if `paths` are given.

    Args:
        index: `[N]`, position of each sample in its data set.
        label: `[N]`, class numbers in `[0, len(classes))`.
        prediction: `[N]`, predicted class numbers; -1 where there is none: its name is null.
        radius: `[N]`, on the [0, 1] image scale.
        epoch: The epoch of all radii, or one for each, `[N]`.
        classes: Class names by number.
        paths: `[N]`, the file of each sample.

    Raises:
        UserError: Lengths that differ, numbers that are no class, or a radius that is negative or not finite.
    """
    radii = as_radii(radius, "radius")
    count = len(radii)
    label_id = as_labels(label, "label", count, classes)
    prediction_id = as_labels(prediction, "prediction", count, classes, lowest=-1)
    epochs = np.broadcast_to(np.asarray(epoch), (count,)) if np.ndim(epoch) == 0 else epoch
    columns = {
        "index": pa.array(as_integers(index, "index", count)),
        "label": _names(classes, label_id),
        "label_id": pa.array(label_id),
        "prediction": _names(classes, prediction_id),
        "prediction_id": pa.array(prediction_id),
        "radius_px": pa.array((radii * PX_PER_UNIT).astype(np.float32)),
        "radius": pa.array(radii.astype(np.float32)),
        "epoch": pa.array(as_integers(epochs, "epoch", count)),
    }
    if paths is not None:
        if len(paths) != count:
            raise UserError(f"paths: expected {count}, as many as there are radii; got {len(paths)}")
        columns["path"] = pa.array([encodable(os.fspath(path)) for path in paths], pa.string())
    return pa.table(columns)


def table_suffix(path: str | os.PathLike[str]) -> str:
    """The suffix of a file for `write_table`: parquet or csv.

    Raises:
        UserError: It has another one.
    """
    return suffix_of(path, ("parquet", "csv"))


def write_table(table: pa.Table, path: str | os.PathLike[str]) -> None:
    """Write a table; `path` appears whole or not at all.

    In CSV, text that begins with =, +, -, @ or a tab gets an apostrophe before it: a spreadsheet would run it as a
    formula. Control characters other than line ends and tabs are written out there: a terminal would obey them.

    Args:
        table: Any table.
        path: Ends in .parquet or .csv. Missing parent folders are made.

    Raises:
        UserError: Another suffix, or the folder cannot be written.
    """
    suffix = table_suffix(path)
    # A file of Python's: pyarrow takes no name of bytes that are no UTF-8.
    with replacing(Path(path)) as temporary, temporary.open("wb") as file:
        if suffix == "parquet":
            pyarrow.parquet.write_table(table, file)
        else:
            pyarrow.csv.write_csv(_without_formulas(table), file)


def class_summary(table: pa.Table) -> list[dict[str, Any]]:
    """Summarise a table of radii by class, lowest median radius first, and last over all samples.

    Args:
        table: With the columns `label`, `label_id`, `prediction_id` and `radius_px` of `radii_table`.

    Returns:
        A dict per class that has samples, and one for all: `class` its name, "all" in the last; `class_id`, None in
        the last; `count`; `mean_px`, `min_px`, `p5_px`, `p25_px`, `p50_px`, `p75_px`, `p95_px`, `max_px`; `accuracy`,
        the fraction of correct predictions, None where no sample has a prediction; `fraction_at_zero`, the
        fraction of the samples with a radius of 0.

    Raises:
        UserError: A column is missing, or the table has no rows.
    """
    missing = [name for name in ("label", "label_id", "prediction_id", "radius_px") if name not in table.column_names]
    if missing or not table.num_rows:
        raise UserError(f"no radii to summarise: {f'the table has no column {missing[0]!r}' if missing else 'no rows'}")
    label_id = table["label_id"].to_numpy()
    prediction_id = table["prediction_id"].to_numpy()
    radius_px = table["radius_px"].to_numpy().astype(np.float64)
    present, first = np.unique(label_id, return_index=True)
    rows = []
    for number, name in zip(present, table["label"].take(first).to_pylist(), strict=True):
        mine = label_id == number
        rows.append(_summary(name, int(number), radius_px[mine], label_id[mine], prediction_id[mine]))
    rows.sort(key=lambda row: row["p50_px"])
    return [*rows, _summary("all", None, radius_px, label_id, prediction_id)]


def _summary(
    name: str,
    number: int | None,
    radius_px: NDArray[np.float64],
    label_id: NDArray[np.int64],
    prediction_id: NDArray[np.int64],
) -> dict[str, Any]:
    predicted = prediction_id >= 0
    correct = (prediction_id == label_id)[predicted]
    quantiles = np.percentile(radius_px, QUANTILES)
    return {
        "class": name,
        "class_id": number,
        "count": len(radius_px),
        "mean_px": float(radius_px.mean()),
        "min_px": float(radius_px.min()),
        **{f"p{percent}_px": float(value) for percent, value in zip(QUANTILES, quantiles, strict=True)},
        "max_px": float(radius_px.max()),
        "accuracy": float(correct.mean()) if len(correct) else None,
        "fraction_at_zero": float((radius_px == 0).mean()),
    }


def _names(classes: Sequence[str], numbers: NDArray[np.int64]) -> pa.Array:
    """Return the class names of `numbers`, null for -1."""
    names = pa.array([encodable(name) for name in classes], pa.string())
    return names.take(pa.array(numbers, mask=numbers < 0))


def _printable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text with control characters written out."""
    encoded = column.dictionary_encode().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # no rows
        return column
    shown = [None if text is None else printable(text) for text in encoded.dictionary.to_pylist()]
    return pa.chunked_array([pa.array(shown, column.type).take(encoded.indices)])


def _without_formulas(table: pa.Table) -> pa.Table:
    for position, field in enumerate(table.schema):
        column = table[position]
        if pa.types.is_dictionary(field.type):  # a category of pandas
            column = column.cast(field.type.value_type)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = _printable(column)
            column = pc.replace_substring_regex(column, _FORMULA_START, r"'\1")
        table = table.set_column(position, field.name, column)
    return table
