"""A file may not run code by itself: what it names is neither imported nor called until the user has said so."""

import dataclasses
import re
import sys

import pytest
import yaml

import iaat.runtime.user_code
from iaat.cli.main import main
from iaat.config.load_recipe import load_recipe
from iaat.errors import UserError
from iaat.experiments.sweep import read_cells
from iaat.runs.run_folder import RunFolder

HONEST = """
from pathlib import Path

from torch import nn

from iaat.methods import IAAT, Natural

Path("imported").touch()


class Mine(Natural):
    pass


class WithRadii(IAAT):
    pass


def build(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
"""
FAST = [
    *("--data.limit", "60", "--train.epochs", "1", "--train.validation_steps", "1", "--train.validation_n", "5"),
    *("--evaluate.steps", "1", "--evaluate.n", "10", "--quiet"),
]
PLAIN = {"extends": "quickstart-natural", "model": {"width": None}}
SHELL = {
    "model": {"name": "subprocess:run", "width": None, "options": {"args": ["touch", "ran"]}},
    "data": {"name": "subprocess:run", "options": {"args": ["touch", "ran"]}},
    "method": {"name": "antigravity:fly"},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with an honest module, and nothing trusted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(iaat.runtime.user_code, "_TRUSTED", set())
    (tmp_path / "my_net.py").write_text(HONEST, encoding="utf-8")
    (tmp_path / "evil.py").write_text("from pathlib import Path\nPath('ran').touch()\n", encoding="utf-8")
    yield tmp_path
    for module in ("my_net", "evil"):
        sys.modules.pop(module, None)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(path)


def refused(capsys, *words):
    assert main([*words]) == 2
    message = capsys.readouterr().err
    assert "may not run by itself" in message
    return message


@pytest.mark.parametrize("section", SHELL)
@pytest.mark.parametrize(
    "command",
    [
        ["train", "{recipe}"],
        ["train", "{child}"],
        ["train", "{recipe}", "--help"],
        ["check", "{recipe}"],
        ["check", "{sweep}"],
        ["compare", "{recipe}", "quickstart"],
        ["compare", "{sweep}"],
        ["evaluate", "{run}"],
        ["evaluate", "resnet18", "--data.name", "digits", "--transfer", "{run}"],
        ["radii", "{run}"],
        ["report", "{run}"],
        ["train", "quickstart", "--out", "{run}", "--resume"],
    ],
    ids=" ".join,
)
def test_no_command_runs_what_a_file_names(folder, capsys, section, command):
    if section == "method" and command[0] in ("radii", "report"):
        pytest.skip("reads what the method has written, without it: the next test")
    body = {"extends": "quickstart", **{section: SHELL[section]}}
    places = {
        "recipe": write(folder / "mine.yaml", body),
        "child": write(folder / "child.yaml", {"extends": "mine.yaml"}),
        "sweep": write(folder / "sweep.yaml", {"cells": {"a": {"recipe": "mine.yaml"}}}),
        "run": str(folder / "run"),
    }
    write(folder / "run" / "recipe.yaml", body)
    (folder / "run" / "last.pt").write_bytes(b"x")
    before = set(folder.rglob("*"))
    message = refused(capsys, *(word.format(**places) for word in command))
    module = SHELL[section]["name"].partition(":")[0]
    assert f"{section}.name" in message
    assert f"--trust {module}" in message
    assert set(folder.rglob("*")) == before
    assert "antigravity" not in sys.modules


def test_radii_and_report_of_an_own_method_need_neither_its_program_nor_trust(folder, monkeypatch, capsys):
    words = ["train", "quickstart", "--method", "my_net:WithRadii", "--method.radius", "5px", "--model.width", "4"]
    assert main([*words, "--out", "run", *FAST]) == 0
    monkeypatch.setattr(iaat.runtime.user_code, "_TRUSTED", set())
    sys.modules.pop("my_net")
    (folder / "imported").unlink()
    (folder / "my_net.py").rename(folder / "elsewhere.py")
    (folder / "run" / "radii.parquet").unlink()
    capsys.readouterr()
    assert main(["radii", "run"]) == 0
    assert "radii after epoch 1, in px" in capsys.readouterr().out
    assert (folder / "run" / "radii.parquet").exists()
    assert main(["report", "run", "--no-images", "-o", "page.html", "--quiet"]) == 0
    assert "my_net:WithRadii" in (folder / "page.html").read_text()
    assert not (folder / "imported").exists()


def test_a_report_without_images_needs_no_model(folder, monkeypatch, capsys):
    words = ["--model.name", "my_net:build", "--model.width", "null"]
    assert main(["train", "quickstart", *words, "--out", "run", *FAST]) == 0
    monkeypatch.setattr(iaat.runtime.user_code, "_TRUSTED", set())
    (folder / "imported").unlink()
    sys.modules.pop("my_net")
    for command in ("radii", "report"):
        assert "--trust my_net" in refused(capsys, command, "run")
    assert main(["report", "run", "--no-images", "-o", "page.html", "--quiet"]) == 0
    assert not (folder / "imported").exists()


def test_commands_on_the_page_trust_what_was_trusted_and_know_where_the_data_is(folder, monkeypatch):
    words = ["--model.name", "my_net:build", "--model.width", "null"]
    assert main(["train", "quickstart", *words, "--out", "run", *FAST]) == 0
    monkeypatch.setattr(iaat.runtime.user_code, "_TRUSTED", set())
    report = ["report", "run", "--data.workers", "0", "-o", "page.html", "--images", "4", "--details", "0", "--quiet"]
    assert main([*report, "--trust", "my_net"]) == 0
    commands = re.findall(r"iaat (?:train|evaluate|report) run[^\"<\\]*", (folder / "page.html").read_text())
    assert {command.split()[1] for command in commands} == {"train", "evaluate", "report"}
    assert all("--data.workers=0 --trust my_net" in command for command in commands)
    monkeypatch.setattr(iaat.runtime.user_code, "_TRUSTED", set())
    assert main(["report", "run", "--no-images", "-o", "page.html", "--quiet"]) == 0
    assert "--trust" not in re.findall(r"iaat train run/[^\"<\\]*", (folder / "page.html").read_text())[0]


@pytest.mark.parametrize("key", ["no name", "class", "1", "a-b"])
def test_settings_of_an_own_method_that_no_class_can_have_are_refused(folder, capsys, key):
    write(folder / "run" / "recipe.yaml", {"method": {"name": "evil:Method", key: 1}})
    assert main(["radii", "run"]) == 2
    assert "is no name of a setting" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["model.name", "data.name", "data", "method.name", "method"])
@pytest.mark.parametrize("part", ["set", "grid"])
def test_settings_of_a_sweep_are_trusted_no_more_than_its_recipes(folder, key, part):
    value = ["evil:make"] if part == "grid" else "evil:make"
    path = write(folder / "sweep.yaml", {"cells": {"a": {"recipe": "quickstart", part: {key: value}}}})
    with pytest.raises(UserError, match=r"may not run by itself|no name for a folder"):
        read_cells([path])
    assert not (folder / "ran").exists()


def test_data_that_is_typed_is_trusted_and_the_same_of_a_file_is_not(folder):
    word = "--data=evil:make"
    with pytest.raises(UserError, match="may not run by itself"):
        load_recipe("quickstart", settings=[word])
    assert load_recipe("quickstart", [word]).data.name == "evil:make"
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("word", ["--model", "--data", "--train", "--evaluate"])
def test_a_section_is_not_read_from_another_file(folder, word):
    other = write(folder / "other.yaml", {"name": "evil:make"})
    with pytest.raises(UserError, match=r"has no option|is neither a folder nor a data set|there is no model"):
        load_recipe("quickstart", [word, other])


def test_a_method_of_a_file_is_not_imported_to_swap_it(folder):
    path = write(folder / "mine.yaml", {"extends": "quickstart", "method": {"name": "evil:Method"}})
    with pytest.raises(UserError, match="may not run by itself"):
        load_recipe(path, ["--method", "iaat"])
    assert not (folder / "ran").exists()


def test_a_name_that_is_overridden_is_not_used_and_stops_nothing(folder):
    path = write(folder / "mine.yaml", {"extends": "quickstart", "model": {"name": "evil:make"}})
    assert load_recipe(path, ["--model.name", "small-cnn"]).model.name == "small-cnn"


@pytest.mark.parametrize("key", ["checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay"])
def test_timm_reads_no_file_that_a_recipe_names(folder, key):
    body = {"extends": "quickstart", "model": {"name": "timm:test_resnet", "width": None, "options": {key: "evil.pth"}}}
    with pytest.raises(UserError, match=rf"model\.options has {key}.*model\.weights"):
        load_recipe(write(folder / "mine.yaml", body))


def test_timm_and_our_own_networks_need_no_trust(folder):
    body = {"extends": "quickstart", "model": {"name": "timm:test_resnet", "width": None}}
    assert load_recipe(write(folder / "mine.yaml", body)).model.name == "timm:test_resnet"


@pytest.mark.parametrize("words", [["--trust", "my_net"], ["--model.name", "my_net:build"]])
def test_an_honest_module_trains_once_it_is_trusted_or_typed(folder, words):
    path = write(folder / "mine.yaml", {**PLAIN, "model": {"name": "my_net:build", "width": None}})
    assert main(["train", path, "--out", "run", *FAST]) == 2
    assert not (folder / "imported").exists()
    assert main(["train", path, "--out", "run", *words, *FAST]) == 0
    assert (folder / "run" / "last.pt").exists()


def test_a_run_of_an_own_method_is_read_again_in_the_same_process_and_by_trust_in_another(folder, monkeypatch, capsys):
    words = ["train", "quickstart-natural", "--method", "my_net:Mine", "--out", "run", *FAST]
    assert main(words) == 0
    assert main([*words, "--resume"]) == 0
    monkeypatch.setattr(iaat.runtime.user_code, "_TRUSTED", set())
    assert "--trust my_net" in refused(capsys, "evaluate", "run", "--evaluate.steps", "2")
    assert main(["evaluate", "run", "--evaluate.steps", "2", "--trust", "my_net", "--quiet"]) == 0
    assert main(["train", "run/recipe.yaml", "--trust", "my_net", "--help"]) == 0


def test_a_typed_name_is_trusted_and_the_rest_of_its_module_is_not(folder):
    assert load_recipe("quickstart", ["--model.name=my_net:build"]).model.name == "my_net:build"
    other = write(folder / "mine.yaml", {"extends": "quickstart", "model": {"name": "my_net:other"}})
    with pytest.raises(UserError, match="may not run by itself"):
        load_recipe(other)
    iaat.runtime.user_code.trust("my_net")
    assert load_recipe(other).model.name == "my_net:other"


def test_a_sweep_may_name_what_is_trusted(folder):
    path = write(
        folder / "sweep.yaml", {"cells": {"a": {"recipe": "quickstart", "set": {"model.name": "my_net:build"}}}}
    )
    iaat.runtime.user_code.trust("my_net")
    (cell,) = read_cells([path])
    assert cell.recipe.model.name == "my_net:build"
    run = RunFolder(folder / "run")
    run.create(dataclasses.replace(cell.recipe, name="a"), overwrite=False)
    assert run.recipe() == cell.recipe


@pytest.mark.parametrize("word", ["runs/mine", "my_net.py", "", "a b"])
def test_what_is_no_module_cannot_be_trusted(folder, capsys, word):
    assert main(["check", "quickstart", "--trust", word]) == 2
    assert "is neither a module's name nor the file of a program" in capsys.readouterr().err
