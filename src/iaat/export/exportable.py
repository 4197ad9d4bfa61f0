"""The model to export, with the record that its files carry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any, get_type_hints

from torch import nn

import iaat
from iaat.config.recipe import Recipe
from iaat.models.digest import weights_digest
from iaat.models.normalize import Normalize, NormalizedModel
from iaat.runs.exported_weights import ExportRecord, exported_file, read_record, statistics_of
from iaat.runs.load import find_checkpoint, load_with_state
from iaat.runs.run_folder import RunFolder, run_of_checkpoint
from iaat.runs.trained_model import TrainedModel
from iaat.runtime.json_files import UserPath


@dataclass(frozen=True, eq=False)
class Exportable:
    """A trained model and where it comes from.

    Attributes:
        model: The model, in eval mode on the CPU.
        record: What exported files say of it.
        run: Its run; None where it does not lie in one.
    """

    model: TrainedModel
    record: ExportRecord
    run: RunFolder | None = None

    @property
    def digest(self) -> str:
        """Digest of the model as evaluations of its run have it."""
        normalize, network = self.model.normalize, self.model.network
        return weights_digest(NormalizedModel(normalize, network) if isinstance(normalize, Normalize) else network)


def find_exportable(target: Path, *, model: nn.Module | None, trust: bool) -> Exportable:
    """The model of a run folder, a checkpoint, or a file of exported weights.

    Raises:
        UserError: as `iaat.load`.
    """
    loaded, state = load_with_state(target, model=model, trust=trust)
    if (file := exported_file(target)) is not None:
        return Exportable(loaded, read_record(file))
    file = find_checkpoint(target)
    found = run_of_checkpoint(file)
    data = state["data"]
    run = None if found is None else found[0]
    lengthened = () if run is None else tuple(run.lengthened())
    recipe = _as_lengthened(loaded.recipe, run) if run is not None and lengthened else loaded.recipe
    record = ExportRecord(
        name=recipe.name,
        checkpoint=None if found is None else found[1].rpartition("/")[2],
        epoch=state["epoch"],
        input=_input_text(loaded),
        classes=loaded.classes,
        shape=loaded.shape,
        resize=recipe.data.resize or recipe.data.size,
        mean=statistics_of(loaded.normalize, "mean"),
        std=statistics_of(loaded.normalize, "std"),
        radius=None if loaded.radius is None else loaded.radius.given,
        norm=loaded.norm,
        recipe=_without_folders(recipe),
        lengthened=lengthened,
        train_size=data["train_size"],
        train_fingerprint=data["train_fingerprint"],
        test_fingerprint=data["test_fingerprint"],
        iaat=iaat.__version__,
    )
    return Exportable(loaded, record, run)


def _as_lengthened(recipe: Recipe, run: RunFolder) -> Recipe:
    """The recipe of a checkpoint as its run goes by it: the best may be from before the run was given more epochs."""
    own = run.recipe(code=())
    return replace(recipe, train=own.train, method=own.method)


def _input_text(model: TrainedModel) -> str:
    """The model's inputs in words."""
    kind = {1: "grey images", 3: "RGB images"}.get(model.shape[0], "inputs") if len(model.shape) == 3 else "inputs"
    return f"{kind}, float32 [N, {', '.join(map(str, model.shape))}] in [0, 1]"


def _without_folders(recipe: Recipe) -> dict[str, Any]:
    """The settings; of paths the last part, because files that are given away name no folders."""
    values = recipe.to_dict()
    for section in ("data", "model", "method", "train", "evaluate"):
        hints = get_type_hints(type(getattr(recipe, section)), include_extras=True)
        for key in (key for key, kind in hints.items() if kind == UserPath | None):
            if isinstance(value := values[section].get(key), str):
                values[section][key] = PureWindowsPath(value).name  # which ends at slashes of both kinds
    return values
