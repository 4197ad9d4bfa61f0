"""What `iaat evaluate` prints: the tables, then the verdict on each evaluation with what was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from iaat.evaluate.corruption_accuracy import corruptions_table
from iaat.evaluate.findings import DISTRUSTED, TRUSTED
from iaat.evaluate.names import over_seeds, shown_rows
from iaat.evaluate.result_files import results_table, stages_table, title_of
from iaat.experiments.comparison_table import comparison_table
from iaat.runtime.console_table import PlainTable, plain_table
from iaat.units import format_length

_MANY_STAGES = 4


def evaluation_report(rows: Sequence[dict[str, Any]]) -> Iterator[PlainTable | Text | str]:
    """Tables and lines for people, in their order.

    Args:
        rows: Results as `iaat.experiments.targets.judge_targets` returns them.
    """
    rows = shown_rows(rows)
    yield results_table(rows)
    for group in over_seeds(rows):
        yield comparison_table(group)
    for row in rows:
        yield from _details(row)
    for row in rows:
        yield Text(f"{title_of(row)}: {row['verdict']}", style=_style(row["verdict"]))
        yield from _findings(row)


def _style(verdict: str) -> str:
    if verdict.startswith(DISTRUSTED):
        return "bold red"
    return "bold green" if verdict == TRUSTED else "bold yellow"


def _findings(row: dict[str, Any]) -> Iterator[str]:
    for finding in row["findings"]:
        kind = "FINDING" if finding["serious"] or finding.get("weak_attack") else "note"
        yield f"{kind} {finding['name']} ({title_of(row)}): {finding['evidence']}. {finding['advice']}"


def _details(row: dict[str, Any]) -> Iterator[PlainTable]:
    if len(row["stages"]) >= _MANY_STAGES:
        yield stages_table(row)
    if "curve" in row:
        yield curve_table(row)
    if row.get("transfer"):
        yield transfer_table(row)
    if "corruptions" in row:
        yield corruptions_table(row)
    if "radii" in row:
        yield radii_quarters_table(row)


def _length(value: float | None, norm: str) -> str:
    if value is None:
        return "beyond"
    return format_length(value, norm, digits=3)


def curve_table(row: dict[str, Any]) -> PlainTable:
    """Accuracy by radius, a column a radius."""
    curve = row["curve"]
    quantiles = ", ".join(
        f"{level} %: {_length(value, curve['norm'])}" for level, value in curve["minimal_norm_quantiles"].items()
    )
    table = plain_table(
        f"{title_of(row)}: accuracy in % by radius ({curve['attack']}); expected robustness "
        f"{100 * curve['expected_robustness']:.2f}",
        f"norm of the smallest break found, quantiles over samples: {quantiles}",
    )
    for radius in curve["radius"]:
        table.add_column(_length(radius, curve["norm"]), justify="right")
    table.add_row(*(f"{100 * value:.1f}" for value in curve["accuracy"]))
    return table


def transfer_table(row: dict[str, Any]) -> PlainTable:
    """One line an attack that was made on another model."""
    table = plain_table(f"{title_of(row)}: accuracy in % on adversarial examples made on other models")
    for name in ("made on", "attack", "accuracy", "of the model they were made on"):
        table.add_column(name, justify="left" if name in ("made on", "attack") else "right")
    for each in row["transfer"]:
        shares = (f"{100 * each[key]:.2f}" for key in ("accuracy", "accuracy_of_source"))
        table.add_row(each["from"], each["attack"], *shares)
    return table


def radii_quarters_table(row: dict[str, Any]) -> PlainTable:
    """One line a quarter of the training samples, the smallest radii first."""
    table = plain_table(f"{title_of(row)}: training samples in quarters by their radius; accuracy in %")
    for name in ("radius px", "n", "clean", "after screening"):
        table.add_column(name, justify="right")
    for part in row["radii"]:
        low, high = part["radius_px"]
        table.add_row(
            f"{low:.2f} to {high:.2f}", str(part["n"]), f"{100 * part['clean']:.2f}", f"{100 * part['screened']:.2f}"
        )
    return table
