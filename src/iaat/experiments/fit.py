"""`iaat.fit`: train any module on any data set, by the loop of the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from iaat.config.load_recipe import python_recipe
from iaat.config.python_settings import flat_settings, written_settings
from iaat.config.radius_range import warn_of_radii
from iaat.config.recipe import Recipe
from iaat.data import DataSplits
from iaat.data.data_config import DATASETS
from iaat.data.given_data import GivenData, is_class_folder
from iaat.errors import UserError, did_you_mean, shown
from iaat.experiments.fitted_run import Run
from iaat.experiments.resolved_recipe import check_one_norm, resolved
from iaat.methods import find_method
from iaat.models.check_logits import check_is_module
from iaat.radius import RadiiTable, RadiusMemory
from iaat.runs.memory_run import MemoryRun
from iaat.runs.run_folder import RunFolder
from iaat.runtime.files import user_path
from iaat.runtime.launch import processes
from iaat.runtime.progress import Reporter
from iaat.runtime.signals import Stop
from iaat.runtime.user_code import GIVEN
from iaat.train.tensorboard_tracker import TensorBoard
from iaat.train.trackers import Tracker, Trackers
from iaat.train.train_recipe import train

_PLACE = "iaat.fit"
_RADIUS, _EPOCHS, _DEVICE = "8px", 30, "auto"


def fit(
    model: nn.Module | str,
    train_data: object,
    *,
    validation: object = None,
    method: str = "iaat",
    radius: float | str = _RADIUS,
    epochs: int = _EPOCHS,
    device: torch.device | str = _DEVICE,
    out: str | Path | None = None,
    callbacks: Iterable[Tracker] = (),
    settings: Mapping[str, object] | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    **more: object,
) -> Run:
    """Train a model to be robust to perturbations of its inputs; by default every sample gets its own radius.

    It is the loop of `iaat train`: same methods, same checkpoints, and several processes under torchrun or srun. The
    model gets inputs in [0, 1] as they are, is trained in train mode, and has the weights of the best epoch in the end.
    Layers that are in eval mode stay so, as frozen BatchNorm, unless the network that holds the weights is as a whole.
    A run that goes on keeps those in eval mode that it was begun with.
    The best epoch is chosen on samples that are not trained on.

    Args:
        model: Maps inputs `[B, ...]` in [0, 1] to logits `[B, classes]`; or the name of a model that a recipe knows,
            such as "resnet18", which gets a layer that standardises its inputs.
        train_data: A map-style `Dataset` of (x, y) with x a PIL image, a uint8 tensor or a float tensor in [0, 1]; a
            pair of tensors; a folder with a folder of images for each class, or with train/ and test/; or the name of a
            data set, such as "cifar10".
        validation: The same for the samples that choose the best epoch; by default a tenth of the others.
        method: Training method, such as "iaat", "pgd_at", "trades" or "natural".
        radius: Radius of the attacks in training and evaluation: "8px", "8/255" or a number on the [0, 1] scale.
        epochs: Passes over the training samples.
        device: Where to train: "cpu", "cuda", or "auto" for a GPU if there is one.
        out: Run folder. Without it nothing is written, and what ends training early, such as Ctrl-C or a NaN, has the
            run of the finished epochs as `error.run`. With it an interrupted call goes on where it stopped, a finished
            one is read, and one with more epochs goes on where the schedule allows it.
        callbacks: Informed of the start and of every epoch: `iaat.TensorBoard()`, or a `iaat.Tracker` of yours.
        settings: Further keys of a recipe, such as `{"train.ema": 0.995, "evaluate.steps": 50}`.
        overwrite: Replace the run in `out`.
        quiet: Show no progress.
        more: Further keys of a recipe by their last part, such as `lr=0.05`, `batch_size=64`, `optimizer="AdamW"`,
            `class_weights="balanced"`, `seed=1`. `start_from` takes a run or radii to begin with.

    Returns:
        The run: `model`, `radii`, `history`, and the functions `evaluate`, `report` and `save`.

    Raises:
        UserError: a setting or data that cannot be used, a model that does not fit the data, or a run in `out` that was
            trained otherwise; the message names the difference and the fix. Without `out` whatever ends training early
            has an attribute `run`: the run up to the last finished epoch, with the weights of the best in the module;
            None before the first. `error.run.save("RUN")`, and the same call with `out="RUN"` goes on from there.

    Source: this project, after Balaji, Goldstein, Hoffman 2019 (arXiv 1910.08051).

    Example:
        >>> import iaat, torch
        >>> _ = torch.manual_seed(0)
        >>> y = torch.arange(120) % 2
        >>> x = torch.rand(120, 1, 4, 4) * 0.5 + y[:, None, None, None] * 0.5
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> run = iaat.fit(model, (x, y), epochs=3, radius="4px", lr=0.5, batch_size=20, device="cpu", quiet=True)
        >>> len(run.history), len(run.radii)
        (3, 120)
        >>> bool((run.model(x).argmax(1) == y).float().mean() > 0.9)
        True
    """
    out = None if out is None else user_path(out)
    train_data, validation = _of_user(train_data), _of_user(validation)
    name = _PLACE if out is None else out.resolve().name
    own_trackers = _trackers(callbacks, out)
    module = None if isinstance(model, str) else check_is_module(model, "model is")
    asked = _asked(method, radius, epochs, device, settings or {}, more)
    recipe = _recipe(name, model, train_data, validation, method, asked)
    run = MemoryRun(name) if out is None else RunFolder(out)
    check_one_norm(recipe)
    going_on = isinstance(run, RunFolder) and run.has_results() and not overwrite
    fix = "Give the settings it was trained by, another out=, or overwrite=True"
    reporter, stop = Reporter(quiet=quiet), Stop()
    read: list[DataSplits] = []
    try:
        with processes(), Trackers(own_trackers) as tracker, stop.listening():
            old = run if isinstance(run, RunFolder) and going_on else None
            recipe = resolved(recipe, old, longer=True, fix=fix)
            warn_of_radii(recipe)
            train(
                recipe,
                run,
                reporter,
                resume=going_on,
                overwrite=overwrite,
                stop=stop,
                trackers=[tracker],
                on_data=read.append,
            )
    except BaseException as error:
        if isinstance(run, MemoryRun):
            _keep_run(error, run, lambda: Run(recipe, read[0], run, module, reporter))
        raise
    return Run(recipe, read[0], run, module, reporter)


def _keep_run(error: BaseException, store: MemoryRun, built: Callable[[], Run]) -> None:
    """Let what has ended training have the run of the epochs that are finished; building it loads the best weights."""
    error.run = None  # type: ignore[attr-defined]
    if store.last is None:
        return
    try:
        error.run = built()  # type: ignore[attr-defined]
    except Exception as failed:  # such as a GPU or a forward that keeps failing; what ended training goes first
        error.add_note(f"The run of the finished epochs cannot be given: {failed}")
        return
    epoch = store.last["epoch"]
    kept = "Epoch 1 is" if epoch == 1 else f"Epochs 1 to {epoch} are"
    error.add_note(
        f"{kept} kept: the run is `run` of this error (uncaught: `import sys; run = sys.last_value.run`), and a module "
        "that was passed has the weights of the best of them"
    )


def _trackers(callbacks: Iterable[Tracker], out: str | Path | None) -> list[Tracker]:
    if not isinstance(callbacks, Iterable):
        raise UserError(f"callbacks is a {type(callbacks).__name__}: give a list of trackers, callbacks=[...]")
    trackers = list(callbacks)
    for each in trackers:
        if isinstance(each, type) or not all(hasattr(each, call) for call in ("started", "epoch", "finished")):
            kind = f"the class {each.__name__}" if isinstance(each, type) else f"a {type(each).__name__}"
            raise UserError(f"callbacks holds {kind}: give objects of classes derived from iaat.Tracker")
        if out is None and isinstance(each, TensorBoard):
            raise UserError("TensorBoard writes into the run folder: give out=, such as out='runs/mine'")
    return trackers


def _asked(
    method: str,
    radius: float | str,
    epochs: int,
    device: torch.device | str,
    settings: Mapping[str, object],
    more: Mapping[str, object],
) -> dict[str, object]:
    """All settings under the names by which they were given."""
    if not isinstance(settings, Mapping) or not all(isinstance(key, str) for key in settings):
        raise UserError(f"settings = {shown(settings)}: give a dict, such as settings={{'train.lr': 0.1}}")
    if twice := sorted(settings.keys() & more.keys()):
        raise UserError(f"{_PLACE}: {twice[0]} is given twice: leave out one")
    asked: dict[str, object] = {**settings, **more}
    names = {name for name, _ in flat_settings(asked)}
    for name, value, default in (("epochs", epochs, _EPOCHS), ("device", str(device), _DEVICE)):
        again = {name, f"train.{name}"} & names
        if again and value != default:
            raise UserError(f"{_PLACE}: {name}={value!r}, and {min(again)} in settings: leave out one")
        if not again:
            asked[name] = value
    config = find_method(method).Config
    own = {"radius", "eps", "epsilon", "method.radius"} & names
    other = {"norm", "method.norm", "evaluate.norm"} & names
    if own and radius != _RADIUS:
        raise UserError(f"{_PLACE}: radius={radius!r}, and {min(own)} in settings: leave out one")
    # What nobody has asked for is no radius for another norm, nor for a method that means another thing by it.
    bounds = not getattr(config, "radius_is_attack", True)
    if bounds and radius != _RADIUS:
        raise UserError(
            f"radius={radius!r}: that of method {method} is not the radius of its attacks, but their bound: give "
            "settings={'method.radius': ..., 'evaluate.radius': ...}"
        )
    if not own and (radius != _RADIUS or not (bounds or other)):
        asked = {"radius": radius, **asked}  # first, so that evaluate.radius in settings stays
    return asked


def _recipe(
    name: str, model: nn.Module | str, train_data: object, validation: object, method: str, asked: dict[str, object]
) -> Recipe:
    """The recipe of the call, with the objects that were passed."""
    first, asked = _with_start_named(asked)
    written = written_settings(asked, method, _PLACE)
    about = f"iaat.fit: {_kind(model)} on {_kind(train_data)}"
    raw: dict[str, dict[str, object] | str] = {"about": about, "method": {"name": method}}
    if isinstance(model, str):
        written["model.name"] = model
    else:
        raw["model"] = {"name": GIVEN, "normalize": "none"}
    if is_named := isinstance(train_data, str) and not is_class_folder(train_data):
        _check_named(train_data)
        written |= {"data": train_data, **_validation_folder(train_data, validation)}
    else:
        raw["data"] = {"name": GIVEN}
    recipe = python_recipe(name, raw, written, _PLACE)
    for section, of_object in (("model", not isinstance(model, str)), ("data", not is_named)):
        if of_object and (other := getattr(recipe, section).name) != GIVEN:
            raise UserError(f"{_PLACE}: {section}.name is {shown(other)}, but it was passed as an object: leave it out")
    if not isinstance(model, str):
        recipe = replace(recipe, model=replace(recipe.model, module=model))
    if not is_named:
        recipe = replace(recipe, data=replace(recipe.data, given=GivenData(train_data, validation)))
    if first is not None:
        recipe = replace(recipe, method=replace(recipe.method, first_radii=first))
    return recipe


def _with_start_named(asked: dict[str, object]) -> tuple[RadiiTable | None, dict[str, object]]:
    """The radii passed as an object, and the settings with its name in its place."""
    for name, value in flat_settings(asked):
        if name in ("start_from", "method.start_from") and (first := _radii(value)) is not None:
            return first, dict(flat_settings(asked)) | {name: GIVEN}
    return None, asked


def _check_named(train_data: str) -> None:
    """Refuse a text that is neither a folder, a data set's name nor a function."""
    if not (Path(train_data).is_dir() or ":" in train_data or train_data in DATASETS):
        raise UserError(
            f"train_data {shown(train_data)} is neither a folder (seen from {Path.cwd()}) nor a data set's name"
            f"{did_you_mean(train_data, DATASETS)}"
        )


def _of_user(given: object) -> object:
    """What was given, with `~` at the start of a folder's path replaced."""
    return str(user_path(given)) if isinstance(given, str | Path) else given


def _kind(given: object) -> str:
    return str(given) if isinstance(given, str) else type(given).__name__


def _radii(given: object) -> RadiiTable | None:
    """Radii that were passed as an object; None for a path.

    Raises:
        UserError: it is neither.
    """
    if isinstance(given, Run):
        return given.radii_table()
    if isinstance(given, RadiusMemory | Tensor):
        return RadiiTable.of_object(type(given).__name__, given)
    if given is not None and not isinstance(given, str | Path):
        raise UserError(
            f"{_PLACE}: start_from is a {type(given).__name__}: give a run, its radii, a tensor [N] such as "
            "torch.tensor(start_from), or a file"
        )
    return None


def _validation_folder(train_data: str, validation: object) -> dict[str, str]:
    """The key for a folder of validation images beside train/."""
    if validation is None:
        return {}
    beside = Path(str(validation))
    if isinstance(validation, str | Path) and (beside.parent == Path() or beside.parent == Path(train_data)):
        return {"data.validation": beside.name}
    raise UserError(
        f"validation is {shown(validation)}, but train_data is {train_data}: give the folder beside its train/, such "
        "as 'val'; or pass both as data sets"
    )
