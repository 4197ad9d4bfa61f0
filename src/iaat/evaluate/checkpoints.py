"""Evaluation of the checkpoints of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from iaat import rng
from iaat.config import Recipe
from iaat.data import DataBundle, Source, sequential_order
from iaat.evaluate.config import EvaluateConfig
from iaat.evaluate.report import attack_name, summary, write_evaluation
from iaat.evaluate.robust import attack_samples
from iaat.progress import Reporter
from iaat.run import RunFolder
from iaat.train.checkpoint import load_checkpoint, restore_model
from iaat.train.device import pick_device

LOSSES = ("ce", "margin")
"""Attack losses of the evaluation: cross-entropy as everyone reports it, then the margin on what still stands."""


def evaluate_checkpoint(
    run: RunFolder, recipe: Recipe, which: str, data: DataBundle, reporter: Reporter
) -> dict[str, Any]:
    """Judge the checkpoint `best` or `last` on the test set and write the evaluation into the run folder.

    The attack is `recipe.evaluate`; the network computes in float32 whatever it was trained in, because attacks on
    rounded logits miss some adversarial examples.

    Raises:
        UserError: no such checkpoint, a broken one, or one of other classes than the data has.
    """
    state = load_checkpoint(run.checkpoint(which), pick_device(recipe.train.device))
    model = restore_model(recipe, state, pick_device(recipe.train.device))
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
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return results


def predictions(run: RunFolder, recipe: Recipe, source: Source, index: Tensor, which: str = "last") -> Tensor:
    """Predicted classes `[n]` of the clean samples `index` `[n]` under a checkpoint."""
    device = pick_device(recipe.train.device)
    model = restore_model(recipe, load_checkpoint(run.checkpoint(which), device), device)
    with torch.no_grad():
        order = sequential_order(index, recipe.evaluate.batch_size)
        return torch.cat([model(batch.x).argmax(dim=1) for batch in source.batches(order)]).cpu()
