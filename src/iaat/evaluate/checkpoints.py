"""Evaluation of the checkpoints of a run."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from iaat.attacks import predict
from iaat.config.choices import CHECKPOINTS
from iaat.config.differences import digest_but_seed
from iaat.config.evaluate_config import EvaluateConfig
from iaat.config.recipe import Recipe
from iaat.data import DataSplits, sequential_order
from iaat.evaluate.evaluation import evaluate_subject, evaluate_subjects, folder_name
from iaat.evaluate.masking import fresh_copy
from iaat.evaluate.result_files import same_config
from iaat.evaluate.results import read_results
from iaat.evaluate.sections import Extras
from iaat.evaluate.subject import Subject
from iaat.models import supports_channels_last, weights_digest
from iaat.runs.checkpoint import check_same_data, check_same_test_data, has_average, load_checkpoint, restore_model
from iaat.runs.run_folder import RunFolder
from iaat.runtime.device import pick_device
from iaat.runtime.json_files import DamagedFileError
from iaat.runtime.progress import Reporter


def kinds_of_weights(recipe: Recipe, weights: str) -> tuple[bool, ...]:
    """Which networks of a checkpoint are meant: True for the trained weights in place of their average.

    `weights` is one of `iaat.config.choices.WEIGHTS`. A run without an average has one network, whatever is asked for.
    """
    if not recipe.train.ema:
        return (False,)
    return {"averaged": (False,), "trained": (True,), "both": (False, True)}[weights]


def evaluate_checkpoint(
    run: RunFolder,
    recipe: Recipe,
    which: str,
    data: DataSplits,
    reporter: Reporter,
    extras: Extras | None = None,
    *,
    trained: bool = False,
) -> dict[str, Any]:
    """Judge the checkpoint `best` or `last` on the test set and write the evaluation into the run folder.

    The attacks are those of `recipe.evaluate`; the network computes in float32 whatever it was trained in, because
    attacks on rounded logits miss some adversarial examples. `trained` takes the trained weights even where there is
    an average of them.

    Raises:
        UserError: no such checkpoint, a broken one, or one trained on other data than is given.
    """
    subject = subject_of_run(run, recipe, which, data, trained=trained)
    return evaluate_subject(subject, data, recipe.evaluate, reporter, extras)


def evaluate_checkpoints(
    run: RunFolder, recipe: Recipe, data: DataSplits, reporter: Reporter
) -> Iterator[dict[str, Any]]:
    """Results of the best and of the last checkpoint of a run, each as by `evaluate_checkpoint`.

    Where both have the same weights, these are attacked once.

    Raises:
        UserError: as `evaluate_checkpoint`.
    """
    subjects = [subject_of_run(run, recipe, which, data) for which in CHECKPOINTS]
    for results in evaluate_subjects(subjects, data, recipe.evaluate, reporter):
        yield {**results, "folder": str(run.path)}


def subject_of_run(run: RunFolder, recipe: Recipe, which: str, data: DataSplits, *, trained: bool = False) -> Subject:
    """The network of a checkpoint, with what is known of it.

    `which` is `best`, `last`, or an earlier one such as `checkpoints/0003`.

    Raises:
        UserError: as `evaluate_checkpoint`.
    """
    device = pick_device(recipe.train.device)
    state = load_checkpoint(run.checkpoint(which), device)
    which = which.rpartition("/")[2]
    model = restore_model(recipe, state, device, trained=trained)
    check_same_test_data(state["data"], data)
    if supports_channels_last(model, data.shape):
        model = model.to(memory_format=torch.channels_last)
    facts = {
        "run": run.name(),
        "recipe": digest_but_seed(recipe, state["data"]["train_fingerprint"], state["data"]["test_fingerprint"]),
        "checkpoint": which,
        **({"weights": "trained" if trained else "averaged"} if has_average(state) else {}),
        "epoch": state["epoch"],
        "seed": recipe.seed,
        # The best epoch costs the whole training; beside one that goes on, the log may be ahead of the last.
        **run.training_cost(None if which == "best" else state["epoch"]),
    }
    return Subject(
        name=f"{run.path.name}-{which}" + ("-trained" if trained else ""),
        model=model,
        digest=weights_digest(model),
        folder=_folder(run, trained),
        facts=facts,
        radii=_radii(run, state["epoch"], len(data.train)),
        fresh=fresh_copy(model),
    )


def _folder(run: RunFolder, trained: bool) -> Path:
    """Evaluations of trained weights, where they are not what the run is for, have a folder of their own."""
    return run.path / "evaluations" / ("trained-weights" if trained else "")


def _radii(run: RunFolder, epoch: int, size: int) -> tuple[Tensor, Tensor] | None:
    """Indices below `size` and radii of the trained samples after an epoch, or the last one kept before it.

    A run may be judged without the extra images it was trained on: theirs are the indices that the data lacks then.
    """
    kept = [number for number in run.radii_epochs() if number <= epoch]
    if not kept:
        return None
    index, radius = run.radii_after(kept[-1])
    there = index < size
    return torch.from_numpy(index[there]), torch.from_numpy(radius[there])


def stored_results(
    run: RunFolder, which: str, config: EvaluateConfig, *, trained: bool = False
) -> dict[str, Any] | None:
    """Results of an evaluation of the checkpoint by the same settings done before; None where they are damaged, too."""
    file = _folder(run, trained) / folder_name(config, which) / "results.json"
    if not file.exists():
        return None
    try:
        results = read_results(file)
    except DamagedFileError as error:
        warnings.warn(f"{error}; evaluated again", stacklevel=2)
        return None
    if not same_config(results["evaluate"], config):
        return None
    # Evaluated before the run went on: the checkpoint is another one since.
    return results if results.get("epoch") == load_checkpoint(run.checkpoint(which))["epoch"] else None


def last_network(run: RunFolder, recipe: Recipe, data: DataSplits) -> nn.Module:
    """The network of the last checkpoint, in eval mode on the recipe's device.

    Raises:
        UserError: no such checkpoint, a broken one, or one trained on other data than is given.
    """
    device = pick_device(recipe.train.device)
    state = load_checkpoint(run.checkpoint("last"), device)
    check_same_data(state["data"], data)
    return restore_model(recipe, state, device)


def training_predictions(run: RunFolder, recipe: Recipe, data: DataSplits, reporter: Reporter) -> Tensor:
    """Predicted classes `[n]` of the clean samples of the last table of radii, or else of the training samples.

    The network is that of the last checkpoint.

    Raises:
        UserError: no such checkpoint, a broken one, or one trained on other data than is given.
    """
    model = last_network(run, recipe, data)
    kept = run.radii_epochs()
    index = torch.from_numpy(run.radii_after(kept[-1])[0]) if kept else data.train_index
    batches = data.train.batches(sequential_order(index, recipe.evaluate.batch_size))
    shown = reporter.track(batches, total=len(index), what="predict", size=lambda batch: len(batch.y))
    return torch.cat([predict(model, batch.x) for batch in shown]).cpu()
