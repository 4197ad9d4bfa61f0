"""Training that starts from trained weights."""

import pytest
import torch
from safetensors.torch import save_file

from helpers.training import QUIET, assert_resumes_bitwise, tiny
from iaat.data import build_data
from iaat.errors import UserError
from iaat.models import build_model
from iaat.runs.checkpoint import load_checkpoint, restore_model
from iaat.runs.run_folder import RunFolder
from iaat.train import train


def pretrained(tmp_path, *more):
    run = RunFolder(tmp_path / "natural")
    train(tiny("natural", *more), run, QUIET)
    return run


def start_of(recipe):
    """The network before its first step."""
    data = build_data(recipe.data, seed=recipe.seed)
    return build_model(
        recipe.model, shape=data.shape, classes=len(data.classes), mean=data.mean, std=data.std, seed=recipe.seed
    )


@pytest.mark.parametrize("ema", ["0", "0.9"])
def test_training_starts_from_the_result_of_a_run(tmp_path, ema):
    run = pretrained(tmp_path, "--train.ema", ema)
    recipe = tiny("pgd_at", "--model.weights", str(run.checkpoint("last")))
    expected = restore_model(run.recipe(), load_checkpoint(run.checkpoint("last")))
    model = start_of(recipe)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), expected.parameters(), strict=True))
    assert torch.equal(model.normalize.mean, expected.normalize.mean)


def test_fine_tuning_begins_where_natural_training_ended(tmp_path):
    run = pretrained(tmp_path, "--train.epochs", "15")
    tuned = RunFolder(tmp_path / "tuned")
    settings = ["--train.epochs", "1", "--train.lr", "0.001", "--method.steps", "1"]
    train(tiny("pgd_at", "--model.weights", str(run.checkpoint("last")), *settings), tuned, QUIET)
    scratch = RunFolder(tmp_path / "scratch")
    train(tiny("pgd_at", *settings), scratch, QUIET)
    assert tuned.metrics()[0].validation_clean > scratch.metrics()[0].validation_clean + 0.3


def test_a_resumed_run_needs_the_file_no_longer(tmp_path):
    run = pretrained(tmp_path)
    recipe = tiny("natural", "--model.weights", str(run.checkpoint("last")))
    whole, _ = assert_resumes_bitwise(recipe, tmp_path, 5)
    again = RunFolder(tmp_path / "again")
    train(tiny("natural", "--model.weights", str(run.checkpoint("last")), "--train.epochs", "3"), again, QUIET)
    run.checkpoint("last").unlink()
    train(again.recipe(), again, QUIET, resume=True)
    assert torch.equal(
        *(next(iter(load_checkpoint(each.checkpoint("last"))["model"].values())) for each in (whole, again))
    )


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    run = pretrained(tmp_path)
    with pytest.raises(UserError, match=r"do not fit model small-cnn.*"):
        start_of(tiny("natural", "--model.width", "8", "--model.weights", str(run.checkpoint("last"))))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model.normalize", "none"], r"leave out model\.normalize"),
        (["--model.mean", "[0.5]", "--model.std", "[0.5]"], r"leave out model\.mean"),
    ],
)
def test_another_normalisation_than_the_files_own_is_refused(tmp_path, more, message):
    run = pretrained(tmp_path)
    with pytest.raises(UserError, match=message):
        start_of(tiny("natural", "--model.weights", str(run.checkpoint("last")), *more))


def test_weights_of_others_have_the_datas_normalisation(tmp_path):
    recipe = tiny("natural")
    bare = start_of(recipe).network.state_dict()
    save_file({name: value + 1 if value.is_floating_point() else value for name, value in bare.items()}, tmp_path / "w")
    (tmp_path / "w").rename(tmp_path / "w.safetensors")
    model = start_of(tiny("natural", "--model.weights", str(tmp_path / "w.safetensors")))
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, bare[name] + 1 if value.is_floating_point() else bare[name])
    assert torch.equal(model.normalize.mean, start_of(recipe).normalize.mean)
