"""Exported weights beside other things: given to a network by name, or lying in a run folder."""

import copy
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import iaat
from iaat.cli.main import main
from iaat.errors import UserError
from iaat.export import export_model
from iaat.export.writers import WRITERS
from iaat.models import with_normalization
from iaat.models.build_model import build_model
from iaat.models.model_config import ModelConfig
from iaat.models.recorded_statistics import recorded_statistics
from iaat.runs.load_model import load_model


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def images():
    return torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(3))


def test_exported_weights_given_to_a_named_network_keep_their_normalisation(run):
    file = export_model(run.path, "safetensors", "weights.safetensors").path
    expected = iaat.load(run.path)
    settings = {**vars(expected.recipe.model), "normalize": "none"}
    model = load_model("small-cnn", ModelConfig(**settings | {"weights": str(file)}), shape=(1, 8, 8), classes=10)
    assert torch.equal(model(images()), expected(images()))
    start = replace(expected.recipe.model, weights=str(file))
    built = build_model(start, shape=(1, 8, 8), classes=10, mean=torch.tensor([0.9]), std=torch.tensor([2.0]))
    assert torch.equal(built.normalize.mean, expected.normalize.mean)
    assert torch.equal(built.normalize.std, expected.normalize.std)
    explicit = ModelConfig(**settings | {"weights": str(file), "mean": [0.5], "std": [0.5]})
    with pytest.raises(UserError, match="hold a normalisation of their own"):
        load_model("small-cnn", explicit, shape=(1, 8, 8), classes=10)
    equal = {name: getattr(expected.normalize, name).tolist() for name in ("mean", "std")}
    equal["mean"] = [value * (1 + 1e-6) for value in equal["mean"]]
    stated = ModelConfig(**settings | {"weights": str(file)} | equal)
    assert torch.equal(load_model("small-cnn", stated, shape=(1, 8, 8), classes=10)(images()), model(images()))
    assert torch.equal(build_model(stated, shape=(1, 8, 8), classes=10).eval()(images()), model(images()))


def test_exported_weights_for_a_module_need_its_normalisation(run):
    """Nobody has typed the normalize none that a module has."""
    file = export_model(run.path, "safetensors", "weights.safetensors").path
    expected, data = iaat.load(run.path), (torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
    more = {"weights": str(file), "method": "natural", "epochs": 1, "quiet": True, "device": "cpu"}
    with pytest.raises(UserError) as caught:
        iaat.fit(copy.deepcopy(expected.network), data, **more)
    assert 'pass normalize="data"' in str(caught.value)
    assert "begins with the normalisation" in str(caught.value)
    assert "model.normalize" not in str(caught.value)
    fitted = iaat.fit(copy.deepcopy(expected.network), data, normalize="data", **more)
    assert torch.equal(fitted.model.normalize.mean, expected.normalize.mean)


def test_a_damaged_record_beside_weights_is_refused(run, tmp_path):
    file = export_model(run.path, "safetensors", "weights.safetensors").path
    for text, message in (("{", "their record"), ('{"mean": [0.5], "std": [0.0]}', "std above 0")):
        save_file(load_file(file), tmp_path / "w.safetensors", {"iaat": text})
        with pytest.raises(UserError, match=message):
            recorded_statistics(tmp_path / "w.safetensors")


def test_a_run_with_exported_weights_in_it_is_still_that_run(run, capsys, tmp_path):
    both = shutil.copytree(run.path, tmp_path / "both")
    other = export_model(run.checkpoint("last"), "safetensors", both / "model.safetensors")
    assert other.record.checkpoint == "last"
    assert torch.equal(iaat.load(both)(images()), iaat.load(run.checkpoint("best"))(images()))
    assert export_model(both, "safetensors", "best.safetensors").record.checkpoint == "best"
    assert torch.equal(iaat.load(both / "model.safetensors")(images()), iaat.load(run.checkpoint("last"))(images()))
    for more in ([], ["--overwrite"]):
        assert main(["export", str(run.path), "--format", "hf", "-o", "both", *more]) == 2
        assert "both is a run folder" in capsys.readouterr().err


def test_a_tilde_in_the_place_of_the_data_is_the_home_folder(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "data").mkdir()
    assert export_model(run.path, "safetensors", "one.safetensors", data="~/data").images == "32 test images"
    for option in ("--data.root=~/data", "--data=~/data"):
        assert main(["export", str(run.path), "--format", "safetensors", option, "--overwrite"]) == 0


@pytest.mark.parametrize("form", ["safetensors", "hf"])
def test_a_module_with_a_normalisation_of_its_own_is_read_back_with_it_or_bare(form):
    def bare():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def whole():
        return with_normalization(bare(), [0.0], [1.0])

    model, data = with_normalization(bare(), [0.3], [0.4]), (torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
    iaat.fit(model, data, method="natural", epochs=1, out="run", quiet=True, device="cpu")
    logits = model.eval()(images())
    exported = export_model("run", form, f"out{WRITERS[form].suffix}", model=whole())
    assert exported.record.mean == pytest.approx([0.3])
    for given in (whole(), bare()):
        loaded = iaat.load(exported.path, model=given)
        torch.testing.assert_close(loaded(images()), logits)
        assert loaded.recipe.model.normalize == "none"
    torch.testing.assert_close(iaat.load("run", model=bare())(images()), logits)
