"""Names of attacks, evaluations and models, as people read them."""

from __future__ import annotations

from iaat.config.evaluate_config import EvaluateConfig
from iaat.config.suites import parse_suite
from iaat.evaluate.name_of_pgd import name_of_pgd
from iaat.evaluate.results import WORST, EvaluationResult
from iaat.units import Radius, format_norm

RAW_WEIGHTS = " (raw weights)"
"""Mark of a run that is evaluated by its raw weights beside their EMA."""

_TITLES = {"autoattack": "AutoAttack", "mi-fgsm": "MI-FGSM", "deepfool": "DeepFool", "cw": "C&W", WORST: "worst case"}


def attack_title(attack: str) -> str:
    """An attack as people read it: `PGD-20`, `AutoAttack`; screening stays what it is."""
    return _TITLES.get(attack, attack.replace("pgd-", "PGD-"))


def pgd_name(config: EvaluateConfig) -> str:
    """Name of the first PGD: `pgd-20`, or `pgd-20 step 1px` with `evaluate.step_size`, which `pgd-20` does not have."""
    return name_of_pgd(config.target, config.steps, config.restarts, config.step_size, config.norm)


def evaluation_name(config: EvaluateConfig, *, exact: bool = False) -> str:
    """Short name of the evaluation, such as `quick PGD-20x2 8px linf`; lengths of few digits unless `exact`."""
    lengths = {key: value for key, value in vars(config).items() if isinstance(value, Radius)}
    if exact:
        radius = str(config.radius) if config.norm == "linf" else repr(float(config.radius))
        texts = {**lengths, "radius": radius}
    else:
        texts = {key: format_norm(value, config.norm) for key, value in lengths.items()}
    first = attack_title(name_of_pgd(config.target, config.steps, config.restarts))
    pgd = f" {first}" if "pgd" in parse_suite(config.suite).attacks else ""
    step = f" step {texts['step_size']}" if "step_size" in texts else ""
    seed = f" seed {config.seed}" if config.seed else ""
    return f"{config.suite}{pgd} {texts['radius']} {config.norm}{step}{seed}"


def worst_case_name(row: EvaluationResult) -> str:
    """What the worst case is over, for axes and titles: `worst case over PGD-20, screening; 8px linf`."""
    norm, radius = row.evaluate.norm, row.evaluate.radius
    length = radius.given if norm == "linf" else f"{float(radius):.4g}"
    return f"worst case over {', '.join(map(attack_title, row.attacks)) or 'no attack'}; {length} {norm}"


def run_title(row: EvaluationResult) -> str:
    """Name of the run of an evaluation, marked where its raw weights were evaluated beside an EMA."""
    return f"{row.run}{RAW_WEIGHTS}" if row.weights == "raw" else row.run


def model_title(row: EvaluationResult) -> str:
    """The model of an evaluation, as tables and findings call it."""
    seed = "" if row.seed is None else f" seed {row.seed}"
    return f"{run_title(row)}{seed}" + ("" if row.checkpoint is None else f" {checkpoint_title(row)}")


def checkpoint_title(row: EvaluationResult) -> str:
    """The checkpoint, with those of equal weights: `best = last`."""
    return " = ".join([str(row.checkpoint), *row.twins])
