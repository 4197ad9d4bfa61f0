"""`results.json`, the results of an evaluation, read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from iaat.class_names import MOST_CHARACTERS
from iaat.evaluate.robust import CLEAN
from iaat.json_files import DamagedFileError, read_json


class _Passes(TypedDict):
    forward: float
    backward: float


class _Finding(TypedDict):
    name: str
    evidence: str
    advice: str
    serious: bool
    weak_attack: NotRequired[bool]


class _Stage(TypedDict):
    name: str
    met: int
    broken: int
    passes: _Passes
    seconds: float


_WorstClass = TypedDict("_WorstClass", {"class": str, "worst": float})


class _CleanAll(TypedDict):
    accuracy: float
    n: int
    interval95: list[float]


class _Curve(TypedDict):
    attack: str
    norm: str
    radius: list[float]
    accuracy: list[float]
    expected_robustness: float
    minimal_norm_quantiles: dict[str, float | None]


class _Corruptions(TypedDict):
    source: str
    identity: str
    severities: list[int]
    accuracy: dict[str, list[float]]
    mean_accuracy: float
    mce: NotRequired[float]
    baseline: NotRequired[str]


_Transfer = TypedDict("_Transfer", {"from": str, "attack": str, "accuracy": float, "accuracy_of_source": float})


class _Quarter(TypedDict):
    radius_px: list[float]
    n: int
    clean: float
    screened: float


class _Results(TypedDict):
    """What tables, pages and pictures take from the results of an evaluation."""

    run: str
    verdict: str
    suite: str
    attack: str
    n: int
    classes: int
    seconds: float
    evaluate: dict[str, Any]
    attacks: list[str]
    accuracy: dict[str, float]
    interval95: dict[str, list[float]]
    passes_per_sample: _Passes
    findings: list[_Finding]
    stages: list[_Stage]
    worst_class: _WorstClass
    recipe: NotRequired[str]
    date: NotRequired[str]
    versions: NotRequired[dict[str, str]]
    digests: NotRequired[dict[str, str]]
    clean_all: NotRequired[_CleanAll]
    checkpoint: NotRequired[str]
    weights: NotRequired[str]
    epoch: NotRequired[int]
    seed: NotRequired[int | None]
    train_forwards: NotRequired[float]
    train_backwards: NotRequired[float]
    train_seconds: NotRequired[float]
    radius_mean_px: NotRequired[float]
    curve: NotRequired[_Curve]
    corruptions: NotRequired[_Corruptions]
    transfer: NotRequired[list[_Transfer]]
    radii: NotRequired[list[_Quarter]]


def read_results(file: Path) -> dict[str, Any]:
    """The results of an evaluation.

    Raises:
        DamagedFileError: they are not what an evaluation writes.
        UserError: the file is missing, or cannot be read.
    """
    results = cast("dict[str, Any]", read_json(file, _Results))
    for name in (CLEAN, *results["attacks"], "worst"):
        if name not in results["accuracy"] or len(results["interval95"].get(name, ())) != 2:
            raise DamagedFileError(f"{file} is damaged: it has no accuracy with its interval for {name}")
    if (length := len(results["worst_class"]["class"])) > MOST_CHARACTERS:
        raise DamagedFileError(f"{file} is damaged: the name of its worst class has {length:,} characters")
    curve, corruptions = results.get("curve"), results.get("corruptions")
    if curve and len(curve["radius"]) != len(curve["accuracy"]):
        raise DamagedFileError(f"{file} is damaged: curve has {len(curve['radius'])} radii for other accuracies")
    if corruptions and any(len(row) != len(corruptions["severities"]) for row in corruptions["accuracy"].values()):
        raise DamagedFileError(f"{file} is damaged: corruptions do not have one accuracy a severity")
    return results
