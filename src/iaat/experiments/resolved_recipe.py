"""The recipe that a run is trained by, checked against the run that it goes on with."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence

from iaat.config.differences import VALIDATION_KEYS, recipe_differences
from iaat.config.recipe import Recipe
from iaat.config.same_place import same_place
from iaat.errors import UserError
from iaat.methods import MethodConfig
from iaat.runs.checkpoint import load_checkpoint
from iaat.runs.run_folder import RunFolder
from iaat.runtime.device import pick_device, uses_bfloat16
from iaat.runtime.user_code import modules_of

_ENDLESS = ("constant", "multistep")
"""Schedules that more epochs do not change: the others have brought the learning rate to 0 at the end."""


def check_one_norm(recipe: Recipe) -> None:
    """Refuse a run that trains in one norm and is validated in another.

    Raises:
        UserError: naming both.
    """
    norm = recipe.radius_norm
    if norm != recipe.evaluate.norm:
        raise UserError(
            f"method.norm is {norm} and evaluate.norm {recipe.evaluate.norm}, which also selects the best epoch: set "
            f"evaluate.norm {norm} and its evaluate.radius; `iaat evaluate RUN` evaluates in the other norm later"
        )


def data_key(recipe: Recipe) -> str:
    """Everything that decides a data set and where it is held: the seed only where it decides the split."""
    seed = recipe.seed if recipe.data.split_seed is None else None
    device = recipe.train.device
    return repr((recipe.data, seed, str(pick_device(device)) if device == "auto" else device))


def resolved(recipe: Recipe, run: RunFolder | None, *, longer: bool = False, fix: str = "") -> Recipe:
    """The recipe with `precision: auto` decided: for a resumed run as it began.

    Args:
        recipe: The recipe.
        run: The run to go on with; None for a new one.
        longer: Whether a finished run may go on to more epochs.
        fix: What to do about another recipe, in place of advice for the command line.

    Raises:
        UserError: the run is of another recipe, or cannot be trained for more epochs.
    """
    old = run.recipe() if run is not None and run.has_results() else None
    precision = recipe.train.precision
    if precision == "auto" and old is not None:
        precision = old.train.precision
    if precision == "auto":
        precision = "bf16" if uses_bfloat16("auto", pick_device(recipe.train.device)) else "fp32"
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, precision=precision))
    if run is None or old is None:
        return recipe
    recipe = _as_lengthened(recipe, old, run.lengthened())
    if longer and _goes_on(old, recipe, run):
        return _after(recipe, old.train.epochs)
    _check_same_recipe(old, recipe, run, fix)
    return recipe


def _as_lengthened(recipe: Recipe, old: Recipe, before: Sequence[int]) -> Recipe:
    """The recipe with what a run that was given more epochs has written down, where the recipe leaves it out.

    Versions that wrote nothing down have gone on by what all epochs come to: such runs stay as they are.
    """
    for epochs in before:
        kept = _after(recipe, epochs)
        names = [each.name for each in dataclasses.fields(kept.method)]
        added = [name for name in names if getattr(kept.method, name) != getattr(recipe.method, name)]
        if all(getattr(old.method, name, None) == getattr(kept.method, name) for name in added):
            return kept
    return recipe


def _after(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe of a run that goes on after these epochs: what its method has begun with stays."""
    method, own = recipe.method, epochs - recipe.train.natural_epochs
    return dataclasses.replace(recipe, method=method.after(own)) if isinstance(method, MethodConfig) else recipe


def _goes_on(old: Recipe, new: Recipe, run: RunFolder) -> bool:
    """Whether the recipe is that of the run with more epochs, which it can have.

    Raises:
        UserError: it is, and the run is not finished, or its schedule has ended.
    """
    before = old.train.epochs
    as_before = dataclasses.replace(new, train=dataclasses.replace(new.train, epochs=before))
    if new.train.epochs <= before or recipe_differences(old, as_before):
        return False
    done = load_checkpoint(run.checkpoint("last"))["epoch"] if run.checkpoint("last").exists() else 0
    endless = new.train.schedule in _ENDLESS
    if done < before and not endless:
        raise UserError(
            f"{run.path} has {done} of its {before} epochs, and train.schedule {new.train.schedule} was planned for "
            f"{before}: with {new.train.epochs} the learning rates already used would have been others. Finish it with "
            f"train.epochs {before}, or train all {new.train.epochs} epochs in another run folder"
        )
    if not endless:
        raise UserError(
            f"{run.path} was trained for {before} epochs by train.schedule {new.train.schedule}, which has brought the "
            f"learning rate to its end: {new.train.epochs} epochs would be another run. Begin one from its weights "
            f"(model.weights {run.checkpoint('last')}) and radii (method.start_from {run.path}), or use train.schedule "
            f"{' or '.join(_ENDLESS)} from the start"
        )
    if done < before:
        raise UserError(
            f"{run.path} has {done} of its {before} epochs: finish it with train.epochs {before}; then it can go on to "
            f"{new.train.epochs}"
        )
    return True


def _check_same_recipe(old: Recipe, new: Recipe, run: RunFolder, fix: str) -> None:
    if changed := recipe_differences(old, new):
        fix = (
            fix or f"Use the same settings, --overwrite, or another --out; {_own_way_on(run, old)} goes on with its own"
        )
        raise UserError(
            f"{run.path} holds a run of another recipe, which cannot be resumed: {'; '.join(changed)}. "
            f"{_reason(changed, run)}{fix}"
        )


def _reason(changed: Sequence[str], run: RunFolder) -> str:
    """Why a setting of the evaluation is one of the training, where one has changed."""
    if not any(each.startswith("evaluate.") for each in changed):
        return ""
    return (
        f"{', '.join(VALIDATION_KEYS)} are also those of the attack on validation samples, which selects the best "
        f"epoch: `{shlex.join(('iaat', 'evaluate', str(run.path)))}` takes others later. "
    )


def _own_way_on(run: RunFolder, recipe: Recipe) -> str:
    """The command that resumes a run by the recipe it was started with, with what no file may choose by itself."""
    folder = recipe.train.radii_folder
    typed = [] if folder is None else [f"--train.radii_folder={folder}"]
    trust = same_place([], modules_of((recipe.model.name, recipe.data.name, recipe.method_name)))
    command = ("iaat", "train", str(run.recipe_file), "--out", str(run.path), "--resume", *typed, *trust)
    return f"`{shlex.join(command)}`"
