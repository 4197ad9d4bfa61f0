"""Layers that their owner has set to eval stay so in training, and a model in eval mode as a whole is trained."""

import warnings

import pytest
import torch
from torch import nn

import iaat
from helpers.training import Listening, tiny
from iaat.data import build_data
from iaat.errors import UserError
from iaat.models import with_normalization
from iaat.runs.checkpoint import load_checkpoint, save_checkpoint
from iaat.runs.memory_run import MemoryRun
from iaat.runs.run_folder import RunFolder
from iaat.train.frozen_modules import describe_frozen, frozen_modules
from iaat.train.trainer import Trainer

Y = torch.arange(60) % 3
X = torch.rand(60, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 3)
    )


def fit(net, **more):
    settings = {
        "method": "pgd_at",
        "steps": 1,
        "epochs": 2,
        "lr": 0.05,
        "batch_size": 20,
        "device": "cpu",
        "quiet": True,
    }
    return iaat.fit(net, (X, Y), **{**settings, **more})


def moved(norm):
    """Whether its running mean and its weights have moved."""
    return bool(norm.running_mean.abs().sum() > 0), bool((norm.weight != 1).any())


@pytest.mark.parametrize("more", [{}, {"mean": [0.5], "std": [0.3]}, {"ema": 0.5}])
def test_frozen_batchnorm_keeps_its_statistics_and_weights(more):
    net = network()
    net[1].eval().requires_grad_(False)
    fit(net, **more)
    assert moved(net[1]) == (False, False)
    assert moved(net[2]) == (True, True)


def first_frozen():
    net = network()
    net[1].eval()
    return net


def means(folder):
    """Running means of both BatchNorms after the last epoch; the module gets those of the best."""
    state = load_checkpoint(RunFolder(folder).checkpoint("last"))
    return state["model"]["1.running_mean"], state["model"]["2.running_mean"]


class Stopping(iaat.Tracker):
    def epoch(self, record):
        raise KeyboardInterrupt


def test_a_run_that_was_finished_goes_on_with_them_frozen(tmp_path):
    net = first_frozen()
    for epochs in (1, 2):  # the first call has put all of the module into eval mode
        fit(net, out=tmp_path / "run", schedule="constant", epochs=epochs)
    frozen, other = means(tmp_path / "run")
    assert not frozen.any()
    assert other.all()


def test_a_run_that_was_interrupted_and_saved_goes_on_with_them_frozen(tmp_path):
    net = first_frozen()
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(net, schedule="constant", callbacks=[Stopping()])
    caught.value.run.save(tmp_path / "run")
    before = means(tmp_path / "run")[1]
    fit(net, out=tmp_path / "run", schedule="constant")
    frozen, other = means(tmp_path / "run")
    assert not frozen.any()
    assert not torch.equal(other, before)


def test_a_run_of_an_earlier_version_is_trained_on_as_it_was(tmp_path, monkeypatch):
    folder, listening = RunFolder(tmp_path / "run"), Listening()
    fit(network(), out=folder.path, schedule="constant", epochs=1)
    state = load_checkpoint(folder.checkpoint("last"))
    assert state.pop("frozen") == []
    save_checkpoint(folder.checkpoint("last"), state)
    monkeypatch.setattr("iaat.experiments.fit.Reporter", lambda **_: listening)
    fit(first_frozen(), out=folder.path, schedule="constant")
    assert not torch.equal(means(folder.path)[0], state["model"]["1.running_mean"])
    assert sum("begun with no layer in eval mode" in line for line in listening.said) == 1


def test_a_run_goes_on_with_the_layers_frozen_that_it_was_begun_with(tmp_path, monkeypatch):
    listening = Listening()
    fit(first_frozen(), out=tmp_path / "run", schedule="constant", epochs=1)
    monkeypatch.setattr("iaat.experiments.fit.Reporter", lambda **_: listening)
    net = network()
    net[2].eval()
    fit(net, out=tmp_path / "run", schedule="constant")
    assert not means(tmp_path / "run")[0].any()
    assert any(line.endswith("though the model is given otherwise: 1") for line in listening.said)


def test_a_rollback_to_the_beginning_keeps_them_frozen():
    recipe = tiny("natural")
    data = build_data(recipe.data, seed=0, device="cpu")
    trainer = Trainer(recipe, data, MemoryRun("run"))
    name = next(name for name, module in trainer.state.model.named_modules() if isinstance(module, nn.BatchNorm2d))
    trainer.state.freeze([name])
    trainer._roll_back()
    assert list(trainer.state.frozen) == [name]


def test_a_checkpoint_with_layers_that_the_model_lacks_is_refused(tmp_path):
    folder = RunFolder(tmp_path / "run")
    fit(first_frozen(), out=folder.path, schedule="constant", epochs=1)
    state = load_checkpoint(folder.checkpoint("last"))
    for frozen, message in ((["9"], "frozen .*has no module '9'"), (["0", 1], "frozen is a list, not a list of names")):
        save_checkpoint(folder.checkpoint("last"), {**state, "frozen": frozen})
        with pytest.raises(UserError, match=message):
            fit(network(), out=folder.path, schedule="constant")


@pytest.mark.parametrize("more", [{}, {"mean": [0.5], "std": [0.3]}])
def test_a_model_in_eval_mode_as_a_whole_is_trained_as_one_in_train_mode(more):
    one, other = network(), network().eval()
    fit(one, **more), fit(other, **more)
    assert moved(other[1]) == (True, True)
    assert all(torch.equal(one.state_dict()[key], value) for key, value in other.state_dict().items())


def test_frozen_weights_of_batchnorm_in_a_model_in_eval_mode_are_warned_of():
    net = network().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert frozen_modules(net) == {}
    net[2].requires_grad_(False)
    with pytest.warns(UserWarning, match=r"in eval mode as a whole.*also 2 with frozen weights.*\.train\(\)"):
        assert frozen_modules(net) == {}


def test_what_stays_in_eval_mode_is_named_by_its_outermost_modules():
    net = nn.ModuleDict({"body": network().eval(), "head": network()})
    frozen = frozen_modules(with_normalization(net, [0.5], [0.3]))
    assert len(frozen) == 6
    assert describe_frozen(frozen) == "these layers stay in eval mode, as they were given: network.body"


def test_a_line_names_them(monkeypatch):
    net, listening = network(), Listening()
    net[1].eval()
    monkeypatch.setattr("iaat.experiments.fit.Reporter", lambda **_: listening)
    fit(net)
    assert "these layers stay in eval mode, as they were given: 1" in listening.said
