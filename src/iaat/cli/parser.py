"""The arguments of the command line: commands, their options and their help."""

from __future__ import annotations

import argparse
import textwrap
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from iaat.config.choices import CHECKPOINTS, EXPORT_FORMATS, WEIGHTS, weights_by_any_name
from iaat.config.short_options import is_flag, is_short, likely_key, spelled_out
from iaat.errors import UserError, check_choice
from iaat.runtime.files import user_path

COMMANDS = ("train", "compare", "evaluate", "radii", "report", "export", "recipes", "check")

_FIRST = "`iaat COMMAND --help` explains a command. To begin with: iaat recipes"

_RECIPE_KEYS = (
    "Any recipe key can follow, as --section.key value; `iaat train RECIPE --help` explains them. Short names: "
    "--epochs, --lr, --batch-size, --eps (training and evaluation), --norm, --steps, --model, --data DIR, --device."
)
_EVALUATION_KEYS = (
    "Evaluation keys can follow, such as --evaluate.radius 4px; for a model of yours keys of data and model, too."
)
_DATA_KEYS = "Keys that say where the data lies can follow, such as --data.root DIR."
_MOVED_DATA = "Where the run's data has moved, --data DIR can follow."

HELP = ("-h", "--help", "--help=all")

SWEEP_HELP = """\
A sweep is a YAML file, given in place of a recipe:

  extends: other.yaml      # optional: a sweep that this one changes
  seeds: 3                 # how many, or a list; --seeds and --seed replace it
  set: {train.epochs: 40}  # keys of every cell; those of the command line win
  curve: uniform           # the others are compared with this grid's curve
  cells:
    natural: {recipe: cifar10-small-natural}
    uniform:
      recipe: cifar10-small-pgd-at
      grid: {method.radius: [2px, 4px, 8px]}
    iaat:    {recipe: cifar10-small-iaat, set: {method.reach: 3}}

Cells of a grid are called uniform-2px, uniform-4px, uniform-8px. Their runs
are OUT/CELL-seedN; one that `iaat train RECIPE ... --out OUT/CELL-seedN` has
trained with the same settings is reused. `iaat check SWEEP` lists the cells
with their costs. OUT gets comparison.json, comparison.md and frontier.png."""


_Add = Callable[..., argparse.ArgumentParser]
"""Adds a command: its name, what it does, and what can follow."""


def split_overrides(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate the command's own arguments from recipe keys with their values, in any order."""
    own: list[str] = []
    overrides: list[str] = []
    rest, command = list(arguments), arguments[0] if arguments else ""
    while rest:
        argument = rest.pop(0)
        key = argument.partition("=")[0]
        recipe_key = "." in key or key in ("--seed", "--method") or is_short(key)
        if not (key.startswith("--") and recipe_key) or is_flag(argument, rest[0] if rest else None, command):
            own.append(argument)
            continue
        takes_next = "=" not in argument and rest and not rest[0].startswith("--")
        _refuse_space(argument, rest)
        # Joined by "=", so that a value such as -1e-3 is not taken for an option.
        overrides.append(f"{argument}={rest.pop(0)}" if takes_next else argument)
    return own, overrides


def _refuse_space(argument: str, rest: Sequence[str]) -> None:
    """Refuse `4 px`, which is two arguments, where `4px` is meant."""
    key, equals, value = argument.partition("=")
    values = [value, *rest] if equals else rest
    if values[1:2] == ["px"]:
        raise UserError(f"{key} {values[0]} px: write {values[0]}px, without the space")


class _Parser(argparse.ArgumentParser):
    """Errors in one style: what is wrong, then what to do, without the usage lines."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise UserError(f"{message}; see `{self.prog} --help`")


def parse_arguments(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The command with its own options, and the recipe keys with their values; `typed` has these as they were typed.

    Raises:
        UserError: an unknown command or option, or one that lacks its value.
    """
    own, typed = split_overrides(arguments)
    overrides = spelled_out(typed, arguments[0] if arguments else "")
    if own and not own[0].startswith("-"):
        check_choice(own[0], COMMANDS, "command")
    options, unknown = command_parser().parse_known_args(own)
    if unknown:
        raise UserError(f"{unknown[0]} is no option of `iaat {own[0]}`{_hint(unknown[0], own)}")
    options.typed = typed
    return options, overrides


def _hint(argument: str, arguments: Sequence[str]) -> str:
    """Hint for an unknown option: a recipe key, or the help."""
    before = arguments[arguments.index(argument) - 1]
    if arguments[0] == "check" and before == "--data":
        return f": --data takes no value here and reads every sample; for data {argument} write --data.name {argument}"
    if not argument.startswith("--"):
        return f"; see `iaat {COMMANDS[0]} --help`" if argument.startswith("-") else ""
    from iaat.config.setting_keys import all_keys  # late: it imports PyTorch

    hint = likely_key(argument.partition("=")[0], [f"--{key}" for key in all_keys()])
    return hint or "; recipe keys are written --section.key value, `iaat train RECIPE --help` lists them"


def without_help(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The arguments without those that ask for help, and whether these ask for `--help all`."""
    rest, everything = [], False
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if argument == "all" and before in HELP:
            everything = True
        elif argument not in HELP:
            rest.append(argument)
    return rest, everything or "--help=all" in arguments


class _Version(argparse.Action):
    """Prints the version; argparse's own action would have it looked up in every command."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        import iaat

        print(f"iaat {iaat.__version__}")
        parser.exit()


class _OldName(argparse.Action):
    """Stores the value of an option by its old name, with a warning; its destination is the new one."""

    def __call__(self, _parser: object, options: argparse.Namespace, value: object, name: str | None = None) -> None:
        warnings.warn(f"{name} is --{self.dest} now, and is read as such: write the new name", stacklevel=2)
        setattr(options, self.dest, value)


def command_parser() -> argparse.ArgumentParser:
    """The commands with their options; `command` is the name of the one that was given."""
    parser = _Parser(
        prog="iaat", description="Instance-adaptive adversarial training.", epilog=_FIRST, allow_abbrev=False
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, tail: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}. {tail}", allow_abbrev=False
        )

    _add_train(add)
    _add_compare(add)
    _add_evaluate(add)
    _add_radii(add)
    _add_report(add)
    _add_export(add)
    add("recipes", "list the recipes that ship")
    _add_check(add)
    for name, each in commands.choices.items():
        if name != "recipes":
            _add_trust(each)
        if name not in ("recipes", "check"):
            each.add_argument("--quiet", action="store_true", help="print results only")
    return parser


def _add_train(add: _Add) -> None:
    sub = add("train", "train a recipe, evaluate it, write radii and pictures", _RECIPE_KEYS)
    sub.add_argument("recipe", metavar="RECIPE", help="name of a shipped recipe, or a YAML file")
    sub.add_argument(
        "--out", type=user_path, help="run folder; by default runs/RECIPE-seedN or RECIPE-with-METHOD-seedN"
    )
    sub.add_argument("--resume", action="store_true", help="go on with an interrupted run in the folder")
    sub.add_argument("--overwrite", action="store_true", help="replace the run in the folder")
    _add_tensorboard(sub)


def _add_compare(add: _Add) -> None:
    sub = add("compare", "train recipes and sweeps over seeds and print one table", _RECIPE_KEYS)
    sub.formatter_class = argparse.RawDescriptionHelpFormatter
    sub.description, sub.epilog = textwrap.fill(sub.description or "", 80), SWEEP_HELP
    sub.add_argument("recipes", metavar="RECIPE", nargs="+", help="names of shipped recipes, YAML files, sweeps")
    sub.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        help="number of seeds, from 0, or a list of several; --seed 7 trains seed 7 alone",
    )
    sub.add_argument(
        "--out", type=user_path, default=Path("runs"), help="folder of the run folders; finished runs are reused"
    )
    sub.add_argument(
        "--only", metavar="CELL", nargs="+", default=[], help="only these cells, or all cells of these grids"
    )
    sub.add_argument(
        "--jobs", metavar="N", type=int, default=1, help="train and evaluate so many runs at once, a process each"
    )
    sub.add_argument("--run", nargs=2, metavar=("CELL", "SEED"), help=argparse.SUPPRESS)  # what --jobs starts
    sub.add_argument(
        "--no-train", action="store_true", help="train nothing: show the finished runs and name the others"
    )
    sub.add_argument(
        "--checkpoint",
        choices=CHECKPOINTS,
        default="best",
        help="which checkpoint of each run is compared (default best)",
    )
    _add_tensorboard(sub)
    _add_weights(sub)


def _add_evaluate(add: _Add) -> None:
    sub = add("evaluate", "evaluate runs, or any PyTorch model, by a suite of attacks", _EVALUATION_KEYS)
    sub.add_argument(
        "targets",
        metavar="RUN_OR_MODEL",
        nargs="+",
        help="run folders, or safetensors that `iaat export` wrote; or module:function, a timm name, a TorchScript or "
        "exported file, a file of weights",
    )
    sub.add_argument("--suite", help="quick (default), standard, paper, full, or a list such as pgd+autoattack")
    sub.add_argument(
        "--samples", type=int, help="test samples to attack; by default 1,000 in suite quick, all in others"
    )
    sub.add_argument("--n", type=int, dest="samples", action=_OldName, help=argparse.SUPPRESS)
    sub.add_argument("--suspicious", action="store_true", help="add the checks for gradient masking to the suite")
    sub.add_argument(
        "--checkpoint", choices=(*CHECKPOINTS, "both"), default="both", help="which of a run's (default both)"
    )
    _add_weights(sub)
    sub.add_argument(
        "--transfer",
        metavar="RUN_OR_MODEL",
        nargs="+",
        default=[],
        help="add adversarial examples made on these models",
    )
    sub.add_argument(
        "--corrupted", metavar="DIR", type=user_path, help="folder of CIFAR-10-C or ImageNet-C; adds corrupted images"
    )
    sub.add_argument(
        "--baseline",
        metavar="RUN",
        type=user_path,
        help="run that mCE is relative to, in suites with corruptions; evaluated before, or in the same command",
    )
    sub.add_argument(
        "--out", type=user_path, default=Path("evaluations"), help="folder for the results of models other than runs"
    )


def _add_radii(add: _Add) -> None:
    sub = add("radii", "write the radius of every image trained on as a table, and print a summary per class")
    sub.add_argument("folder", metavar="RUN", type=user_path, help="run folder")
    sub.add_argument(
        "--out",
        type=user_path,
        help="a .parquet or .csv file; by default RUN/radii.parquet, or of --epoch 3 RUN/radii/0003.parquet",
    )
    sub.add_argument("--epoch", type=int, help="radii after this epoch; the last by default")


def _add_report(add: _Add) -> None:
    sub = add("report", "show runs on one page: accuracies, radii, images, suspects, loss surfaces", _DATA_KEYS)
    sub.add_argument(
        "folders",
        metavar="RUN",
        nargs="+",
        type=user_path,
        help="run folders, or a folder of them; the first with radii has the images",
    )
    sub.add_argument(
        "-o", "--out", type=user_path, default=Path("report.html"), help="the page, one file (default %(default)s)"
    )
    sub.add_argument("--figures", metavar="DIR", type=user_path, help="write the figures as PNG, PDF and SVG, too")
    sub.add_argument("--suspects", metavar="FILE", type=user_path, help="write all suspects as .csv or .parquet, too")
    sub.add_argument("--images", metavar="N", type=int, default=2000, help="size of the gallery (default %(default)s)")
    sub.add_argument(
        "--details",
        metavar="N",
        type=int,
        default=40,
        help="how many of them are attacked, too, suspects first (default %(default)s)",
    )
    sub.add_argument(
        "--details-of",
        metavar="INDEX[,INDEX ...]",
        default="",
        help="images that are attacked beside them, by their index in the training data",
    )
    sub.add_argument("--no-images", action="store_true", help="leave out the images; needs no data")


def _add_export(add: _Add) -> None:
    sub = add(
        "export",
        "write a trained model as ONNX, a PyTorch program, safetensors or a folder for the Hugging Face hub",
        _MOVED_DATA,
    )
    sub.add_argument(
        "target", metavar="RUN", type=user_path, help="run folder, for its best checkpoint; or RUN/last.pt"
    )
    sub.add_argument(
        "--format",
        choices=EXPORT_FORMATS,
        default=EXPORT_FORMATS[0],
        help="onnx (default); pt2, of torch.export; torchscript; safetensors, weights with a record of the run; hf, a "
        "folder for the Hugging Face hub with a model card",
    )
    sub.add_argument(
        "-o", "--out", metavar="PATH", type=user_path, help="file or folder; by default named after the run"
    )
    sub.add_argument("--overwrite", action="store_true", help="replace what is there under this name")


def _add_check(add: _Add) -> None:
    sub = add("check", "resolve a recipe and print it with its costs; nothing is run", _RECIPE_KEYS)
    sub.add_argument("recipe", metavar="RECIPE", help="name of a shipped recipe, or a YAML file of a recipe or sweep")
    sub.add_argument(
        "--probe",
        action="store_true",
        help="time a few training steps on random inputs (about 20 s) and estimate the time of all training",
    )
    sub.add_argument(
        "--data", action="store_true", help="read every sample of both splits, list what cannot be read, count the rest"
    )
    sub.add_argument("--processes", type=int, help="with --probe: processes that each batch is split among (default 1)")


def _add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        type=weights_by_any_name,
        choices=WEIGHTS,
        default=WEIGHTS[0],
        help="of runs with train.ema: the moving average of the weights (ema, default), the raw weights, or both",
    )


def _add_tensorboard(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tensorboard",
        action="store_true",
        help="log to TensorBoard, too, in RUN/tensorboard; needs pip install tensorboard",
    )


def _add_trust(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trust",
        metavar="NAME",
        action="append",
        default=[],
        help="let code of others run: a module that recipe files may name, such as my_net for my_net:build, or a file "
        "that holds a program, such as model.pt2; may be given several times",
    )
