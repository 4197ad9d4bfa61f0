"""Recipes beside each other: figures over their seeds, one table sorted by robust accuracy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any, Literal

from iaat.evaluate.result_files import between, caption, columns, name_of, shown_name
from iaat.evaluate.robust import WORST
from iaat.runtime.console_table import Cell, PlainTable, plain_table
from iaat.statistics import spread, wilson_interval

_INTERVALS = (
    "[95 % interval]: of one seed Wilson's, over the test samples; of several the t-interval of their mean, over seeds "
    "on the same test samples."
)
_ABOVE = (
    "above curve: points of robust accuracy above the curve of uniform radii at the same clean accuracy, each seed "
    "against the curve of its own seed where that is whole, mean ± sd; tie: the 95 % t-interval over seeds holds 0; "
    "outside: of the range of the curve's clean accuracies. The curve is straight between its points: a concave curve "
    "lies above that, and the true distance is smaller."
)


_DROPPED = {"train\ns": 1, "passes\n/step": 2, "radius\npx": 3, "gap": 4}
"""Columns that a narrow terminal goes without, the first first."""


def by_cell(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Results of each recipe, those of trained weights apart, the most robust first."""
    cells: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        cells.setdefault(name_of(row), []).append(row)
    ranked = sorted(cells, key=lambda name: mean(row["accuracy"][WORST] for row in cells[name]), reverse=True)
    return {name: sorted(cells[name], key=lambda row: row["seed"]) for name in ranked}


def cell_summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Figures of one recipe over its seeds, as plain values: accuracies are fractions, the gap is in points."""
    shown = [*columns(rows), *([] if WORST in columns(rows) else [WORST])]
    first = rows[0]["attacks"][0] if rows[0]["attacks"] else ""
    gap = [100 * (row["accuracy"][first] - row["accuracy"][WORST]) for row in rows] if first.startswith("pgd") else []
    radii = [row["radius_mean_px"] for row in rows if "radius_mean_px" in row]
    return {
        "name": name_of(rows[0]),
        "seeds": [row["seed"] for row in rows],
        "accuracy": {key: _accuracy(rows, key) for key in shown},
        "gap": mean(gap) if gap else None,
        "radius_mean_px": mean(radii) if radii else None,
        **{key: _known_mean(rows, key) for key in ("train_forwards", "train_backwards", "train_seconds")},
    }


def _known_mean(rows: Sequence[dict[str, Any]], key: str) -> float | None:
    """The mean over rows; None where one of them does not know, as of a run with a damaged log."""
    return mean(row[key] for row in rows) if all(key in row for row in rows) else None


def _accuracy(rows: Sequence[dict[str, Any]], key: str) -> dict[str, Any]:
    over = spread([row["accuracy"][key] for row in rows])
    if over.interval is None:
        return {"mean": over.mean, "sd": None, "interval95": list(wilson_interval(over.mean, rows[0]["n"]))}
    low, high = over.interval
    return {"mean": over.mean, "sd": over.sd, "interval95": [max(low, 0.0), min(high, 1.0)]}


def comparison_table(rows: Sequence[dict[str, Any]], above: Mapping[str, str] | None = None) -> PlainTable:
    """One line a recipe and kind of weights, the most robust first.

    Args:
        rows: Results of runs, at least one.
        above: What column `above curve` says of each name; none for no such column.
    """
    headings, lines = _cells(rows, above)
    table = plain_table(_title(rows), _notes(rows, above))
    drops = _DROPPED | {shown_name(key): 5 for key in between(columns(rows))}
    for heading in headings:
        justify: Literal["left", "right"] = "left" if heading == "recipe" else "right"
        table.add_column(heading, justify=justify, no_wrap=True, drop=drops.get(heading, 0))
    for line in lines:
        table.add_row(*line)
    return table


def comparison_markdown(rows: Sequence[dict[str, Any]], above: Mapping[str, str] | None = None) -> str:
    """The same table as Markdown."""
    headings, lines = _cells(rows, above)
    ruler = ["---" if heading == "recipe" else "---:" for heading in headings]
    joined = [[cell if isinstance(cell, str) else " ".join(cell) for cell in line] for line in lines]
    table = [[heading.replace("\n", " ") for heading in headings], ruler, *joined]
    text = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in table)
    return f"{_title(rows)}\n\n{text}\n\n{_notes(rows, above)}\n"


def _title(rows: Sequence[dict[str, Any]]) -> str:
    return f"accuracy in %, mean ± sd over seeds; {rows[0]['attack']}; n = {rows[0]['n']} test samples"


def _notes(rows: Sequence[dict[str, Any]], above: Mapping[str, str] | None) -> str:
    notes = [f"{rows[0]['checkpoint']} checkpoint.", caption(rows), _INTERVALS]
    return " ".join(notes if above is None else [*notes, _ABOVE])


def _cells(rows: Sequence[dict[str, Any]], above: Mapping[str, str] | None) -> tuple[list[str], list[list[Cell]]]:
    """Headings and lines of the table."""
    cells = [cell_summary(group) for group in by_cell(rows).values()]
    shown = columns(rows)
    several = any(len(cell["seeds"]) > 1 for cell in cells)
    headings = ["recipe", "seeds", *map(shown_name, shown), *([f"95 % of\n{shown_name(shown[-1])}"] if several else [])]
    headings += ["gap", "radius\npx", "passes\n/step", "train\ns", *(["above\ncurve"] if above is not None else [])]
    return headings, [_line(cell, shown, several, above) for cell in cells]


def _line(cell: dict[str, Any], shown: Sequence[str], several: bool, above: Mapping[str, str] | None) -> list[Cell]:
    return [
        cell["name"],
        tuple(_ranges(cell["seeds"]).split()),
        *(_percent(cell["accuracy"].get(key)) for key in shown),
        *([_interval(cell["accuracy"][WORST]) if len(cell["seeds"]) > 1 else "-"] if several else []),
        *(_number(cell["gap"], 2), _number(cell["radius_mean_px"], 2)),
        "-"
        if cell["train_forwards"] is None
        else (f"{cell['train_forwards']:.1f}F", f"{cell['train_backwards']:.1f}B"),
        _number(cell["train_seconds"], 0),
        *([_stacking(above.get(cell["name"], "-"))] if above is not None else []),
    ]


def _stacking(text: str) -> Cell:
    """Parts of `+1.50 ± 0.40 above` that may stand under one another."""
    match = re.fullmatch(r"(\S+)(?: (± \S+))?(?: ([^(]+))?(?: (\(.*))?", text)
    return text if match is None else tuple(part for part in match.groups() if part)


def _percent(figure: dict[str, Any] | None) -> Cell:
    """Mean and spread over seeds, or of one seed the value and its interval."""
    if figure is None:
        return "-"
    beside = _interval(figure) if figure["sd"] is None else f"± {100 * figure['sd']:.2f}"
    return f"{100 * figure['mean']:.2f}", beside


def _interval(figure: dict[str, Any]) -> str:
    low, high = figure["interval95"]
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
