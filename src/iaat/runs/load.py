"""`iaat.load`: the trained model of a run folder or of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from iaat.config.load_recipe import NAMES_OF_CODE, stored_recipe
from iaat.config.recipe import Recipe
from iaat.errors import UserError
from iaat.models.check_logits import check_fits, check_is_module
from iaat.models.model_config import ModelConfig
from iaat.models.normalize import NormalizedModel
from iaat.runs.checkpoint import load_checkpoint, restore_model
from iaat.runs.exported_weights import exported_file, exported_state
from iaat.runs.run_folder import RunFolder, run_of_checkpoint
from iaat.runs.trained_model import TrainedModel
from iaat.runtime.device import pick_device
from iaat.runtime.files import user_path
from iaat.runtime.user_code import GIVEN, passed_as_object, trust_typed

_STATISTICS = "normalize.mean"
"""Name of the means of a `NormalizedModel` among its weights."""


def load(
    target: str | Path, *, model: nn.Module | None = None, device: torch.device | str = "cpu", trust: bool = False
) -> TrainedModel:
    """Load the trained model of a run, in eval mode, without any setting.

    A run that keeps a moving average of its weights gives the average, as its evaluation does.

    Args:
        target: A run folder, for its best checkpoint (else its last); a checkpoint, which may lie anywhere; or what
            `iaat export` wrote as safetensors or as a folder for the hub.
        model: The model itself, which gets the weights: where it was passed to `iaat.fit` as an object, or in place of
            the module:function that the file names for it, which is not imported then.
        device: Where the model is to be: "cpu", "cuda", "auto" for a GPU if there is one.
        trust: Import the code that the file names as module:function. Without it such a file is refused.

    Returns:
        The model with its normalisation: inputs `[B, C, H, W]` in [0, 1] to logits `[B, classes]`. Its attributes
        `classes`, `shape`, `radius`, `norm` and `recipe` say what it was trained on.

    Raises:
        UserError: there is no checkpoint, it is damaged, it names code that is not trusted, its model was an object,
            or `model` has other weights.

    Source: this project; PyTorch's `torch.load(weights_only=True)` reads the file, so that it runs no code.

    Example:
        >>> import tempfile, torch, iaat
        >>> folder = tempfile.TemporaryDirectory()
        >>> small = dict(method="natural", epochs=1, limit=100, device="cpu", quiet=True)
        >>> run = iaat.fit("small-cnn", "digits", out=f"{folder.name}/run", **small)
        >>> model = iaat.load(f"{folder.name}/run")
        >>> model.classes[:3], model.shape, model.recipe.method_name
        (('0', '1', '2'), (1, 8, 8), 'natural')
        >>> model(torch.rand(4, 1, 8, 8)).shape
        torch.Size([4, 10])
    """
    return load_with_state(target, model=model, device=device, trust=trust)[0]


def load_with_state(
    target: str | Path, *, model: nn.Module | None = None, device: torch.device | str = "cpu", trust: bool = False
) -> tuple[TrainedModel, Mapping[str, Any]]:
    """As `load`, with the state that the file holds.

    Raises:
        UserError: as `load`.
    """
    target = user_path(target)
    exported = exported_file(target)
    file = find_checkpoint(target) if exported is None else exported
    state = load_checkpoint(file) if exported is None else exported_state(file)
    recipe = _recipe(file, state, trust=trust, own_model=model is not None)
    place = pick_device(device) if isinstance(device, str) else device
    if model is not None:
        module = check_is_module(model, "model is")
        _check_same_model(module, state, recipe)
        recipe = replace(recipe, model=_of_object(recipe.model, module))
    elif recipe.model.name == GIVEN:
        raise UserError(
            f"{passed_as_object(str(target), 'model')} ({recipe.about}): pass it again, iaat.load(..., model=MyNet())"
        )
    return as_trained_model(state, recipe, model, place), state


def as_trained_model(
    state: Mapping[str, Any], recipe: Recipe, module: nn.Module | None, device: torch.device
) -> TrainedModel:
    """The model of a checkpoint's state, in eval mode on `device`.

    Args:
        state: The state.
        recipe: Its recipe.
        module: Gets the weights, in place, and is what the result evaluates; None: one that the recipe builds.
        device: Where it is to be.

    Raises:
        UserError: the weights do not fit.
    """
    shape, classes = tuple(state["data"]["shape"]), tuple(state["data"]["classes"])
    own = replace(recipe, model=replace(recipe.model, module=None))
    restored = restore_model(_with_saved_layer(recipe, module, state["model"]), dict(state))
    trained = TrainedModel(restored, own, shape=shape, classes=classes)
    if module is not None:
        _give_weights(module, restored, trained)
    trained = trained.to(device).eval()
    check_fits(trained, shape=shape, classes=len(classes), device=device)
    return trained


def _with_saved_layer(recipe: Recipe, module: nn.Module | None, saved: Mapping[str, Tensor]) -> Recipe:
    """The recipe with a normalisation in front of a module that was trained with one of its own and is given bare.

    An exported file has the network and the statistics apart, whoever brought them.
    """
    if module is None or _STATISTICS not in saved or _STATISTICS in module.state_dict():
        return recipe
    return replace(recipe, model=replace(recipe.model, normalize="data"))


def _give_weights(module: nn.Module, restored: nn.Module, trained: TrainedModel) -> None:
    """Let the caller's module have the weights of the model, and be what it evaluates."""
    if isinstance(module, NormalizedModel) and not isinstance(trained.network, NormalizedModel):
        # Its own layer, which the model was split at; of a layer of the settings, it would be the network behind.
        module.load_state_dict(restored.state_dict())
        trained.normalize, trained.network = module.normalize, module.network
        return
    module.load_state_dict(trained.network.state_dict())
    trained.network = module


def find_checkpoint(target: Path) -> Path:
    """The checkpoint that a run folder (its best, else its last) or a file stands for.

    Raises:
        UserError: there is none.
    """
    if not target.exists():
        raise UserError(f"{target} does not exist (seen from {Path.cwd()}): give a run folder or a checkpoint")
    if not target.is_dir():
        return target
    run = RunFolder(target)
    run.check_exists()
    file = next((each for each in map(run.checkpoint, ("best", "last")) if each.is_file()), None)
    if file is None:
        raise UserError(f"run {target} has no checkpoint yet: it has not finished its first epoch")
    return file


def is_run(target: Path) -> bool:
    """Whether a target is a run folder or a checkpoint that lies in one."""
    return RunFolder(target).exists() or run_of_checkpoint(target) is not None


def _recipe(file: Path, state: Mapping[str, Any], *, trust: bool, own_model: bool) -> Recipe:
    """The recipe in a checkpoint, under the name of its run where it lies in one.

    With `own_model` the model that it names is not used, and need not be trusted.
    """
    values = state["recipe"]
    if trust:
        for section in ("model", "data", "method"):
            name = values[section].get("name") if isinstance(values.get(section), Mapping) else None
            if isinstance(name, str):
                trust_typed(name)
    found = run_of_checkpoint(file)
    run_name = state.get("name", file.stem) if found is None else found[0].name()
    code = tuple(key for key in NAMES_OF_CODE if not (own_model and key == "model.name"))
    return stored_recipe(values, run_name, f"checkpoint {file}", code=code)


def _check_same_model(module: nn.Module, state: Mapping[str, Any], recipe: Recipe) -> None:
    """Refuse a model with other weights than those of a checkpoint, before it is given inputs."""
    difference = _other_weights(module.state_dict(), state["model"])
    if difference is None:
        return
    shape, classes, name = list(state["data"]["shape"]), len(state["data"]["classes"]), recipe.model.name
    how = "it was" if name == GIVEN else f"{name} is"
    raise UserError(
        f"model is not the one that was trained: {difference}; build it as {how} for inputs of shape {shape} and "
        f"{classes} classes"
    )


def _other_weights(own: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> str | None:
    """The first difference of a model's weights from saved ones, in words; None where there is none.

    The saved ones may be of the model behind a normalisation, so that names there are longer.
    """
    there = {name: [key for key in saved if f".{key}".endswith(f".{name}")] for name in own}
    for name, weight in own.items():
        shapes = [list(saved[key].shape) for key in there[name]]
        if list(weight.shape) not in shapes:
            found = f"it is of shape {shapes[0]}" if shapes else "there is none"
            return f"its {name} has shape {list(weight.shape)}, and in the file {found}"
    known = {key for keys in there.values() for key in keys}
    more = [key for key in saved if key not in known and not key.startswith("normalize.")]
    return f"the file has {more[0]}, which it lacks" if more else None


def _of_object(config: ModelConfig, module: nn.Module) -> ModelConfig:
    """Settings of a model that is `module` in place of what a recipe names."""
    own = {key: getattr(config, key) for key in ("normalize", "mean", "std")}
    return ModelConfig(name=GIVEN, module=module, **own)
