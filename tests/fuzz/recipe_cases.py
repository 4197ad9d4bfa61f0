"""One case of the recipe fuzzers: a hostile file or hostile words are a recipe, or a `UserError` that can be shown."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import iaat.runtime.user_code
from fuzz.guard import guarded
from iaat.config.load_recipe import load_recipe
from iaat.config.recipe_files import shipped_recipes
from iaat.config.setting_keys import SECTION_TYPES
from iaat.errors import UserError
from iaat.experiments.sweep import read_cells
from iaat.methods import METHODS
from iaat.models.timm_models import timm_names

RECIPE, SWEEP, CHILD, WORDS = range(4)
"""What a case is: a recipe, a sweep, a recipe that another one extends, words of the command line."""

HOSTILE = (
    b"about: &a [x, x, x]\nmodel: {options: {b: &b [*a, *a, *a], c: [*b, *b, *b]}}\nextends: quickstart",
    b"extends: quickstart\nmodel: {options: &me {me: *me}}",
    b"extends: quickstart\nmodel: {name: 'subprocess:run', options: {args: [touch, x]}}",
    b"extends: quickstart\nmethod: {name: 'os:system'}",
    b"extends: quickstart\nabout: !!python/object/apply:os.system [true]",
    b"extends: quickstart\ntrain: {epochs: {class_path: os.mkdir, init_args: {path: made}}}",
    b"extends: quickstart\ntrain: {epochs: 1000000000000000000000000000000, lr: .inf, momentum: .nan}",
    b'extends: quickstart\nabout: "\\ud800 \\0 \\e[31m"\ndata: {root: "\\x07"}',
    b"\xef\xbb\xbfextends: quickstart\nseed: 0x7fffffffffffffff\nabout: 2020-13-01",
    b"base: &b {lr: 0.1, epochs: 3}\nextends: quickstart\ntrain: {<<: *b, milestones: '[[[[1]]]]'}",
    b"extends: quickstart\nevaluate: {suite: pgd-10x2+transfer-99999999999999999999, radius: 1e400px}",
    b"extends: case.yaml\n",
)
SWEEPS = (
    b"seeds: 3\nset: {train.epochs: 4}\ncurve: u\ncells:\n  n: {recipe: quickstart-natural}\n"
    b"  u: {recipe: quickstart-pgd-at, grid: {method.radius: [32px, 64px], train.lr: [0.1, 0.2]}}\n",
    b"seeds: [1, 5]\ncells: {a: {recipe: quickstart, set: {method: 'os:system', model: other.yaml}}}",
    b"seeds: 99999999999\ncells: {../a: {recipe: case.yaml, grid: {model.name: ['os:system', null]}}}",
)
LINES = (
    b"--train.epochs=3\n--method\npgd_at\n--model.options={a: [1, 2]}",
    b"--train.milestones=[1, 2]\n--train.schedule=multistep\n--seed\n7",
    b"--model.name=os:system\n--data.limit=null\n--train=case.yaml",
)


def seeds() -> list[bytes]:
    """Cases to begin with: what ships, and what is known to be hostile."""
    recipes = [path.read_bytes() for path in shipped_recipes().values()]
    kinds = ((RECIPE, recipes), (RECIPE, HOSTILE), (CHILD, HOSTILE[:4]), (SWEEP, SWEEPS), (WORDS, LINES))
    return [bytes([kind]) + content for kind, contents in kinds for content in contents]


def dictionary() -> str:
    """The words of recipes, as libFuzzer reads them."""
    keys = {field.name for config in SECTION_TYPES.values() for field in dataclasses.fields(config)}
    keys |= {field.name for method in METHODS.values() for field in dataclasses.fields(method.Config)}
    values = {"quickstart", "extends", "cells", "recipe", "grid", "os:system", "8px", "4/255", "!!binary ", "&a ", "*a"}
    values |= {"<<: *a", ".nan", ".inf", "null", "true", "1e999", "0x7fffffff", "[[", "{{", "!!set ", "class_path"}
    return "".join(f'"{word}"\n' for word in sorted(keys | values | set(SECTION_TYPES) | set(METHODS)))


def run_bytes(case: bytes, scratch: Path) -> Any:
    """A case as a fuzzer has it: its kind, then its content."""
    kind, content = (case[0] % 4 if case else RECIPE), case[1:]
    if kind == WORDS:
        return run("quickstart", content.decode("utf-8", "surrogateescape").split("\n"), scratch, typed=True)
    (scratch / "case.yaml").write_bytes(content)
    if kind == CHILD:
        (scratch / "child.yaml").write_text("extends: case.yaml\nseed: 1\n", encoding="utf-8")
    return run(str(scratch / ("child.yaml" if kind == CHILD else "case.yaml")), (), scratch, sweep=kind == SWEEP)


def run(source: str, words: Sequence[str], scratch: Path, *, sweep: bool = False, typed: bool = False) -> Any:
    """Read a recipe or a sweep; None where it was refused. No file may lead to an import, and no input to an effect.

    Raises:
        AssertionError: an effect, an import, an unreadable message, or a recipe that is another when it is read again.
    """
    iaat.runtime.user_code._TRUSTED.clear()
    timm_names()  # imported here: names of networks are looked up, and the import sets variables of its own
    stopped = UserError("no imports here") if typed else AssertionError("a file led to an import")
    with guarded(scratch), mock.patch("iaat.methods.registry.import_function", side_effect=stopped):
        try:
            found = read_cells([source], words) if sweep else load_recipe(source, words)
        except UserError as error:
            found, message = None, str(error)
    if found is None:
        assert len(message) < 5000, "a message too long to read"
        assert message.isprintable(), repr(message)
        return None
    if not sweep:
        _check_reads_back(found, scratch)
    return found


def _check_reads_back(recipe: Any, scratch: Path) -> None:
    again = scratch / "again.yaml"
    again.write_text(recipe.to_yaml(), encoding="utf-8")
    # Compared as text, because not-a-number, which options may hold, differs from itself.
    found = load_recipe(again, stored=True)
    # What was typed may be written to; what a file says may not.
    confined = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, download=found.data.download))
    assert found.data.download == recipe.data.download or recipe.data.root is not None
    assert found.to_yaml() == confined.to_yaml()
