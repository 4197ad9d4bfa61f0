"""What is averaged over seeds, what runs are called, and that equal checkpoints are evaluated once."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

from helpers.results import made_up
from iaat.cli.main import main
from iaat.config.evaluate_config import EvaluateConfig
from iaat.evaluate import robust_accuracy
from iaat.evaluate.naming import model_title
from iaat.evaluate.results import Digests
from iaat.evaluate.results_table import checkpoint_cell
from iaat.evaluate.table_rows import groups_of_seeds, table_rows
from iaat.units import Radius

FAST = ["--train.epochs", "1", "--model.width", "4", "--train.validation_n", "10", "--train.validation_steps", "1"]
FAST += ["--data.limit", "200", "--evaluate.n", "20", "--evaluate.suite", "pgd-2", "--quiet"]


def colours(split):
    """Three classes of another brightness each."""
    generator = torch.Generator().manual_seed(len(split))
    y = torch.arange(240 if split == "train" else 90) % 3
    return TensorDataset((0.3 * y.view(-1, 1, 1, 1) + 0.3 * torch.rand(len(y), 1, 8, 8, generator=generator)), y)


def row(run, seed, folder, recipe="a", **more):
    fields = {"run": run, "seed": seed, "folder": folder, "recipe": recipe, "digests": Digests(folder, "", "")}
    return made_up(n=10, **{**fields, **more})


def averaged(rows):
    return [[(each.run, each.seed) for each in table] for table in groups_of_seeds(table_rows(rows))]


def names(rows):
    return [each.run for each in table_rows(rows)]


def test_seeds_of_one_recipe_are_averaged_under_its_name():
    rows = [row("at", 0, "runs/x"), row("at", 1, "runs/y")]
    assert names(rows) == ["at", "at"]
    assert averaged(rows) == [[("at", 0), ("at", 1)]]


def test_runs_of_recipes_that_are_not_known_are_not_averaged():
    assert averaged([row("at", seed, f"runs/{seed}", recipe=None) for seed in (0, 1)]) == []


def test_evaluations_at_nearly_equal_radii_are_not_averaged():
    rows = [
        row("at", seed, f"runs/{seed}", evaluate=EvaluateConfig(radius=Radius(radius)))
        for seed, radius in enumerate(("0.50001", "0.50002"))
    ]
    assert averaged(rows) == []
    assert averaged([replace(each, evaluate=EvaluateConfig()) for each in rows]) == [[("at", 0), ("at", 1)]]


@pytest.mark.parametrize(
    "others",
    [
        pytest.param([row("at", 1, "runs/cifar", "b")], id="another recipe, another seed"),
        pytest.param([row("at", 0, "runs/cifar", "b")], id="another recipe, the same seed"),
        pytest.param([row("at", 0, "runs/cifar", "a")], id="the same recipe and seed"),
    ],
)
def test_runs_that_are_no_seeds_of_each_other_are_not_averaged_and_go_by_their_folders(others):
    rows = [row("at", 0, "runs/mnist"), *others]
    assert names(rows) == ["mnist", "cifar"]
    assert averaged(rows) == []


def test_two_recipes_of_one_name_are_averaged_apart():
    rows = [row("at", seed, f"{name}/run{seed}", name) for name in ("mnist", "cifar") for seed in (0, 1)]
    assert names(rows) == ["mnist/run0", "mnist/run1", "cifar/run0", "cifar/run1"]
    assert averaged(rows) == [
        [(f"at ({name}/run0, {name}/run1)", seed) for name in ("mnist", "cifar") for seed in (0, 1)]
    ]


def test_checkpoints_attacks_and_weights_are_averaged_apart():
    rows = [row("at", seed, f"r{seed}", checkpoint=which) for which in ("best", "last") for seed in (0, 1)]
    rows = [replace(each, digests=Digests(str(number), "", "")) for number, each in enumerate(rows)]
    assert averaged(rows) == [[("at", 0), ("at", 1)]] * 2
    assert averaged([row("at", 0, "x"), row("at", 1, "y", attack="standard")]) == []
    assert averaged([row("at", 0, "x", weights="raw"), row("at", 1, "y", weights="ema")]) == []


def test_equal_checkpoints_are_one_row():
    best, last = row("at", 0, "x"), row("at", 0, "x", checkpoint="last", epoch=5)
    (found,) = table_rows([best, last])
    assert (model_title(found), checkpoint_cell(found)) == ("at seed 0 best = last", "best = last (3 = 5)")
    assert len(table_rows([best, replace(last, digests=Digests("other", "", ""))])) == 2
    assert len(table_rows([best, replace(last, weights="raw")])) == 2
    (found,) = table_rows([best, replace(last, epoch=3), best])
    assert checkpoint_cell(found) == "best = last (3)"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of one name: two seeds on digits, one on other data, and one of another radius."""
    place = tmp_path_factory.mktemp("names")
    data = ["--data.name", f"{__name__}:colours"]
    for name, words in {
        "zero": ["--seed", "0"],
        "one": ["--seed", "1"],
        "other": ["--seed", "1", *data],
        "wide": ["--seed", "2", "--model.width", "5"],
    }.items():
        assert main(["train", "quickstart-natural", *FAST, *words, "--out", str(place / name)]) == 0
    return place


def printed(capsys, *words):
    capsys.readouterr()
    assert main([*map(str, words), "--quiet"]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_only_seeds_of_one_recipe_on_one_data_set_get_a_mean(runs, capsys):
    assert "over seeds" in printed(capsys, "evaluate", runs / "zero", runs / "one")
    for other in ("other", "wide"):
        words = ["--trust", __name__] if other == "other" else []
        text = printed(capsys, "evaluate", runs / "zero", runs / other, *words)
        assert "over seeds" not in text
        assert "zero seed 0 best = last: not checked" in text
        assert f"{other} seed {1 if other == 'other' else 2} best = last: not checked" in text


def test_equal_checkpoints_are_attacked_once_and_keep_a_folder_each(runs, capsys, monkeypatch):
    attacked = []
    evaluator = robust_accuracy._BatchEvaluator
    run = evaluator.__call__
    monkeypatch.setattr(evaluator, "__call__", lambda self, *args: attacked.append(args[0].name) or run(self, *args))
    text = printed(capsys, "evaluate", runs / "zero", "--suite", "pgd-3")
    assert attacked == ["pgd-3"]  # the evaluation after the training had clean accuracy
    assert text.count("best = last (1)") == 1
    files = sorted((runs / "zero").glob("evaluations/*pgd-3*/results.json"))
    best, last = (json.loads(file.read_text()) for file in files)
    assert (best["checkpoint"], last["checkpoint"]) == ("best", "last")
    differing = {"checkpoint", "date", "train_seconds"}
    assert {key: best[key] for key in best.keys() - differing} == {key: last[key] for key in last.keys() - differing}


def test_training_shows_equal_checkpoints_as_one_row(tmp_path, capsys):
    words = ["train", "quickstart-natural", *FAST[:-1], "--out", str(tmp_path / "run")]
    text = printed(capsys, *words)
    assert text.count("best = last (1)") == 1
    assert len(list(Path(tmp_path).glob("run/evaluations/*/results.json"))) == 2
