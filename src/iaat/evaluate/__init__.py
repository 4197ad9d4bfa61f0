"""Evaluation of any model by a suite of attacks: worst case per sample, findings and verdict."""

from iaat.evaluate.evaluate_given import evaluate_model
from iaat.evaluate.findings import Finding
from iaat.evaluate.outcome import Outcome
from iaat.evaluate.results import EvaluationResult, StageResult, read_results
from iaat.evaluate.results_table import results_table
from iaat.evaluate.robust_accuracy import attack_samples
from iaat.evaluate.stages import Stage

__all__ = [
    "EvaluationResult",
    "Finding",
    "Outcome",
    "Stage",
    "StageResult",
    "attack_samples",
    "evaluate_model",
    "read_results",
    "results_table",
]
