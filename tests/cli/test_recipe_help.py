"""What `iaat recipes` and `iaat train RECIPE --help` show."""

import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from iaat.cli.main import main
from iaat.cli.parser import COMMANDS
from iaat.cli.recipe_help import EVERYDAY, everyday_table, setting_texts
from iaat.cli.recipe_list import GROUPS, START, group_of, recipe_tables
from iaat.config.load_recipe import load_recipe
from iaat.config.recipe_files import shipped_recipes, shipped_sweeps
from iaat.config.setting_keys import SECTION_TYPES
from iaat.methods import METHODS
from iaat.methods.setting_fields import setting_names
from iaat.runtime import user_code


def test_every_recipe_is_listed_once_under_its_data_set_and_one_is_to_start_with():
    first, *tables, sweeps = [part for part in recipe_tables() if not isinstance(part, str)]
    assert sorted(row[0][0] for row in sweeps.rows) == sorted(shipped_sweeps())
    assert first.rows[0][0][0] == START
    listed = [row[0][0] for table in (first, *tables) for row in table.rows]
    assert sorted(listed) == sorted(shipped_recipes())
    assert len(tables) + 1 == len(GROUPS)
    assert group_of("cifar10-small-iaat") == "cifar10-small"
    assert next(iter(recipe_tables())) == f"start here: iaat train {START}"


def test_help_of_a_recipe_shows_the_keys_of_every_day_with_its_values(capsys):
    assert main(["train", "folder-iaat", "--help", "--train.epochs", "7"]) == 0
    out = capsys.readouterr().out
    shown = re.findall(r"^ *--([a-z_.]+) +(\S+)", out, flags=re.MULTILINE)
    assert 20 <= len([key for key, _ in shown if key in EVERYDAY]) <= 26
    assert {"train.epochs": "7", "data.size": "32", "data.flip": "true", "model.name": "resnet18"}.items() <= dict(
        shown
    ).items()
    assert "--resume" in out
    assert "method.full_steps_at" not in out
    assert "iaat train folder-iaat --help all" in out


def test_every_key_of_every_day_is_a_key(capsys):
    recipes = [load_recipe(name) for name in ("quickstart", "folder-pgd-at")]
    shown = {row[0][0].removeprefix("--") for recipe in recipes for row in everyday_table(recipe).rows}
    assert shown == EVERYDAY.keys()


def test_help_all_documents_every_key(capsys):
    for words in (["--help", "all"], ["--help=all"]):
        assert main(["check", "quickstart", *words]) == 0
        out = capsys.readouterr().out
        assert all(f"--{key}" in out for key in ("method.full_steps_at", "train.nonfinite", "data.split_seed"))


@pytest.mark.parametrize("config", [*SECTION_TYPES.values(), *(method.Config for method in METHODS.values())])
def test_every_setting_is_described(config):
    texts = setting_texts(config)
    assert [key for key in setting_names(config) if len(re.findall("[a-z]+", texts[key])) < 2] == []


@pytest.mark.parametrize(
    "words",
    [[], *([command] for command in COMMANDS), ["train", "quickstart"], ["check", "imagenet-resnet50-iaat"]],
    ids=" ".join,
)
def test_help_fits_into_80_columns(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    asked = [["--help"], ["--help", "all"]] if len(words) == 2 else [["--help"]]
    for more in asked:
        with suppress(SystemExit):
            main([*words, *more])
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) > 3
        assert [line for line in lines if len(line.rstrip()) > 80] == []


def test_choices_of_a_setting_are_shown_as_those_of_an_option(capsys):
    assert main(["train", "quickstart", "--help", "all"]) == 0
    out = capsys.readouterr().out
    assert "--train.select {mean,robust,clean}" in out
    assert "Literal" not in out


def test_commands_of_the_help_trust_what_was_trusted(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(user_code, "_TRUSTED", set())
    Path("my recipe.yaml").write_text("extends: quickstart\nmodel: {name: 'help_net:build', width: null}\n")
    assert main(["train", "my recipe.yaml", "--trust", "help_net", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "iaat train 'my recipe.yaml' --trust help_net --help all" in out
    assert "next: iaat check 'my recipe.yaml' --trust help_net" in out


def test_help_that_nobody_reads_to_the_end_warns_of_nothing():
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "iaat", "train", "quickstart", "--help"]
    found = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=300, check=False)
    os.close(writer)
    assert found.stderr == ""


def test_help_says_what_null_means_where_radii_start(capsys):
    assert main(["train", "folder-iaat", "--help"]) == 0
    assert "null: method.radius" in " ".join(capsys.readouterr().out.split())
