"""Table of a comparison: a row for each recipe, sorted by robust accuracy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from iaat.evaluate.mean_accuracy import MeanAccuracy
from iaat.evaluate.naming import attack_title
from iaat.evaluate.results import CLEAN, WORST, EvaluationResult
from iaat.evaluate.results_table import caption, columns, droppable
from iaat.experiments.comparison_results import ComparisonRow, by_cell, comparison_row
from iaat.runtime.console_table import CellText, PlainTable
from iaat.runtime.text import markdown_table
from iaat.units import LengthUnit

_INTERVALS = "One seed: Wilson interval over test images. Several seeds: t-interval of the mean over seeds."
_ABOVE = (
    "above curve: points of robust accuracy above the curve of uniform radii at the same clean accuracy, each seed "
    "against the curve of its own seed where that is whole, mean ± sd; above, below: the 95 % t-interval over seeds "
    "excludes 0; tie: the mean is within one sd of 0; undecided: it is not, but the seeds are too few to exclude 0; "
    "outside: of the range of the curve's clean accuracies. The curve is straight between its points: a concave curve "
    "lies above that, and the true distance is smaller."
)

_OF_MEAN = "95 % of"
_DROPPED = {"gap": 1, "train\ns": 2, "radius\npx": 3, "radius\nL2": 3, "radius": 3, "clean, all": 5, "seeds": 7}
"""Columns that a narrow terminal goes without, the first first; passes stay, which are half of a comparison."""


def comparison_table(rows: Sequence[EvaluationResult], above: Mapping[str, str] | None = None) -> PlainTable:
    """One line a recipe and kind of weights, the most robust first.

    Args:
        rows: Results of runs, at least one.
        above: Text of column `above curve` by name; None for no such column.
    """
    headings, lines = _cells(rows, above)
    table = PlainTable(_title(rows), _notes(rows, above))
    drops = _DROPPED | {attack_title(key): 4 for key in droppable(columns(rows))}
    drops |= {heading: 6 for heading in headings if heading.startswith(_OF_MEAN)}
    for heading in headings:
        justify: Literal["left", "right"] = "left" if heading == "recipe" else "right"
        table.add_column(heading, justify=justify, no_wrap=True, drop=drops.get(heading, 0))
    for line in lines:
        table.add_row(*line)
    return table


def comparison_markdown(rows: Sequence[EvaluationResult], above: Mapping[str, str] | None = None) -> str:
    """The same table as Markdown."""
    headings, lines = _cells(rows, above)
    joined = [[cell if isinstance(cell, str) else " ".join(cell) for cell in line] for line in lines]
    table = markdown_table([[heading.replace("\n", " ") for heading in headings], *joined], right=True)
    return f"{_title(rows)}\n\n{table}\n\n{_notes(rows, above)}\n"


def _title(rows: Sequence[EvaluationResult]) -> str:
    return f"accuracy in %, mean ± sd over seeds; {rows[0].attack}; n = {rows[0].n} test samples"


def _notes(rows: Sequence[EvaluationResult], above: Mapping[str, str] | None) -> str:
    notes = [f"{rows[0].checkpoint} checkpoint.", caption(rows), _INTERVALS]
    return " ".join(notes if above is None else [*notes, _ABOVE])


def _cells(rows: Sequence[EvaluationResult], above: Mapping[str, str] | None) -> tuple[list[str], list[list[CellText]]]:
    """Headings and lines of the table."""
    groups = list(by_cell(rows).values())
    cells, units = [comparison_row(group) for group in groups], [group[0].radius_unit for group in groups]
    learned = {unit.name for unit, cell in zip(units, cells, strict=True) if cell.radius_mean_px is not None}
    shared = learned or {unit.name for unit in units}
    radius = f"radius\n{shared.pop()}" if len(shared) == 1 else "radius"
    several, all_clean = (any(len(cell.seeds) > 1 for cell in cells), any(cell.clean_all for cell in cells))
    shown = columns(rows)
    titles = [title for key in shown for title in (attack_title(key), *(["clean, all"] * (key == CLEAN and all_clean)))]
    headings = ["recipe", "seeds", *titles, *([f"{_OF_MEAN}\n{attack_title(shown[-1])}"] if several else [])]
    headings += ["gap", radius, "passes\n/step", "train\ns", *(["above\ncurve"] if above is not None else [])]
    lines = []
    for cell, unit in zip(cells, units, strict=True):
        accuracies = [_percent(cell.accuracy.get(key)) for key in shown]
        accuracies[1:1] = [_percent(cell.clean_all)] if all_clean else []
        interval = (_interval(cell.accuracy[WORST]) if len(cell.seeds) > 1 else "-",) if several else ()
        far = () if above is None else (_stacking(above.get(cell.name, "-")),)
        lines.append(
            [
                cell.name,
                tuple(_ranges(cell.seeds).split()),
                *accuracies,
                *interval,
                *_costs(cell, unit, named=radius == "radius"),
                *far,
            ]
        )
    return headings, lines


def _costs(cell: ComparisonRow, unit: LengthUnit, *, named: bool) -> list[CellText]:
    """Gap, radius, passes and seconds of the training; the radius with its unit where that is not in the heading."""
    unknown = cell.train_forwards is None or cell.train_backwards is None
    passes: CellText = "-" if unknown else (f"{cell.train_forwards:.1f}F", f"{cell.train_backwards:.1f}B")
    return [_number(cell.gap, 2), _radius(cell, unit, named=named), passes, _number(cell.train_seconds, 0)]


def _radius(cell: ComparisonRow, unit: LengthUnit, *, named: bool) -> CellText:
    if cell.radius_mean_px is None:
        return "-"
    number = unit.number(unit.of_record(cell.radius_mean_px))
    return (number, unit.name) if named else number


def _stacking(text: str) -> CellText:
    """Parts of `+1.50 ± 0.40 above` that may be stacked in a narrow column."""
    match = re.fullmatch(r"(\S+)(?: (± \S+))?(?: ([^(]+))?(?: (\(.*))?", text)
    return text if match is None else tuple(part for part in match.groups() if part)


def _percent(figure: MeanAccuracy | None) -> CellText:
    """Mean and spread over seeds, or of one seed the value and its interval."""
    if figure is None:
        return "-"
    beside = _interval(figure) if figure.sd is None else f"± {100 * figure.sd:.2f}"
    return f"{100 * figure.mean:.2f}", beside


def _interval(figure: MeanAccuracy) -> str:
    low, high = figure.interval95
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _ranges(seeds: Sequence[int]) -> str:
    """Seeds in order, three or more in a row as `0-2`."""
    parts: list[list[int]] = []
    for seed in seeds:
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 2 else ", ".join(map(str, p)) for p in parts)
