"""`iaat evaluate`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from iaat.cli.evaluation_output import evaluation_report
from iaat.cli.next_command import as_before
from iaat.config.choices import CHECKPOINTS
from iaat.config.suites import suite_parts
from iaat.evaluate.findings import UNCHECKED
from iaat.experiments.evaluate_targets import evaluate_targets
from iaat.experiments.targets import find_targets
from iaat.runtime.launch import processes
from iaat.runtime.progress import Reporter


def evaluate_command(options: argparse.Namespace, overrides: list[str], reporter: Reporter) -> None:
    """Evaluate runs, exported models or models of other projects and print their table."""
    which = CHECKPOINTS if options.checkpoint == "both" else (options.checkpoint,)
    overrides = [*overrides, *_evaluation_arguments(options, overrides)]
    targets, others = find_targets(options.targets, options.transfer, overrides, options.out)
    with processes() as ranks:
        rows = evaluate_targets(
            *(targets, others, which, reporter if ranks.main else Reporter(quiet=True)),
            weights=options.weights,
            corrupted=options.corrupted,
            baseline=options.baseline,
            ranks=ranks,
        )
        ranks.wait_for_all()
    if not ranks.main:
        return
    for shown in evaluation_report(rows, reporter.has_said):
        reporter.result(shown)
    if any(UNCHECKED in row.verdict for row in rows):
        reporter.next_step("iaat", *options.arguments, "--suspicious")
    elif all(target.run is not None for target in targets):
        # Of a checkpoint's file the run: a page is of run folders.
        runs = dict.fromkeys(str(target.run.path) for target in targets if target.run is not None)
        reporter.next_step("iaat", "report", *runs, *as_before(options, overrides))
    elif any(row.curve is None for row in rows):
        reporter.next_step("iaat", *_with_suite(options.arguments, f"{rows[0].suite}+curve"))


def _with_suite(arguments: Sequence[str], suite: str) -> list[str]:
    """The same command with another suite."""
    kept = [argument for argument in arguments if not argument.startswith(("--suite=", "--evaluate.suite="))]
    for option in ("--suite", "--evaluate.suite"):
        if option in kept:
            del kept[kept.index(option) : kept.index(option) + 2]
    return [*kept, "--suite", suite]


def _evaluation_arguments(options: argparse.Namespace, overrides: Sequence[str]) -> list[str]:
    """The command's own options as recipe keys."""
    given = [argument.partition("=")[2] for argument in overrides if argument.startswith("--evaluate.suite=")]
    suite = options.suite or (given[-1] if given else None)
    corruptions = options.corrupted or options.baseline
    more = {"masking": options.suspicious, "transfer": options.transfer, "corruptions": corruptions}
    for part in (part for part, asked in more.items() if asked):
        suite = suite or "quick"
        if not any(known.startswith(part) for known in suite_parts(suite)):
            suite = f"{suite}+{part}"
    settings = {} if suite is None else {"suite": suite}
    settings |= {} if options.samples is None else {"n": options.samples}
    return [f"--evaluate.{key}={value}" for key, value in settings.items()]
