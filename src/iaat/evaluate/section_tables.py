"""Tables of the sections of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import mean

from iaat.corruptions.mce import corruption_mean
from iaat.evaluate.naming import model_title
from iaat.evaluate.results import CorruptionResult, CurveResult, EvaluationResult, RadiusQuarter, TransferResult
from iaat.runtime.console_table import PlainTable
from iaat.units import LengthUnit, format_norm


def section_tables(row: EvaluationResult) -> Iterator[PlainTable]:
    """A table for each section that an evaluation has, for people."""
    title = model_title(row)
    if row.curve is not None:
        yield curve_table(title, row.curve)
    if row.transfer:
        yield transfer_table(title, row.transfer)
    if row.corruptions is not None:
        yield corruptions_table(title, row.corruptions)
    if row.radii is not None:
        yield quarters_table(title, row.radii, row.radius_unit)


def curve_table(title: str, curve: CurveResult) -> PlainTable:
    """Accuracy by radius, a column a radius."""
    quantiles = (f"{q} %: {_length(norm, curve.norm)}" for q, norm in curve.minimal_norm_quantiles.items())
    table = PlainTable(
        f"{title}: accuracy in % by radius ({curve.attack}); expected robustness {100 * curve.expected_robustness:.2f}",
        f"norm of the smallest adversarial perturbation found, quantiles over samples: {', '.join(quantiles)}",
    )
    for radius in curve.radius:
        table.add_column(_length(radius, curve.norm), justify="right")
    table.add_row(*(f"{100 * value:.1f}" for value in curve.accuracy))
    return table


def _length(value: float | None, norm: str) -> str:
    return "beyond" if value is None else format_norm(value, norm, digits=3)


def transfer_table(title: str, rows: tuple[TransferResult, ...]) -> PlainTable:
    """One line an attack that was made on another model."""
    table = PlainTable(f"{title}: accuracy in % on adversarial examples made on other models")
    for name in ("made on", "attack", "accuracy", "of the model they were made on"):
        table.add_column(name, justify="left" if name in ("made on", "attack") else "right")
    for row in rows:
        table.add_row(row.source, row.attack, f"{100 * row.accuracy:.2f}", f"{100 * row.accuracy_of_source:.2f}")
    return table


def corruptions_table(title: str, found: CorruptionResult) -> PlainTable:
    """Accuracy in percent of each corruption at each severity."""
    mce = "" if found.mce is None else f"; mCE {100 * found.mce:.1f} % of {found.baseline}"
    value, over = corruption_mean(found.accuracy)  # not the stored one: of older files it is over all corruptions
    title = f"{title}: accuracy in % on corrupted images ({found.source}); mean over {over}: {100 * value:.2f}{mce}"
    table = PlainTable(title)
    table.add_column("corruption", no_wrap=True)
    for name in (*(f"severity {severity}" for severity in found.severities), "mean"):
        table.add_column(name, justify="right")
    for name, accuracies in found.accuracy.items():
        table.add_row(name, *(f"{100 * value:.2f}" for value in (*accuracies, mean(accuracies))))
    return table


def quarters_table(title: str, rows: tuple[RadiusQuarter, ...], unit: LengthUnit) -> PlainTable:
    """One line a quarter of the training samples, the smallest radii first, shown in a unit; see `of_record`."""
    table = PlainTable(f"{title}: training samples in quarters by their radius; accuracy in %")
    for name in (f"radius {unit.name}", "n", "clean", "after screening"):
        table.add_column(name, justify="right")
    for row in rows:
        low, high = (unit.number(unit.of_record(end)) for end in row.radius_px)
        table.add_row(f"{low} to {high}", str(row.n), f"{100 * row.clean:.2f}", f"{100 * row.screened:.2f}")
    return table
