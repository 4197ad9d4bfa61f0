"""A comparison of finished runs: distances from the curve of uniform radii, files, the picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean

from matplotlib.figure import Figure

from iaat.analysis.charts import TradeoffPoint, draw_tradeoff
from iaat.analysis.style import SCREEN, series_numbers
from iaat.analysis.uniform_curve import Distance, Point, distance
from iaat.evaluate.naming import worst_case_name
from iaat.evaluate.results import CLEAN, WORST, EvaluationResult
from iaat.experiments.comparison_results import ComparisonResults, by_cell, comparison_row
from iaat.experiments.comparison_table import comparison_markdown, comparison_table
from iaat.experiments.sweep import Cell
from iaat.runtime.console_table import PlainTable
from iaat.runtime.files import write_json, write_text
from iaat.runtime.text import markdown


@dataclass(frozen=True, slots=True)
class Comparison:
    """Finished runs of several recipes.

    Attributes:
        cells: The recipes that are compared.
        rows: Results of every finished run, each under the name of its cell; at least one.
        missing: Runs that are not finished, for people.
        failed: Why runs have failed, by name.
    """

    cells: Sequence[Cell]
    rows: Sequence[EvaluationResult]
    missing: Sequence[str]
    failed: Mapping[str, str] = field(default_factory=dict)

    def above(self) -> dict[str, Distance] | None:
        """Distance of each recipe above the curve, by its name in tables; None where there is no curve.

        Raw weights are compared with the curve of raw weights, those of EMA with that of EMA, and a run without EMA
        with either.
        """
        points = self._curve_rows()
        if len({row.run for row in points}) < 2:
            return None
        default = "ema" if any(row.weights == "ema" for row in points) else "raw"
        found = {}
        for name, rows in by_cell(self.rows).items():
            if rows[0].run not in self._curve_names():
                kind = rows[0].weights or default
                own = [row for row in points if row.weights in (None, kind)]
                found[name] = distance(_runs(rows), [_runs(some) for some in by_cell(own).values()])
        return found

    def _curve_names(self) -> set[str]:
        return {cell.name for cell in self.cells if cell.on_curve}

    def _curve_rows(self) -> list[EvaluationResult]:
        return [row for row in self.rows if row.run in self._curve_names()]

    def table(self) -> PlainTable:
        """One line a recipe, the most robust first."""
        return comparison_table(self.rows, self._above_texts())

    def _above_texts(self) -> dict[str, str] | None:
        above = self.above()
        if above is None:
            return None
        return {name: _text(above[name]) if name in above else "curve" for name in by_cell(self.rows)}

    def write(self, out: Path) -> None:
        """Write `comparison.json`, `comparison.md` and `frontier.png`."""
        above = self.above() or {}
        found = ComparisonResults(
            cells=tuple(comparison_row(rows, above.get(name)) for name, rows in by_cell(self.rows).items()),
            curve=tuple(cell.name for cell in self.cells if cell.on_curve),
            missing=tuple(self.missing),
            rows=tuple(self.rows),
        )
        write_json(out / "comparison.json", found.to_json())
        write_text(out / "comparison.md", self._markdown())
        self.draw(out / "frontier.png")

    def _markdown(self) -> str:
        """The table as Markdown, in which the names of recipes are no markup."""
        rows = [replace(row, run=markdown(row.run)) for row in self.rows]
        above = self._above_texts()
        return comparison_markdown(rows, None if above is None else {markdown(name): above[name] for name in above})

    def draw(self, file: Path) -> Figure:
        """Draw `frontier.png`: clean accuracy against the worst case."""
        families = {cell.name: cell.family for cell in self.cells}
        numbers = self._series()
        both = {"ema", "raw"} <= {row.weights for row in self.rows}
        points = [
            TradeoffPoint(
                row.run,
                row.accuracy[CLEAN],
                row.accuracy[WORST],
                family=families[row.run],
                number=numbers[families[row.run]],
                hollow=both and row.weights == "raw",
            )
            for row in self.rows
        ]
        joined = _by_clean(self._curve_rows())
        notes = [f"robust: {worst_case_name(self.rows[0])}"]
        figure = draw_tradeoff(points, style=SCREEN, joined=joined, notes=notes)
        SCREEN.save(figure, file)
        return figure

    def _series(self) -> dict[str, int]:
        """Number of the series style of each family, by the method of its first recipe."""
        methods: dict[str, str] = {}
        for cell in self.cells:
            methods.setdefault(cell.family, cell.recipe.method_name)
        return dict(zip(methods, series_numbers(list(methods.values())), strict=True))


def _by_clean(rows: Iterable[EvaluationResult]) -> list[str]:
    """Names of runs in the order of their clean accuracy, in which the curve joins them."""
    clean: dict[str, list[float]] = {}
    for row in rows:
        clean.setdefault(row.run, []).append(row.accuracy[CLEAN])
    return sorted(clean, key=lambda name: mean(clean[name]))


def _runs(rows: Sequence[EvaluationResult]) -> dict[int, Point]:
    """Accuracies in percent, by seed."""
    return {row.seed or 0: Point(100 * row.accuracy[CLEAN], 100 * row.accuracy[WORST]) for row in rows}


def _text(found: Distance) -> str:
    if found.spread is None:
        return "outside"
    sd = "" if found.spread.sd is None else f" ± {found.spread.sd:.2f}"
    inside, seeds = found.spread.n, len(found.by_seed)
    return f"{found.spread.mean:+.2f}{sd} {found.verdict}" + (f" ({inside} of {seeds} seeds)" if inside < seeds else "")
