"""Short options, such as --epochs, and the recipe keys they stand for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from iaat.errors import UserError, asked, did_you_mean

_SHORT = {
    "epochs": "train.epochs",
    "lr": "train.lr",
    "learning-rate": "train.lr",
    "batch-size": "train.batch_size",
    "weight-decay": "train.weight_decay",
    "momentum": "train.momentum",
    "schedule": "train.schedule",
    "device": "train.device",
    "precision": "train.precision",
    "model": "model.name",
    "arch": "model.name",
    "dataset": "data.name",
    "workers": "data.workers",
    "num-workers": "data.workers",
}
"""Short names that stand for one key in every command."""

_RADIUS = ("eps", "epsilon", "radius")
_ATTACK = dict.fromkeys(_RADIUS, "radius") | {"steps": "steps", "norm": "norm"}
"""Short names of an attack: that of `evaluate` in this command, elsewhere that of training; radius and norm: both."""

BOTH = {"radius", "norm"}
DATA = "data"
_KNOWN = (*_SHORT, *_ATTACK, DATA)

_SYNONYMS = {
    **dict.fromkeys(("eps", "epsilon", "perturbation"), "radius"),
    **dict.fromkeys(("learning_rate", "base_lr"), "lr"),
    **dict.fromkeys(("num_epochs", "max_epochs", "n_epochs"), "epochs"),
    **dict.fromkeys(("iterations", "iters", "num_steps", "n_iter", "nb_iter"), "steps"),
    **dict.fromkeys(("dir", "path", "folder"), "root"),
    **dict.fromkeys(("arch", "architecture", "network"), "name"),
    "wd": "weight_decay",
    "num_workers": "workers",
    "p": "norm",
}
"""Names of others for the last part of a key."""


def is_short(argument: str) -> bool:
    """Whether an argument of the command line is one of the short options, with or without its value."""
    return _plain(argument) in _KNOWN


def is_flag(argument: str, following: str | None, command: str) -> bool:
    """Whether `--data` is the option of `iaat check` that takes no value, and not the folder or name of a data set."""
    if command != "check" or _plain(argument) != DATA or "=" in argument:
        return False
    return following is None or not (Path(following).is_dir() or ":" in following)


def names_function(data: str) -> bool:
    """Whether the value of `--data` is a module:function, and not a folder with a colon in its name."""
    return ":" in data and not Path(data).exists()


def _plain(argument: str) -> str:
    return argument.partition("=")[0].removeprefix("--").replace("_", "-")


def spelled_out(arguments: Sequence[str], command: str) -> list[str]:
    """`--key=value` arguments with short options replaced by their keys; in `evaluate` an attack is the evaluation's.

    Those that need the recipe stay, for `load_recipe`: the radius and the norm, and a folder of data.
    """
    return [_spelled_out(argument, command) if is_short(argument) else argument for argument in arguments]


def _spelled_out(argument: str, command: str) -> str:
    name, (_, equals, value) = _plain(argument), argument.partition("=")
    if not equals:
        raise UserError(f"{argument} needs a value, such as {argument} {_EXAMPLES.get(name, 'VALUE')}")
    if name == "batch-size" and command == "evaluate":
        return f"--evaluate.batch_size={value}"
    if name in _SHORT:
        return f"--{_SHORT[name]}={value}"
    if name == DATA:
        return f"--data.root={value}" if command in ("radii", "report", "export") else f"--data={value}"
    key = _ATTACK[name]
    if command == "evaluate":
        return f"--evaluate.{key}={value}"
    return f"--{key}={value}" if key in BOTH else f"--method.{key}={value}"


_EXAMPLES = {"epochs": "30", "lr": "0.1", "batch-size": "128", "model": "resnet18", "data": "DIR", "eps": "8px"}


def likely_key(argument: str, known: Collection[str]) -> str:
    """`" (did you mean ...?)"` for an option, such as `--method.eps`, that is none of `known`.

    It is found by the names of others, by the last part, or by likeness.
    """
    section, _, last = argument.removeprefix("--").replace("-", "_").rpartition(".")
    last = _SYNONYMS.get(last, last)
    if f"--{section}.{last}" in known:
        return asked([f"--{section}.{last}"])
    same = [key for key in known if key.rpartition(".")[2] == last]
    if same and len(same) <= 2:
        return asked(same)
    return did_you_mean(argument, known)
