"""Report as one HTML file that needs nothing else: no network, no server, no second file."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from iaat.analysis.style import PALETTE
from iaat.evaluate.findings import DISTRUSTED, TRUSTED
from iaat.report.detail_pictures import attacked_uri
from iaat.report.evaluation_groups import names_that_differ
from iaat.report.image_content import AttackedImages
from iaat.report.opening import focus_row, signed_points
from iaat.report.pooled_results import with_pooled_results
from iaat.report.recipe_parts import recipe_of_runs
from iaat.report.report_content import (
    ClassAccuracy,
    ClassResults,
    Pooled,
    RecipePart,
    ReportContent,
    Verdict,
    content_json,
)
from iaat.report.wall import sentence_of
from iaat.runtime.files import encodable, write_text
from iaat.runtime.text import format_duration
from iaat.statistics import Difference
from iaat.units import unit_of

_STATIC = Path(__file__).parent / "static"
_PLOTLY = Path(__file__).parent / "vendor" / "plotly-cartesian.min.js"
_SCRIPTS = (
    *("text", "charts", "selection", "about", "results", "radii", "images", "review", "wall", "frames", "detail"),
    "page",
)
_MISSING = "\N{EN DASH}"
_SUSPECTED = ("label", "ambiguous")
_THUMBNAIL = 64
_MOST_SUSPECTS = 100
_LONGEST_HEADING = 14
_SIGNS = {"better": "▲", "worse": "▼", "tie": "=", "open": "?", "serious": "⚠"}
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><g fill="#0072B2" fill-opacity=".25" stroke="#0072B2" '
    'stroke-width="2"><circle cx="12" cy="18" r="11"/><circle cx="24" cy="10" r="6.5"/></g><g fill="#0072B2"><circle '
    'cx="12" cy="18" r="2.5"/><circle cx="24" cy="10" r="2.5"/></g></svg>'
)
"""Two images, each with a radius of its own."""


def write_page(content: ReportContent, path: Path) -> None:
    """Write the report; the file appears whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    write_text(path, render(content))


def render(content: ReportContent) -> str:
    """Return the report as the text of an HTML file.

    What users wrote reaches the page in three ways only: escaped by the template, as JSON in which no tag can begin,
    and from that JSON as text nodes. A policy in the page forbids it any request, whatever else it may hold.
    """
    environment = Environment(
        loader=FileSystemLoader(_STATIC),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_FILTERS)
    content = content if content.recipes else with_pooled_results(content)
    page = environment.get_template("page.html.j2").render(
        content=content,
        icon=_icon(),
        focus=None if content.opening is None else content.recipes[content.opening.focus],
        signs=_SIGNS,
        results=_results(content),
        sections=_sections(content),
        attacks=_union(verdict.attacks for verdict in content.verdicts),
        hardware=_union(run.hardware for run in content.runs),
        findings=_findings(content),
        suspects=_suspects(content),
        reasons={place: _reason_of(content, place) for place in _spoken_of(content)},
        attacked=_attacked_details(content),
        suites=_union([f"{row.suite}, n = {row.n}"] for row in content.pooled if row.attacks),
        corruption_names=names_that_differ(content.corruptions),
        with_radii=[number for number in range(len(content.runs)) if _has_radii(content, number)],
        palette={name: color for name, color in PALETTE.items() if name not in ("black", "yellow")},
        css=_inline((_STATIC / "page.css").read_text(encoding="utf-8") + _attacked_sheets(content)),
        script=_inline(script()),
        plotly=_inline(_PLOTLY.read_text(encoding="utf-8")),
        data=Markup(content_json(content)),
    )
    return encodable(page)


def script() -> str:
    """Return the scripts of the page as one strict function, so that none of their names is global.

    It runs when the browser has painted the tables.
    """
    parts = [(_STATIC / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS]
    return "\n".join(['"use strict";', "", "requestAnimationFrame(() => setTimeout(() => {", *parts, "}));", ""])


def _icon() -> str:
    """Return the icon of the page as a data URI: a radius around each of two images."""
    return f"data:image/svg+xml;base64,{base64.b64encode(_ICON.encode()).decode('ascii')}"


def _results(content: ReportContent) -> list[tuple[RecipePart, Pooled, list[Verdict]]]:
    """Return each evaluated recipe with its pooled row and all its evaluations, the recipe in focus first.

    Of several suites the row is of that in which the recipe in focus is compared.
    """
    row = focus_row(content)
    suite = None if row is None else (row.suite, row.n)
    first = [] if row is None else [row.recipe, *([] if row.against is None else [row.against])]
    order = sorted(range(len(content.recipes)), key=lambda number: [*first, number].index(number))
    found = []
    for number in order:
        own = [each for each in content.pooled if each.recipe == number]
        if own:
            shown = min(own, key=lambda each: (each.suite, each.n) != suite)
            runs = content.recipes[number].runs
            members = [verdict for verdict in content.verdicts if verdict.run in runs]
            own_suite = content.verdicts[shown.verdicts[0]].suite
            members.sort(key=lambda each: ((each.suite, each.n) != (own_suite, shown.n), each.suite))
            found.append((content.recipes[number], shown, members))
    return found


def _findings(content: ReportContent) -> list[tuple[RecipePart, list[tuple[Verdict, dict[str, Any]]]]]:
    """Return the findings of each recipe by their name, with the evaluations that have them; serious ones first."""
    recipes, found = recipe_of_runs(content), dict[Any, list[tuple[Verdict, dict[str, Any]]]]()
    for verdict in content.verdicts:
        for finding in verdict.findings:
            key = not finding["serious"], finding["name"], content.recipes.index(recipes[verdict.run])
            found.setdefault(key, []).append((verdict, finding))
    return [(content.recipes[key[2]], found[key]) for key in sorted(found)]


def _suspects(content: ReportContent) -> list[int]:
    """Return the places of the most suspect images, likely label errors first, for a page without scripts."""
    gallery = content.gallery
    if gallery is None:
        return []
    places = [place for place, kind in enumerate(gallery.kind) if kind]
    ordered = sorted(places, key=lambda place: (gallery.kind[place] != "label", gallery.rank[place]))
    return ordered[:_MOST_SUSPECTS]


def _spoken_of(content: ReportContent) -> list[int]:
    """Return the places of the images with a sentence on a page without scripts."""
    details = {} if content.gallery is None else content.gallery.details
    return [*_suspects(content), *map(int, details)]


def _attacked_details(content: ReportContent) -> list[tuple[int, str | None, dict[str, Any]]]:
    """Return place, attacked picture and outcome of each image in detail at its own radius, for a page without scripts.

    Where an image has no radius it is that of the evaluation.
    """
    found = []
    for place, drawn in ({} if content.gallery is None else content.gallery.details).items():
        at = drawn["uniform_at"] if drawn["own_at"] is None else drawn["own_at"]
        found.append((int(place), attacked_uri(drawn, at), drawn["frames"][at]))
    return found


def _reason_of(content: ReportContent, place: int) -> str:
    """Return why the radius of an image is what it is; "" where nothing is known."""
    return "" if content.wall is None else sentence_of(content.wall, place, content.classes)


def _attacked_sheets(content: ReportContent) -> str:
    """Return the style rules of the sheets of attacked test images, which are there without scripts."""
    images = None if content.under_attack is None else content.under_attack.images
    sheets = [] if images is None else images.sheets
    return "".join(f"\n:root {{ --attacked-sheet-{number}: url({sheet}); }}" for number, sheet in enumerate(sheets))


def _sections(content: ReportContent) -> list[tuple[str, str]]:
    """Return keys and titles of the sections that have something to show, in their order."""
    gallery = content.gallery if content.gallery is not None and content.gallery.index else None
    shown = {
        "overview": ("Overview", True),
        "tradeoff": ("Trade-off", bool(content.verdicts or content.curves)),
        "radii": (
            "Radii",
            bool(content.stability) or any(_has_radii(content, run) for run in range(len(content.runs))),
        ),
        "attacked": ("Under attack", content.under_attack is not None),
        "wall": ("Wall", gallery is not None and content.wall is not None),
        "gallery": ("Gallery", gallery is not None),
        "suspects": ("Suspects", gallery is not None and any(kind in _SUSPECTED for kind in gallery.kind)),
        "surfaces": ("Loss surface", bool(content.surfaces)),
        "corruptions": ("Corruptions", bool(content.corruptions)),
        "training": ("Training", any(run.curves for run in content.runs)),
    }
    return [(key, title) for key, (title, present) in shown.items() if present]


def _has_radii(content: ReportContent, number: int) -> bool:
    return bool(content.runs[number].quantiles) or any(radii.run == number for radii in content.radii)


def _union(groups: Iterable[Iterable[str]]) -> list[str]:
    """Return all names, each where it comes first."""
    return list(dict.fromkeys(name for group in groups for name in group))


def _percent(fraction: float | None) -> str:
    return _MISSING if fraction is None else f"{100 * fraction:.1f}"


def _interval(verdict: Verdict, name: str) -> str:
    bounds = verdict.interval95.get(name)
    return "" if bounds is None else _ends(bounds)


def _duration(seconds: float | None) -> str:
    return "-" if seconds is None else format_duration(seconds)


def _mark(verdict: Verdict) -> tuple[str, str]:
    """Return the mark of a verdict: a class of the style sheet, and a sign for those who see no colours."""
    if verdict.verdict.startswith(DISTRUSTED) or any(finding.get("serious") for finding in verdict.findings):
        return "serious", "⚠"
    if any(finding.get("weak_attack") for finding in verdict.findings):
        return "unknown", "!"
    # A model that is not robust has no sign of masking either, and gets no tick for that.
    return ("good", "✓") if verdict.verdict == TRUSTED else ("unknown", "?")


def _reason(verdict: Verdict, verdicts: Sequence[Verdict]) -> str:
    """Return attacks and samples of an evaluation where another of the same model has another verdict; else nothing."""
    model = (verdict.run, verdict.checkpoint, verdict.weights)
    others = [row for row in verdicts if (row.run, row.checkpoint, row.weights) == model]
    if all(row.verdict == verdict.verdict for row in others):
        return ""
    return (
        f"of {', '.join(verdict.attacks) or 'no attack'} on {verdict.n} samples; another evaluation has another verdict"
    )


def _lighter(color: str) -> str:
    """Return a colour `#rrggbb` with a quarter of white in it, for a dark background."""
    return "#" + "".join(f"{round(0.75 * int(color[start : start + 2], 16) + 0.25 * 255):02x}" for start in (1, 3, 5))


def _worst_verdict(row: Pooled, verdicts: Sequence[Verdict]) -> Verdict:
    """Return the evaluation of a pooled row with the worst verdict."""
    marks = ("serious", "unknown", "good")
    return min((verdicts[place] for place in row.verdicts), key=lambda verdict: marks.index(_mark(verdict)[0]))


def _ends(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def _against(difference: Difference, title: str) -> str:
    """Return a difference that holds, or else that it is a tie."""
    if not difference.holds:
        return f"tie with {title}"
    return f"{signed_points(difference.mean)} on {title}"


def _of_recipe(values: Sequence[str], recipe: RecipePart) -> str:
    """Return the values of a setting in the runs of a recipe, each once."""
    return ", ".join(_union([values[place]] for place in recipe.runs))


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


def _inline(code: str) -> Markup:
    """Return code that is safe inside an element: nothing in it ends the element or begins a comment."""
    return Markup(code.replace("</script", r"<\/script").replace("</style", r"<\/style").replace("<!--", r"<\!--"))


def _cut_name(name: str) -> str:
    return name if len(name) <= _LONGEST_HEADING else f"{name[: _LONGEST_HEADING - 1]}\N{HORIZONTAL ELLIPSIS}"


_FILTERS = {
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
