"""Evaluations pooled over seeds: means with intervals, differences that hold or are ties, the frontier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from statistics import mean

import numpy as np

from iaat.evaluate.mean_accuracy import mean_accuracy
from iaat.evaluate.results import CLEAN
from iaat.evaluate.sample_records import SampleRecords
from iaat.report.recipe_parts import recipe_parts
from iaat.report.report_content import ReportContent, RunPart
from iaat.report.result_content import EvaluationRow, Pooled, RecipePart
from iaat.statistics import Difference, means_difference, paired_difference, seed_difference, unpaired_difference

_ROBUST = "robust"
"""Key of the accuracy after all attacks, beside `clean`."""

Records = Mapping[int, SampleRecords]
"""Test samples of evaluations by their place; evaluations without are compared unpaired."""

Differ = Callable[[Pooled, Pooled, str], Difference]
"""Gives how much higher an accuracy of one recipe is than that of another, as `accuracy_difference`."""

_KINDS = [(checkpoint, weights) for checkpoint in ("best", "last") for weights in ("ema", "raw")]
"""What evaluations are of, the preferred first; a run without EMA has one kind of weights, which fits both."""


def pool_by_suite(
    recipes: Sequence[RecipePart],
    runs: Sequence[RunPart],
    evaluations: Sequence[EvaluationRow],
    records: Records | None = None,
) -> list[Pooled]:
    """Pool the evaluations of each recipe by suite and number of samples, the suite of most recipes first.

    Recipes are compared by one checkpoint and kind of weights: those that most of them were evaluated by. One that was
    not has a suite of its own, which names its checkpoint: a best epoch against a last one is no comparison.

    Args:
        recipes: The recipes.
        runs: Their runs.
        evaluations: All evaluations.
        records: Test samples of evaluations, for paired differences.
    """
    suites: dict[tuple[str, int], list[int]] = {}
    for place, row in enumerate(evaluations):
        suites.setdefault((row.suite, row.n), []).append(place)
    groups = [group for places in suites.values() for group in _groups(recipes, places, evaluations)]
    groups.sort(key=lambda rows: (-len(rows), -_strength(rows[0])))
    compared = [_compared(rows, recipes, runs, evaluations, records or {}) for rows in groups]
    return [row for rows in compared for row in rows]


def _groups(
    recipes: Sequence[RecipePart], places: Sequence[int], evaluations: Sequence[EvaluationRow]
) -> list[list[Pooled]]:
    """Pool the evaluations of one suite; recipes that can be compared come together, the most of them first."""
    found: list[list[Pooled]] = []
    runs = {evaluations[place].run for place in places}
    left = [number for number, recipe in enumerate(recipes) if runs & set(recipe.runs)]
    while left:
        kinds = [[place for place in places if _is_of(evaluations[place], kind)] for kind in _KINDS]
        choices = {kind: _by_recipe(recipes, left, some, evaluations) for kind, some in zip(_KINDS, kinds, strict=True)}
        # Of equals the first: `max` keeps the order of the kinds. What is of none of them is taken as it is.
        kind, most = max(choices.items(), key=lambda item: (len(item[1]), sum(map(len, item[1].values()))))
        chosen = most or _by_recipe(recipes, left, places, evaluations)
        rows = [_pooled(number, own, evaluations) for number, own in chosen.items()]
        name = f"{rows[0].suite}, {kind[0]} checkpoint{', raw weights' * (kind[1] == 'raw')}"
        found.append([replace(row, suite=name) for row in rows] if found else rows)
        left = [number for number in left if number not in chosen]
    return found


def _is_of(row: EvaluationRow, kind: tuple[str, str]) -> bool:
    return row.checkpoint == kind[0] and row.weights in (None, kind[1])


def _by_recipe(
    recipes: Sequence[RecipePart], numbers: Sequence[int], places: Sequence[int], evaluations: Sequence[EvaluationRow]
) -> dict[int, list[int]]:
    """Return the evaluations among `places` of each of some recipes that has any, one a run."""
    by_run: dict[int, int] = {}
    for place in places:
        by_run.setdefault(evaluations[place].run, place)
    found = {number: [by_run[run] for run in recipes[number].runs if run in by_run] for number in numbers}
    return {number: own for number, own in found.items() if own}


def _strength(row: Pooled) -> int:
    """Return the number of attacks, AutoAttack before any number of others."""
    return len(row.attacks) + 100 * has_autoattack(row.attacks)


def has_autoattack(attacks: Mapping[str, object]) -> bool:
    """Return whether AutoAttack is among the attacks, by their titles."""
    return any(name.casefold() == "autoattack" for name in attacks)


def _pooled(recipe: int, places: Sequence[int], evaluations: Sequence[EvaluationRow]) -> Pooled:
    rows = [evaluations[place] for place in places]
    first = rows[0]
    gaps = [row.gap for row in rows if row.gap is not None]
    return Pooled(
        recipe=recipe,
        suite=first.suite,
        checkpoint=first.checkpoint,
        weights=first.weights,
        n=first.n,
        evaluations=list(places),
        clean=mean_accuracy([row.clean for row in rows], max(first.n, 1)),
        attacks={
            name: mean_accuracy([row.attacks[name] for row in rows], max(first.n, 1))
            for name in first.attacks
            if all(name in row.attacks for row in rows)
        },
        gap=mean(gaps) if len(gaps) == len(rows) else None,
        worst_case=first.worst_case,
    )


def _compared(
    rows: Sequence[Pooled],
    recipes: Sequence[RecipePart],
    runs: Sequence[RunPart],
    evaluations: Sequence[EvaluationRow],
    records: Records,
) -> list[Pooled]:
    """Add the differences from the baseline of each recipe, and mark the frontier."""
    by_recipe = {row.recipe: row for row in rows}

    @cache
    def cached_difference(first: int, second: int, key: str) -> Difference:
        return accuracy_difference(by_recipe[first], by_recipe[second], key, runs, evaluations, records)

    def differ(first: Pooled, second: Pooled, key: str) -> Difference:
        return cached_difference(first.recipe, second.recipe, key)

    corners = frontier(rows, differ)
    natural = next((row for row in rows if recipes[row.recipe].method == "natural"), None)
    return [
        _with_differences(
            replace(row, on_frontier=row.recipe in corners), baseline_of(row, rows, recipes, differ), natural, differ
        )
        for row in rows
    ]


def _with_differences(row: Pooled, other: Pooled | None, natural: Pooled | None, differ: Differ) -> Pooled:
    if natural is not None and natural.recipe != row.recipe:
        row = replace(row, natural_against=differ(row, natural, CLEAN))
    if other is None:
        return row
    clean, robust = (differ(row, other, key) for key in (CLEAN, _ROBUST))
    return replace(row, against=other.recipe, clean_against=clean, robust_against=robust)


def baseline_of(row: Pooled, rows: Sequence[Pooled], recipes: Sequence[RecipePart], differ: Differ) -> Pooled | None:
    """Return what a recipe is compared with: one radius for all images (PGD-AT), else natural training.

    Of several uniform radii it is the most robust of those with a clean accuracy not below the recipe's, or else the
    most robust of all. PGD-AT itself is compared with natural training.
    """
    own = recipes[row.recipe]
    if own.method == "natural":
        return None
    uniform = [] if own.uniform else [each for each in rows if recipes[each.recipe].uniform]
    there = uniform or [each for each in rows if recipes[each.recipe].method == "natural"]
    close = [each for each in there if not _is_worse(differ(each, row, CLEAN))]
    return max(close or there, key=lambda each: each.robust.mean, default=None)


def accuracy_difference(
    first: Pooled,
    second: Pooled,
    key: str,
    runs: Sequence[RunPart],
    evaluations: Sequence[EvaluationRow],
    records: Records | None = None,
) -> Difference:
    """Return how much higher an accuracy of one recipe is than that of another.

    Runs of one seed are compared with each other; where no seed is in both, the means over the seeds.

    Args:
        first, second: Two recipes of one suite.
        key: `clean` or `robust`.
        runs: All runs.
        evaluations: All evaluations.
        records: As of `pool_by_suite`.
    """
    seeds = [{runs[evaluations[place].run].seed: place for place in row.evaluations} for row in (first, second)]
    shared = [(place, seeds[1][seed]) for seed, place in seeds[0].items() if seed in seeds[1]]
    if not shared and max(len(first.evaluations), len(second.evaluations)) > 1:
        one, other = ([_accuracy(evaluations[place], key) for place in row.evaluations] for row in (first, second))
        return means_difference(one, other, max(first.n, 1), max(second.n, 1))
    pairs = shared or [(first.evaluations[0], second.evaluations[0])]
    found = [_pair(evaluations, *pair, key, records or {}) for pair in pairs]
    return found[0] if len(found) == 1 else seed_difference(found)


def _pair(evaluations: Sequence[EvaluationRow], one: int, other: int, key: str, records: Records) -> Difference:
    left, right = records.get(one), records.get(other)
    if left is not None and right is not None and np.array_equal(left.index, right.index):
        is_good = [each.is_correct if key == CLEAN else each.is_robust for each in (left, right)]
        gained, lost = int((is_good[0] & ~is_good[1]).sum()), int((~is_good[0] & is_good[1]).sum())
        return paired_difference(gained, lost, len(left.index))
    rows = [evaluations[place] for place in (one, other)]
    values = [_accuracy(row, key) for row in rows]
    return unpaired_difference(values[0], values[1], max(rows[0].n, 1), max(rows[1].n, 1))


def _accuracy(row: EvaluationRow, key: str) -> float:
    return row.clean if key == CLEAN else row.robust


def frontier(rows: Sequence[Pooled], differ: Differ) -> list[int]:
    """Return the recipes at the corners of the frontier, from the highest clean accuracy on.

    Only differences that hold count. A recipe is dominated by one that is higher in one accuracy and no lower in the
    other, and of recipes that tie with the corner before them in one of the two accuracies there is no further corner.
    """
    kept = [row for row in rows if not any(_dominates(other, row, differ) for other in rows if other is not row)]
    ordered = sorted(kept, key=lambda row: (-row.clean.mean, -row.robust.mean))
    corners: list[Pooled] = []
    for row in ordered:
        if not corners or (differ(row, corners[-1], _ROBUST).holds and differ(row, corners[-1], CLEAN).holds):
            corners.append(row)
    return [row.recipe for row in corners]


def _dominates(one: Pooled, other: Pooled, differ: Differ) -> bool:
    found = [differ(one, other, key) for key in (CLEAN, _ROBUST)]
    return any(map(_is_better, found)) and not any(map(_is_worse, found))


def _is_better(found: Difference) -> bool:
    return found.holds and found.mean > 0


def _is_worse(found: Difference) -> bool:
    return found.holds and found.mean < 0


def with_pooled_results(content: ReportContent, records: Records | None = None) -> ReportContent:
    """Return a content with its recipes and pooled results, and a note of those that cannot be compared.

    Args:
        content: Runs, differences and evaluations of a report.
        records: As of `pool_by_suite`.
    """
    recipes = recipe_parts(content.runs, content.differences)
    pooled = pool_by_suite(recipes, content.runs, content.evaluations, records)
    notes = [*content.notes, *_not_compared(recipes, pooled, content.evaluations)]
    return replace(content, recipes=recipes, pooled=pooled, notes=notes)


def _not_compared(
    recipes: Sequence[RecipePart], pooled: Sequence[Pooled], evaluations: Sequence[EvaluationRow]
) -> list[str]:
    """Return a note for each group of recipes that is kept apart from the others of the same suite."""
    apart: dict[tuple[str, str], list[Pooled]] = {}
    for row in pooled:
        if row.suite != (suite := evaluations[row.evaluations[0]].suite):
            apart.setdefault((suite, row.suite.removeprefix(suite).removeprefix(", ")), []).append(row)
    return [
        f"under {suite} {', '.join(recipes[row.recipe].name for row in rows)}: not compared with the other recipes, "
        f"which have no figures of the {kind}; evaluate all with --checkpoint {rows[0].checkpoint}"
        f"{' --weights raw' * kind.endswith('raw weights')}"
        for (suite, kind), rows in apart.items()
    ]


def row_of(content: ReportContent, row: Pooled, recipe: int | None) -> Pooled:
    """Return the pooled evaluations of another recipe by the suite and number of samples of `row`."""
    return next(each for each in content.pooled if each.recipe == recipe and (each.suite, each.n) == (row.suite, row.n))


def shared_seeds(content: ReportContent, row: Pooled) -> list[int]:
    """Return the seeds that a recipe and what it is compared with both have."""
    rows = [row, row_of(content, row, row.against)]
    seeds = [{content.runs[content.evaluations[place].run].seed for place in each.evaluations} for each in rows]
    return sorted(seeds[0] & seeds[1])
