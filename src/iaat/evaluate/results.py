"""`results.json`, the results of an evaluation, as types; docs/schema.md says what each key means."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from iaat.config.choices import OLD_WEIGHTS
from iaat.config.evaluate_config import EvaluateConfig
from iaat.data.sample_checks import MOST_CHARACTERS
from iaat.errors import UserError
from iaat.evaluate.findings import Finding
from iaat.evaluate.name_of_pgd import name_of_pgd
from iaat.runtime.json_files import Between, Count, Finite, Fraction, NonNegative, UnfitError, read_json, to_json
from iaat.runtime.passes import Passes
from iaat.units import LengthUnit, Norm, Radius, unit_of

RESULTS_FILE = "results.json"
"""Name of the file, in the folder of the evaluation."""

RESULTS_VERSION = 2
"""Version of `results.json`; files of version 1 have no such key, and other names for some keys."""

CLEAN = "clean"
"""Name of the clean accuracy, and of what misclassified a sample that needs no attack."""

WORST = "worst"
"""Key of the accuracy under all attacks together."""

ROBUST = "none"
"""`misclassified_by` of a sample on which all attacks have failed."""

Weights = Literal["ema", "raw"]
"""Weights of a checkpoint: their exponential moving average (EMA), or those of the optimiser."""

Interval = tuple[Fraction, Fraction]
Positive = Annotated[int, Between(1)]
ClassName = Annotated[str, Field(max_length=MOST_CHARACTERS)]


@dataclass(frozen=True, slots=True)
class StageResult:
    """Result of one attack: samples it was given, samples on which it succeeded, and its cost.

    `outside` counts points it returned outside of their ball or the image range, `flips` those of another class in
    float32 than in the arithmetic of the attack.
    """

    name: str
    samples: Count
    adversarial: Count
    passes: Passes
    seconds: NonNegative
    outside: Count = 0
    warnings: tuple[str, ...] = ()
    flips: Count = 0


@dataclass(frozen=True, slots=True)
class ClassResult:
    """Clean and worst-case accuracy of the `n` samples of a class."""

    name: ClassName
    n: Positive
    clean: Fraction
    worst: Fraction


@dataclass(frozen=True, slots=True)
class CleanAccuracy:
    """Clean accuracy on all `n` test samples, those that are not attacked included."""

    accuracy: Fraction
    n: Positive
    interval95: Interval


@dataclass(frozen=True, slots=True)
class CurveResult:
    """Accuracy against the radius, on the [0, 1] scale; quantiles are None beyond the last radius."""

    attack: str
    norm: Norm
    radius: tuple[NonNegative, ...]
    accuracy: tuple[Fraction, ...]
    expected_robustness: Fraction
    minimal_norm_quantiles: dict[str, NonNegative | None]

    def __post_init__(self) -> None:
        if len(self.radius) != len(self.accuracy):
            raise UserError(f"{len(self.radius)} radii for {len(self.accuracy)} accuracies")


@dataclass(frozen=True, slots=True)
class CorruptionResult:
    """Accuracy on corrupted images by corruption and severity; `identity` is the digest of the images."""

    source: str
    identity: str
    severities: tuple[int, ...]
    accuracy: dict[str, tuple[Fraction, ...]]
    mean_accuracy: Fraction
    mce: Finite | None = None
    baseline: str | None = None

    def __post_init__(self) -> None:
        if any(len(row) != len(self.severities) for row in self.accuracy.values()):
            raise UserError("not one accuracy for each severity")


@dataclass(frozen=True, slots=True)
class TransferResult:
    """Accuracy on adversarial examples that were made on the model `source`, and that model's own."""

    source: str
    attack: str
    accuracy: Fraction
    accuracy_of_source: Fraction


@dataclass(frozen=True, slots=True)
class RadiusQuarter:
    """Clean accuracy and accuracy after screening of training samples, a quarter of them by their radius."""

    radius_px: tuple[NonNegative, NonNegative]
    n: Positive
    clean: Fraction
    screened: Fraction


@dataclass(frozen=True, slots=True)
class Digests:
    """SHA-256 of the weights and layers, of the test set, and of the pixels that were attacked."""

    model: str
    test_set: str
    inputs: str


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """Facts on an evaluated model; docs/schema.md says what each field means."""

    run: str
    recipe: str | None = None
    checkpoint: str | None = None
    weights: Weights | None = None
    epoch: Count | None = None
    seed: Count | None = None
    train_forwards: NonNegative | None = None
    train_backwards: NonNegative | None = None
    train_seconds: NonNegative | None = None
    radius_mean_px: NonNegative | None = None


@dataclass(frozen=True, kw_only=True)
class SectionResults:
    """What is measured beside the attacks; None where it was not asked for."""

    curve: CurveResult | None = None
    corruptions: CorruptionResult | None = None
    transfer: tuple[TransferResult, ...] | None = None
    radii: tuple[RadiusQuarter, ...] | None = None
    masking: dict[str, Finite] | None = None

    def measured(self) -> dict[str, Any]:
        """The fields that are not None."""
        values = {each.name: getattr(self, each.name) for each in fields(SectionResults)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class EvaluationResult(ModelFacts, SectionResults):
    """Results of one evaluation; docs/schema.md says what each field means.

    Not in `results.json`, but for tables: the `folder` of the run or model; `twins`, further checkpoints of the run
    with the same weights, and their epochs; `recipe_name` where `run` is the name of the folder; `trained_norm`, the
    norm of the radii of the training, None where that of the evaluation is taken for it.
    """

    verdict: str
    suite: str
    attack: str
    n: Positive
    classes: Positive
    seconds: NonNegative
    evaluate: EvaluateConfig
    attacks: tuple[str, ...]
    accuracy: dict[str, Fraction]
    interval95: dict[str, Interval]
    passes_per_sample: Passes
    findings: tuple[Finding, ...]
    stages: tuple[StageResult, ...]
    worst_class: ClassResult
    per_class: tuple[ClassResult, ...] = ()
    clean_all: CleanAccuracy | None = None
    date: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    digests: Digests | None = None
    folder: str | None = None
    twins: dict[str, int] = field(default_factory=dict)
    recipe_name: str | None = None
    trained_norm: Norm | None = None
    version: int = RESULTS_VERSION

    def __post_init__(self) -> None:
        for name in (CLEAN, *self.attacks, WORST):
            if name not in self.accuracy or name not in self.interval95:
                raise UserError(f"no accuracy with its interval for {name}")

    @property
    def radius_unit(self) -> LengthUnit:
        """Unit in which the radii of the training are shown."""
        return unit_of(self.trained_norm or self.evaluate.norm)

    def to_json(self) -> dict[str, Any]:
        """The results as `results.json` has them."""
        own = {"folder", "twins", "recipe_name", "trained_norm"}
        plain = {key: value for key, value in to_json(self).items() if key not in own}
        return {"version": plain.pop("version"), **plain, "evaluate": shown_config(self.evaluate)}


def read_results(file: Path) -> EvaluationResult:
    """The results of an evaluation, by this version or an older one.

    Raises:
        DamagedFileError: they are not what an evaluation writes.
        UserError: the file is missing, cannot be read, or is of a newer version.
    """
    return read_json(file, EvaluationResult, upgraded)


_OLD_KEYS = {
    "stages": {"met": "samples", "broken": "adversarial"},
    "per_class": {"class": "name"},
    "worst_class": {"class": "name"},
    "transfer": {"from": "source"},
}


def upgraded(results: Any) -> Any:  # noqa: ANN401
    """Results of earlier versions under today's keys and names; what is none as it is.

    Raises:
        UserError: they are of a newer version.
        UnfitError: they do not say by which radius the model was evaluated.
    """
    if not isinstance(results, dict):
        return results
    check_version(results, RESULTS_VERSION)
    if isinstance(evaluate := results.get("evaluate"), dict) and not {"radius", "norm"} <= evaluate.keys():
        raise UnfitError("evaluate has no radius")
    if results.get("weights") in list(OLD_WEIGHTS):
        results = {**results, "weights": OLD_WEIGHTS[results["weights"]]}
    results = _with_step_in_name(results)
    if "version" in results:
        return results
    return {key: _renamed(value, _OLD_KEYS.get(key, {})) for key, value in results.items()}


def _with_step_in_name(results: dict[str, Any]) -> dict[str, Any]:
    """Results with the step size in the name of the first PGD, `pgd-20 step 1px`, where they have one."""
    own = results.get("evaluate")
    if not isinstance(own, dict) or own.get("step_size") is None:
        return results
    with suppress(KeyError, UserError):  # what is wrong with them is said when they are read
        counts = own["target"], own["steps"], own["restarts"]
        old, new = name_of_pgd(*counts), name_of_pgd(*counts, Radius(own["step_size"]), own["norm"])
        results = {**results, "attacks": [new if each == old else each for each in results["attacks"]]}
        for key in ("accuracy", "interval95"):
            results[key] = _renamed(results[key], {old: new})
        results["stages"] = [{**each, "name": new} if each.get("name") == old else each for each in results["stages"]]
    return results


def check_version(record: dict[str, Any], newest: int) -> None:
    """Refuse a record of a version above `newest`.

    Raises:
        UserError: it has one.
    """
    if isinstance(version := record.get("version"), int) and version > newest:
        raise UserError(f"version {version} of results was written by a newer iaat: update this one")


def _renamed(value: Any, names: dict[str, str]) -> Any:  # noqa: ANN401
    if isinstance(value, list):
        return [_renamed(each, names) for each in value]
    return {names.get(key, key): each for key, each in value.items()} if isinstance(value, dict) else value


def plain_config(config: EvaluateConfig) -> dict[str, Any]:
    """The settings as plain values, equal for settings that mean the same."""
    return {key: str(value) if isinstance(value, Radius) else value for key, value in asdict(config).items()}


def shown_config(config: EvaluateConfig) -> Mapping[str, Any]:
    """The settings as plain values for people: lengths as they were given, those of L2 never in px."""
    lengths = {key: value for key, value in vars(config).items() if isinstance(value, Radius)}
    return {**plain_config(config), **{key: _as_given(value, config.norm) for key, value in lengths.items()}}


def _as_given(length: Radius, norm: str) -> str:
    return repr(float(length)) if norm == "l2" and length.given.endswith("px") else length.given
