"""From a recipe to results: train, judge on the test set once, write radii and pictures; and several of these."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.table import Table

from iaat.analysis import TradeoffPoint, tradeoff
from iaat.analysis.of_run import draw_run, write_radii
from iaat.config import Recipe
from iaat.data import DataBundle
from iaat.errors import UserError
from iaat.evaluate import plain_table
from iaat.evaluate.checkpoints import evaluate_checkpoint, predictions, stored_results
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
    if resume and run.has_results():
        _check_same_recipe(run.recipe(), recipe, run)
    data = train(recipe, run, reporter, resume=resume, overwrite=overwrite)
    results = [evaluate_checkpoint(run, recipe, which, data, reporter) for which in CHECKPOINTS]
    write_pictures(run, recipe, data)
    return results


def _check_same_recipe(old: Recipe, new: Recipe, run: RunFolder) -> None:
    changed = differences(old, new)
    if changed:
        raise UserError(
            f"{run.path} holds a run of another recipe, which cannot be resumed: {'; '.join(changed)}. "
            "Use the same settings, --overwrite, or another --out"
        )


def write_pictures(run: RunFolder, recipe: Recipe, data: DataBundle) -> list[Path]:
    """Write the table of radii (where the method has any) and all pictures; returns the pictures' files."""
    table = None
    if run.radii_epochs():
        table = write_radii(run, data.train, predictions(run, recipe, data.train, data.train_index))
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
    rows = []
    for number, recipe in enumerate(recipes, start=1):
        run = RunFolder(out / f"{recipe.name}-seed{recipe.seed}")
        reporter.say(f"run {number}/{len(recipes)}: {run.path}")
        rows += [row for row in _results(recipe, run, reporter) if row["checkpoint"] == checkpoint]
    write_json(out / "comparison.json", rows)
    points = [TradeoffPoint(row["run"], row["accuracy"]["clean"], row["accuracy"]["after_margin"]) for row in rows]
    tradeoff(points, out / "tradeoff.png", robust_name=f"accuracy under {rows[0]['attack']}, worst of CE and margin")
    return rows


def _results(recipe: Recipe, run: RunFolder, reporter: Reporter) -> list[dict[str, Any]]:
    if run.has_results():
        _check_same_recipe(run.recipe(), recipe, run)
        stored = [stored_results(run, which, recipe.evaluate) for which in CHECKPOINTS]
        if all(stored):
            return [row for row in stored if row]
    return run_recipe(recipe, run, reporter, resume=run.has_results())


def comparison_table(rows: Sequence[dict[str, Any]]) -> Table:
    """One line a recipe: mean over its seeds, with the seeds' standard deviation where there are several."""
    first = rows[0]
    title = f"accuracy in %, mean ± sd over seeds; {first['attack']}; n = {first['n']} test samples"
    caption = f"{first['checkpoint']} checkpoint. PGD: on cross-entropy. worst: also on the margin loss, per sample."
    table = plain_table(title, caption)
    for name in ("recipe", "seeds"):
        table.add_column(name, no_wrap=True)
    for name in ("clean", "PGD", "worst", "radius px", "passes/step", "train s"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in dict.fromkeys(row["run"] for row in rows):
        group = [row for row in rows if row["run"] == name]
        accuracies = [
            _spread([100 * row["accuracy"][key] for row in group]) for key in ("clean", "after_ce", "after_margin")
        ]
        radius = _spread([row["radius_mean_px"] for row in group]) if "radius_mean_px" in group[0] else "-"
        seeds = ", ".join(str(row["seed"]) for row in group)
        passes = (
            f"{mean(row['train_forwards'] for row in group):.1f}F {mean(row['train_backwards'] for row in group):.1f}B"
        )
        table.add_row(name, seeds, *accuracies, radius, passes, f"{mean(row['train_seconds'] for row in group):.0f}")
    return table


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.2f} ± {stdev(values):.2f}" if len(values) > 1 else f"{values[0]:.2f}"
