"""Help of one recipe: its everyday keys with short explanations, or all keys."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import shlex
import textwrap
from collections.abc import Sequence
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from docstring_parser import parse_from_object

from iaat.cli.next_command import as_before
from iaat.config.load_recipe import load_recipe
from iaat.config.recipe import Recipe
from iaat.methods import METHODS
from iaat.runtime.console_table import PlainTable, facts_table
from iaat.runtime.progress import Reporter

EVERYDAY = {
    "data.root": "folder of your images, or for the data set that is downloaded",
    "data.size": "resize images to this many pixels a side; null: keep their size",
    "data.limit": "train on this many images only, for a quick try; null: all",
    "data.crop": "random crops after padding by this many pixels; 0: none",
    "data.flip": "mirror images at random",
    "data.workers": "processes that read images, where these are read from disk while training",
    "model.name": "the model: small-cnn, resnet18, wrn-34-10, resnet50, a timm name, my_file:Net (a class or function)",
    "model.pretrained": "start from published weights (resnet50, resnet101, resnet152, timm)",
    "model.weights": "start from the weights in this file, such as RUN/last.pt",
    "method.radius": "how far the attack may change a pixel; 8px is 8/255",
    "method.norm": "norm of the radius: linf, the largest change of a pixel, or l2",
    "method.steps": "steps of the attack: more are stronger and slower",
    "method.reach": "how far a radius can move over the whole run, in multiples of method.radius",
    "method.start": "radius that every image starts with; null: method.radius",
    "train.epochs": "passes over the training images",
    "train.batch_size": "images per step; lower it if memory runs out",
    "train.lr": "peak learning rate",
    "train.ema": "decay of a moving average (EMA) of the weights to evaluate, such as 0.995; 0: none",
    "train.awp": "strength of adversarial weight perturbation (AWP), such as 0.005; 0: none",
    "train.precision": "number format: auto, fp32, bf16, fp16",
    "train.device": "auto takes a GPU if there is one; cpu, cuda, cuda:1, mps",
    "evaluate.suite": "attacks after training: quick, standard (with AutoAttack), paper, full",
    "evaluate.radius": "radius of these attacks",
    "evaluate.n": "test images attacked; null: 1,000 in suite quick, all in others",
    "seed": "random seed; another number gives another run of the same recipe",
}
"""Everyday keys with short explanations; those that a method does not have are left out."""

_OPTIONS = {
    "--out DIR": "the run folder",
    "--resume": "go on with an interrupted run",
    "--overwrite": "replace the run in the folder",
    "--tensorboard": "log to TensorBoard, too",
    "--trust NAME": "let recipe files run code of this module",
    "--quiet": "print results only",
}


def print_recipe_help(options: argparse.Namespace, overrides: Sequence[str], *, everything: bool) -> None:
    """Print what can be changed in a recipe, with its values: everyday keys, or `everything`.

    Args:
        options: The command with its recipe, the code to trust, and the overrides as they were typed.
        overrides: The overrides spelled out.
        everything: Whether all keys are shown.
    """
    command, source, trusted = options.command, options.recipe, as_before(options, [])
    recipe, reporter = load_recipe(source, overrides), Reporter()
    if everything:
        _print_all(command, source, recipe)
        if command == "train":
            reporter.result(_filled(f"\nrun options: {', '.join(_OPTIONS)}", reporter.console.width))
    else:
        reporter.result(f"usage: iaat {command} {source} [--key value ...]\n")
        reporter.result(everyday_table(recipe))
        if command == "train":
            table = facts_table("options of the run")
            for option in _OPTIONS.items():
                table.add_row(*option)
            reporter.result(table)
        more = shlex.join(("iaat", command, source, *trusted, "--help", "all"))
        reporter.result(f"all keys, with more about these: {more}")
    methods = f"--method NAME takes another method: {', '.join(METHODS)}, or my_file:MyMethod"
    reporter.result(_filled(methods, reporter.console.width))
    reporter.next_step("iaat", "check", source, *options.typed, *trusted)


def everyday_table(recipe: Recipe) -> PlainTable:
    """Table of the everyday keys that the recipe has, with its values."""
    values = recipe.dotted()
    table = PlainTable(f"{recipe.about}\n")
    for name in ("key", "value", "meaning"):
        table.add_column(name, no_wrap=name == "key")
    for key, text in EVERYDAY.items():
        if key in values:
            table.add_row(f"--{key}", _written(values[key]), text)
    return table


def _written(value: object) -> str:
    """A value as it would be typed."""
    return yaml.safe_dump(value).splitlines()[0] if value is None or isinstance(value, bool) else str(value)


def _kind(hint: Any) -> str:  # noqa: ANN401
    """What a setting takes, such as `float | null`; choices as in `{linf,l2}`."""
    if get_origin(hint) is Literal:
        return f"{{{','.join(map(str, get_args(hint)))}}}"
    if get_origin(hint) in (Union, UnionType):
        return " | ".join(map(_kind, get_args(hint))).replace("NoneType", "null")
    return inspect.formatannotation(hint).replace("iaat.units.", "")


def _filled(text: str, width: int) -> str:
    return textwrap.fill(text, width, break_on_hyphens=False, replace_whitespace=False)


def setting_texts(config: type) -> dict[str, str]:
    """The docstring of each setting of a section, by its key."""
    bases = [base for base in reversed(config.__mro__) if dataclasses.is_dataclass(base)]
    return {param.arg_name: param.description or "" for base in bases for param in parse_from_object(base).params}


def _print_all(command: str, source: str, recipe: Recipe) -> None:
    parser = argparse.ArgumentParser(usage=f"iaat {command} {source} [--section.key value ...]", add_help=False)
    parser.add_argument("--seed", metavar="int", help=f"{EVERYDAY['seed']} (default: {recipe.seed})")
    for section, values in recipe.sections().items():
        config = getattr(recipe, section)
        group = parser.add_argument_group(section, (inspect.getdoc(config) or "").partition("\n")[0])
        texts, hints = setting_texts(type(config)), get_type_hints(type(config))
        for key, value in values.items():
            text = f"{texts.get(key, '')} (default: {_written(value)})".replace("%", "%%")
            group.add_argument(f"--{section}.{key}", metavar=_kind(hints[key]), help=text)
    parser.print_help()
