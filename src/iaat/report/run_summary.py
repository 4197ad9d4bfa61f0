"""Summaries of runs from their files alone: logs, results, recipes, radii of epochs."""

from __future__ import annotations

import dataclasses
import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from iaat.analysis.radius_summary import quantiles_by_class, radius_histograms
from iaat.config.recipe import Recipe
from iaat.errors import UserError
from iaat.evaluate.naming import attack_title, worst_case_name
from iaat.evaluate.results import CLEAN, WORST, EvaluationResult
from iaat.evaluate.results_table import with_worst
from iaat.report.report_content import Accuracies, Corruptions, Radii, RunPart, Stability
from iaat.report.result_content import EvaluationRow
from iaat.report.run_figures import series
from iaat.runs.epoch_record import EpochRecord
from iaat.runs.run_folder import RunFolder
from iaat.runtime.user_code import GIVEN, trusted_modules
from iaat.units import Norm, Radius, format_norm, unit_of


def run_parts(runs: Sequence[RunFolder], recipes: Sequence[Recipe]) -> list[RunPart]:
    """Return summaries of the runs, each under a name of its own.

    Raises:
        UserError: a log that cannot be read.
    """
    names = _names(runs, recipes)
    return [_run_part(run, recipe, name) for run, recipe, name in zip(runs, recipes, names, strict=True)]


def _names(runs: Sequence[RunFolder], recipes: Sequence[Recipe]) -> list[str]:
    """Return recipe and seed of each run, with the folder where two runs have the same."""
    plain = [f"{recipe.name} seed {recipe.seed}" for recipe in recipes]
    often = Counter(plain)
    named = [name if often[name] == 1 else f"{name} ({run.path.name})" for run, name in zip(runs, plain, strict=True)]
    often = Counter(named)
    return [name if often[name] == 1 else f"{name} #{number}" for number, name in enumerate(named, start=1)]


def _run_part(run: RunFolder, recipe: Recipe, name: str) -> RunPart:
    cost, records = run.training_cost(), _by_epoch(run, recipe)
    curves, quantiles = series(records, recipe.radius_norm)
    evaluate = recipe.evaluate
    return RunPart(
        name=name,
        folder=path_for_commands(run.path),
        method=recipe.method_name,
        seed=recipe.seed,
        epochs=len(records),
        hardware=run.facts().get("versions", {}),
        forwards=cost.get("train_forwards"),
        backwards=cost.get("train_backwards"),
        seconds=cost.get("train_seconds"),
        curves=curves,
        quantiles=quantiles,
        modules=trusted_modules((recipe.model.name, recipe.data.name, recipe.method_name)),
        norm=recipe.radius_norm,
        of_objects=GIVEN in (recipe.model.name, recipe.data.name),
        given_radii=getattr(recipe.method, "radii", None) is not None,
        softens_by_radius=getattr(recipe.method, "soft_by_radius", False),
        weighs_classes=getattr(recipe.method, "class_weights", "none") != "none",
        evaluated_at=None if hasattr(recipe.method, "radius") else (evaluate.radius.given, evaluate.norm),
    )


def path_for_commands(path: Path) -> str:
    """Return a path as commands take it; of one elsewhere the last part, because a page is given away."""
    whole = path.resolve()
    return str(whole.relative_to(Path.cwd())) if whole.is_relative_to(Path.cwd()) else whole.name


def _by_epoch(run: RunFolder, recipe: Recipe) -> list[EpochRecord | None]:
    """Return the record of every finished epoch, in their order; None where its line is missing or damaged."""
    most, records = recipe.train.epochs, run.metrics()
    if beyond := [record.epoch for record in records if record.epoch > most]:
        warnings.warn(
            f"{run.metrics_file} has epoch {beyond[0]} of {most}; left out: it shows in no curve", stacklevel=4
        )
    by_number, numbers = {record.epoch: record for record in records}, range(1, run.epochs_done(most) + 1)
    if lost := [number for number in numbers if number not in by_number]:
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        warnings.warn(f"{run.metrics_file} has no epoch {lost[0]}{more}: a gap in the curves", stacklevel=4)
    return [by_number.get(number) for number in numbers]


def evaluation_row(number: int, row: EvaluationResult) -> EvaluationRow:
    """Return an evaluation of run number `number`."""
    attacks = with_worst(row.attacks)
    pgd = next((row.accuracy[name] for name in row.attacks if name.startswith("pgd")), None)
    return EvaluationRow(
        run=number,
        checkpoint=row.checkpoint or "-",
        weights=row.weights,
        suite=row.attack,
        verdict=row.verdict,
        findings=[dataclasses.asdict(finding) for finding in row.findings],
        n=row.n,
        clean=row.accuracy[CLEAN],
        attacks={attack_title(name): row.accuracy[name] for name in attacks},
        interval95={CLEAN: row.interval95[CLEAN]} | {attack_title(name): row.interval95[name] for name in attacks},
        gap=None if pgd is None else pgd - row.accuracy[WORST],
        seconds=row.seconds,
        worst_case=worst_case_name(row),
        radius=row.evaluate.radius.given,
        norm=row.evaluate.norm,
    )


def accuracies(results: Sequence[tuple[int, EvaluationResult]]) -> list[Accuracies]:
    """Return accuracy against the radius, of evaluations that measured it."""
    return [
        Accuracies(
            run=number,
            checkpoint=row.checkpoint or "-",
            radius=[unit_of(row.curve.norm).scale * radius for radius in row.curve.radius],
            accuracy=list(row.curve.accuracy),
            expected=row.curve.expected_robustness,
            weights=row.weights,
            suite=row.attack,
            n=row.n,
            norm=row.curve.norm,
        )
        for number, row in results
        if row.curve is not None
    ]


def corruptions(results: Sequence[tuple[int, EvaluationResult]]) -> list[Corruptions]:
    """Return accuracy on corruptions, of evaluations that measured it."""
    return [
        Corruptions(
            run=number,
            checkpoint=row.checkpoint or "-",
            accuracy={name: list(each) for name, each in row.corruptions.accuracy.items()},
            weights=row.weights,
            suite=row.attack,
            n=row.n,
            source=row.corruptions.source,
            severities=list(row.corruptions.severities),
        )
        for number, row in results
        if row.corruptions is not None
    ]


def recipe_comparison(recipes: Sequence[Recipe]) -> list[tuple[str, list[str]]]:
    """Return the settings in which runs differ, by dotted key, with the value in each; "" where one has none.

    Settings that only some of the methods have are shown where a run has changed them.
    """
    flat = [{key: _setting(recipe, key, value) for key, value in recipe.dotted().items()} for recipe in recipes]
    usual = [_usual(recipe) for recipe in recipes]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    rows = [(key, [settings.get(key, "") for settings in flat]) for key in keys if key != "about"]

    def is_shown(key: str) -> bool:
        shared = all(key in settings for settings in flat)
        return shared or any(key in own and own[key] != known.get(key) for own, known in zip(flat, usual, strict=True))

    return [(key, values) for key, values in rows if len(set(values)) > 1 and is_shown(key)]


def _usual(recipe: Recipe) -> dict[str, str]:
    """Return the defaults of the method's settings, by dotted key."""
    fields = dataclasses.fields(recipe.method)
    return {f"method.{field.name}": _text(field.default, recipe.radius_norm) for field in fields}


def _setting(recipe: Recipe, key: str, value: object) -> str:
    """Return the text of a setting; `value` is what YAML has."""
    section, _, name = key.partition(".")
    config = getattr(recipe, section)
    given = getattr(config, name, None) if name else None
    return _text(given if isinstance(given, Radius) else value, getattr(config, "norm", recipe.evaluate.norm))


def _text(value: object, norm: Norm) -> str:
    if value is None:
        return "none"
    if isinstance(value, Radius) and norm == "l2":
        return format_norm(value, norm, digits=8)
    return str(value).lower() if isinstance(value, bool) else str(value)


def radii_part(
    number: int, run: RunFolder, labels: NDArray[np.int64] | None, classes: Sequence[str], norm: Norm
) -> Radii | None:
    """Return the radii of run number `number`; None for a method without.

    Args:
        number: Position of the run.
        run: Its folder.
        labels: Labels `[N]` of the training data; None where they are not known: nothing is said of classes.
        classes: Names of the classes.
        norm: Of the radii.

    Raises:
        UserError: a file of radii is damaged.
    """
    epochs = run.radii_epochs()
    if not epochs:
        return None
    history = radius_histograms({epoch: run.radii_after(epoch)[1] for epoch in epochs}, norm=norm)
    index, radius = run.radii_after(epochs[-1])
    by_class = [] if labels is None else quantiles_by_class(radius, labels[index], classes, norm=norm)
    return Radii(number, epochs, list(history.edges), [list(counts) for counts in history.counts], by_class)


def stabilities(runs: Sequence[RunFolder], fingerprints: Sequence[str]) -> list[Stability]:
    """Return the rank correlation of radii for pairs of runs on the same data.

    Args:
        runs: The runs.
        fingerprints: Of the training data of each.
    """
    last = {number: run.radii_after(run.radii_epochs()[-1]) for number, run in enumerate(runs) if run.radii_epochs()}
    pairs = [(a, b) for a, b in combinations(last, 2) if fingerprints[a] == fingerprints[b]]
    found = [(a, b, *_shared(last[a], last[b])) for a, b in pairs]
    return [
        Stability(a, b, float(spearmanr(left, right).statistic), len(left))
        for a, b, left, right in found
        if len(left) > 2 and np.ptp(left) > 0 and np.ptp(right) > 0
    ]


def _shared(
    left: tuple[NDArray[np.int64], NDArray[np.float32]], right: tuple[NDArray[np.int64], NDArray[np.float32]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    index, first, second = np.intersect1d(left[0], right[0], assume_unique=True, return_indices=True)
    assert len(index) == len(first)
    return left[1][first], right[1][second]


def check_runs(runs: Sequence[RunFolder]) -> None:
    """Check that every folder has something to show.

    Raises:
        UserError: naming the folder.
    """
    seen: set[Path] = set()
    for run in runs:
        if run.path.resolve() in seen:
            raise UserError(f"{run.path} is given twice: its figures would count as those of two seeds")
        seen.add(run.path.resolve())
        if not run.has_results():
            raise UserError(
                f"{run.path} holds no run with a finished epoch: give the --out of an `iaat train` that has got so far"
            )
