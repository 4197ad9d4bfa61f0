"""Evaluation of the checkpoints of a run."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from iaat.checkpoint import check_same_data, check_same_test_data, load_checkpoint, restore_model
from iaat.config import Recipe
from iaat.data import DataBundle, sequential_order
from iaat.device import pick_device
from iaat.evaluate.config import EvaluateConfig
from iaat.evaluate.evaluation import evaluate_subject, folder_name
from iaat.evaluate.report import plain_config
from iaat.evaluate.sections import Extras
from iaat.evaluate.subject import Subject
from iaat.files import read_json
from iaat.models import supports_channels_last, weights_digest
from iaat.progress import Reporter
from iaat.run import RunFolder


def evaluate_checkpoint(
    run: RunFolder, recipe: Recipe, which: str, data: DataBundle, reporter: Reporter, extras: Extras | None = None
) -> dict[str, Any]:
    """Judge the checkpoint `best` or `last` on the test set and write the evaluation into the run folder.

    The attacks are those of `recipe.evaluate`; the network computes in float32 whatever it was trained in, because
    attacks on rounded logits miss some adversarial examples.

    Raises:
        UserError: no such checkpoint, a broken one, or one trained on other data than is given.
    """
    return evaluate_subject(subject_of_run(run, recipe, which, data), data, recipe.evaluate, reporter, extras)


def subject_of_run(run: RunFolder, recipe: Recipe, which: str, data: DataBundle) -> Subject:
    """The network of a checkpoint, with what is known of it.

    Raises:
        UserError: as `evaluate_checkpoint`.
    """
    device = pick_device(recipe.train.device)
    state = load_checkpoint(run.checkpoint(which), device)
    model = restore_model(recipe, state, device)
    check_same_test_data(state["data"], data)
    if supports_channels_last(model, data.shape):
        model = model.to(memory_format=torch.channels_last)
    facts = {
        "run": run.name(),
        "checkpoint": which,
        "epoch": state["epoch"],
        "seed": recipe.seed,
        **run.training_cost(),
    }
    return Subject(
        name=f"{run.path.name}-{which}",
        model=model,
        digest=weights_digest(model),
        folder=run.path / "evaluations",
        facts=facts,
        radii=_radii(run, state["epoch"]),
    )


def _radii(run: RunFolder, epoch: int) -> tuple[Tensor, Tensor] | None:
    """Indices and radii of the trained samples after an epoch, or the last one kept before it."""
    kept = [number for number in run.radii_epochs() if number <= epoch]
    if not kept:
        return None
    index, radius = run.radii_after(kept[-1])
    return torch.from_numpy(index), torch.from_numpy(radius)


def stored_results(run: RunFolder, which: str, config: EvaluateConfig) -> dict[str, Any] | None:
    """Results of an evaluation by the same settings done before, or None."""
    file = run.path / "evaluations" / folder_name(config, which) / "results.json"
    if not file.exists():
        return None
    results: dict[str, Any] = read_json(file)
    return results if results.get("evaluate") == json.loads(json.dumps(plain_config(config))) else None


def training_predictions(run: RunFolder, recipe: Recipe, data: DataBundle, reporter: Reporter) -> Tensor:
    """Predicted classes `[n]` of the clean training samples under the last checkpoint.

    Raises:
        UserError: no such checkpoint, a broken one, or one trained on other data than is given.
    """
    device = pick_device(recipe.train.device)
    state = load_checkpoint(run.checkpoint("last"), device)
    check_same_data(state["data"], data)
    model = restore_model(recipe, state, device)
    batches = data.train.batches(sequential_order(data.train_index, recipe.evaluate.batch_size))
    shown = reporter.track(batches, total=len(data.train_index), what="predict", size=lambda batch: len(batch.y))
    with torch.no_grad():
        return torch.cat([model(batch.x).argmax(dim=1) for batch in shown]).cpu()
