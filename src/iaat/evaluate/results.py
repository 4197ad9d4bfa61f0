"""`results.json`, the results of an evaluation, read back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from iaat.attacks import GEOMETRIES
from iaat.data.class_names import MOST_CHARACTERS
from iaat.errors import UserError, check_choice, shown
from iaat.evaluate.robust import CLEAN
from iaat.runtime.json_files import DamagedFileError, read_json
from iaat.runtime.text import cut
from iaat.units import Radius, check_radius


class _Evaluate(TypedDict):
    radius: str
    norm: str
    suite: NotRequired[str]
    steps: NotRequired[int]
    step_size: NotRequired[str | None]
    restarts: NotRequired[int]
    target: NotRequired[str]
    batch_size: NotRequired[int]
    n: NotRequired[int | None]
    order: NotRequired[str]
    seed: NotRequired[int]


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
    evaluate: _Evaluate
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
    if reason := _impossible(results):
        raise DamagedFileError(f"{file} is damaged: {reason}")
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


_SHARES = frozenset(
    {"accuracy", "interval95", "worst", "clean", "screened", "accuracy_of_source", "mean_accuracy"}
    | {"expected_robustness"}
)
"""Keys of shares, and of records or lists of them."""

_LOWEST = {
    **dict.fromkeys(("n", "classes", "steps", "restarts", "batch_size"), 1.0),
    **dict.fromkeys(("seconds", "forward", "backward", "met", "broken", "epoch", "seed"), 0.0),
    **dict.fromkeys(("radius", "radius_px", "radius_mean_px", "minimal_norm_quantiles"), 0.0),
    **dict.fromkeys(("train_forwards", "train_backwards", "train_seconds"), 0.0),
}
"""The smallest number under other keys, where there is one."""

_ROUNDING = 1e-9


def _impossible(results: dict[str, Any]) -> str | None:
    """What no evaluation can have as a result, and where it stands; None where all may be."""
    for place, value in _numbers(results, ()):
        low, high = _bounds(place)
        if not (math.isfinite(value) and low - _ROUNDING <= value <= high + _ROUNDING):
            return f"{cut('.'.join(place), 100)} is {shown(value)}, not {_range(low, high)}"
    try:
        _check_attack(results["evaluate"])
    except UserError as error:
        return str(error)
    return None


def _range(low: float, high: float) -> str:
    if high < math.inf:
        return f"a number from {low:g} to {high:g}"
    return "a finite number" if low == -math.inf else f"a finite number of at least {low:g}"


def _numbers(value: object, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], float]]:
    """All numbers within a value of JSON, each with its keys from the outermost on."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from _numbers(inner, (*place, str(key)))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield place, value


def _bounds(place: tuple[str, ...]) -> tuple[float, float]:
    """The lowest and the highest number that may stand there; any where its readers take nothing from."""
    if place[0] in _Results.__annotations__:
        for key in reversed(place):
            if key in _SHARES:
                return 0.0, 1.0
            if key in _LOWEST:
                return _LOWEST[key], math.inf
    return -math.inf, math.inf


def _check_attack(evaluate: dict[str, Any]) -> None:
    """Refuse a norm or a length that no evaluation is made with."""
    check_choice(evaluate["norm"], GEOMETRIES, "evaluate.norm")
    for key in ("radius", "step_size"):
        if evaluate.get(key) is not None:
            check_radius(Radius(evaluate[key]), evaluate["norm"], name=f"evaluate.{key}")
