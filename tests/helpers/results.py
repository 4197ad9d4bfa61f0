"""Made-up results of evaluations."""

from dataclasses import replace

from iaat.config.evaluate_config import EvaluateConfig
from iaat.evaluate.results import ClassResult, EvaluationResult
from iaat.runtime.passes import Passes
from iaat.statistics import wilson_interval


def made_up(accuracy=None, n=500, **fields):
    """Results with these fields and accuracies: `clean`, the attacks in their order, `worst`."""
    accuracy = accuracy or {"clean": 0.7, "pgd-20": 0.4, "screening": 0.38, "worst": 0.38}
    found = EvaluationResult(
        run="run",
        verdict="fine",
        suite="quick",
        attack="quick PGD-20 8px linf",
        n=n,
        classes=10,
        seconds=1.0,
        evaluate=EvaluateConfig(),
        attacks=tuple(name for name in accuracy if name not in ("clean", "worst")),
        accuracy=accuracy,
        interval95={name: wilson_interval(value, n) for name, value in accuracy.items()},
        passes_per_sample=Passes(1, 1),
        findings=(),
        stages=(),
        worst_class=ClassResult("cat", 50, 0.5, 0.1),
        checkpoint="best",
        epoch=3,
        seed=0,
    )
    return replace(found, **fields)
