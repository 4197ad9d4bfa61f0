"""`iaat report`."""

from __future__ import annotations

import argparse

from iaat.config.differences import LOCATION_KEYS
from iaat.config.setting_keys import check_allowed
from iaat.errors import UserError
from iaat.report.collect import collect_content
from iaat.report.page import write_page
from iaat.report.paper_figures import write_figures
from iaat.report.scope import Scope, check_scope
from iaat.runs.run_folder import runs_in
from iaat.runtime.progress import Reporter


def report_command(options: argparse.Namespace, overrides: list[str], reporter: Reporter) -> None:
    """Write the page of one or several runs."""
    check_allowed(overrides, LOCATION_KEYS, "a finished run keeps its recipe")
    scope = Scope(
        images=options.images,
        details=options.details,
        details_of=_numbers("--details-of", options.details_of),
        pictures=not options.no_images,
        suspects=options.suspects,
        page=options.out,
    )
    check_scope(scope, options.out, options.figures)
    runs = [run for folder in options.folders for run in runs_in(folder)]
    if len(runs) > len(options.folders):
        reporter.say(f"{len(runs)} runs: {', '.join(str(run.path) for run in runs)}")
    content = collect_content(runs, overrides, reporter, scope)
    write_page(content, options.out)
    reporter.result(f"page: {options.out}")
    if options.suspects is not None and content.gallery is not None:
        reporter.say(f"suspects: {options.suspects}")
    if options.figures is not None:
        files = write_figures(content, options.figures)
        reporter.say(f"figures: {len(files)} files in {options.figures}")
    reporter.say(f"next: open {options.out} in a browser")


def _numbers(name: str, text: str) -> tuple[int, ...]:
    """Return whole numbers with commas between them, each once."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if not (word.isascii() and word.isdigit()):
            raise UserError(f"{name} {text}: {word!r} is no whole number; give numbers such as {name} 17,42")
    return tuple(dict.fromkeys(map(int, words)))
