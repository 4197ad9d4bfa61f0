from iaat.evaluate.findings import Finding
from iaat.evaluate.python_api import evaluate_model
from iaat.evaluate.result_files import results_table
from iaat.evaluate.robust import Outcome, Stage, attack_samples

__all__ = [
    "Finding",
    "Outcome",
    "Stage",
    "attack_samples",
    "evaluate_model",
    "results_table",
]
