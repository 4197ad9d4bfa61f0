"""What `iaat evaluate` refuses, and takes, of the words for models of others; before any sample is read."""

import pytest
import torch
from PIL import Image

from iaat import UserError
from iaat.cli.main import main
from iaat.cli.parser import parse_arguments
from iaat.experiments.evaluate_targets import evaluate_targets
from iaat.experiments.targets import find_targets
from iaat.models.small import SmallCNN
from iaat.runtime.progress import Reporter


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of images, of which a training image is damaged, beside a file of weights."""
    monkeypatch.chdir(tmp_path)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(3):
                Image.new("RGB", (8, 8), number).save(folder / f"{number}.png")
    (tmp_path / "images/train/dog/2.png").write_bytes(b"no image")
    torch.save(SmallCNN(3, 2).state_dict(), "w.pt")
    return tmp_path


def targets(*words):
    options, overrides = parse_arguments(["evaluate", "w.pt", *words])
    return find_targets(options.targets, [], overrides, options.out)[0]


def test_short_options_are_taken_as_in_training(place):
    (target,) = targets("--model", "small-cnn", "--data", "images", "--eps", "4px", "--batch-size", "7")
    recipe = target.recipe
    assert (recipe.data.name, recipe.data.root, recipe.model.name) == ("folder", "images", "small-cnn")
    assert (str(recipe.evaluate.radius), recipe.evaluate.batch_size) == ("4px", 7)


def test_each_allowed_key_is_listed_once(place):
    with pytest.raises(UserError, match="allowed are") as caught:
        targets("--model", "small-cnn", "--data", "images", "--train.epochs", "3")
    listed = str(caught.value).partition("allowed are ")[2].split(", ")
    assert len(listed) == len(set(listed))
    assert "--data.KEY" in listed


def test_weights_of_no_named_network_are_refused(place):
    with pytest.raises(UserError, match=r"w\.pt holds weights, and no model was named: give --model NAME"):
        targets("--data", "images")


def test_a_model_that_does_not_fit_is_refused_before_damaged_samples(place):
    with pytest.raises(UserError, match=r"w\.pt"):
        evaluate_targets(targets("--model", "resnet18", "--data", "images"), [], ["best"], Reporter(quiet=True))


def test_a_damaged_training_image_names_the_way_out(place, capsys):
    words = ["evaluate", "w.pt", "--model", "small-cnn", "--data", "images", "--suite", "pgd-1", "--quiet"]
    assert main(words) == 2
    assert "data.skip_damaged N" in capsys.readouterr().err
