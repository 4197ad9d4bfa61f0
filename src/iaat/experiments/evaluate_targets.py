"""Evaluate the targets of `iaat evaluate` in turn."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from iaat.config.evaluate_config import EvaluateConfig
from iaat.config.suites import parse_suite
from iaat.data import DataSplits
from iaat.errors import UserError
from iaat.evaluate.evaluated_model import EvaluatedModel
from iaat.evaluate.evaluation import run_evaluation, run_evaluations
from iaat.evaluate.evaluation_identity import folder_name
from iaat.evaluate.results import RESULTS_FILE, EvaluationResult, read_results
from iaat.evaluate.sections import Extras
from iaat.experiments.resolved_recipe import data_key
from iaat.experiments.targets import Target
from iaat.runs.run_folder import RunFolder
from iaat.runtime.device import device_of
from iaat.runtime.distributed import ALONE, Ranks, describe_processes
from iaat.runtime.progress import Reporter

_Loaded = tuple[Target, DataSplits, Sequence[EvaluatedModel]]


def evaluate_targets(
    targets: Sequence[Target],
    others: Sequence[Target],
    checkpoints: Sequence[str],
    reporter: Reporter,
    *,
    weights: str = "ema",
    corrupted: Path | None = None,
    baseline: Path | None = None,
    ranks: Ranks = ALONE,
) -> list[EvaluationResult]:
    """Evaluate every target in turn; where a suite has transfer, on examples of all the others, too.

    Args:
        targets, others: What to evaluate, and further models to make examples on.
        checkpoints, weights: Which of a run's: `best`, `last`; one of `iaat.config.choices.WEIGHTS`.
        reporter: Shows progress.
        corrupted: Folder of published corrupted images.
        baseline: Run folder: mCE is relative to its evaluation by the same settings.
        ranks: The processes that share out the batches; all make the same call and get the same results.

    Raises:
        UserError: as `run_evaluation` and `Target.models`.
    """
    for target in targets:
        target.check_checkpoint(checkpoints)
    loaded = _loaded(targets, checkpoints, reporter, weights, ranks)
    _check_same(loaded, ranks, reporter)
    base = None
    if baseline is not None and not any(_is_run(target, baseline) for target in targets):
        base = {each.name: _baseline(baseline, checkpoints[0], each.recipe.evaluate, corrupted) for each in targets}
    rows: dict[str, list[EvaluationResult]] = {}
    # The baseline first: the others are relative to it.
    for target, data, models in sorted(loaded, key=lambda each: not _is_run(each[0], baseline)):
        makers = _makers(target, [*targets, *others], checkpoints[:1], data, ranks)
        if baseline is not None and base is None:
            extra = Extras(_others(makers, models[0]), corrupted, is_baseline=True)
            results = run_evaluation(models[0], data, target.recipe.evaluate, reporter, extra, ranks=ranks)
            base = dict.fromkeys((each.name for each in targets), replace(results, folder=str(baseline)))
        against = None if base is None else base[target.name]
        extras = {each.name: Extras(_others(makers, each), corrupted, against) for each in models}
        rows[target.name] = _rows(target, data, models, extras, reporter, ranks)
    return [row for target in targets for row in rows[target.name]]


def _loaded(
    targets: Sequence[Target], checkpoints: Sequence[str], reporter: Reporter, weights: str, ranks: Ranks
) -> list[_Loaded]:
    """Every target with its data and its models.

    All are loaded before the first is evaluated: a mistake in the last must not cost the work on the first.
    """
    read: dict[str, DataSplits] = {}
    loaded: list[_Loaded] = []
    preloaded = [ranks.main_first(target.preload) for target in targets]
    for target, model in zip(targets, preloaded, strict=True):
        key = data_key(target.recipe)
        data = read[key] if key in read else read.setdefault(key, target.data(ranks, reporter))
        models = ranks.main_first(partial(target.models, checkpoints, data, weights, model))
        loaded.append((target, data, models))
        _warn_of_unfinished(target, models)
    return loaded


def _makers(
    target: Target, targets: Sequence[Target], checkpoints: Sequence[str], data: DataSplits, ranks: Ranks
) -> list[EvaluatedModel]:
    """Models of the other targets, which examples are made on where the suite has transfer; else none."""
    if parse_suite(target.recipe.evaluate.suite).transfer_steps is None:
        return []
    others = (other for other in targets if other is not target)
    return [model for other in others for model in ranks.main_first(partial(other.models, checkpoints, data))]


def _rows(
    target: Target,
    data: DataSplits,
    models: Sequence[EvaluatedModel],
    extras: Mapping[str, Extras],
    reporter: Reporter,
    ranks: Ranks,
) -> list[EvaluationResult]:
    """The results of the models of a target, with the folder that each is shown under."""
    config, norm = target.recipe.evaluate, target.recipe.radius_norm
    folders = [evaluated.folder if target.run is None else target.run.path for evaluated in models]
    results = run_evaluations(models, data, config, reporter, lambda each: extras[each.name], ranks=ranks)
    return [replace(row, folder=str(folder), trained_norm=norm) for folder, row in zip(folders, results, strict=True)]


def _check_same(loaded: Sequence[_Loaded], ranks: Ranks, reporter: Reporter) -> None:
    """Refuse processes that differ in what they are to evaluate."""
    if not ranks.several:
        return
    models = [evaluated for _, _, each in loaded for evaluated in each]
    reporter.say(describe_processes(ranks, device_of(models[0].model)))
    ranks.check_same(" ".join(device_of(evaluated.model).type for evaluated in models), "the devices")
    ranks.check_same(" ".join(target.recipe.to_yaml() for target, _, _ in loaded), "the settings")
    ranks.check_same(" ".join(data.test.fingerprint for _, data, _ in loaded), "the test data")
    ranks.check_same(" ".join(evaluated.digest for evaluated in models), "the models")


def _warn_of_unfinished(target: Target, models: Sequence[EvaluatedModel]) -> None:
    """Warn of a run without all its epochs: its figures are not those of its recipe."""
    if target.run is None:
        return
    epochs = target.recipe.train.epochs
    done = max([target.run.epochs_done(epochs), *(evaluated.facts.epoch or 0 for evaluated in models)])
    if done < epochs:
        warnings.warn(f"{target.run.path} is not finished: it has {done} of {epochs} epochs", stacklevel=4)


def _is_run(target: Target, folder: Path | None) -> bool:
    return folder is not None and target.run is not None and target.run.path.resolve() == folder.resolve()


def _others(makers: Sequence[EvaluatedModel], evaluated: EvaluatedModel) -> tuple[EvaluatedModel, ...]:
    """Models other than the evaluated one, each once, under names of their own."""
    unique = list({maker.digest: maker for maker in makers if maker.digest != evaluated.digest}.values())
    names = [maker.name for maker in unique]
    return tuple(
        replace(maker, name=f"{maker.name}-{maker.digest[:6]}") if names.count(maker.name) > 1 else maker
        for maker in unique
    )


def _baseline(folder: Path, checkpoint: str, config: EvaluateConfig, corrupted: Path | None) -> EvaluationResult:
    """The results of an earlier evaluation."""
    place, extras = folder, Extras(corrupted=corrupted)
    if (run := RunFolder(folder)).exists():
        place = run.evaluations / folder_name(config, checkpoint, extras)
    if not (place / RESULTS_FILE).exists():
        raise UserError(
            f"--baseline {folder}: no results of these settings in {place}: evaluate it by them first, or name it "
            "among the runs of this command"
        )
    return replace(read_results(place / RESULTS_FILE), folder=str(folder))
