"""Filters of the page's template: how results, differences, classes and pictures are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from iaat.evaluate.findings import TRUSTED
from iaat.report.image_content import AttackedImages
from iaat.report.opening import signed_points
from iaat.report.result_content import ClassAccuracy, ClassResults, EvaluationRow, Pooled, RecipePart
from iaat.runtime.text import format_duration
from iaat.statistics import Difference
from iaat.units import unit_of

_MISSING = "\N{EN DASH}"
_THUMBNAIL = 64
_LONGEST_HEADING = 14


def union(groups: Iterable[Iterable[str]]) -> list[str]:
    """Return all names, each where it comes first."""
    return list(dict.fromkeys(name for group in groups for name in group))


def _percent(fraction: float | None) -> str:
    return _MISSING if fraction is None else f"{100 * fraction:.1f}"


def _interval(evaluation: EvaluationRow, name: str) -> str:
    bounds = evaluation.interval95.get(name)
    return "" if bounds is None else _ends(bounds)


def _duration(seconds: float | None) -> str:
    return "-" if seconds is None else format_duration(seconds)


def _mark(evaluation: EvaluationRow) -> tuple[str, str]:
    """Return the mark of a verdict: a class of the style sheet, and a sign for those who see no colours."""
    if evaluation.is_serious:
        return "serious", "⚠"
    if any(finding.get("weak_attack") for finding in evaluation.findings):
        return "unknown", "!"
    # A model that is not robust has no sign of masking either, and gets no tick for that.
    return ("good", "✓") if evaluation.verdict == TRUSTED else ("unknown", "?")


def _reason(evaluation: EvaluationRow, evaluations: Sequence[EvaluationRow]) -> str:
    """Return attacks and samples of an evaluation where another of the same model has another verdict; else nothing."""
    model = (evaluation.run, evaluation.checkpoint, evaluation.weights)
    others = [row for row in evaluations if (row.run, row.checkpoint, row.weights) == model]
    if all(row.verdict == evaluation.verdict for row in others):
        return ""
    attacks = ", ".join(evaluation.attacks) or "no attack"
    return f"of {attacks} on {evaluation.n} samples; another evaluation has another verdict"


def _lighter(color: str) -> str:
    """Return a colour `#rrggbb` with a quarter of white in it, for a dark background."""
    return "#" + "".join(f"{round(0.75 * int(color[start : start + 2], 16) + 0.25 * 255):02x}" for start in (1, 3, 5))


def _worst_verdict(row: Pooled, evaluations: Sequence[EvaluationRow]) -> EvaluationRow:
    """Return the evaluation of a pooled row with the worst verdict."""
    marks = ("serious", "unknown", "good")
    return min(
        (evaluations[place] for place in row.evaluations), key=lambda evaluation: marks.index(_mark(evaluation)[0])
    )


def _ends(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def _against(difference: Difference, title: str) -> str:
    """Return a difference that holds, or else that it is a tie."""
    if not difference.holds:
        return f"tie with {title}"
    return f"{signed_points(difference.mean)} on {title}"


def _of_recipe(values: Sequence[str], recipe: RecipePart) -> str:
    """Return the values of a setting in the runs of a recipe, each once."""
    return ", ".join(union([values[place]] for place in recipe.runs))


def _of_class(results: ClassResults, label: int) -> str:
    found = next((each for each in results.classes if each.label == label), None)
    return _percent(None if found is None else found.robust)


def _most_confused(results: ClassResults, label: int, classes: Sequence[str]) -> str:
    """Return the class that most samples of a class are predicted as under attack, with their fraction."""
    found = next(((other, fraction) for own, other, fraction in results.confusion if own == label), None)
    if found is None:
        return _MISSING
    name = classes[found[0]] if found[0] >= 0 else "not known"
    return f"{name} ({100 * found[1]:.0f} %)"


def _becomes(results: ClassResults, each: ClassAccuracy, other: int) -> float:
    """Return the fraction of the samples of a class that is predicted as another, or stays, under attack."""
    if each.label == other:
        return each.robust
    return next((fraction for own, to, fraction in results.confusion if (own, to) == (each.label, other)), 0.0)


def _by_class(images: AttackedImages) -> list[tuple[int, list[int]]]:
    labels = sorted(set(images.label))
    return [(label, [place for place, own in enumerate(images.label) if own == label]) for label in labels]


def _pairs(images: AttackedImages | None) -> dict[tuple[int, int], int]:
    """Return the first of the attacked images of each label and class predicted under attack."""
    found: dict[tuple[int, int], int] = {}
    if images is not None:
        for place, pair in enumerate(zip(images.label, images.adversarial, strict=True)):
            found.setdefault(pair, place)
    return found


def _sprite(images: AttackedImages, place: int) -> Markup:
    """Return the style of one thumbnail: its part of the sheet, in whole multiples of small images."""
    scale = max(1, _THUMBNAIL // max(images.width, images.height))
    sheet, row, column = images.tile(place)
    width, height = scale * images.width, scale * images.height
    return Markup(
        f"background-image: var(--attacked-sheet-{sheet}); width: {width}px; height: {height}px; "
        f"background-size: {images.columns * width}px auto; background-position: -{column * width}px -{row * height}px"
    )


def _cut_name(name: str) -> str:
    return name if len(name) <= _LONGEST_HEADING else f"{name[: _LONGEST_HEADING - 1]}\N{HORIZONTAL ELLIPSIS}"


FILTERS = {
    "percent": _percent,
    "interval": _interval,
    "duration": _duration,
    "mark": _mark,
    "reason": _reason,
    "lighter": _lighter,
    "worst_verdict": _worst_verdict,
    "ends": _ends,
    "against": _against,
    "of_recipe": _of_recipe,
    "of_class": _of_class,
    "most_confused": _most_confused,
    "becomes": _becomes,
    "by_class": _by_class,
    "pairs": _pairs,
    "sprite": _sprite,
    "cut_name": _cut_name,
    "unit_of": unit_of,
}
"""Filters of the template."""
