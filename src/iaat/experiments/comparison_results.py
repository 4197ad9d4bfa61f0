"""`comparison.json`, the results of a comparison, as types; docs/schema.md says what each key means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from iaat.analysis.uniform_curve import Distance
from iaat.evaluate.mean_accuracy import MeanAccuracy, mean_accuracy
from iaat.evaluate.naming import RAW_WEIGHTS, run_title
from iaat.evaluate.results import WORST, EvaluationResult, check_version, upgraded
from iaat.evaluate.results_table import columns, more_are_clean
from iaat.runtime.json_files import Finite, NonNegative, read_json, to_json
from iaat.statistics import known_mean

COMPARISON_VERSION = 2
"""Version of `comparison.json`; files of version 1 have no such key."""

_OLD_RAW_WEIGHTS = " (trained weights)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """A recipe over its seeds; None where a figure is not known of every seed."""

    name: str
    seeds: tuple[int, ...]
    accuracy: dict[str, MeanAccuracy]
    clean_all: MeanAccuracy | None = None
    gap: Finite | None = None
    radius_mean_px: NonNegative | None = None
    train_forwards: NonNegative | None = None
    train_backwards: NonNegative | None = None
    train_seconds: NonNegative | None = None
    above_curve: Distance | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonResults:
    """Content of `comparison.json`; docs/schema.md says what each field means."""

    cells: tuple[ComparisonRow, ...]
    curve: tuple[str, ...]
    missing: tuple[str, ...]
    rows: tuple[EvaluationResult, ...]
    version: int = COMPARISON_VERSION

    def to_json(self) -> dict[str, Any]:
        """The results as `comparison.json` has them."""
        plain = to_json(replace(self, rows=()))
        return {"version": plain.pop("version"), **plain, "rows": [row.to_json() for row in self.rows]}


def read_comparison(file: Path) -> ComparisonResults:
    """The results of a comparison, by this version or an older one.

    Raises:
        DamagedFileError: they are not what a comparison writes.
        UserError: the file is missing, cannot be read, or is of a newer version.
    """
    return read_json(file, ComparisonResults, _upgraded)


def _upgraded(found: Any) -> Any:  # noqa: ANN401
    if not isinstance(found, dict) or not isinstance(found.get("rows"), list):
        return found
    check_version(found, COMPARISON_VERSION)
    new: dict[str, Any] = {"rows": [upgraded(row) for row in found["rows"]]}
    if isinstance(cells := found.get("cells"), list):
        new["cells"] = [_with_new_name(cell) for cell in cells]
    return {**found, **new}


def _with_new_name(cell: Any) -> Any:  # noqa: ANN401
    """A recipe's row with today's mark of raw weights in its name; any other value as it is."""
    name = cell.get("name") if isinstance(cell, dict) else None
    if not isinstance(name, str) or not name.endswith(_OLD_RAW_WEIGHTS):
        return cell
    return {**cell, "name": name.removesuffix(_OLD_RAW_WEIGHTS) + RAW_WEIGHTS}


def by_cell(rows: Sequence[EvaluationResult]) -> dict[str, list[EvaluationResult]]:
    """Results of each recipe, those of raw weights apart, the most robust first."""
    cells: dict[str, list[EvaluationResult]] = {}
    for row in rows:
        cells.setdefault(run_title(row), []).append(row)
    ranked = sorted(cells, key=lambda name: mean(row.accuracy[WORST] for row in cells[name]), reverse=True)
    return {name: sorted(cells[name], key=lambda row: row.seed or 0) for name in ranked}


def comparison_row(rows: Sequence[EvaluationResult], above: Distance | None = None) -> ComparisonRow:
    """Figures of one recipe over its seeds: accuracies are fractions, the gap is in points."""
    first = next(iter(rows[0].attacks), "")
    gap = [100 * (row.accuracy[first] - row.accuracy[WORST]) for row in rows] if first.startswith("pgd") else []
    radii = [row.radius_mean_px for row in rows if row.radius_mean_px is not None]
    all_clean = [row.clean_all for row in rows if row.clean_all is not None and more_are_clean(row)]
    return ComparisonRow(
        name=run_title(rows[0]),
        seeds=tuple(row.seed or 0 for row in rows),
        accuracy={
            key: mean_accuracy([row.accuracy[key] for row in rows], rows[0].n)
            for key in dict.fromkeys([*columns(rows), WORST])
        },
        clean_all=mean_accuracy([each.accuracy for each in all_clean], all_clean[0].n)
        if len(all_clean) == len(rows)
        else None,
        gap=mean(gap) if gap else None,
        radius_mean_px=mean(radii) if radii else None,
        train_forwards=known_mean([row.train_forwards for row in rows]),
        train_backwards=known_mean([row.train_backwards for row in rows]),
        train_seconds=known_mean([row.train_seconds for row in rows]),
        above_curve=above,
    )
