"""A run, or one of its checkpoints, is evaluated and rebuilt as it was trained, without any setting."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import iaat.runtime.user_code as user_code
from iaat import load
from iaat.cli.main import main
from iaat.config.load_recipe import load_recipe
from iaat.data import build_data
from iaat.errors import UserError
from iaat.models import Normalize, SmallCNN
from iaat.runs.checkpoint import load_checkpoint, restore_model
from iaat.runs.load_any_model import load_model
from iaat.runs.run_folder import RunFolder
from iaat.runtime.progress import Reporter
from iaat.train import Trainer, train

CLASSES = ("cat", "dog", "owl")


def images(root):
    """Three classes of grey images of another brightness each."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 8)):
        for number, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for image in range(count):
                pixels = draw.integers(80 * number, 80 * number + 80, (10, 10, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{image}.png")
    return root


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of images, and a run on them that had another size and width than the defaults."""
    place = tmp_path_factory.mktemp("own")
    images(place / "images")
    words = ["--data.root", str(place / "images"), "--data.size", "9", "--train.epochs", "3"]
    words += ["--model.name", "small-cnn", "--model.width", "5"]
    words += ["--train.ema", "0.5", "--train.validation_steps", "1", "--train.keep", "2", "--evaluate.suite", "pgd-2"]
    assert main(["train", "folder-natural", *words, "--out", str(place / "run"), "--quiet"]) == 0
    return place


def results(folder):
    return {file.parent.name: json.loads(file.read_text()) for file in Path(folder).rglob("results.json")}


@pytest.mark.parametrize("which", ["best", "last"])
def test_a_checkpoint_of_a_run_is_evaluated_as_its_run_is(place, which, capsys):
    run = place / "run"
    before = results(run)
    assert main(["evaluate", str(run / f"{which}.pt"), "--data.root", str(place / "images"), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert f"folder-natural seed 0 {which}" in printed
    assert ("best" in printed) == (which == "best")
    assert results(run).keys() == before.keys()
    found = next(row for row in results(run).values() if row["checkpoint"] == which)
    assert (found["classes"], found["n"]) == (3, 24)


def test_an_earlier_checkpoint_has_results_of_its_own(place, capsys):
    run = place / "run"
    (file, *_) = sorted(run.glob("checkpoints/*.pt"))
    assert main(["evaluate", str(file), "--quiet"]) == 0
    assert f"seed 0 {file.stem}" in capsys.readouterr().out
    (found,) = (row for row in results(run).values() if row["checkpoint"] == file.stem)
    assert found["epoch"] == load_checkpoint(file)["epoch"]


def test_keys_of_the_recipe_are_refused_for_a_checkpoint(place, capsys):
    assert main(["evaluate", str(place / "run" / "best.pt"), "--model.width", "5"]) == 2
    assert "a finished run keeps its recipe" in capsys.readouterr().err


def test_other_data_than_the_runs_own_is_refused(place, tmp_path, capsys):
    other = images(tmp_path / "other")
    (other / "test" / "cat" / "0.png").unlink()
    assert main(["evaluate", str(place / "run" / "best.pt"), "--data.root", str(other)]) == 2
    assert "other labels or files than the run's own" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["run", "run/best.pt", "run/last.pt"])
def test_load_model_rebuilds_the_network_without_any_setting(place, target):
    run = RunFolder(place / "run")
    file = run.checkpoint("last" if "last" in target else "best")
    expected = restore_model(run.recipe(), load_checkpoint(file))
    x = torch.rand(4, 3, 9, 9)
    for given in (str(place / target), place / target):
        model = load_model(given)
        assert not model.training
        with torch.no_grad():
            assert torch.equal(model(x), expected(x))


def test_load_model_says_what_the_run_was_trained_on(place):
    with pytest.raises(UserError, match=r"classes is 10, but .* was trained on 3: leave it out"):
        load_model(place / "run", classes=10)
    with pytest.raises(UserError, match=r"shape is \(3, 32, 32\), but .* was trained on \(3, 9, 9\)"):
        load_model(place / "run" / "best.pt", shape=(3, 32, 32))


def test_a_model_that_is_no_run_needs_shape_and_classes():
    with pytest.raises(UserError, match=r"model small-cnn: give shape= and classes="):
        load_model("small-cnn")


@pytest.mark.parametrize(
    ("section", "changes", "part"),
    [
        ("model", {"name": "evil:build"}, "which a file may not run by itself: if you trust it, add --trust evil (in"),
        ("model", {"width": [5]}, "model.width"),
        ("model", {"width": torch.ones(3)}, "not a dict of settings"),
        ("model", {"widht": 5}, "unknown key 'model.widht' (= 5) (did you mean 'width'"),
        ("modle", {"width": 5}, "unknown key 'modle'"),
        ("train", {"epochs": float("nan")}, "train.epochs"),
    ],
)
def test_a_recipe_in_a_checkpoint_has_no_power(place, tmp_path, section, changes, part):
    state = torch.load(place / "run" / "best.pt")
    state["recipe"].setdefault(section, {}).update(changes)
    torch.save(state, tmp_path / "best.pt")
    with pytest.raises(UserError) as caught:
        load(tmp_path / "best.pt")
    assert part in str(caught.value)


def test_a_checkpoint_loads_wherever_it_lies_and_without_a_recipe_beside_it(place, tmp_path):
    (tmp_path / "mine.pt").write_bytes((place / "run" / "best.pt").read_bytes())
    (tmp_path / "recipe.yaml").write_text("model: {name: evil:build}")  # which is not read
    model, x = load(tmp_path / "mine.pt"), torch.rand(4, 3, 9, 9)
    with torch.no_grad():
        assert torch.equal(model(x), load(place / "run")(x))
    assert (model.classes, model.shape, model.radius, model.norm) == (CLASSES, (3, 9, 9), None, "linf")
    assert model.recipe.model.width == 5
    assert (model.recipe.name, load(place / "run").recipe.name) == ("mine", "folder-natural")
    assert isinstance(model.normalize, Normalize)
    assert torch.equal(torch.jit.script(model)(x), model(x))


def test_a_network_of_the_users_takes_the_weights_in_place_of_the_one_that_is_named(place):
    own = SmallCNN(3, 3, width=5)
    model, x = load(place / "run", model=own), torch.rand(4, 3, 9, 9)
    assert model.network is own
    with torch.no_grad():
        assert torch.equal(model(x), load(place / "run")(x))
    assert not model.training
    with pytest.raises(UserError, match=r"model is not the one that was trained: its features\.0\.weight"):
        load(place / "run", model=SmallCNN(3, 3, width=4))
    with pytest.raises(UserError, match="model is the class SmallCNN: call it"):
        load(place / "run", model=SmallCNN)


def test_code_that_a_checkpoint_names_runs_where_it_is_trusted(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(user_code, "_TRUSTED", set())
    (tmp_path / "own_nets.py").write_text(
        "from iaat.models import SmallCNN\ndef net(shape, classes):\n    return SmallCNN(3, classes, width=5)\n"
    )
    state = torch.load(place / "run" / "best.pt")
    state["recipe"]["model"] |= {"name": "own_nets:net", "width": None}
    torch.save(state, "moved.pt")
    with pytest.raises(UserError, match="names code, 'own_nets:net'"):
        load("moved.pt")
    assert load("moved.pt", trust=True).classes == CLASSES


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"is not a run folder: it has no recipe\.yaml"):
        load(tmp_path)
    with pytest.raises(UserError, match=r"nothing\.pt does not exist"):
        load(tmp_path / "nothing.pt")
    (tmp_path / "recipe.yaml").write_text("")
    with pytest.raises(UserError, match="has no checkpoint yet"):
        load(tmp_path)


def test_weights_that_training_began_from_are_not_asked_for_again(place, tmp_path):
    """Neither where the network is loaded nor where training goes on."""
    (tmp_path / "start.pt").write_bytes((place / "run" / "best.pt").read_bytes())
    words = ["--model.weights", str(tmp_path / "start.pt"), "--model.weights_key", "model", "--train.epochs", "2"]
    words += ["--model.name", "small-cnn", "--model.width", "5", "--data.size", "9", "--train.validation_steps", "1"]
    words += ["--data.root", str(place / "images"), "--train.schedule", "constant"]
    recipe, run = load_recipe("folder-natural", words), RunFolder(tmp_path / "run")
    trainer = Trainer(recipe, build_data(recipe.data, seed=0), run)
    run.create(recipe, overwrite=False)
    trainer.train_epoch()
    (tmp_path / "start.pt").unlink()
    train(recipe, run, Reporter(quiet=True), resume=True)
    assert load(run.path).shape == (3, 9, 9)


def test_a_root_with_train_and_test_is_that_folder_for_models_of_others_too(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    state = {key.removeprefix("network."): value for key, value in load_model(place / "run").state_dict().items()}
    torch.save({key: value for key, value in state.items() if not key.startswith("normalize.")}, "weights.pth")
    words = [
        "evaluate",
        "weights.pth",
        "--model.name",
        "small-cnn",
        "--model.width",
        "5",
        "--model.normalize",
        "data",
        "--suite",
        "pgd-2",
    ]
    assert main([*words, "--data.root", str(place / "images"), "--data.size", "9"]) == 0
    (found,) = results("evaluations").values()
    assert (found["classes"], found["n"], found["per_class"][0]["name"]) == (3, 24, "cat")
    capsys.readouterr()
    assert main([*words, "--data.root", str(tmp_path)]) == 2
    assert f"{tmp_path} holds no train/CLASS and test/CLASS, so say what" in capsys.readouterr().err
