"""Evaluations pooled over seeds, and the frontier through differences that hold."""

import pytest

from helpers.report_content import rich
from iaat.analysis.style import series_numbers
from iaat.report.pooled_results import accuracy_difference, frontier, row_of, with_pooled_results
from iaat.report.report_content import ReportContent, RunPart
from iaat.report.result_content import EvaluationRow
from iaat.statistics import spread


def content(points, n=1000):
    """One recipe a name, one run a point: clean and robust accuracy."""
    runs, evaluations = [], []
    for name, found in points.items():
        for seed, (clean, robust) in enumerate(found):
            evaluations.append(
                EvaluationRow(len(runs), "best", None, "quick", "", [], n, clean, {"apgd": robust}, {}, None, 1.0)
            )
            runs.append(RunPart(f"{name} seed {seed}", name, name.split("-")[0], seed, 1, {}, 1.0, 1.0, 1.0, {}))
    return with_pooled_results(ReportContent("", "", [], runs, evaluations))


def corners(points, **more):
    made = content(points, **more)
    return [made.recipes[row.recipe].name for row in made.pooled if row.on_frontier]


def test_means_and_intervals_are_those_of_the_seeds():
    (row,) = content({"iaat": [(0.8, 0.4), (0.82, 0.44), (0.84, 0.41)]}).pooled
    over = spread([0.4, 0.44, 0.41])
    assert row.evaluations == [0, 1, 2]
    assert row.robust.mean == pytest.approx(over.mean)
    assert row.robust.interval95 == pytest.approx(over.interval)
    assert row.robust.sd == pytest.approx(over.sd)


def test_the_preferred_checkpoint_of_each_run_counts_and_suites_stay_apart():
    made = rich(runs=5)
    assert {row.checkpoint for row in made.pooled} == {"best"}
    assert len({row.suite for row in made.pooled}) == 1
    assert sorted(place for row in made.pooled for place in row.evaluations) == [0, 2, 4, 6, 8]


def test_a_difference_that_does_not_hold_makes_no_corner():
    apart = {"natural": [(0.95, 0.05)], "iaat": [(0.85, 0.40)], "pgd_at": [(0.75, 0.50)]}
    assert corners(apart) == ["natural", "iaat", "pgd_at"]
    assert corners({**apart, "pgd_at": [(0.75, 0.41)]}) == ["natural", "iaat"]
    tie = {**apart, "pgd_at": [(0.845, 0.405)]}
    assert len(corners(tie)) == 2
    assert corners(apart, n=8) != corners(apart)


def test_what_is_lower_in_one_and_no_higher_in_the_other_is_not_on_the_frontier():
    assert corners({"natural": [(0.951, 0.0)], "iaat": [(0.95, 0.40)]}) == ["iaat"]


def test_runs_of_one_seed_are_compared_with_each_other():
    made = content({"a": [(0.8, 0.40), (0.8, 0.50)], "b": [(0.8, 0.30), (0.8, 0.40)]})
    first, second = made.pooled
    found = accuracy_difference(first, second, "robust", made.runs, made.evaluations)
    assert found.mean == pytest.approx(0.1)
    assert found.holds
    assert frontier(made.pooled, lambda a, b, key: accuracy_difference(a, b, key, made.runs, made.evaluations)) == [0]


def test_a_method_has_its_number_in_every_picture_and_no_number_is_there_twice():
    assert series_numbers(["natural", "iaat"]) == [2, 0]
    numbers = series_numbers(["pgd_at", "pgd_at", "iaat", "my:Method", "pgd_at"])
    assert (numbers[0], numbers[2]) == (1, 0)
    assert len(set(numbers)) == 5


def kind_of(text):
    checkpoint, *weights = text.split()
    return checkpoint, weights[0] if weights else None


def of_checkpoints(*rows):
    """A recipe a row: its name, and clean and robust accuracy by checkpoint and kind of weights; one seed."""
    runs = [RunPart(f"{name} seed 0", name, name, 0, 1, {}, 1.0, 1.0, 1.0, {}) for name, _ in rows]
    evaluations = [
        EvaluationRow(run, *kind_of(kind), "quick", "", [], 1000, clean, {"apgd": robust}, {}, None, 1.0)
        for run, (_, found) in enumerate(rows)
        for kind, (clean, robust) in found.items()
    ]
    return with_pooled_results(ReportContent("", "", [], runs, evaluations))


def test_recipes_are_compared_by_one_checkpoint_and_one_without_it_is_not():
    last = {"last": (0.8, 0.441)}
    both = of_checkpoints(("iaat", {"best": (0.8, 0.50), **last}), ("pgd_at", last))
    assert [(row.recipe, row.checkpoint, row.suite) for row in both.pooled] == [
        (0, "last", "quick"),
        (1, "last", "quick"),
    ]
    assert both.pooled[0].robust_against.mean == 0
    assert both.notes == []
    apart = of_checkpoints(("iaat", {"best": (0.8, 0.50)}), ("natural", {"best": (0.9, 0.0)}), ("pgd_at", last))
    assert [(row.recipe, row.suite, row.against) for row in apart.pooled] == [
        (0, "quick", 1),
        (1, "quick", None),
        (2, "quick, last checkpoint", None),
    ]
    assert apart.notes == [
        "under quick pgd_at: not compared with the other recipes, which have no figures of the last checkpoint; "
        "evaluate all with --checkpoint last"
    ]


def test_recipes_of_other_weights_are_compared_with_each_other_alone():
    """With the raw weights of a recipe go those of recipes without EMA, which have no others."""
    most = {"last ema": (0.8, 0.4)}
    apart = ("iaat", {"best raw": (0.8, 0.5)}), ("pgd_at", {"best": (0.8, 0.45)})
    found = of_checkpoints(("natural", most), ("trades", most), ("mart", most), *apart)
    name = "quick, best checkpoint, raw weights"
    assert [(row.recipe, row.suite) for row in found.pooled][3:] == [(3, name), (4, name)]
    assert (found.pooled[3].against, row_of(found, found.pooled[3], 4)) == (4, found.pooled[4])
    assert found.notes == [
        "under quick iaat, pgd_at: not compared with the other recipes, which have no figures of the best checkpoint, "
        "raw weights; evaluate all with --checkpoint best --weights raw"
    ]


def test_recipes_without_a_common_seed_are_compared_by_their_means():
    runs = [
        RunPart(f"{name} seed {seed}", name, name, seed, 1, {}, 1.0, 1.0, 1.0, {})
        for name, seed in (("iaat", 1), ("iaat", 2), ("iaat", 3), ("pgd_at", 0))
    ]
    evaluations = [
        EvaluationRow(run, "best", None, "quick", "", [], 1000, 0.8, {"apgd": robust}, {}, None, 1.0)
        for run, robust in enumerate((0.40, 0.50, 0.52, 0.45))
    ]
    row = with_pooled_results(ReportContent("", "", [], runs, evaluations)).pooled[0]
    assert row.robust_against.mean == pytest.approx(row.robust.mean - 0.45)
    assert (row.robust_against.holds, row.robust_against.by) == (False, "of 3 and 1 seeds, none of them shared")
