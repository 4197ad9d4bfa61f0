"""Read the results of finished evaluations of a run."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from iaat.config.evaluate_config import EvaluateConfig
from iaat.errors import UserError
from iaat.evaluate.evaluation_identity import folder_name
from iaat.evaluate.results import RESULTS_FILE, EvaluationResult, Weights, read_results
from iaat.runs.checkpoint import load_checkpoint
from iaat.runs.run_folder import RunFolder
from iaat.runtime.json_files import DamagedFileError


def evaluations_folder(run: RunFolder, weights: Weights | None) -> Path:
    """Folder of the evaluations; those of raw weights beside an EMA have one of their own."""
    folder = run.evaluations
    if weights != "raw":
        return folder
    old = folder / "trained-weights"  # its name in earlier versions
    return old if old.is_dir() else folder / "raw-weights"


def stored_results(
    run: RunFolder, which: str, config: EvaluateConfig, *, weights: Weights | None = None
) -> EvaluationResult | None:
    """Results of an earlier evaluation of the checkpoint by the same settings; None where they are damaged, too."""
    file = evaluations_folder(run, weights) / folder_name(config, which) / RESULTS_FILE
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
