"""The curve of uniform radii in a figure: its recipes in their order, and their labels."""

from __future__ import annotations

from collections.abc import Sequence

from iaat.errors import UserError
from iaat.report.report_content import ReportContent
from iaat.report.result_content import Pooled
from iaat.units import Radius, unit_of

_RADIUS = "method.radius"


def uniform_recipes(content: ReportContent, rows: Sequence[Pooled]) -> list[Pooled]:
    """Return the recipes of one radius for all images in the order of the curve: by their radii where these differ.

    One alone is no curve.
    """
    uniform = [row for row in rows if content.recipes[row.recipe].uniform]
    radii = _uniform_radii(content, uniform)
    ordered = sorted(uniform, key=lambda row: radii.get(row.recipe, row.clean.mean))
    return ordered if len(ordered) > 1 else []


def recipe_labels(content: ReportContent, rows: Sequence[Pooled]) -> dict[int, str]:
    """Return the labels of recipes: radii on the curve of uniform radii where these differ, and names elsewhere."""
    radii = _uniform_radii(content, [row for row in rows if content.recipes[row.recipe].uniform])
    names = {row.recipe: content.recipes[row.recipe].name for row in rows}
    runs = {recipe: content.runs[content.recipes[recipe].runs[0]] for recipe in radii}
    return names | {recipe: unit_of(runs[recipe].norm).short(radius) for recipe, radius in radii.items()}


def _uniform_radii(content: ReportContent, uniform: Sequence[Pooled]) -> dict[int, float]:
    """Return the radii of recipes; nothing where they are not known, or do not tell the recipes apart.

    Radii of two norms do not compare.
    """
    places = {row.recipe: content.recipes[row.recipe].runs[0] for row in uniform}
    radii = {recipe: _uniform_radius(content, place) for recipe, place in places.items()}
    known = {recipe: radius for recipe, radius in radii.items() if radius is not None}
    one_norm = len({content.runs[place].norm for place in places.values()}) == 1
    return known if one_norm and len(uniform) > 1 and len(set(known.values())) == len(uniform) else {}


def _uniform_radius(content: ReportContent, place: int) -> float | None:
    """Return a run's uniform radius in the unit of its norm, where the runs differ in it."""
    found = [values[place] for key, values in content.differences if key == _RADIUS]
    try:
        return unit_of(content.runs[place].norm).scale * Radius(found[0]) if found else None
    except UserError:
        return None
