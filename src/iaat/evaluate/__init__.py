from iaat.evaluate.config import EvaluateConfig
from iaat.evaluate.findings import Finding
from iaat.evaluate.report import interval, results_table
from iaat.evaluate.robust import Outcome, Stage, attack_samples

__all__ = [
    "EvaluateConfig",
    "Finding",
    "Outcome",
    "Stage",
    "attack_samples",
    "interval",
    "results_table",
]
