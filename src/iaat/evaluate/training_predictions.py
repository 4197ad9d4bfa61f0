"""What the last model of a run predicts for clean samples."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from iaat.attacks import predict_classes
from iaat.config.recipe import Recipe
from iaat.data import DataSplits, Source, sequential_order
from iaat.runs.checkpoint import load_checkpoint, restore_model
from iaat.runs.data_record import check_same_data
from iaat.runs.run_folder import RunFolder
from iaat.runtime.device import pick_device
from iaat.runtime.progress import Reporter


def last_model(run: RunFolder, recipe: Recipe, data: DataSplits) -> nn.Module:
    """The model of the last checkpoint, in eval mode on the recipe's device.

    Raises:
        UserError: no such checkpoint, a broken one, or one trained on other data than is given.
    """
    device = pick_device(recipe.train.device)
    state = load_checkpoint(run.checkpoint("last"), device)
    check_same_data(state["data"], data)
    return restore_model(recipe, state, device)


def training_predictions(run: RunFolder, recipe: Recipe, data: DataSplits, reporter: Reporter) -> Tensor:
    """Predicted classes `[n]` of the clean samples of the last table of radii, or else of the training samples.

    The model is that of the last checkpoint.

    Raises:
        UserError: no such checkpoint, a broken one, or one trained on other data than is given.
    """
    model = last_model(run, recipe, data)
    kept = run.radii_epochs()
    index = torch.from_numpy(run.radii_after(kept[-1])[0]) if kept else data.train_index
    batches = data.train.batches(sequential_order(index, recipe.evaluate.batch_size))
    shown = reporter.track(batches, total=len(index), what="predict", size=lambda batch: len(batch.y))
    return torch.cat([predict_classes(model, batch.x) for batch in shown]).cpu()


def class_probabilities(
    model: nn.Module, source: Source, index: NDArray[np.int64], batch_size: int, reporter: Reporter
) -> NDArray[np.float64]:
    """Return class probabilities `[n, C]` of clean samples `index` `[n]` of `source`."""
    batches = source.batches(sequential_order(torch.from_numpy(index), batch_size))
    shown = reporter.track(batches, total=len(index), what="predict", size=lambda batch: len(batch.y))
    with torch.no_grad():
        parts: list[Tensor] = [model(batch.x).double().softmax(dim=1).cpu() for batch in shown]
    probabilities: NDArray[np.float64] = torch.cat(parts).numpy()
    return probabilities
