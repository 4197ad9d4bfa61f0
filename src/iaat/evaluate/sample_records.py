"""`records.parquet`, what became of each test sample of an evaluation, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iaat.evaluate.results import CLEAN, ROBUST
from iaat.runtime.files import encodable
from iaat.runtime.json_files import DamagedFileError

RECORDS_FILE = "records.parquet"


@dataclass(frozen=True, slots=True, eq=False)
class SampleRecords:
    """Test samples of one evaluation, in the order of their index; classes are numbers, -1 where there is none.

    Attributes:
        index: `[n]`, positions in the test set.
        label: `[n]`.
        clean: `[n]`, predicted without attack.
        adversarial: `[n]`, predicted under the attack that succeeded; -1 where none did or none was needed.
        misclassified_by: `[n]`, the first attack that succeeded; `clean` where none was needed, `none` where all
            failed.
        norm: `[n]`, of the perturbation that succeeded, on the [0, 1] scale; NaN where there is none.
    """

    index: NDArray[np.int64]
    label: NDArray[np.int64]
    clean: NDArray[np.int64]
    adversarial: NDArray[np.int64]
    misclassified_by: NDArray[np.str_]
    norm: NDArray[np.float64]

    @property
    def is_correct(self) -> NDArray[np.bool_]:
        """Whether a sample is classified correctly without attack, `[n]`."""
        return np.asarray(self.misclassified_by != CLEAN)

    @property
    def is_robust(self) -> NDArray[np.bool_]:
        """Whether all attacks failed on a sample, `[n]`."""
        return np.asarray(self.misclassified_by == ROBUST)


def read_records(file: Path, classes: Sequence[str]) -> SampleRecords:
    """Read the records of an evaluation.

    Args:
        file: `records.parquet`.
        classes: Class names by number.

    Raises:
        DamagedFileError: the file is missing, or is not what an evaluation writes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [encodable(name) for name in classes]
    try:
        with file.open("rb") as opened:
            table = pq.read_table(opened)
        columns = {name: table[name].to_pylist() for name in table.column_names}
        order = np.argsort(np.asarray(columns["index"], dtype=np.int64), kind="stable")
        predicted = {
            name: _numbers(columns[name], columns.get(f"{name}_id"), names)[order]
            for name in ("label", "clean_prediction", "adversarial_prediction")
        }
        attack = columns["misclassified_by"] if "misclassified_by" in columns else columns["broken_by"]
        norm = columns["perturbation_norm"] if "perturbation_norm" in columns else columns["size"]
        return SampleRecords(
            index=np.asarray(columns["index"], dtype=np.int64)[order],
            label=predicted["label"],
            clean=predicted["clean_prediction"],
            adversarial=predicted["adversarial_prediction"],
            misclassified_by=np.array(attack, dtype=np.str_)[order],
            norm=np.array([np.nan if each is None else each for each in norm], dtype=np.float64)[order],
        )
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise DamagedFileError(f"{file} cannot be read as records of test samples ({error})") from error


def _numbers(found: Sequence[str | None], ids: Sequence[int] | None, names: Sequence[str]) -> NDArray[np.int64]:
    """Classes by number, -1 where there is none; files of before 0.2 have their names alone, which two may share."""
    by_name = {name: number for number, name in enumerate(names)}
    numbers = np.array([by_name.get(name, -1) if name is not None else -1 for name in found], dtype=np.int64)
    for row, (name, number) in enumerate(zip(found, ids or (), strict=ids is not None)):
        if 0 <= number < len(names) and names[number] == name:
            numbers[row] = number
    return numbers
