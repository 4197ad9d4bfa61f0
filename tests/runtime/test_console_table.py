"""Tables of every command at widths from 40 to 200 columns: no figure is cut, and what is left out is named."""

import io
import re
from collections import Counter
from dataclasses import replace

import pytest
from rich.console import Console

from helpers.results import made_up
from iaat.cli.commands.radii import summary_table
from iaat.cli.recipe_list import recipe_tables
from iaat.config.load_recipe import load_recipe
from iaat.evaluate.results import (
    ClassResult,
    CorruptionResult,
    CurveResult,
    RadiusQuarter,
    StageResult,
    TransferResult,
)
from iaat.evaluate.results_table import results_table, stages_table
from iaat.evaluate.section_tables import corruptions_table, curve_table, quarters_table, transfer_table
from iaat.experiments.comparison_table import comparison_table
from iaat.experiments.cost import cost_table
from iaat.experiments.sweep import cost_of_cells, read_cells
from iaat.runtime.console_table import PlainTable, facts_table
from iaat.runtime.passes import Passes
from iaat.units import unit_of

WIDTHS = [40, 60, 80, 100, 120, 200]
FIGURE = re.compile(r"[0-9][0-9.,e+]*[0-9]|[0-9]")


def evaluated(run, seed, clean, first, worst):
    accuracy = {"clean": clean, "pgd-20": first, "pgd-50x5": first - 0.0123, "autoattack": worst, "worst": worst}
    names = {"run": run, "seed": seed, "epoch": 127, "attack": "standard PGD-20 8px linf", "n": 10000}
    costs = {"train_forwards": 10.5, "train_backwards": 9.5, "train_seconds": 123456.7, "radius_mean_px": 7.654}
    found = made_up(accuracy, **names, **costs)
    return replace(
        found,
        interval95={name: (value - 0.0311, value + 0.0297) for name, value in accuracy.items()},
        worst_class=ClassResult("automobile", 1000, 0.9, 0.1234),
        passes_per_sample=Passes(1234.5, 987.6),
        stages=tuple(
            StageResult(name, 10000, adversarial, Passes(12345.0, 12001.0), 1234.5)
            for name, adversarial in (("clean", 1549), ("pgd-20", 2939), ("autoattack/apgd-ce", 489))
        ),
        curve=CurveResult(
            norm="linf",
            minimal_norm_quantiles={"5": 0.01, "50": 0.03, "95": None},
            attack="PGD-50",
            expected_robustness=0.1234,
            radius=tuple(pixels / 255 for pixels in range(0, 34, 2)),
            accuracy=tuple(0.9876 - 0.0513 * place for place in range(17)),
        ),
        transfer=(TransferResult("runs/another-run", "pgd-20", 0.7, 0.1),),
        radii=(RadiusQuarter((0.0, 12.345), 12500, 0.9012, 0.5034),) * 4,
        corruptions=CorruptionResult(
            source="made of the test images",
            identity="",
            severities=(1, 2, 3, 4, 5),
            accuracy={"gaussian_noise": (0.8123, 0.7, 0.6, 0.5, 0.4), "elastic_transform": (0.7771,) * 5},
            mean_accuracy=0.7,
        ),
    )


ROWS = [evaluated("cifar10-resnet18-iaat-paper", seed, 0.8451 + seed / 100, 0.5512, 0.5023) for seed in range(3)]
ROWS += [evaluated("my-very-long-name-of-a-run-folder-with-more-than-sixty-characters", 12, 0.7651, 0.6512, 0.4523)]
ABOVE = {"cifar10-resnet18-iaat-paper": "+10.50 ± 10.40 above (2 of 3 seeds)"}
CLASSES = [
    {
        "class": name, "class_id": number, "count": 50000, "mean_px": 17.654, "p5_px": 0.0, "p25_px": 14.56,
        "p50_px": 18.12, "p75_px": 20.5, "p95_px": 29.0, "fraction_at_zero": 0.1234, "accuracy": 1.0,
    }
    for number, name in enumerate(["airplane", "great white shark, white shark, man-eater"])
]  # fmt: skip

TABLES = {
    "evaluate and train": lambda: results_table(ROWS),
    "attacks": lambda: stages_table(ROWS[0]),
    "curve": lambda: curve_table("a run", ROWS[0].curve),
    "transfer": lambda: transfer_table("a run", ROWS[0].transfer),
    "radii of quarters": lambda: quarters_table("a run", ROWS[0].radii, unit_of("linf")),
    "corruptions": lambda: corruptions_table("a run", ROWS[0].corruptions),
    "compare": lambda: comparison_table(ROWS, ABOVE),
    "radii": lambda: summary_table(CLASSES, 128),
    "check": lambda: cost_table(load_recipe("quickstart")),
    "check of a sweep": lambda: cost_of_cells(read_cells(["quickstart", "quickstart-pgd-at"], seeds=[0, 1, 2, 12])),
}
TABLES |= {
    f"recipes, {table.title.strip()}": lambda table=table: table
    for table in recipe_tables()
    if not isinstance(table, str)
}


def printed(table, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


def figures(text):
    return Counter(FIGURE.findall(text))


def cells(table, numbers):
    return figures("\n".join(" ".join(row[number]) for row in table.rows for number in numbers))


def left_out(text):
    """Headings of the columns that a table says it does not show."""
    note = re.search(r"columns,\s+but\s+in\s+a\s+wider\s+terminal:\s+(.*?)(\n *\n|$)", text, flags=re.DOTALL)
    return [] if note is None else " ".join(note[1].split()).split("; ")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", TABLES)
def test_no_figure_is_cut(name, width):
    table = TABLES[name]()
    table.title, table.caption = "", None
    text = printed(table, width)
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    gone = left_out(text)
    shown = [number for number, column in enumerate(table.columns) if column.line not in gone]
    of_figures = [number for number in shown if table.columns[number].justify == "right" or not table.header]
    assert cells(table, of_figures) <= figures(text)
    headings = figures(" ".join(column.line for column in table.columns))
    assert set(figures(text)) <= {*cells(table, shown), *headings, str(width)}  # a cut one would be another


def narrow_table():
    table = PlainTable("runs", "what they are")
    table.add_column("run", no_wrap=True)
    table.add_column("robust", justify="right")
    table.add_column("cost", justify="right", drop=1)
    table.add_column("class", justify="right", drop=2)
    table.add_row("one-run", ("51.53", "[36.2, 48.5]"), ("123F", "456B"), "12.34")
    return table


def lines(table, width):
    return [line.split() for line in printed(table, width).splitlines() if line.strip()]


def test_radii_in_l2_are_not_shown_in_px():
    text = printed(summary_table(CLASSES, 128, "l2"), 200)
    assert "radii after epoch 128, L2 norm" in text
    assert f"{18.12 / 255:.3f}" in text
    assert "px" not in text
    assert "18.12" in printed(summary_table(CLASSES, 128), 200)


def test_radii_say_that_predictions_are_of_images_without_attack():
    assert "correct: of the training images without attack" in printed(summary_table(CLASSES, 128), 80)
    earlier = [{**row, "accuracy": None} for row in CLASSES]
    assert "correct:" not in printed(summary_table(earlier, 1), 80)


def test_a_wide_table_has_a_line_a_row():
    assert ["one-run", "51.53", "[36.2,", "48.5]", "123F", "456B", "12.34"] in lines(narrow_table(), 80)


def test_parts_of_a_cell_are_under_one_another_where_there_is_less_room():
    found = lines(narrow_table(), 38)
    assert ["one-run", "51.53", "123F", "12.34"] in found
    assert ["[36.2,", "48.5]", "456B"] in found


def test_parts_of_a_cell_stay_beside_one_another_below_a_heading_that_is_as_wide():
    table = PlainTable("attacks")
    table.add_column("attack", no_wrap=True)
    table.add_column("passes/sample", justify="right")
    table.add_column("accuracy after it", justify="right")
    table.add_row("pgd-20", ("16F", "15B"), "6.67")
    table.add_row("pgd-50", ("256F", "250B"), "3.33")
    assert ["pgd-20", "16F", "15B", "6.67"] in lines(table, 34)
    assert ["accuracy"] in lines(table, 34)  # which is the narrow layout


def test_columns_are_left_out_in_their_order_and_named():
    table = narrow_table()
    at_32, at_24 = lines(table, 32), lines(table, 24)
    table.caption = None
    assert ["one-run", "51.53", "12.34"] in at_32
    assert left_out(printed(table, 32)) == ["cost"]
    assert ["one-run", "51.53"] in at_24
    assert left_out(printed(table, 24)) == ["cost", "class"]


def test_where_nothing_else_fits_a_row_is_a_block_with_everything():
    table = narrow_table()
    table.add_column("n", justify="right")
    table.rows[0] = (*table.rows[0], ("1000",))
    assert lines(table, 24) == [
        ["runs"], ["one-run"], ["robust", "51.53"], ["[36.2,", "48.5]"], ["cost", "123F", "456B"], ["class", "12.34"],
        ["n", "1000"], ["what", "they", "are"],
    ]  # fmt: skip


def test_names_are_broken_at_hyphens():
    table = PlainTable("")
    table.add_column("run", no_wrap=True)
    table.add_column("clean", justify="right")
    table.add_row("cifar10-resnet18-iaat-paper", "97.68")
    assert lines(table, 30)[-2:] == [["cifar10-resnet18-iaat-", "97.68"], ["paper"]]


def test_facts_are_beside_their_names():
    table = facts_table("costs")
    table.add_row("training samples", "45,000 of the 50,000 of cifar10")
    assert ["training", "samples", "45,000", "of", "the", "50,000", "of", "cifar10"] in lines(table, 80)
    assert "50,000" in printed(table, 30)


def test_quarters_of_radii_in_l2_are_norms_with_three_digits():
    row = evaluated("a run", 0, 0.8, 0.5, 0.4)
    low, high = (end / 255 for end in row.radii[0].radius_px)
    table = quarters_table("a run", row.radii, unit_of("l2"))
    assert table.columns[0].heading == "radius L2"
    assert f"{low:.3f} to {high:.3f}" in printed(table, 120)
