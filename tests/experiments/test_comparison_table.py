"""The table of recipes beside each other, from made-up results."""

import io
from dataclasses import replace

import pytest
from rich.console import Console
from rich.text import Text

from helpers.results import made_up
from iaat.cli.evaluation_output import evaluation_report
from iaat.config.evaluate_config import EvaluateConfig
from iaat.evaluate.findings import Finding, note
from iaat.evaluate.results import CleanAccuracy
from iaat.experiments.comparison_results import by_cell, comparison_row
from iaat.experiments.comparison_table import comparison_markdown, comparison_table
from iaat.statistics import wilson_interval
from iaat.units import Radius


def row(run, seed, clean, pgd, worst, **more):
    accuracy = {"clean": clean, "pgd-20": pgd, "screening": worst, "worst": worst}
    costs = {"train_forwards": 6.0, "train_backwards": 5.0, "train_seconds": 10.0 + seed}
    return made_up(accuracy, run=run, seed=seed, **costs, **more)


ROWS = [
    row("weak", 0, 0.80, 0.30, 0.28),
    row("strong", 1, 0.62, 0.50, 0.44, radius_mean_px=6.0),
    row("strong", 0, 0.60, 0.48, 0.40, radius_mean_px=5.0),
    row("strong", 2, 0.64, 0.49, 0.42, radius_mean_px=4.0),
    row("middle", 0, 0.70, 0.40, 0.35),
]


def shown(table, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


def lines(text):
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.split()[:1] != []}


def test_recipes_are_sorted_by_their_mean_worst_case_and_seeds_by_number():
    cells = by_cell(ROWS)
    assert list(cells) == ["strong", "middle", "weak"]
    assert [each.seed for each in cells["strong"]] == [0, 1, 2]


def test_summary_of_several_seeds_has_means_deviations_and_t_intervals():
    found = comparison_row(by_cell(ROWS)["strong"])
    worst = found.accuracy["worst"]
    assert worst.mean == pytest.approx(0.42)
    assert worst.sd == pytest.approx(0.02)
    half = 4.302653 * 0.02 / 3**0.5
    assert worst.interval95 == pytest.approx((0.42 - half, 0.42 + half), abs=1e-6)
    assert found.gap == pytest.approx((8 + 6 + 7) / 3)
    assert (found.seeds, found.radius_mean_px, found.train_seconds) == ((0, 1, 2), 5.0, 11.0)


def test_summary_of_one_seed_has_wilsons_interval_and_no_deviation():
    found = comparison_row(by_cell(ROWS)["weak"])
    for name in ("clean", "pgd-20", "worst"):
        figure = found.accuracy[name]
        assert figure.sd is None
        assert figure.interval95 == pytest.approx(wilson_interval(figure.mean, 500))
    assert found.radius_mean_px is None


def test_intervals_over_seeds_stay_between_0_and_1():
    rows = [row("natural", seed, 0.999 + seed / 1000, 0.01, seed / 100) for seed in (0, 1)]
    found = comparison_row(rows).accuracy
    assert found["worst"].interval95[0] == 0
    assert found["clean"].interval95[1] == 1


def test_the_table_shows_every_figure():
    found = lines(shown(comparison_table(ROWS, {"strong": "+1.50 ± 0.40 above", "middle": "curve"}), 160))
    assert [name for name in found if name in ("weak", "middle", "strong")] == ["strong", "middle", "weak"]
    assert found["strong"] == [
        *("0-2", "62.00", "±", "2.00", "49.00", "±", "1.00", "42.00", "±", "2.00", "[37.0,", "47.0]"),
        *("7.00", "5.00", "6.0F", "5.0B", "11", "+1.50", "±", "0.40", "above"),
    ]
    low, high = wilson_interval(0.28, 500)
    assert f"28.00 [{100 * low:.1f}, {100 * high:.1f}] - 2.00 - 6.0F" in " ".join(found["weak"])
    assert found["middle"][-1] == "curve"
    assert found["weak"][-1] == "-"


def test_there_is_a_column_for_the_curve_and_one_for_intervals_only_where_they_are_needed():
    several, single = shown(comparison_table(ROWS), 160), shown(comparison_table([ROWS[0]]), 160)
    assert "95 % of" in several
    assert "95 % of" not in single
    assert "above" not in several
    text = shown(comparison_table(ROWS, {}), 160)
    assert "true distance is smaller" in " ".join(text.split())


def test_clean_accuracy_on_all_test_samples_has_a_column_where_fewer_are_attacked():
    def with_all(each, accuracy, n=10_000):
        return replace(each, clean_all=CleanAccuracy(accuracy, n, wilson_interval(accuracy, n)))

    rows = [*(with_all(each, 0.61 + each.seed / 100) for each in ROWS[1:4]), with_all(ROWS[0], 0.82)]
    cell = comparison_row(by_cell(rows)["strong"]).clean_all
    assert (cell.mean, cell.sd) == (pytest.approx(0.62), pytest.approx(0.01))
    assert comparison_row([rows[-1]]).clean_all.interval95 == wilson_interval(0.82, 10_000)
    text = shown(comparison_table(rows), 160)
    assert lines(text)["strong"][1:7] == ["62.00", "±", "2.00", "62.00", "±", "1.00"]
    assert "clean, all: on all 10,000 test samples, unattacked." in " ".join(text.split())
    assert "| clean | clean, all |" in comparison_markdown(rows)
    assert "clean, all" not in shown(comparison_table([with_all(ROWS[0], 0.8, n=500)]), 160)
    assert lines(shown(comparison_table([rows[0], ROWS[4]]), 160))["middle"][4] == "-"


@pytest.mark.parametrize("attacks", [("screening",), ("pgd-50x5", "autoattack")])
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("curve", [False, True])
def test_passes_stay_in_80_columns_and_a_line_names_what_does_not(attacks, seeds, curve):
    distance = "+10.50 one seed" if seeds == 1 else "+10.50 ± 10.40 above (2 of 3 seeds)"
    above = {"cifar10-small-iaat": distance} if curve else None
    accuracy = {"clean": 0.8, "pgd-20": 0.5, **dict.fromkeys(attacks, 0.4), "worst": 0.4}
    costs = {"train_forwards": 11.0, "train_backwards": 10.5, "train_seconds": 12345.0, "radius_mean_px": 7.5}
    clean = CleanAccuracy(0.81, 10_000, wilson_interval(0.81, 10_000))
    rows = [made_up(accuracy, run="cifar10-small-iaat", seed=seed, clean_all=clean, **costs) for seed in range(seeds)]
    table = comparison_table(rows, above)
    text = shown(table, 80)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "11.0F" in text
    assert "10.5B" in text
    assert "─" * 40 in text  # a table, not a block a row
    note = " ".join(text.split()).partition("not shown in 80 columns, but in a wider terminal: ")[2]
    assert {"gap", "train s"} <= {column.line for column in table.columns if column.line in note}


def test_a_table_of_three_seeds_fits_in_150_columns():
    rows = [row("uniform-10.5px", seed, 0.99 - seed / 10, 0.8, 0.7 - seed / 10, radius_mean_px=10) for seed in range(3)]
    text = shown(comparison_table(rows, {"uniform-10.5px": "+10.50 ± 10.40 above"}), 300)
    assert "+10.50 ± 10.40 above" in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 150


def test_trained_weights_have_lines_of_their_own():
    ema = [row("iaat", seed, 0.7, 0.4, 0.38, weights="ema") for seed in (0, 1)]
    raw = [row("iaat", seed, 0.6, 0.3, 0.28, weights="raw") for seed in (0, 1)]
    cells = by_cell([*ema, *raw])
    assert list(cells) == ["iaat", "iaat (raw weights)"]
    assert [len(rows) for rows in cells.values()] == [2, 2]
    assert "iaat (raw weights)" in shown(comparison_table([*ema, *raw]), 100)


@pytest.mark.parametrize(("seeds", "text"), [([0], "0"), ([1, 0], "0, 1"), ([2, 0, 1, 5], "0-2, 5"), ([7, 3], "3, 7")])
def test_seeds_in_a_row_are_shortened(seeds, text):
    rows = [row("one", seed, 0.6, 0.5, 0.4) for seed in seeds]
    assert f"| one | {text} |" in comparison_markdown(rows)


def test_markdown_has_the_figures_of_the_table_and_keeps_its_columns():
    text = comparison_markdown([*ROWS, row("a|b", 0, 0.9, 0.1, 0.05)], {"strong": "+1.50 above"})
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 4
    assert len({line.replace(r"\|", "").count("|") for line in table}) == 1
    assert table[2].startswith("| strong | 0-2 | 62.00 ± 2.00 | 49.00 ± 1.00 | 42.00 ± 2.00 | [37.0, 47.0] | 7.00 |")
    assert "quick PGD-20 8px linf; n = 500 test samples" in text
    assert "it is not AutoAttack" in text


def means(rows):
    """Names on the lines of means that `iaat evaluate` adds."""
    tables = [table for table in evaluation_report(rows) if not isinstance(table, str | Text)]
    return [" ".join(row[0]) for table in tables[1:] for row in table.rows]


def test_evaluate_pools_seeds_but_no_weights_and_no_runs_of_the_same_seed():
    rows = [
        row("iaat", seed, 0.7, 0.4, 0.38, weights=kind, recipe="digest") for seed in (0, 1) for kind in ("ema", "raw")
    ]
    assert means(rows) == ["iaat", "iaat (raw weights)"]
    assert means(rows[:2]) == []  # one seed of each
    twice = [row("pgd", seed, 0.7, 0.4, 0.38, recipe="digest") for seed in (0, 0, 1)]
    assert means(twice) == []
    assert means([replace(each, recipe=None) for each in rows]) == []  # of recipes that are not known


def findings_of(*models, said=lambda _: False):
    """Lines of findings in the output of `iaat evaluate` of models with these findings, by their seeds."""
    rows = [row("iaat", seed, 0.7, 0.4, 0.38, findings=found) for seed, found in enumerate(models)]
    return [each.plain for each in evaluation_report(rows, said) if isinstance(each, Text)][len(models) :]


def test_a_finding_is_printed_once_with_the_models_that_have_it():
    same, other = (note("few-samples", f"{count} of 40 are correct", "Evaluate more") for count in (12, 11))
    serious = Finding(name="random-outputs", evidence="they differ", advice="Switch it off")
    assert findings_of((same,)) == ["note few-samples (iaat seed 0 best): 12 of 40 are correct. Evaluate more"]
    assert findings_of((same, serious), (same,), (other,)) == [
        "note few-samples (iaat seed 0 best, iaat seed 1 best): 12 of 40 are correct; (iaat seed 2 best): 11 of 40 are "
        "correct. Evaluate more",
        "FINDING random-outputs (iaat seed 0 best): they differ. Switch it off",
    ]


def test_a_note_that_was_printed_before_the_attacks_is_not_printed_again():
    first, second = note("autoattack-classes", "3 classes", "Say so"), note("not-robust", "1 %", "Expected")
    assert findings_of((first, second), said={first.text()}.__contains__) == [
        "note not-robust (iaat seed 0 best): 1 %. Expected"
    ]


@pytest.mark.parametrize(
    ("verdict", "color"),
    [
        ("no sign of masking", "green"),
        ("do not trust PGD here: random-outputs", "red"),
        ("not checked for masking: add --suspicious", "yellow"),
    ],
)
def test_verdicts_come_after_the_tables_in_their_colour(verdict, color):
    *tables, last = evaluation_report([row("iaat", 0, 0.7, 0.4, 0.38, verdict=verdict)])
    assert tables
    assert not any(isinstance(table, Text) for table in tables)
    assert last.plain.endswith(verdict)
    assert color in str(last.style)


def in_l2(each, norm="l2"):
    return replace(each, trained_norm=norm)


def test_radii_in_l2_are_norms_with_three_digits():
    rows = [ROWS[0], *(in_l2(each) for each in ROWS[1:4])]
    text = shown(comparison_table(rows), 160)
    assert "L2" in text
    assert "px" not in text.replace(rows[0].attack, "")
    assert f"{5 / 255:.3f}" in lines(text)["strong"]
    assert f"| {5 / 255:.3f} |" in comparison_markdown(rows)
    assert "| radius L2 |" in comparison_markdown(rows)


def test_the_norm_of_the_evaluation_is_that_of_radii_where_the_training_is_not_known():
    rows = [replace(each, evaluate=EvaluateConfig(norm="l2", radius=Radius(0.5))) for each in ROWS]
    assert "| radius L2 |" in comparison_markdown(rows)
    assert "| radius px |" in comparison_markdown([in_l2(each, "linf") for each in rows])
    assert "| radius L2 |" in comparison_markdown([replace(each, radius_mean_px=None) for each in rows])


def test_radii_of_two_norms_have_their_units_beside_them():
    rows = [in_l2(replace(ROWS[4], radius_mean_px=127.5)), *ROWS[1:4]]
    text = comparison_markdown(rows)
    assert "| gap | radius | passes /step |" in text
    assert "| 0.500 L2 |" in text
    assert "| 5.00 px |" in text


def test_the_radius_is_dropped_in_a_narrow_terminal_whatever_its_unit():
    for rows in (ROWS, [in_l2(each) for each in ROWS], [in_l2(replace(ROWS[4], radius_mean_px=9)), *ROWS[1:4]]):
        (radius,) = [column for column in comparison_table(rows).columns if column.heading.startswith("radius")]
        assert radius.drop == 3
