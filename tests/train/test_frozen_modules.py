"""Layers that their owner has set to eval stay so in training, and a model in eval mode as a whole is trained."""

import warnings

import pytest
import torch
from torch import nn

import iaat
from helpers.training import Listening
from iaat.models import with_normalization
from iaat.train.frozen_modules import describe_frozen, frozen_modules

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
    run = fit(net, **more)
    assert moved(net[1]) == (False, False)
    assert moved(net[2]) == (True, True)
    assert len(run.history) >= 2


def test_a_resumed_run_keeps_them_frozen(tmp_path):
    for epochs in (1, 2):
        net = network()
        net[1].eval()
        fit(net, out=tmp_path / "run", schedule="constant", epochs=epochs)
    assert moved(net[1]) == (False, True)
    assert moved(net[2]) == (True, True)


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
    assert describe_frozen(frozen) == "in eval mode, as they were given, stay network.body"


def test_a_line_names_them(monkeypatch):
    net, listening = network(), Listening()
    net[1].eval()
    monkeypatch.setattr("iaat.experiments.fit.Reporter", lambda **_: listening)
    fit(net)
    assert "in eval mode, as they were given, stay 1" in listening.said
