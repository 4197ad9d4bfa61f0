"""`check` refuses before any sample is read what `train` would refuse after."""

import pytest
import torchvision

from iaat.cli.main import main
from iaat.config.load_recipe import load_recipe
from iaat.data import DatasetInfo
from iaat.experiments.check_recipe import untrained_model
from iaat.models import count_parameters

REFUSED = {
    "limit": ["--data.limit", "5"],
    "crop": ["--data.crop", "20"],
    "cutout": ["--data.cutout", "20"],
    "class_weights": ["--method.class_weights", "[1, 2]"],
    "pretrained": ["--model.pretrained", "true"],
    "optimizer_options": ["--train.optimizer_options", "{nestrov: true}"],
    "nesterov": ["--train.nesterov", "true", "--train.momentum", "0"],
    "optimizer": ["--train.optimizer_options", "{momentum: -1}"],
}


def refusal(words, capsys):
    assert main(words) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.parametrize("settings", REFUSED.values(), ids=REFUSED)
def test_check_and_train_refuse_alike(settings, tmp_path, capsys):
    checked = refusal(["check", "quickstart", *settings], capsys)
    trained = refusal(["train", "quickstart", "--out", str(tmp_path / "run"), *settings], capsys)
    assert checked == trained


def test_check_warns_of_a_root_that_nothing_reads(capsys):
    assert main(["check", "quickstart", "--data.root", "nowhere"]) == 0
    assert "data.root='nowhere' has no effect with data.name=digits" in capsys.readouterr().err


def test_check_says_how_data_are_named(capsys):
    line = refusal(["check", "quickstart", "--data", "cifar10"], capsys)
    assert "--data takes no value here and reads every sample; for data cifar10 write --data.name cifar10" in line


def test_a_setting_of_the_recipe_that_another_model_lacks_is_named_with_the_value_to_set(capsys):
    line = refusal(["check", "cifar10-small-iaat", "--model.name", "wrn-10-1"], capsys)
    assert "set model.width to null" in line


@pytest.mark.parametrize("command", ["check", "compare"])
def test_every_cell_of_a_sweep_is_checked_before_the_first_is_trained(command, tmp_path, capsys):
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text("cells: {a: {recipe: quickstart}, b: {recipe: quickstart, set: {data.crop: 20}}}")
    out = ["--out", str(tmp_path / "out")] if command == "compare" else []
    assert "data.crop is 20" in refusal([command, str(sweep), *out], capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("limit", "status"), [(19, 2), (20, 0)])
def test_a_limit_on_published_data_is_known_to_leave_each_class_two_samples(limit, status, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["check", "cifar10-small-iaat", "--data.limit", str(limit)]) == status


def test_published_weights_are_not_downloaded_for_a_cost_estimate(monkeypatch):
    monkeypatch.setattr(torchvision.models.ResNet50_Weights, "get_state_dict", None)
    recipe = load_recipe("quickstart", ["--model.name", "resnet50", "--model.width", "null", "--model.pretrained=true"])
    model = untrained_model(recipe, DatasetInfo((3, 32, 32), 7, 100, 10, 3072))
    assert count_parameters(model) == 25_557_032 - 2049 * 993
