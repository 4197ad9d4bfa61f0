"""Report as one HTML file that needs nothing else: no network, no server, no second file."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from iaat.analysis.style import PALETTE
from iaat.report.detail_pictures import attacked_uri
from iaat.report.evaluation_groups import names_that_differ
from iaat.report.opening import focus_row
from iaat.report.page_filters import FILTERS, union
from iaat.report.pooled_results import with_pooled_results
from iaat.report.recipe_parts import recipe_of_runs
from iaat.report.report_content import ReportContent
from iaat.report.result_content import EvaluationRow, Pooled, RecipePart
from iaat.report.wall import sentence_of
from iaat.runtime.files import encodable, write_text

_STATIC = Path(__file__).parent / "static"
_PLOTLY = Path(__file__).parent / "vendor" / "plotly-cartesian.min.js"
_SCRIPTS = (
    *("text", "charts", "selection", "about", "results", "radii", "images", "review", "wall", "frames", "detail"),
    "page",
)
_SUSPECTED = ("label", "ambiguous")
_MOST_SUSPECTS = 100
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
    environment.filters.update(FILTERS)
    content = content if content.recipes else with_pooled_results(content)
    page = environment.get_template("page.html.j2").render(
        content=content,
        icon=_icon(),
        focus=None if content.opening is None else content.recipes[content.opening.focus],
        signs=_SIGNS,
        results=_results(content),
        sections=_sections(content),
        attacks=union(evaluation.attacks for evaluation in content.evaluations),
        hardware=union(run.hardware for run in content.runs),
        findings=_findings(content),
        suspects=_suspects(content),
        reasons={place: _reason_of(content, place) for place in _spoken_of(content)},
        attacked=_attacked_details(content),
        suites=union([f"{row.suite}, n = {row.n}"] for row in content.pooled if row.attacks),
        corruption_names=names_that_differ(content.corruptions),
        with_radii=[number for number in range(len(content.runs)) if _has_radii(content, number)],
        palette={name: color for name, color in PALETTE.items() if name not in ("black", "yellow")},
        css=_inline((_STATIC / "page.css").read_text(encoding="utf-8") + _attacked_sheets(content)),
        script=_inline(script()),
        plotly=_inline(_PLOTLY.read_text(encoding="utf-8")),
        data=Markup(content_json(content)),
    )
    return encodable(page)


def content_json(content: ReportContent) -> str:
    """Return the content as JSON for use inside a page: numbers that are not finite are null, and no tag can begin.

    The sheets of attacked test images are left out: the page has them once, in its styles.
    """
    plain = _plain(asdict(content))
    if plain["under_attack"] and plain["under_attack"]["images"]:
        plain["under_attack"]["images"]["sheets"] = []
    text = json.dumps(plain, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def script() -> str:
    """Return the scripts of the page as one strict function, so that none of their names is global.

    It runs when the browser has painted the tables.
    """
    parts = [(_STATIC / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS]
    return "\n".join(['"use strict";', "", "requestAnimationFrame(() => setTimeout(() => {", *parts, "}));", ""])


def _icon() -> str:
    """Return the icon of the page as a data URI: a radius around each of two images."""
    return f"data:image/svg+xml;base64,{base64.b64encode(_ICON.encode()).decode('ascii')}"


def _results(content: ReportContent) -> list[tuple[RecipePart, Pooled, list[EvaluationRow]]]:
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
            members = [evaluation for evaluation in content.evaluations if evaluation.run in runs]
            own_suite = content.evaluations[shown.evaluations[0]].suite
            members.sort(key=lambda each: ((each.suite, each.n) != (own_suite, shown.n), each.suite))
            found.append((content.recipes[number], shown, members))
    return found


def _findings(content: ReportContent) -> list[tuple[RecipePart, list[tuple[EvaluationRow, dict[str, Any]]]]]:
    """Return the findings of each recipe by their name, with the evaluations that have them; serious ones first."""
    recipes, found = recipe_of_runs(content), dict[Any, list[tuple[EvaluationRow, dict[str, Any]]]]()
    for evaluation in content.evaluations:
        for finding in evaluation.findings:
            key = not finding["serious"], finding["name"], content.recipes.index(recipes[evaluation.run])
            found.setdefault(key, []).append((evaluation, finding))
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
        "tradeoff": ("Trade-off", bool(content.evaluations or content.curves)),
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


def _inline(code: str) -> Markup:
    """Return code that is safe inside an element: nothing in it ends the element or begins a comment."""
    return Markup(code.replace("</script", r"<\/script").replace("</style", r"<\/style").replace("<!--", r"<\!--"))
