"""The commands. Importing this module imports PyTorch, so `iaat.cli.main` does it last."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from iaat.config.choices import CHECKPOINTS
from iaat.config.load_recipe import CODE_OF_IMAGES, NAMES_OF_CODE, load_recipe
from iaat.config.radii_files import check_radii_files
from iaat.config.radius_range import warn_of_radii
from iaat.config.short_options import read_settings
from iaat.config.suites import suite_parts
from iaat.data import DataConfig, build_data, check_all_samples, read_dataset_info
from iaat.errors import UserError
from iaat.evaluate import results_table
from iaat.evaluate.evaluate_run import training_predictions
from iaat.evaluate.findings import UNCHECKED
from iaat.evaluate.table_rows import table_rows
from iaat.experiments.cost import cost_table
from iaat.experiments.place_of_run import place_of_run
from iaat.experiments.sweep import Cell, cost_of_cells, is_sweep, read_cells, select_cells, time_of_cells
from iaat.experiments.targets import check_allowed, evaluate_targets, find_targets
from iaat.experiments.timing import time_steps, timing_table
from iaat.runs.run_folder import RunFolder, runs_in
from iaat.runtime.console_table import PlainTable
from iaat.runtime.device import keep_freed_memory, pick_device, warn_of_missing_device
from iaat.runtime.launch import processes
from iaat.runtime.process_end import end_with_parent
from iaat.runtime.progress import Reporter
from iaat.train.trackers import TensorBoard
from iaat.types import Batch
from iaat.units import Norm, format_radius

_THIS_COMMAND = (sys.executable, "-m", "iaat")

WHERE = ("data.root", "data.extra", "data.relabel", "data.download", "data.workers", "train.device")
"""Keys for the present location of a finished run's data."""


def run_command(options: argparse.Namespace, overrides: list[str]) -> None:
    """Run the command that was parsed, with recipe keys and their values.

    `options` have `stop`, `arguments` as typed, and the list `runs`, which gets the folders of all runs it trains.

    Raises:
        UserError: a mistake in the input.
        Stopped: a stop was asked for.
    """
    keep_freed_memory()
    COMMAND_FUNCTIONS[options.command](options, overrides, Reporter(quiet=getattr(options, "quiet", False)))


def _train(options: argparse.Namespace, overrides: list[str], reporter: Reporter) -> None:
    from iaat.experiments.workflow import run_recipe  # here and below: with it come pyarrow and matplotlib

    if options.resume and options.overwrite:
        raise UserError("--resume and --overwrite exclude each other")
    trackers = _trackers(options)
    recipe = load_recipe(options.recipe, overrides)
    run = RunFolder(options.out) if options.out else place_of_run(recipe, Path("runs"))
    options.runs.append(run)
    rows = run_recipe(
        *(recipe, run, reporter),
        resume=options.resume,
        overwrite=options.overwrite,
        stop=options.stop,
        trackers=trackers,
    )
    if rows:
        reporter.result(results_table(table_rows(rows)))
        reporter.say(f"run folder: {run.path}    pictures: {run.pictures}")
        reporter.next_step("iaat", "evaluate", str(run.path), "--suite", "standard", *_as_before(options, overrides))


def _trackers(options: argparse.Namespace) -> list[TensorBoard]:
    return [TensorBoard()] if options.tensorboard else []


def _compare(options: argparse.Namespace, overrides: list[str], reporter: Reporter) -> None:
    from iaat.experiments.workflow import compare

    if options.no_train and options.tensorboard:
        raise UserError("--tensorboard is for what is trained, and --no-train trains nothing: leave one out")
    trackers = _trackers(options)
    cells = read_cells(options.recipes, overrides, options.seeds)
    cells = select_cells(cells, options.only) if options.only else cells
    if options.run:
        _run_of_comparison(options, cells, reporter, trackers)
        return
    _check_jobs(options)
    options.runs += _runs_of(cells, options.out)
    found = compare(
        cells,
        options.out,
        reporter,
        checkpoint=options.checkpoint,
        weights=options.weights,
        training=not options.no_train,
        stop=options.stop,
        trackers=trackers,
        jobs=options.jobs,
        job_command=lambda cell, seed: [*_THIS_COMMAND, *options.arguments, "--run", cell, str(seed)],
    )
    reporter.result(found.table())
    if found.missing:
        reporter.result(f"not finished: {', '.join(found.missing)}")
    reporter.say(f"tables: {options.out / 'comparison.json'}, comparison.md    picture: {options.out / 'frontier.png'}")
    if found.failed:
        raise UserError(f"{', '.join(found.failed)} failed; the same command goes on with what is missing")
    if found.missing:
        reporter.next_step("iaat", *(argument for argument in options.arguments if argument != "--no-train"))
    else:
        runs = _runs_of(found.cells, options.out)
        whole = len(runs) > 1 and {run.path for run in runs_in(options.out)} == {run.path for run in runs}
        folders = [str(options.out)] if whole else [str(run.path) for run in runs]
        page = ("-o", str(options.out / "report.html"))
        reporter.next_step("iaat", "report", *folders, *page, *_as_before(options, overrides))


def _check_jobs(options: argparse.Namespace) -> None:
    if options.jobs < 1:
        raise UserError(f"--jobs {options.jobs}: a number of runs at once, 1 or more")
    if options.jobs > 1 and options.no_train:
        raise UserError("--jobs is for what is trained and evaluated, and --no-train trains nothing: leave one out")


def _run_of_comparison(
    options: argparse.Namespace, cells: Sequence[Cell], reporter: Reporter, trackers: Sequence[TensorBoard]
) -> None:
    """Train and evaluate one run for the process that compares it."""
    from iaat.experiments.workflow import run_cell

    end_with_parent()
    (cell,) = (each for each in cells if each.name == options.run[0])
    recipe = cell.seeded(int(options.run[1]))
    settings = {"checkpoint": options.checkpoint, "weights": options.weights, "stop": options.stop}
    run_cell(recipe, options.out, reporter, trackers=trackers, **settings)


def _runs_of(cells: Sequence[Cell], out: Path) -> list[RunFolder]:
    return [place_of_run(cell.seeded(seed), out) for cell in cells for seed in cell.seeds]


def _evaluate(options: argparse.Namespace, overrides: list[str], reporter: Reporter) -> None:
    from iaat.cli.evaluation_output import evaluation_report

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
    for shown in evaluation_report(rows):
        reporter.result(shown)
    if any(UNCHECKED in row.verdict for row in rows):
        reporter.next_step("iaat", *options.arguments, "--suspicious")
    elif all(row.checkpoint is not None for row in rows):
        reporter.next_step("iaat", "report", *options.targets, *_as_before(options, overrides))
    elif any(row.curve is None for row in rows):
        reporter.next_step("iaat", *_with_suite(options.arguments, f"{rows[0].suite}+curve"))


def _with_suite(arguments: Sequence[str], suite: str) -> list[str]:
    """The same command with another suite."""
    kept = [argument for argument in arguments if not argument.startswith(("--suite=", "--evaluate.suite="))]
    for option in ("--suite", "--evaluate.suite"):
        if option in kept:
            del kept[kept.index(option) : kept.index(option) + 2]
    return [*kept, "--suite", suite]


def _as_before(options: argparse.Namespace, overrides: Sequence[str]) -> list[str]:
    """Arguments that the next command needs to find the data and to run the user's code."""
    where = [argument for argument in overrides if argument.startswith(tuple(f"--{key}=" for key in WHERE))]
    typed = read_settings(overrides)
    code = [typed[key].partition(":")[0] for key in NAMES_OF_CODE if ":" in typed.get(key, "")]
    trusted = list(dict.fromkeys([*options.trust, *(name for name in code if name != "timm")]))
    return [*where, *(["--trust", *trusted] if trusted else [])]


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


def _radii(options: argparse.Namespace, overrides: list[str], reporter: Reporter) -> None:
    from iaat.analysis import class_summary
    from iaat.analysis.run_figures import write_radii

    check_allowed(overrides, WHERE, "a finished run keeps its recipe")
    run = RunFolder(options.folder)
    recipe = run.recipe(overrides, code=CODE_OF_IMAGES)
    data = build_data(recipe.data, seed=recipe.seed, device=pick_device(recipe.train.device))
    # Only the last epoch's model is kept: the predictions of earlier ones are not known.
    last = options.epoch in (None, *run.radii_epochs()[-1:])
    prediction = training_predictions(run, recipe, data, reporter) if last else None
    table, file = write_radii(run, data.train, prediction, options.epoch, options.out)
    norm: Norm = getattr(recipe.method, "norm", recipe.evaluate.norm)
    reporter.result(summary_table(class_summary(table), table["epoch"][0].as_py(), norm))
    reporter.say(f"{table.num_rows} rows: {file}")
    reporter.next_step("iaat", "report", str(run.path), *_as_before(options, overrides))


_DROPPED = {"p25_px": 1, "p75_px": 1, "p5_px": 2, "p95_px": 2, "fraction_at_zero": 3}
"""Columns of the summary of radii that a narrow terminal goes without, the first first."""


def summary_table(rows: Sequence[dict[str, object]], epoch: int, norm: Norm = "linf") -> PlainTable:
    """One line a class: figures of its radii after an epoch, and how many of its samples are classified correctly."""
    table = PlainTable(f"radii after epoch {epoch}, {'in px (1/255)' if norm == 'linf' else 'L2 norm'}")
    columns = {
        "class": "class", "count": "n", "mean_px": "mean", "p5_px": "5 %", "p25_px": "25 %", "p50_px": "median",
        "p75_px": "75 %", "p95_px": "95 %", "fraction_at_zero": "at 0", "accuracy": "correct",
    }  # fmt: skip
    for key, heading in columns.items():
        table.add_column(heading, justify="left" if key == "class" else "right", drop=_DROPPED.get(key, 0))
    for row in rows:
        table.add_row(*(_cell(key, row[key], norm) for key in columns), style="bold" if row["class_id"] is None else "")
    return table


def _cell(key: str, value: object, norm: Norm) -> str:
    if isinstance(value, float):
        if key in ("fraction_at_zero", "accuracy"):
            return f"{value:.1%}"
        return format_radius(value / 255, norm).removesuffix("px")
    return "-" if value is None else str(value)


def _numbers(name: str, text: str) -> tuple[int, ...]:
    """Return whole numbers with commas between them, each once."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if not (word.isascii() and word.isdigit()):
            raise UserError(f"{name} {text}: {word!r} is no whole number; give numbers such as {name} 17,42")
    return tuple(dict.fromkeys(map(int, words)))


def _report(options: argparse.Namespace, overrides: list[str], reporter: Reporter) -> None:
    # Imported here: no other command needs what draws pages.
    from iaat.report.collect import Scope, check_scope, collect_content
    from iaat.report.page import write_page

    check_allowed(overrides, WHERE, "a finished run keeps its recipe")
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
        from iaat.report.paper_figures import write_figures

        files = write_figures(content, options.figures)
        reporter.say(f"figures: {len(files)} files in {options.figures}")
    reporter.say(f"next: open {options.out} in a browser")


_USE = {
    "onnx": "onnxruntime.InferenceSession({path}).run(None, {{'images': x}})[0]",
    "pt2": "torch.export.load({path}).module()(x)",
    "torchscript": "torch.jit.load({path})(x)",
    "safetensors": "iaat.load({path})(x)",
    "hf": "iaat.load({path})(x)",
}
"""Logits from what was exported, in Python."""

_SHOWN_CLASSES = 10


def _export(options: argparse.Namespace, overrides: list[str], reporter: Reporter) -> None:
    # Imported here: no other command needs the exporters.
    from iaat.export import export_model

    check_allowed(overrides, ("data.root",), "a finished run keeps its recipe")
    roots = [argument.partition("=")[2] for argument in overrides]
    done = export_model(
        options.target,
        options.format,
        options.out,
        data=roots[-1] if roots else None,
        overwrite=options.overwrite,
    )
    record, note = done.record, "" if done.note is None else f"; {done.note}"
    epoch = "" if record.epoch is None else f"epoch {record.epoch}"
    source = " ".join(filter(None, (record.name, record.checkpoint, epoch)))
    reporter.result(f"{done.path}: {options.format} of {source}{note}")
    reporter.result(f"its logits differ from the model's by at most {done.difference:.1g} on {done.images}")
    more = ", ..." if len(record.classes) > _SHOWN_CLASSES else ""
    reporter.say(f"input: {record.input}; classes: {', '.join(record.classes[:_SHOWN_CLASSES])}{more}")
    reporter.say(f"in Python: {_USE[options.format].format(path=repr(str(done.path)))}")


def _check(options: argparse.Namespace, overrides: list[str], reporter: Reporter) -> None:
    if options.processes is not None and not options.probe:
        raise UserError(f"--processes {options.processes} is for --probe: add it, or leave this out")
    if is_sweep(options.recipe):
        _check_sweep(options, overrides, reporter)
        return
    recipe = load_recipe(options.recipe, overrides)
    reporter.result(recipe.to_yaml())
    if options.data:  # before anything that ends at the first sample that cannot be read
        _check_data(recipe.data, reporter)
    facts = read_dataset_info(recipe.data)
    check_radii_files(recipe, facts)
    reporter.result(cost_table(recipe, facts))
    warn_of_radii(recipe)
    warn_of_missing_device(recipe.train.device)
    if not options.data:
        facts.notices.log(reporter.result)
    if options.probe:
        reporter.say(f"timing training steps of at most {recipe.train.batch_size} samples: some 20 seconds")
        reporter.result(timing_table(recipe, facts, time_steps(recipe, facts, processes=_processes(options))))
    reporter.next_step("iaat", "train", options.recipe, *options.typed, *_as_before(options, []))


def _check_sweep(options: argparse.Namespace, overrides: list[str], reporter: Reporter) -> None:
    if options.data:
        raise UserError(
            f"--data reads the data of one recipe, and {options.recipe} is a sweep: name a recipe of its cells"
        )
    cells = read_cells([options.recipe], overrides)
    reporter.result(cost_of_cells(cells))
    for device in {cell.recipe.train.device for cell in cells}:
        warn_of_missing_device(device)
    if options.probe:
        reporter.result(time_of_cells(cells, processes=_processes(options), say=reporter.say))
        reporter.next_step("iaat", "compare", options.recipe, *options.typed, *_as_before(options, []))
    else:
        reporter.say("hours on this machine: --probe")
        reporter.next_step("iaat", "check", options.recipe, *options.typed, "--probe", *_as_before(options, []))


def _processes(options: argparse.Namespace) -> int:
    return 1 if options.processes is None else int(options.processes)


def _check_data(config: DataConfig, reporter: Reporter) -> None:
    """Read every sample, and list those that cannot be read.

    Raises:
        UserError: There are such.
    """

    def track(batches: Iterator[Batch], total: int, what: str) -> Iterator[Batch]:
        return reporter.track(batches, total=total, what=what, size=lambda batch: len(batch.y))

    found = check_all_samples(config, track)
    found.notices.log(reporter.result)
    for reason in found.faulty:
        reporter.result(reason)
    if found.faulty:
        raise UserError(
            f"{len(found.faulty):,} of {found.size:,} samples cannot be used: repair or remove them, or let"
            f" data.skip_damaged {len(found.faulty)} go on without those that cannot be read"
        )
    reporter.result(f"all {found.size:,} samples can be read")


COMMAND_FUNCTIONS: dict[str, Callable[[argparse.Namespace, list[str], Reporter], None]] = {
    "train": _train,
    "compare": _compare,
    "evaluate": _evaluate,
    "radii": _radii,
    "report": _report,
    "export": _export,
    "check": _check,
}
