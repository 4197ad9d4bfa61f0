"""The last line of each command is one that can be typed."""

import argparse
import shlex

import pytest

from iaat.cli.main import main
from iaat.cli.next_command import as_before
from iaat.cli.parser import parse_arguments
from iaat.config.recipe_files import find_recipe
from iaat.runs.run_folder import RunFolder

FAST = [
    *("--data.limit=100", "--model.width=4", "--train.epochs=1", "--train.batch_size=64", "--train.validation_steps=1"),
    *("--train.validation_n=10", "--method.steps=1", "--evaluate.steps=1", "--evaluate.n=20"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a blank in its name, for the runs."""
    return tmp_path_factory.mktemp("next") / "my runs"


@pytest.fixture(scope="module")
def compared(folder):
    assert main(["compare", "quickstart", *FAST, "--out", str(folder), "--quiet"]) == 0
    return RunFolder(folder / "quickstart-seed0")


def next_words(capsys, *words):
    """The words of the next command, which the command line knows, after this one."""
    assert main([str(word) for word in words]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("next: ")
    found = shlex.split(last.removeprefix("next: "))
    if found[0] == "iaat":
        parse_arguments(found[1:])
    return found


def test_recipes_and_help_lead_on(capsys):
    assert next_words(capsys, "recipes") == ["iaat", "train", "quickstart"]
    assert next_words(capsys, "train", "quickstart", "--help") == ["iaat", "check", "quickstart"]
    assert main([]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("iaat recipes")


def test_check_leads_to_training_with_the_same_settings(capsys):
    words = next_words(capsys, "check", "quickstart", "--train.epochs", "3")
    assert words == ["iaat", "train", "quickstart", "--train.epochs=3"]
    find_recipe(words[2])
    words = next_words(capsys, "check", "quickstart", "--epochs", "3", "--eps", "4px")
    assert words == ["iaat", "train", "quickstart", "--epochs=3", "--eps=4px"]


def test_train_leads_to_a_full_evaluation(folder, compared, capsys):
    out = folder.parent / "another run"
    found = next_words(capsys, "train", "quickstart", *FAST, "--out", out)
    assert found == ["iaat", "evaluate", str(out), "--suite", "standard"]


def test_compare_leads_to_a_page_or_to_what_is_missing(folder, compared, capsys):
    words = ["compare", "quickstart", *FAST, "--out", folder]
    page = str(folder / "report.html")
    assert next_words(capsys, *words) == ["iaat", "report", str(compared.path), "-o", page]
    again = next_words(capsys, *words, "--seeds", "2", "--no-train")
    assert again == ["iaat", *map(str, words), "--seeds", "2"]


def test_a_comparison_of_several_runs_leads_to_a_page_of_their_folder(tmp_path, capsys):
    words = ["compare", "quickstart", *FAST, "--seeds", "0", "1", "--out", tmp_path]
    page = tmp_path / "report.html"
    found = next_words(capsys, *words)
    assert found == ["iaat", "report", str(tmp_path), "-o", str(page)]
    assert main([*found[1:], "--no-images"]) == 0
    runs = [str(tmp_path / f"quickstart-seed{seed}") for seed in (0, 1)]
    assert f"2 runs: {', '.join(runs)}\n" in capsys.readouterr().out
    assert page.exists()


def test_evaluate_leads_to_the_checks_that_are_left_and_then_to_a_page(compared, capsys):
    words = ["evaluate", compared.path, "--evaluate.steps=1", "--samples", "20", "--checkpoint", "best"]
    found = next_words(capsys, *words)
    assert found == ["iaat", *map(str, words), "--suspicious"]
    assert next_words(capsys, *found[1:]) == ["iaat", "report", str(compared.path)]


def test_evaluating_a_checkpoint_file_leads_to_a_page_of_its_run_and_an_export_to_a_curve(compared, tmp_path, capsys):
    words = ["--evaluate.steps=1", "--samples", "20", "--suspicious"]
    best = compared.path / "best.pt"
    assert next_words(capsys, "evaluate", best, *words) == ["iaat", "report", str(compared.path)]
    file = tmp_path / "net.safetensors"
    assert main(["export", str(compared.path), "--format", "safetensors", "--out", str(file), "--quiet"]) == 0
    words += ["--out", str(tmp_path / "evaluations")]
    found = next_words(capsys, "evaluate", file, *words)
    assert found == ["iaat", "evaluate", str(file), *words, "--suite", "quick+masking+curve"]


def test_radii_lead_to_a_page_and_the_page_to_a_browser(compared, tmp_path, capsys):
    assert next_words(capsys, "radii", compared.path, "--out", tmp_path / "r.csv") == [
        "iaat",
        "report",
        str(compared.path),
    ]
    page = tmp_path / "page.html"
    found = next_words(capsys, "report", compared.path, "--no-images", "-o", page)
    assert found == ["open", str(page), "in", "a", "browser"]


def test_quiet_commands_print_no_next_step(compared, capsys):
    assert main(["evaluate", str(compared.path), "--evaluate.steps=1", "--samples=20", "--quiet"]) == 0
    assert "next: " not in capsys.readouterr().out


def test_each_module_is_trusted_by_an_option_of_its_own():
    typed = ["--model.name=my_net:build", "--data.name=my_data:load", "--data.root=pets", "--train.epochs=3"]
    words = as_before(argparse.Namespace(trust=["my_net", "more"]), typed)
    assert words == ["--data.root=pets", "--trust", "my_net", "--trust", "more", "--trust", "my_data"]
    options, _ = parse_arguments(["evaluate", "run", *words])
    assert options.trust == ["my_net", "more", "my_data"]


def test_a_folder_and_code_that_are_typed_as_data_are_named_in_the_next_command(tmp_path, monkeypatch):
    none = argparse.Namespace(trust=[])
    assert as_before(none, ["--data=my_data:make"]) == ["--trust", "my_data"]
    assert as_before(none, [f"--data={tmp_path}"]) == [f"--data.root={tmp_path}"]
    assert as_before(none, ["--data=mnist"]) == []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    assert as_before(none, ["--data=mnist"]) == []  # a folder of this name is ./mnist
    assert as_before(none, ["--data=./mnist"]) == ["--data.root=mnist"]


def test_check_names_a_model_that_does_not_fit_and_nothing_else(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "misfit.py").write_text("from torch import nn\ndef build(): return nn.Linear(3, 3)\n")
    words = ["check", "quickstart", "--model.width=null", "--model.name=misfit:build"]
    for more in ([], ["--data"]):
        assert main([*words, *more]) == 2
        shown = capsys.readouterr()
        assert "model.name 'misfit:build' cannot take inputs of shape [2, 1, 8, 8]" in shown.err
        assert shown.out == ""


def test_code_of_the_users_is_trusted_in_the_next_command(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_net.py").write_text(
        "from torch import nn\n"
        "def build(shape, classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    words = ["train", "quickstart", *FAST, "--model.width=null", "--model.name=my_net:build"]
    assert next_words(capsys, *words)[-2:] == ["--trust", "my_net"]
