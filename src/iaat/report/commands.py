"""Commands that a page shows: of the shell, or calls in Python where a run has objects that no file has."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from iaat.config.same_place import same_place
from iaat.report.report_content import ReportContent, RunPart
from iaat.report.run_summary import path_for_commands
from iaat.report.scope import Scope

_ARGUMENTS = ("seed", "method", "out")
"""Settings that `iaat.fit` takes as arguments; the others have a dot in their key."""


def training_command(content: ReportContent, run: RunPart, settings: Mapping[str, str | int | list[int]]) -> str:
    """Return the command that trains as a run was trained, but with these settings, such as `{"out": "runs/b"}`."""
    if run.of_objects:
        arguments = {key: value for key, value in settings.items() if key in _ARGUMENTS}
        others = {key: value for key, value in settings.items() if key not in _ARGUMENTS}
        words = [f"{key}={value!r}" for key, value in arguments.items()] + ([f"settings={others}"] if others else [])
        return f"iaat.fit(..., {', '.join(words)})  # the other arguments as before"
    options = [word for key, value in settings.items() for word in (f"--{key}", _as_typed(value))]
    return _shell(content, [run], "train", f"{run.folder}/recipe.yaml", *options)


def evaluation_command(content: ReportContent, recipes: Sequence[int], suite: str, *, suspicious: bool = False) -> str:
    """Return the command that evaluates all runs of the recipes of these numbers."""
    runs = [content.runs[place] for number in recipes for place in content.recipes[number].runs]
    if any(run.of_objects for run in runs):
        return f"run.evaluate(suite={'full' if suspicious else suite!r})  # run = iaat.fit(...) as before"
    options = ["--suite", suite, *(["--suspicious"] if suspicious else [])]
    return _shell(content, runs, "evaluate", *(run.folder for run in runs), *options)


def _as_typed(value: str | int | list[int]) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)


def _shell(content: ReportContent, runs: Sequence[RunPart], *words: str) -> str:
    """A command on these runs: with where the data lies, unless the words say so, and with the code to trust."""
    where = [each for each in content.overrides if each.partition("=")[0] not in words]
    return shlex.join(("iaat", *words, *same_place(where, _modules(runs))))


def commands_for_more(runs: Sequence[RunPart], overrides: Sequence[str], scope: Scope) -> tuple[str, str]:
    """Return the commands for more details, which the page shows.

    Args:
        runs: The runs.
        overrides: Where the data lies now, as recipe keys.
        scope: What the page has.

    Returns:
        How the details of one image more are computed, `{index}` in place of its position; how those of more images.
    """
    before = "".join(f"{number}," for number in scope.details_of)
    if scope.page is None:
        return f"run.report(details_of=[{before}{{index}}])", "details=N"
    sizes = [("--images", scope.images, Scope.images), ("--details", scope.details, Scope.details)]
    given = [word for name, size, usual in sizes if size != usual for word in (name, str(size))]
    folders, again = [run.folder for run in runs], same_place(overrides, _modules(runs))
    start = shlex.join(["iaat", "report", *folders, *again, *given, "-o", path_for_commands(scope.page)])
    return f"{start} --details-of {before}{{index}}", "--details N"


def _modules(runs: Sequence[RunPart]) -> list[str]:
    return [name for run in runs for name in run.modules]
