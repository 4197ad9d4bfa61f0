"""From a recipe to results: train, judge on the test set once, write radii and pictures; and several of these."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iaat.analysis import TradeoffPoint, tradeoff
from iaat.analysis.of_run import draw_run, write_radii
from iaat.config import Recipe
from iaat.costs import untrained_model
from iaat.data import DataBundle, data_facts
from iaat.device import pick_device, uses_bfloat16
from iaat.errors import UserError
from iaat.evaluate.checkpoints import evaluate_checkpoint, stored_results, training_predictions
from iaat.files import write_json
from iaat.progress import Reporter
from iaat.run import RunFolder, differences
from iaat.train.loop import train

CHECKPOINTS = ("best", "last")


def run_recipe(
    recipe: Recipe, run: RunFolder, reporter: Reporter, *, resume: bool = False, overwrite: bool = False
) -> list[dict[str, Any]]:
    """Train a recipe to the end, evaluate its best and last checkpoint on the test set, write radii and pictures.

    Returns:
        The results of the two evaluations.

    Raises:
        UserError: the folder holds another run, or anything is wrong with recipe or data.
    """
    _check_norms(recipe)
    if resume and not run.has_results():
        reporter.say(f"nothing to resume in {run.path}: starting from the first epoch")
    recipe = _resolved(recipe, run if resume else None)
    data = train(recipe, run, reporter, resume=resume, overwrite=overwrite)
    results = [evaluate_checkpoint(run, recipe, which, data, reporter) for which in CHECKPOINTS]
    write_pictures(run, recipe, data, reporter)
    return results


def _check_norms(recipe: Recipe) -> None:
    norm = getattr(recipe.method, "norm", recipe.evaluate.norm)
    if norm != recipe.evaluate.norm:
        raise UserError(
            f"method.norm is {norm} and evaluate.norm {recipe.evaluate.norm}, which also selects the best epoch: set "
            f"evaluate.norm {norm} and its evaluate.radius; `iaat evaluate RUN` judges in the other norm later"
        )


def _resolved(recipe: Recipe, run: RunFolder | None) -> Recipe:
    """The recipe with `precision: auto` decided: by the run that is resumed, so that it goes on as it began."""
    old = run.recipe() if run is not None and run.has_results() else None
    precision = recipe.train.precision
    if precision == "auto" and old is not None:
        precision = old.train.precision
    if precision == "auto":
        precision = "bf16" if uses_bfloat16("auto", pick_device(recipe.train.device)) else "fp32"
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, precision=precision))
    if run is not None and old is not None:
        _check_same_recipe(old, recipe, run)
    return recipe


def _check_same_recipe(old: Recipe, new: Recipe, run: RunFolder) -> None:
    changed = differences(old, new)
    if changed:
        raise UserError(
            f"{run.path} holds a run of another recipe, which cannot be resumed: {'; '.join(changed)}. "
            "Use the same settings, --overwrite, or another --out"
        )


def write_pictures(run: RunFolder, recipe: Recipe, data: DataBundle, reporter: Reporter) -> list[Path]:
    """Write the table of radii (where the method has any) and all pictures; returns the pictures' files."""
    table = None
    if run.radii_epochs():
        table, _ = write_radii(run, data.train, training_predictions(run, recipe, data, reporter))
    uniform = getattr(recipe.method, "radius", None)
    return draw_run(run, data.train, table, None if uniform is None else uniform * 255)


def compare(
    recipes: Sequence[Recipe], out: Path, reporter: Reporter, *, checkpoint: str = "best"
) -> list[dict[str, Any]]:
    """Bring every run to its end (finished ones are read, interrupted ones resumed) and write the comparison.

    Args:
        recipes: One for each run, so one for each recipe and seed.
        out: Folder of the run folders, of `comparison.json` and of `tradeoff.png`.
        reporter: Shows progress.
        checkpoint: Which of a run's checkpoints stands for it, `best` or `last`.
    """
    runs = [RunFolder(out / f"{recipe.name}-seed{recipe.seed}") for recipe in recipes]
    _check_comparable(recipes, runs)
    rows = []
    for number, (recipe, run) in enumerate(zip(recipes, runs, strict=True), start=1):
        reporter.say(f"run {number}/{len(recipes)}: {run.path}")
        rows += [row for row in _results(recipe, run, reporter) if row["checkpoint"] == checkpoint]
    write_json(out / "comparison.json", rows)
    points = [TradeoffPoint(row["run"], row["accuracy"]["clean"], row["accuracy"]["worst"]) for row in rows]
    tradeoff(points, out / "tradeoff.png", robust_name=f"accuracy under {rows[0]['attack']}, worst case")
    return rows


def _check_comparable(recipes: Sequence[Recipe], runs: Sequence[RunFolder]) -> None:
    """Find what would stop the comparison before the first of its runs is trained."""
    if twice := [run.path.name for run in runs if runs.count(run) > 1]:
        raise UserError(f"two recipes would share the run folder {twice[0]}: rename one of the files")
    first = recipes[0]
    for recipe, run in zip(recipes, runs, strict=True):
        if recipe.evaluate != first.evaluate:
            raise UserError(
                f"recipes {first.name} and {recipe.name} are judged by different attacks (section evaluate): give one "
                "for all, such as --evaluate.radius 8px --evaluate.steps 20"
            )
        _check_norms(recipe)
        if run.has_results():
            _resolved(recipe, run)
        else:
            run.check_free(overwrite=False)
            untrained_model(recipe, data_facts(recipe.data))


def _results(recipe: Recipe, run: RunFolder, reporter: Reporter) -> list[dict[str, Any]]:
    if run.has_results():
        stored = [stored_results(run, which, recipe.evaluate) for which in CHECKPOINTS]
        if all(stored):
            return [row for row in stored if row]
    return run_recipe(recipe, run, reporter, resume=run.has_results())
