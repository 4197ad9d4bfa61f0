"""The command line: `iaat train | compare | evaluate | radii | report | export | recipes | check`.

Nothing here imports PyTorch before a command needs it, so that help, lists and typing errors answer at once.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from iaat.cli.parser import HELP, command_parser, parse_arguments, without_help
from iaat.config.recipe_files import find_recipe
from iaat.errors import LostProcessError, UserError
from iaat.runtime.lack_of_memory import is_lack_of_memory
from iaat.runtime.launch_environment import launched
from iaat.runtime.process_end import exit_process
from iaat.runtime.signals import STOPPED, Stop, Stopped, ignore_stops
from iaat.runtime.streams import lasting_streams
from iaat.runtime.text import printable
from iaat.runtime.user_code import trust
from iaat.runtime.user_traceback import users_traceback

if TYPE_CHECKING:
    from iaat.runs.run_folder import RunFolder

INTERRUPTED = 130
MISTAKE = 2
FAILED = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0 done, or help was asked for; 1 the machine failed it; 2 a mistake in the input or in the user's code; 75 stopped
    on request, everything kept; 130 interrupted at once. Standard output or error that is closed, or that nobody reads,
    changes none of them.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    computes = bool(arguments) and arguments[0] in _COMPUTE and not any(argument in HELP for argument in arguments)
    with lasting_streams(partial(_report_lost_output, computes)) as output:
        code = _answer(arguments)
    # Of the other commands what they print is all there is.
    cut = output.lost is not None and not computes and not isinstance(output.lost, BrokenPipeError)
    return FAILED if cut and code == 0 else code


_COMPUTE = ("train", "compare", "evaluate", "radii", "report", "export")
"""Commands with results in files."""


def _report_lost_output(computes: bool, error: OSError) -> None:
    reason = error.strerror or error
    if computes:
        _show_warning(f"standard output cannot be written to any more ({reason}): the work goes on without it")
    elif not isinstance(error, BrokenPipeError):  # `iaat recipes | head` has got what it wants
        print(f"error: standard output: {reason}", file=sys.stderr)


def _answer(arguments: Sequence[str]) -> int:
    """Run a command and print the error that ended it; returns the exit code."""
    runs: list[RunFolder] = []
    try:
        _run(arguments, runs)
    except (Exception, KeyboardInterrupt) as error:
        hints = partial(_memory_advice, arguments, runs), partial(_resume_hint, arguments, runs)
        if (end := _end(error, *hints)) is None:
            raise
        print(printable(end[1]), file=sys.stderr)
        return end[0]
    return 0


def _end(error: BaseException, advice: Callable[[], str], hint: Callable[[], str]) -> tuple[int, str] | None:
    """Exit code and message of a command that an error ended; None for a mistake of ours.

    Args:
        error: What ended it.
        advice: Says how to take less memory.
        hint: Says how to go on.
    """
    match error:
        case UserError():
            return MISTAKE, f"error: {error}"
        case Stopped():
            return STOPPED, f"stopped by {error.signal_name}{hint()}"
        case KeyboardInterrupt():
            return INTERRUPTED, f"interrupted{hint()}"
        case OSError():
            place = f"{error.filename}: " if error.filename else ""
            return FAILED, f"error: {place}{error.strerror or error}"
        case LostProcessError():
            return FAILED, f"error: {error}{hint()}"
    if is_lack_of_memory(error):
        reason = (str(error).splitlines() or ["out of memory"])[0]
        return FAILED, f"error: {reason}: {advice()}{hint()}"
    of_user = users_traceback(error)
    return None if of_user is None else (MISTAKE, f"error: {of_user}")


def _run(arguments: Sequence[str], runs: list[RunFolder]) -> None:
    if not arguments:
        command_parser().print_help()
        return
    warnings.showwarning = _show_warning
    if _wants_recipe_help(arguments):
        _recipe_help(arguments)
        return
    options, overrides = parse_arguments(arguments)
    trust(*getattr(options, "trust", ()))
    if launched() and options.command not in ("train", "evaluate"):
        raise UserError(f"`iaat {options.command}` runs in one process: a launcher is for `iaat train` and `evaluate`")
    options.stop, options.arguments, options.runs = Stop(), arguments, runs
    with options.stop.listening():
        if options.command == "recipes":
            _recipes(overrides)
            return
        for source in _named_recipes(options):
            find_recipe(source)  # a misspelt name need not wait for the import
        from iaat.cli.commands import run_command

        run_command(options, overrides)


def _named_recipes(options: argparse.Namespace) -> list[str]:
    """Recipes that a command names."""
    if options.command == "compare":
        return list(options.recipes)
    return [options.recipe] if options.command in ("train", "check") else []


def _recipes(overrides: Sequence[str]) -> None:
    if overrides:
        raise UserError(f"{overrides[0]} has no effect here: `iaat check RECIPE` shows a recipe with changes")
    from iaat.cli.recipe_list import START, recipe_tables
    from iaat.runtime.progress import Reporter

    reporter = Reporter()
    for part in recipe_tables():
        reporter.result(part)
    reporter.next_step("iaat", "train", START)


def _memory_advice(arguments: Sequence[str], runs: Sequence[RunFolder]) -> str:
    """How a command takes less memory; of training that has begun, without what a resumed run refuses to change."""
    command = arguments[0] if arguments else ""
    for_evaluation = "free memory, or lower evaluate.batch_size, which begins the evaluation anew"
    if command == "evaluate":
        return for_evaluation
    if command not in ("train", "compare"):
        return "free memory"
    trained = [run.is_trained() for run in runs]
    if runs and all(trained):
        return for_evaluation
    if any(trained):  # compare has begun to evaluate the first
        while_training = "raise train.accumulate while a run is trained"
        return f"{while_training}, lower evaluate.batch_size while one is evaluated, or free memory"
    if any(run.has_results() for run in runs):
        return "raise train.accumulate, which takes batches in parts and may change on resume, or free memory"
    return "lower train.batch_size, raise train.accumulate, or free memory"


def _resume_hint(arguments: Sequence[str], runs: Sequence[RunFolder]) -> str:
    """Message of a command that ends early: what is kept, and the command to resume it.

    Args:
        arguments: The command.
        runs: Those it trains; none before it has come so far.
    """
    if not arguments or arguments[0] not in ("train", "compare", "evaluate"):
        return ""
    there = any(run.has_results() for run in runs)
    again = [argument for argument in arguments if argument != "--overwrite" or not there]
    if there and arguments[0] == "train" and "--resume" not in again:
        again.append("--resume")
    launcher = ", by the same launcher" if launched() else ""
    return f": {_kept(arguments[0], runs, there)}. To go on{launcher}:\n  {shlex.join(['iaat', *again])}"


def _kept(command: str, runs: Sequence[RunFolder], there: bool) -> str:
    """Message of what is kept of a command that ends early; `there` is whether any of its runs has a checkpoint."""
    if command == "evaluate":
        return "finished batches are kept"
    if command == "train" and there and all(run.is_trained() for run in runs):
        return "training is finished, and --resume goes on with the evaluation"
    if there:
        return "training is kept up to the last checkpoint"
    return "nothing was trained yet, there is no checkpoint" if runs else "training had not begun"


def _show_warning(message: Warning | str, *_place: object, **_more: object) -> None:
    """Print a warning without the line of code it came from."""
    print(printable(f"warning: {message}"), file=sys.stderr)


def _wants_recipe_help(arguments: Sequence[str]) -> bool:
    named = len(arguments) > 1 and arguments[0] in ("train", "check") and not arguments[1].startswith("-")
    return named and any(argument in HELP for argument in arguments)


def _recipe_help(arguments: Sequence[str]) -> None:
    rest, everything = without_help(arguments)
    options, overrides = parse_arguments(rest)
    trust(*options.trust)
    find_recipe(options.recipe)  # as above
    from iaat.cli.recipe_help import print_recipe_help

    print_recipe_help(options, overrides, everything=everything)


def entry() -> NoReturn:
    """Run the command and exit; a stop requested when all is done does not change the exit code."""
    code = main()
    ignore_stops()
    exit_process(code)


if __name__ == "__main__":
    entry()
