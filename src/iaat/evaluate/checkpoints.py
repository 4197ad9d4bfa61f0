"""Evaluation of the checkpoints of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from iaat import rng
from iaat.checkpoint import check_same_data, check_same_test_data, load_checkpoint, restore_model
from iaat.config import Recipe
from iaat.data import DataBundle, sequential_order
from iaat.device import pick_device
from iaat.evaluate.config import EvaluateConfig
from iaat.evaluate.report import attack_name, summary, write_evaluation
from iaat.evaluate.robust import attack_samples
from iaat.files import read_json
from iaat.progress import Reporter
from iaat.run import RunFolder

LOSSES = ("ce", "margin")
"""Attack losses of the evaluation: cross-entropy as everyone reports it, then the margin on what still stands."""


def evaluate_checkpoint(
    run: RunFolder, recipe: Recipe, which: str, data: DataBundle, reporter: Reporter
) -> dict[str, Any]:
    """Judge the checkpoint `best` or `last` on the test set and write the evaluation into the run folder.

    The attack is `recipe.evaluate`; the network computes in float32 whatever it was trained in, because attacks on
    rounded logits miss some adversarial examples.

    Raises:
        UserError: no such checkpoint, a broken one, or one trained on other data than is given.
    """
    device = pick_device(recipe.train.device)
    state = load_checkpoint(run.checkpoint(which), device)
    model = restore_model(recipe, state, device)
    check_same_test_data(state["data"], data)
    config = recipe.evaluate
    outcome = attack_samples(
        model, data.test, test_sample(data, config), config, losses=LOSSES, seed=0, reporter=reporter
    )
    facts = {
        "run": run.name(),
        "checkpoint": which,
        "epoch": state["epoch"],
        "seed": recipe.seed,
        **run.training_cost(),
    }
    results = summary(outcome, config, facts)
    write_evaluation(evaluation_folder(run, which, config), outcome, results, data.classes)
    return results


def test_sample(data: DataBundle, config: EvaluateConfig) -> Tensor:
    """Indices of the test samples an evaluation uses: the same ones for every run and method."""
    order = rng.permutation(len(data.test_index), seed=0, epoch=0)
    return data.test_index[order[: config.n]].sort().values


def evaluation_folder(run: RunFolder, which: str, config: EvaluateConfig) -> Path:
    """Where the evaluation of a checkpoint by an attack is kept."""
    name = "-".join([which, *attack_name(config).lower().split(), *([f"n{config.n}"] if config.n else [])])
    return run.path / "evaluations" / name


def stored_results(run: RunFolder, which: str, config: EvaluateConfig) -> dict[str, Any] | None:
    """Results of an evaluation done before, or None."""
    file = evaluation_folder(run, which, config) / "results.json"
    if not file.exists():
        return None
    results: dict[str, Any] = read_json(file)
    return results


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
