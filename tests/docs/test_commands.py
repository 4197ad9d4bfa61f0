"""Commands in the documents are ones that the command line takes, with recipes and keys that exist."""

import re
import shlex
from pathlib import Path

import pytest

from iaat.cli.parser import COMMANDS, parse_arguments
from iaat.config.load_recipe import load_recipe
from iaat.config.recipe_files import shipped_recipes

ROOT = Path(__file__).parents[2]
# A log says what was typed at the time.
LOGS = {"docs/experiments.md"}
DOCUMENTS = [
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if path.relative_to(ROOT).as_posix() not in LOGS
]
COMMAND = re.compile(rf"(?:^|(?<=-m )|(?<=srun )|(?<=`))iaat (?:{'|'.join(COMMANDS)}) [^\n`]*", re.MULTILINE)
FAMILY = re.compile(r"(cifar100?|folder|imagenet|quickstart)\b[\w-]*$")


def commands(document):
    """Words of each command of a document, without `iaat`, but those that are cut short."""
    text = (ROOT / document).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in COMMAND.findall(text):
        words = shlex.split(line.partition(" || ")[0], comments=True)[1:]
        if words[1:] and not words[1].startswith("-") and not any("..." in word or word == "--help" for word in words):
            yield words


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist_with_their_recipes_and_keys(document):
    for words in commands(document):
        options, overrides = parse_arguments(words)
        named = getattr(options, "recipes", None) or [getattr(options, "recipe", "")]
        for recipe in named:
            if recipe in shipped_recipes() and "my_methods" not in "".join(overrides):  # those have tests of their own
                load_recipe(recipe, overrides)
            else:
                assert recipe in shipped_recipes() or not FAMILY.match(recipe), f"{recipe} does not ship"


def test_commands_are_found():
    assert ["train", "quickstart"] in list(commands("README.md"))
    assert len(list(commands("README.md"))) == 6
    assert sum(len(list(commands(document))) for document in DOCUMENTS) > 60
