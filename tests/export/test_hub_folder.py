"""The folder for the hub: iaat, timm and the hub's own library read it, and its figures are those of the run."""

import json
import re
from dataclasses import replace

import pytest
import torch
import yaml
from torch.nn.functional import softmax
from torchvision.transforms.functional import normalize

import iaat
from helpers.training import QUIET, tiny
from iaat.config.load_recipe import load_recipe
from iaat.evaluate.results import read_results
from iaat.export import export_model
from iaat.export.hub_folder import crop_fraction
from iaat.models import ModelConfig
from iaat.runs.run_folder import RunFolder
from iaat.train import train


def images(shape=(1, 8, 8)):
    return torch.rand(5, *shape, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    return export_model(run.path, "hf", tmp_path_factory.mktemp("hub") / "digits").path


def card(folder):
    """Head and body of a card."""
    _, head, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(head), body


def test_the_folder_has_what_the_hub_shows_and_comes_back(run, folder):
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    back = iaat.load(folder)
    assert torch.equal(back(images()), iaat.load(run.path)(images()))
    config = json.loads((folder / "config.json").read_text())
    assert config["label_names"] == list(back.classes)
    assert config["iaat"]["recipe"]["method"]["name"] == "iaat"


def test_the_table_has_every_accuracy_of_the_run_with_its_interval(run, folder):
    (file,) = run.path.glob("evaluations/best-*/results.json")
    results, (head, body) = read_results(file), card(folder)
    rows = re.findall(r"^\| (.+?) \| ([\d.]+) \| ([\d.]+) to ([\d.]+) \|$", body, flags=re.MULTILINE)
    shown = {name: tuple(map(float, values)) for name, *values in rows}
    for name, key in {"clean": "clean", "PGD-2": "pgd-2", "screening": "screening"}.items():
        expected = (results.accuracy[key], *results.interval95[key])
        assert shown[name] == tuple(round(100 * value, 2) for value in expected)
    assert "all 359" in " ".join(shown)
    assert "Verdict: **not checked for masking" in body
    assert "Suite quick at 64px linf, on 40 test samples:" in body
    metrics = head["model-index"][0]["results"][0]["metrics"]
    assert metrics[1]["value"] == round(100 * results.accuracy["worst"], 2)
    assert "worst case over PGD-2, screening; 64px linf, n = 40" in metrics[1]["name"]


def test_the_card_says_how_the_network_was_made(run, folder, tmp_path):
    _, body = card(folder)
    (text,) = re.findall(r"```yaml\n(.*?)```", body, flags=re.DOTALL)
    (tmp_path / "recipe.yaml").write_text(text)
    assert load_recipe(tmp_path / "recipe.yaml", stored=True).sections() == run.recipe().sections()
    cost = run.training_cost()
    assert f"| {cost['train_forwards']:.1f}F {cost['train_backwards']:.1f}B |" in body
    assert "| seed | 0 |" in body
    assert "radii of the training samples" in body


def test_evaluations_of_other_weights_are_left_out(run, tmp_path):
    """The last checkpoint's figures do not stand on a card of another's weights."""
    earlier = sorted((run.path / "checkpoints").glob("*.pt"))[0]
    _, body = card(export_model(earlier, "hf", tmp_path / "earlier").path)
    assert "This model was not evaluated under attack" in body


def test_the_hubs_own_library_reads_the_card(folder):
    hub = pytest.importorskip("huggingface_hub")
    read = hub.ModelCard.load(folder / "README.md")
    assert read.data.pipeline_tag == "image-classification"
    (clean, robust) = read.data.eval_results
    assert (clean.metric_type, clean.dataset_name) == ("accuracy", "digits")
    assert robust.metric_value <= clean.metric_value


def test_code_shown_on_the_card_runs(folder):
    _, body = card(folder)
    (code,) = re.findall(r"```python\n(.*?)```", body, flags=re.DOTALL)
    names = {"x": images()}
    exec(code.replace("FOLDER", str(folder)), names)
    torch.testing.assert_close(names["probabilities"], softmax(iaat.load(folder)(images()), dim=1))


def test_timm_loads_a_network_of_its_own(tmp_path):
    timm = pytest.importorskip("timm")
    own = RunFolder(tmp_path / "run")
    recipe = tiny("natural", "--train.epochs", "1")
    train(replace(recipe, model=ModelConfig(name="timm:test_resnet")), own, QUIET)
    folder = export_model(own.path, "hf", tmp_path / "hub").path
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    about = network.pretrained_cfg
    x = images()
    expected = iaat.load(own.path)(x)
    torch.testing.assert_close(network(normalize(x, about["mean"], about["std"])), expected)
    assert list(about["label_names"]) == [str(digit) for digit in range(10)]
    settings = json.loads((folder / "config.json").read_text())["pretrained_cfg"]
    assert settings.keys() == {
        *("first_conv", "classifier", "pool_size", "fixed_input_size", "custom_load", "input_size", "num_classes"),
        *("label_names", "mean", "std", "interpolation", "crop_pct", "crop_mode"),
    }
    assert settings["crop_mode"] == "center"
    head, body = card(folder)
    assert head["library_name"] == "timm"
    code = re.findall(r"```python\n(.*?)```", body, flags=re.DOTALL)[1]
    names = {"x": x}
    exec(code.replace("FOLDER", str(folder)), names)
    torch.testing.assert_close(names["probabilities"], softmax(expected, dim=1))


@pytest.mark.parametrize(("size", "resize"), [(160, 232), (192, 236), (64, 93), (224, 256), (32, 32), (3, 7)])
def test_timm_resizes_images_as_the_run_did(size, resize):
    timm_data = pytest.importorskip("timm.data")
    transform = timm_data.create_transform((3, size, size), crop_pct=crop_fraction(size, resize), crop_mode="center")
    assert (transform.transforms[0].size, transform.transforms[1].size) == (resize, (size, size))
