from iaat.evaluate.config import EvaluateConfig
from iaat.evaluate.report import interval, plain_table, results_table
from iaat.evaluate.robust import Outcome, attack_samples

__all__ = ["EvaluateConfig", "Outcome", "attack_samples", "interval", "plain_table", "results_table"]
