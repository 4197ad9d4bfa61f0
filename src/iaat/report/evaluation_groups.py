"""Curves and corruptions grouped for means over seeds: by recipe, and by what they were measured on and with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from iaat.report.recipe_parts import recipe_of_runs
from iaat.report.report_content import Accuracies, Corruptions, ReportContent
from iaat.report.result_content import RecipePart

Measured = TypeVar("Measured", Accuracies, Corruptions)


@dataclass(frozen=True, slots=True)
class EvaluationGroup(Generic[Measured]):
    """Measurements that differ in the seeds of their runs alone.

    Attributes:
        recipe: Of the runs.
        names: What tells the group from others of its recipe; "" if there are none.
        members: One a run.
    """

    recipe: RecipePart
    names: str
    members: list[Measured]


def evaluation_groups(content: ReportContent, parts: Sequence[Measured]) -> list[EvaluationGroup[Measured]]:
    """Group the measurements that have a mean over seeds, in their order.

    Two of one run are never in one group: their mean would be none over seeds.
    """
    recipes, names = recipe_of_runs(content), names_that_differ(parts)
    groups: dict[Any, EvaluationGroup[Measured]] = {}
    for part, own in zip(parts, names, strict=True):
        recipe, again = recipes[part.run], 0
        while part.run in _runs(groups.get((recipe.name, _facts(part), again))):
            again += 1
        key = recipe.name, _facts(part), again
        groups.setdefault(key, EvaluationGroup(recipe, own, [])).members.append(part)
    return list(groups.values())


def names_that_differ(parts: Sequence[Measured]) -> list[str]:
    """Return checkpoint, weights, suite, samples, source and severities of each, without those that all have alike."""
    texts = [_texts(part) for part in parts]
    differ = [len(set(column)) > 1 for column in zip(*texts, strict=True)]
    return [", ".join(text for text, shown in zip(row, differ, strict=True) if shown and text) for row in texts]


def curves_by_axis(curves: Sequence[Accuracies]) -> list[list[Accuracies]]:
    """Return the curves of equal radii, norm and number of samples together: the others do not compare."""
    found: dict[Any, list[Accuracies]] = {}
    for part in curves:
        found.setdefault((part.norm, part.n, tuple(part.radius)), []).append(part)
    return list(found.values())


def _runs(group: EvaluationGroup[Any] | None) -> set[int]:
    return set() if group is None else {part.run for part in group.members}


def _texts(part: Accuracies | Corruptions) -> list[str]:
    weights = f"{part.weights} weights" if part.weights else ""
    texts = [part.checkpoint, weights, part.suite, f"n = {part.n}"]
    if isinstance(part, Accuracies):
        return texts
    return [*texts, part.source, f"severities {', '.join(map(str, part.severities))}"]


def _facts(part: Accuracies | Corruptions) -> tuple[Any, ...]:
    axis = (part.norm, *part.radius) if isinstance(part, Accuracies) else ()
    return (*_texts(part), *axis)
