"""`iaat evaluate` of what `iaat export` wrote: as the run it is of."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from helpers.training import QUIET, tiny
from iaat.cli.main import main
from iaat.experiments.targets import find_targets
from iaat.export import export_model
from iaat.runs.run_folder import RunFolder
from iaat.train import train

SAMPLES = ("--samples", "40", "--suite", "pgd-3")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    train(tiny("natural", "--train.epochs", "2"), RunFolder(folder), QUIET)
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def results(place):
    (file,) = Path(place).rglob("results.json")
    found = json.loads(file.read_text())
    keys = (
        "accuracy",
        "per_class",
        "attack",
        "evaluate",
        "clean_all",
        "findings",
        "run",
        "seed",
        "checkpoint",
        "epoch",
    )
    return {key: found.get(key) for key in keys}


@pytest.mark.parametrize("form", ["safetensors", "hf"])
def test_it_has_the_numbers_of_its_run(run, here, form):
    exported = here / ("run.safetensors" if form == "safetensors" else "hub")
    export_model(run, form, exported)
    assert main(["evaluate", str(exported), *SAMPLES, "--out", "own"]) == 0
    assert main(["evaluate", str(run), "--checkpoint", "best", *SAMPLES]) == 0
    assert results("own") == results(run / "evaluations")


def test_it_has_the_recipe_of_its_run_so_that_other_recipes_are_no_further_seeds(run, here, capsys):
    export_model(run, "safetensors", here / "seed0.safetensors")
    for seed, epochs in ((1, "2"), (2, "1")):
        folder = RunFolder(here / f"run{seed}")
        train(tiny("natural", "--train.epochs", epochs, "--seed", str(seed)), folder, QUIET)
        export_model(folder.path, "safetensors", here / f"seed{seed}.safetensors")
    assert main(["evaluate", "seed0.safetensors", "seed1.safetensors", *SAMPLES]) == 0
    assert "mean ± sd over seeds" in capsys.readouterr().out
    assert main(["evaluate", "seed1.safetensors", "seed2.safetensors", *SAMPLES]) == 0
    assert "over seeds" not in capsys.readouterr().out
    assert main(["evaluate", str(run), *SAMPLES, "--checkpoint", "best"]) == 0
    files = (next(run.rglob("results.json")), next(Path("evaluations").rglob("seed0*/*/results.json")))
    own, exported = (json.loads(file.read_text())["recipe"] for file in files)
    assert own == exported


def test_it_has_the_recipe_of_a_run_that_was_given_more_epochs(run, here):
    longer = RunFolder(shutil.copytree(run, here / "longer"))
    longer.lengthen(longer.recipe().train.epochs + 1)
    digests = []
    for folder in (run, longer.path):
        export_model(folder, "safetensors", here / f"{folder.name}.safetensors")
        assert main(["evaluate", f"{folder.name}.safetensors", *SAMPLES, "--out", f"{folder.name}-own"]) == 0
        assert main(["evaluate", str(folder), "--checkpoint", "best", *SAMPLES]) == 0
        of_run = next(folder.glob("evaluations/*/results.json"))
        of_export = next(Path(f"{folder.name}-own").rglob("results.json"))
        digests.append([json.loads(file.read_text())["recipe"] for file in (of_run, of_export)])
    assert digests[1][0] == digests[1][1]
    assert digests[0][0] != digests[1][0]


def test_settings_of_the_model_are_refused_with_the_way_to_other_data(run, here, capsys):
    export_model(run, "safetensors", here / "run.safetensors")
    assert main(["evaluate", "run.safetensors", "--data.name", "cifar10"]) == 2
    assert "iaat evaluate MODEL --model.weights run.safetensors --data.name NAME" in capsys.readouterr().err


def test_the_way_to_other_data_names_the_weights_that_are_there(run, here, capsys):
    alone = here / "my run"
    alone.mkdir()
    for name in ("recipe.yaml", "run.json", "last.pt"):
        shutil.copy(run / name, alone / name)
    for target in ("my run/last.pt", "my run"):
        assert main(["evaluate", target, "--data.name", "mnist"]) == 2
        assert "iaat evaluate MODEL --model.weights 'my run/last.pt' --data.name NAME" in capsys.readouterr().err


def test_a_model_that_is_named_for_another_file_is_not_that_of_an_export(run, here):
    export_model(run, "safetensors", here / "run.safetensors")
    torch.save({}, "theirs.pth")
    settings = ["--data.name=digits", "--model.name=resnet18"]
    ours, theirs = find_targets(["run.safetensors", "theirs.pth"], [], settings, here)[0]
    assert ours.recipe.model.name == "small-cnn"
    assert ours.exported is not None
    assert theirs.recipe.model.name == "resnet18"
    _, (maker,) = find_targets(["theirs.pth"], ["run.safetensors"], settings, here)
    assert maker.exported is not None


def test_its_own_data_set_may_be_named(run, here, capsys):
    export_model(run, "safetensors", here / "run.safetensors")
    assert (
        main(["evaluate", "run.safetensors", str(run), "--data.name", "digits", *SAMPLES, "--checkpoint", "best"]) == 0
    )
    assert main(["evaluate", str(run), "--data.name", "mnist", *SAMPLES]) == 2
    assert "--data.name cannot be set here" in capsys.readouterr().err


@pytest.mark.parametrize("std", ["[0.0]", "[1e999]", "null", "[0.1, 0.2]"])
def test_statistics_that_cannot_standardise_are_damage(run, here, capsys, std):
    file = here / "run.safetensors"
    export_model(run, "safetensors", file)
    with safe_open(file, framework="pt") as opened:
        metadata, weights = opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    record = json.loads(metadata["iaat"])
    assert len(record["std"]) == 1
    text = json.dumps(record | {"std": "HERE"}).replace('"HERE"', std)
    save_file(weights, file, {**metadata, "iaat": text})
    assert main(["evaluate", "run.safetensors", *SAMPLES]) == 2
    assert "run.safetensors is damaged: its record: mean [" in capsys.readouterr().err


def test_data_of_other_classes_are_refused(run, here, capsys):
    file = here / "run.safetensors"
    export_model(run, "safetensors", file)
    content = file.read_bytes()
    renamed = content.replace(b'\\"classes\\": [\\"0\\"', b'\\"classes\\": [\\"7\\"')
    assert renamed != content
    file.write_bytes(renamed)
    assert main(["evaluate", "run.safetensors", *SAMPLES]) == 2
    assert "was trained on classes 7, 1, 2" in capsys.readouterr().err


@pytest.mark.parametrize("size", [0, 10, 2000])
def test_a_file_that_is_cut_off_is_damaged(run, here, capsys, size):
    file = here / "run.safetensors"
    export_model(run, "safetensors", file)
    file.write_bytes(file.read_bytes()[:size])
    assert main(["evaluate", "run.safetensors", *SAMPLES]) == 2
    assert "run.safetensors is damaged" in capsys.readouterr().err


def test_a_checkpoint_that_it_does_not_hold_is_refused(run, here, capsys):
    export_model(run, "safetensors", here / "run.safetensors")
    assert main(["evaluate", "run.safetensors", "--checkpoint", "last"]) == 2
    assert "run.safetensors holds checkpoint best alone: leave out --checkpoint last" in capsys.readouterr().err


def test_a_checkpoint_that_is_named_by_its_file_is_no_other(run, capsys):
    assert main(["evaluate", str(run / "best.pt"), "--checkpoint", "last", *SAMPLES]) == 2
    assert f"{run / 'best.pt'} holds checkpoint best alone: leave out --checkpoint last" in capsys.readouterr().err
    assert main(["evaluate", str(run / "best.pt"), "--checkpoint", "best", *SAMPLES]) == 0
