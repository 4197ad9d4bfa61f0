"""Evaluation of the checkpoints of a run folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from iaat.config.choices import CHECKPOINTS, WEIGHTS, weights_by_any_name
from iaat.config.recipe import Recipe
from iaat.config.recipe_digest import digest_of_run
from iaat.data import DataSplits
from iaat.errors import UserError, shown
from iaat.evaluate.evaluated_model import EvaluatedModel
from iaat.evaluate.evaluation import run_evaluation, run_evaluations
from iaat.evaluate.masking import fresh_copy
from iaat.evaluate.results import EvaluationResult, ModelFacts, Weights
from iaat.evaluate.stored_results import evaluations_folder
from iaat.models import supports_channels_last, weights_digest
from iaat.runs.checkpoint import has_average, load_checkpoint, restore_model
from iaat.runs.data_record import check_same_test_data
from iaat.runs.run_folder import RunFolder
from iaat.runtime.device import pick_device
from iaat.runtime.distributed import ALONE, Ranks
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
        folder=evaluations_folder(run, weights),
        facts=facts,
        radii=_radii(run, state["epoch"], len(data.train)),
        fresh=fresh_copy(model),
    )


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
