"""Evaluation of the checkpoints of a run folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from iaat.attacks import predict_classes
from iaat.config.choices import CHECKPOINTS, WEIGHTS, weights_by_any_name
from iaat.config.differences import digest_of_run
from iaat.config.evaluate_config import EvaluateConfig
from iaat.config.recipe import Recipe
from iaat.data import DataSplits, sequential_order
from iaat.errors import UserError, shown
from iaat.evaluate.evaluated_model import EvaluatedModel
from iaat.evaluate.evaluation import folder_name, run_evaluation, run_evaluations
from iaat.evaluate.masking import fresh_copy
from iaat.evaluate.results import RESULTS_FILE, EvaluationResult, ModelFacts, Weights, read_results
from iaat.models import supports_channels_last, weights_digest
from iaat.runs.checkpoint import has_average, load_checkpoint, restore_model
from iaat.runs.data_record import check_same_data, check_same_test_data
from iaat.runs.run_folder import RunFolder
from iaat.runtime.device import pick_device
from iaat.runtime.distributed import ALONE, Ranks
from iaat.runtime.json_files import DamagedFileError
from iaat.runtime.progress import Reporter


def weights_to_evaluate(recipe: Recipe, weights: str) -> tuple[Weights | None, ...]:
    """Which weights of a run to evaluate; None, for its only ones, where it keeps no EMA.

    Args:
        recipe: What was trained.
        weights: One of `iaat.config.choices.WEIGHTS`.

    Raises:
        UserError: it is none of them.
    """
    choices: dict[str, tuple[Weights, ...]] = {"ema": ("ema",), "raw": ("raw",), "both": ("ema", "raw")}
    chosen = choices.get(weights_by_any_name(weights))
    if chosen is None:
        raise UserError(f"weights {shown(weights)}: one of {', '.join(WEIGHTS)}")
    return chosen if recipe.train.ema else (None,)


def evaluate_checkpoint(
    run: RunFolder,
    recipe: Recipe,
    which: str,
    data: DataSplits,
    reporter: Reporter,
    *,
    weights: Weights | None = None,
) -> EvaluationResult:
    """Evaluate the checkpoint `best` or `last` on the test set and write the results into the run folder.

    The attacks are those of `recipe.evaluate`; the model computes in float32 whatever it was trained in, because
    attacks on rounded logits miss some adversarial examples. Where the run keeps an EMA of its weights, `weights`
    chooses between it and the raw ones; by default it is the EMA.

    Raises:
        UserError: no such checkpoint, a broken one, or one trained on other data than is given.
    """
    evaluated = load_evaluated(run, recipe, which, data, weights=weights)
    return run_evaluation(evaluated, data, recipe.evaluate, reporter)


def evaluate_checkpoints(
    run: RunFolder, recipe: Recipe, data: DataSplits, reporter: Reporter, *, ranks: Ranks = ALONE
) -> Iterator[EvaluationResult]:
    """Results of the best and of the last checkpoint of a run, each as by `evaluate_checkpoint`.

    Where both have the same weights, these are attacked once. The processes `ranks` share out the batches.

    Raises:
        UserError: as `evaluate_checkpoint`.
    """
    models = ranks.main_first(lambda: [load_evaluated(run, recipe, which, data) for which in CHECKPOINTS])
    for results in run_evaluations(models, data, recipe.evaluate, reporter, ranks=ranks):
        yield replace(results, folder=str(run.path), trained_norm=recipe.radius_norm)


def load_evaluated(
    run: RunFolder, recipe: Recipe, which: str, data: DataSplits, *, weights: Weights | None = None
) -> EvaluatedModel:
    """The model of a checkpoint, ready to evaluate.

    `which` is `best`, `last`, or an earlier one such as `checkpoints/0003`.

    Raises:
        UserError: as `evaluate_checkpoint`.
    """
    device = pick_device(recipe.train.device)
    state = load_checkpoint(run.checkpoint(which), device)
    which = which.rpartition("/")[2]
    model = restore_model(recipe, state, device, raw=weights == "raw")
    check_same_test_data(state["data"], data)
    if supports_channels_last(model, data.shape):
        model = model.to(memory_format=torch.channels_last)
    train, test = (state["data"][f"{split}_fingerprint"] for split in ("train", "test"))
    facts = ModelFacts(
        run=run.name(),
        recipe=digest_of_run(recipe, train, test, run.lengthened()),
        checkpoint=which,
        weights=weights or "ema" if has_average(state) else None,
        epoch=state["epoch"],
        seed=recipe.seed,
        # The best epoch costs the whole training; beside one that goes on, the log may be ahead of the last.
        **run.training_cost(None if which == "best" else state["epoch"]),
    )
    return EvaluatedModel(
        name=f"{run.path.name}-{which}" + ("-raw" if weights == "raw" else ""),
        model=model,
        digest=weights_digest(model),
        folder=_folder(run, weights),
        facts=facts,
        radii=_radii(run, state["epoch"], len(data.train)),
        fresh=fresh_copy(model),
    )


def _folder(run: RunFolder, weights: Weights | None) -> Path:
    """Folder of the evaluations; those of raw weights beside an EMA have one of their own."""
    folder = run.evaluations
    if weights != "raw":
        return folder
    old = folder / "trained-weights"  # its name in earlier versions
    return old if old.is_dir() else folder / "raw-weights"


def _radii(run: RunFolder, epoch: int, size: int) -> tuple[Tensor, Tensor] | None:
    """Indices below `size` and radii of the trained samples after an epoch, or the last one kept before it.

    A run may be evaluated without the extra images it was trained on: the data lacks their indices then.
    """
    kept = [number for number in run.radii_epochs() if number <= epoch]
    if not kept:
        return None
    index, radius = run.radii_after(kept[-1])
    there = index < size
    return torch.from_numpy(index[there]), torch.from_numpy(radius[there])


def stored_results(
    run: RunFolder, which: str, config: EvaluateConfig, *, weights: Weights | None = None
) -> EvaluationResult | None:
    """Results of an earlier evaluation of the checkpoint by the same settings; None where they are damaged, too."""
    file = _folder(run, weights) / folder_name(config, which) / RESULTS_FILE
    if not file.exists():
        return None
    try:
        results = read_results(file)
    except DamagedFileError as error:
        warnings.warn(f"{error}; evaluated again", stacklevel=2)
        return None
    if results.evaluate != config:
        return None
    # Evaluated before the run went on: the checkpoint is another one since.
    return results if results.epoch == load_checkpoint(run.checkpoint(which))["epoch"] else None


def results_of(run: RunFolder) -> list[EvaluationResult]:
    """The results of all finished evaluations of a run, in the order of their folders' names.

    Damaged files are left out with a warning.
    """
    return [results for _, results in evaluations_of(run)]


def evaluations_of(run: RunFolder, *, current: bool = False) -> list[tuple[Path, EvaluationResult]]:
    """Folder and results of all finished evaluations of a run, as `results_of`.

    Args:
        run: The run.
        current: Leave out, with a warning, those of checkpoints that are others since: the run has gone on.
    """
    found = []
    for file in sorted(run.evaluations.glob(f"*/{RESULTS_FILE}")):
        try:
            found.append((file.parent, read_results(file)))
        except DamagedFileError as error:
            warnings.warn(f"{error}; the evaluation is left out", stacklevel=2)
    return _current(run, found) if current else found


def _current(run: RunFolder, found: Sequence[tuple[Path, EvaluationResult]]) -> list[tuple[Path, EvaluationResult]]:
    """Those of the epochs that the checkpoints are of now; of a checkpoint that is gone or damaged all."""
    now: dict[str, int] = {}
    for which in {results.checkpoint for _, results in found if results.checkpoint is not None}:
        with suppress(UserError):
            now[which] = load_checkpoint(run.checkpoint(which))["epoch"]
    kept = []
    for folder, results in found:
        epoch = now.get(results.checkpoint or "", results.epoch)
        if results.epoch in (None, epoch):
            kept.append((folder, results))
            continue
        warnings.warn(
            f"{folder} is of epoch {results.epoch}, and the {results.checkpoint} checkpoint is of epoch {epoch} since: "
            "left out; evaluate the run again",
            stacklevel=3,
        )
    return kept


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
