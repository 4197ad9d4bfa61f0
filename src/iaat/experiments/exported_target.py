"""What `iaat export` wrote of a run, evaluated as that run."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from iaat.config.recipe import Recipe
from iaat.config.recipe_digest import digest_of_run
from iaat.data import DataSplits
from iaat.errors import UserError
from iaat.evaluate.evaluated_model import EvaluatedModel
from iaat.evaluate.masking import fresh_copy
from iaat.evaluate.results import ModelFacts
from iaat.models import weights_digest
from iaat.runs.exported_weights import ExportRecord
from iaat.runs.load_trained import load
from iaat.runs.trained_model import TrainedModel
from iaat.runtime.text import cut


def load_exported(name: str, *, device: torch.device) -> TrainedModel:
    """The model in an exported file or folder.

    Raises:
        UserError: as `iaat.load`, naming the file.
    """
    try:
        return load(name, device=device)
    except UserError as error:
        place = "" if name in str(error) else f"exported weights {name}: "
        raise UserError(f"{place}{error}") from error


def evaluated_export(name: str, record: ExportRecord, model: nn.Module, *, recipe: Recipe, out: Path) -> EvaluatedModel:
    """An exported model under the name and with the facts of its run; `out` gets a folder of its evaluations."""
    digest = weights_digest(model)
    facts = ModelFacts(
        run=record.name,
        recipe=digest_of_run(recipe, record.train_fingerprint, record.test_fingerprint, record.lengthened),
        checkpoint=record.checkpoint,
        epoch=record.epoch,
        seed=recipe.seed,
    )
    folder = out / f"{Path(name).stem}-{digest[:8]}"
    return EvaluatedModel(record.name, model, digest, folder, facts, fresh=fresh_copy(model))


def check_exported(name: str, record: ExportRecord, data: DataSplits) -> None:
    """Refuse to evaluate an exported model on data of other inputs or classes.

    Raises:
        UserError: naming both.
    """
    pairs = (("classes", record.classes, data.classes), ("inputs of shape", record.shape, data.shape))
    for what, trained, given in pairs:
        if tuple(trained) == tuple(given):
            continue
        shown = [cut(", ".join(map(str, each)), 200) for each in (trained, given)]
        order = ", in another order" if sorted(map(str, trained)) == sorted(map(str, given)) else ""
        raise UserError(
            f"{name} was trained on {what} {shown[0]}, and the data has {shown[1]}{order}: give the data it was "
            "trained on; --data.root DIR says where it is now"
        )
