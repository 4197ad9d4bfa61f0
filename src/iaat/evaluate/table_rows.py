"""Rows of tables: no two runs that differ share a name, and equal checkpoints are one row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from iaat.evaluate.results import EvaluationResult


def table_rows(results: Sequence[EvaluationResult]) -> list[EvaluationResult]:
    """The results under names that differ.

    Where the recipe's name and the seed do not distinguish runs, a run goes by its folder; the name of the recipe stays
    in `recipe_name`. Checkpoints of one run that have equal weights are one row, such as `best = last`.

    Args:
        results: Results of evaluations, with the `folder` of their runs.
    """
    merged: dict[tuple[object, ...], EvaluationResult] = {}
    for number, row in enumerate(_by_folder(results)):
        key: tuple[object, ...] = _weights(row) or (number,)
        merged[key] = _joined(merged[key], row) if key in merged else row
    return list(merged.values())


def _by_folder(results: Sequence[EvaluationResult]) -> list[EvaluationResult]:
    """Ambiguous runs under the names of their folders."""
    recipes: dict[str, set[str | None]] = {}
    folders: dict[tuple[str, int | None], set[str | None]] = {}
    for row in results:
        recipes.setdefault(row.run, set()).add(row.recipe)
        folders.setdefault((row.run, row.seed), set()).add(row.folder)
    unclear = {row.run for row in results if len(recipes[row.run]) > 1 or len(folders[row.run, row.seed]) > 1}
    short = _short_names([row.folder for row in results if row.run in unclear and row.folder])
    return [replace(row, recipe_name=row.run, run=short[row.folder]) if row.folder in short else row for row in results]


def _short_names(folders: Sequence[str]) -> dict[str | None, str]:
    """The fewest last parts of each folder that distinguish it from the others."""
    unique = list(dict.fromkeys(folders))
    parts = {folder: Path(folder).parts for folder in unique}
    for length in range(1, max(map(len, parts.values()), default=0) + 1):
        names: dict[str | None, str] = {folder: "/".join(parts[folder][-length:]) for folder in unique}
        if len(set(names.values())) == len(unique):
            return names
    return {folder: folder for folder in unique}


def _weights(row: EvaluationResult) -> tuple[object, ...] | None:
    """What rows of the same weights of one run have in common, attacks included; None where it is not known."""
    if row.digests is None or row.checkpoint is None or not row.folder:
        return None
    return row.folder, row.digests.model, row.weights, _attack(row), row.n


def _attack(row: EvaluationResult) -> tuple[str, float]:
    """The attacks and their radius to the last digit: names have only a few."""
    return row.attack, float(row.evaluate.radius)


def _joined(one: EvaluationResult, other: EvaluationResult) -> EvaluationResult:
    if other.checkpoint in (None, one.checkpoint) or other.epoch is None:
        return one
    return replace(one, twins={**one.twins, other.checkpoint: other.epoch})


def groups_of_seeds(rows: Sequence[EvaluationResult]) -> list[list[EvaluationResult]]:
    """Rows that may be averaged over their seeds, those of one checkpoint, attack and number of samples together.

    Runs are seeds of each other where recipe and data are known and the same but for the seed, and no seed is there
    twice.

    Args:
        rows: As `table_rows` returns them.
    """
    groups: dict[tuple[object, ...], list[EvaluationResult]] = {}
    for row in rows:
        if row.seed is not None and row.recipe is not None:
            evaluation = ((row.checkpoint, *row.twins), _attack(row), row.n)
            key: tuple[object, ...] = (*evaluation, row.recipe, row.recipe_name or row.run, row.weights)
            groups.setdefault(key, []).append(row)
    several = {key: some for key, some in groups.items() if 1 < len(some) == len({row.seed for row in some})}
    names = [(key[:3], key[4:]) for key in several]
    tables: dict[tuple[object, ...], list[EvaluationResult]] = {}
    for key, some in several.items():
        # Two recipes of one name: their runs are named.
        twice = names.count((key[:3], key[4:])) > 1 or any(row.recipe_name is not None for row in some)
        name = f"{key[4]} ({', '.join(row.run for row in some)})" if twice else str(key[4])
        tables.setdefault(key[:3], []).extend(replace(row, run=name) for row in some)
    return list(tables.values())
