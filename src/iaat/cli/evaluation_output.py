"""Output of `iaat evaluate`: the tables, then the verdict on each evaluation, then all findings, each once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.text import Text

from iaat.evaluate.findings import DISTRUSTED, TRUSTED
from iaat.evaluate.naming import model_title
from iaat.evaluate.results import EvaluationResult
from iaat.evaluate.results_table import results_table, stages_table
from iaat.evaluate.section_tables import section_tables
from iaat.evaluate.table_rows import groups_of_seeds, table_rows
from iaat.experiments.comparison_table import comparison_table
from iaat.runtime.console_table import PlainTable

_MANY_STAGES = 4


def evaluation_report(
    results: Sequence[EvaluationResult], said: Callable[[str], bool] = lambda _: False
) -> Iterator[PlainTable | Text | str]:
    """Tables and lines of the output, in their order.

    Args:
        results: Results of evaluations.
        said: Whether a finding, as `Finding.text` has it, was printed before the evaluations began.
    """
    rows = table_rows(results)
    for table in _tables(rows):
        yield table
        if table.caption:  # under which no line is left free
            yield ""
    for row in rows:
        yield Text(f"{model_title(row)}: {row.verdict}", style=_style(row.verdict))
    yield from map(Text, _findings(rows, said))


def _tables(rows: Sequence[EvaluationResult]) -> Iterator[PlainTable]:
    yield results_table(rows)
    yield from map(comparison_table, groups_of_seeds(rows))
    for row in rows:
        if len(row.stages) >= _MANY_STAGES:
            yield stages_table(row)
        yield from section_tables(row)


def _style(verdict: str) -> str:
    if verdict.startswith(DISTRUSTED):
        return "bold red"
    return "bold green" if verdict == TRUSTED else "bold yellow"


def _findings(rows: Sequence[EvaluationResult], said: Callable[[str], bool]) -> Iterator[str]:
    """A line for all findings of one kind that have the same advice, with what each model shows of it."""
    merged: dict[tuple[str, str], dict[str, list[str]]] = {}
    for row in rows:
        for finding in row.findings:
            if not said(finding.text()):
                evidence = merged.setdefault((f"{finding.kind} {finding.name}", finding.advice), {})
                evidence.setdefault(finding.evidence, []).append(model_title(row))
    for (name, advice), evidence in merged.items():
        found = (f"({', '.join(models)}): {text}" for text, models in evidence.items())
        yield f"{name} {'; '.join(found)}. {advice}"
