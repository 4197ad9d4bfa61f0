"""From the outcome of an evaluation to its results and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from iaat.config.evaluate_config import EvaluateConfig
from iaat.evaluate.naming import evaluation_name
from iaat.evaluate.results import CLEAN, RESULTS_FILE, WORST, ClassResult, EvaluationResult, ModelFacts
from iaat.evaluate.robust_accuracy import Outcome
from iaat.evaluate.sample_records import RECORDS_FILE
from iaat.runtime.files import encodable, replacing, write_json
from iaat.statistics import wilson_interval

if TYPE_CHECKING:
    import pyarrow as pa


def summary(
    outcome: Outcome,
    config: EvaluateConfig,
    classes: Sequence[str],
    facts: ModelFacts,
    **more: Any,  # noqa: ANN401
) -> EvaluationResult:
    """The results of an evaluation: accuracies with their intervals, and the cost of each attack.

    Accuracies are of the worst case so far: under the attack named and all before it; `worst` is under all.

    Args:
        outcome: What became of each sample.
        config: Settings of the evaluation.
        classes: Class names.
        facts: What is known of the model.
        more: Further fields of the results: verdict, findings, sections, ...
    """
    n = len(outcome.misclassified_by)
    accuracies = {name: outcome.accuracy(name) for name in (CLEAN, *outcome.attacks)} | {WORST: outcome.worst()}
    classwise = per_class(outcome, classes)
    return EvaluationResult(
        **{each.name: getattr(facts, each.name) for each in fields(facts)},
        suite=config.suite,
        n=n,
        attack=evaluation_name(config),
        evaluate=config,
        classes=len(classes),
        attacks=outcome.attacks,
        accuracy=accuracies,
        interval95={name: wilson_interval(value, n) for name, value in accuracies.items()},
        passes_per_sample=outcome.passes,
        seconds=sum(stage.seconds for stage in outcome.stages),
        stages=outcome.stages,
        per_class=classwise,
        worst_class=min(classwise, key=lambda row: row.worst),
        **more,
    )


def per_class(outcome: Outcome, classes: Sequence[str]) -> tuple[ClassResult, ...]:
    """Clean and worst-case accuracy of each class that has samples."""
    rows = []
    for number, name in enumerate(classes):
        own = outcome.label == number
        if count := int(own.sum()):
            after = (outcome.correct_after(each)[own] for each in (CLEAN, outcome.stages[-1].name))
            rows.append(ClassResult(encodable(name), count, *(float(each.double().mean()) for each in after)))
    return tuple(rows)


def write_evaluation(folder: Path, outcome: Outcome, results: EvaluationResult, classes: Sequence[str]) -> None:
    """Write `records.parquet`, one row a sample, and `results.json`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    classes = [encodable(name) for name in classes]
    columns = {
        "index": pa.array(outcome.index.numpy()),
        **_class_columns("label", outcome.label, classes),
        **_class_columns("clean_prediction", outcome.clean, classes),
        **_class_columns("adversarial_prediction", outcome.adversarial, classes),
        "misclassified_by": pa.array(outcome.misclassified_by),
        "perturbation_norm": pa.array(outcome.perturbation_norm.numpy()),
    }
    # A file of Python's: pyarrow takes no name of bytes that are no UTF-8.
    with replacing(folder / RECORDS_FILE) as temporary, temporary.open("wb") as file:
        pq.write_table(pa.table(columns), file)
    # Last: an evaluation counts as finished once its results are there.
    write_json(folder / RESULTS_FILE, results.to_json())


def _class_columns(name: str, numbers: Tensor, classes: Sequence[str]) -> dict[str, pa.Array]:
    """Classes `[n]` by name, null for -1, and by number: two classes may share a name."""
    import pyarrow as pa

    names = [classes[number] if number >= 0 else None for number in numbers.tolist()]
    return {name: pa.array(names, pa.string()), f"{name}_id": pa.array(numbers.numpy())}
