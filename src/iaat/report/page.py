"""Report as one HTML file that needs nothing else: no network, no server, no second file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from iaat.analysis.style import PALETTE
from iaat.evaluate.findings import DISTRUSTED, TRUSTED
from iaat.report.report_content import ReportContent, Verdict, content_json
from iaat.runtime.files import encodable, write_text
from iaat.units import format_duration

_STATIC = Path(__file__).parent / "static"
_PLOTLY = Path(__file__).parent / "vendor" / "plotly-cartesian.min.js"
_SCRIPTS = ("text", "charts", "results", "radii", "images", "detail", "page")
_MISSING = "\N{EN DASH}"
_SUSPECTED = ("label", "ambiguous")


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
    environment.filters.update(
        percent=_percent, interval=_interval, duration=_duration, mark=_mark, reason=_reason, lighter=_lighter
    )
    page = environment.get_template("page.html.j2").render(
        content=content,
        sections=_sections(content),
        attacks=_union(verdict.attacks for verdict in content.verdicts),
        hardware=_union(run.hardware for run in content.runs),
        findings=[(verdict, finding) for verdict in content.verdicts for finding in verdict.findings],
        suites=_union([verdict.suite] for verdict in content.verdicts),
        with_radii=[number for number in range(len(content.runs)) if _has_radii(content, number)],
        palette={name: color for name, color in PALETTE.items() if name not in ("black", "yellow")},
        css=_inline((_STATIC / "page.css").read_text(encoding="utf-8")),
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
    return "" if bounds is None else f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f}"


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


def _inline(code: str) -> Markup:
    """Return code that is safe inside an element: nothing in it ends the element or begins a comment."""
    return Markup(code.replace("</script", r"<\/script").replace("</style", r"<\/style").replace("<!--", r"<\!--"))
