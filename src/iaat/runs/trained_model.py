"""The model of a run folder, rebuilt without any setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from iaat.config.recipe_files import RECIPE_FILE, check_keys, read_recipe, run_of_checkpoint
from iaat.errors import UserError
from iaat.models.model_config import ModelConfig
from iaat.models.weights import read_content
from iaat.runs.checkpoint_schema import saved_state
from iaat.runtime.json_files import UnfitError, from_json
from iaat.runtime.user_code import check_trusted


class _Section(TypedDict, total=False):
    name: str
    width: int | None
    norm: str
    normalize: str
    pretrained: bool
    mean: list[float] | None
    std: list[float] | None
    weights: str | None
    weights_key: str | None
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """The model of a checkpoint.

    Attributes:
        config: The settings it is built from, with the checkpoint as its weights.
        shape: Shape of one input.
        classes: Number of classes.
    """

    config: ModelConfig
    shape: tuple[int, ...]
    classes: int


def trained_model(target: Path) -> TrainedModel | None:
    """The model of a run folder (its best checkpoint, else its last) or of one of its checkpoints; None otherwise.

    Raises:
        UserError: the run has no checkpoint, or its files do not say what was trained.
    """
    folder = target if target.is_dir() and (target / RECIPE_FILE).is_file() else None
    found = run_of_checkpoint(target)
    if folder is None and found is None:
        return None
    if folder is not None:
        file = next((each for each in (folder / "best.pt", folder / "last.pt") if each.is_file()), None)
        if file is None:
            raise UserError(f"run {folder} has no checkpoint yet: it has not finished its first epoch")
    else:
        assert found is not None
        folder, file = found[0], target
    content = read_content(file)
    if not isinstance(content, Mapping) or not {"model", "data"} <= content.keys():
        raise UserError(f"{file} is no checkpoint of a run: it has no model or no data")
    data = saved_state(content, file)["data"]
    # All of the network is in the checkpoint, its normalisation, too: what it began from does not count.
    config = replace(
        _config(folder / RECIPE_FILE),
        weights=str(file),
        weights_key="averaged" if content.get("averaged") is not None else "model",
        pretrained=False,
        normalize="none",
        mean=None,
        std=None,
    )
    return TrainedModel(config, tuple(data["shape"]), len(data["classes"]))


def _config(file: Path) -> ModelConfig:
    section = read_recipe(file).get("model", {})
    if not isinstance(section, dict):
        raise UserError(f"recipe {file}: model must be a mapping of settings")
    check_keys(section, _Section.__annotations__, f"recipe {file}", "model")
    config = ModelConfig(**_checked(section, _Section, f"recipe {file}: model"))
    check_trusted(config.name, key="model.name", place=f"recipe {file}")
    return config


def _checked(value: object, kind: Any, place: str) -> Any:  # noqa: ANN401
    """A plain value that has the type it must have."""
    try:
        return from_json(value, kind)
    except UnfitError as error:
        raise UserError(f"{place} is damaged: {error}") from None
