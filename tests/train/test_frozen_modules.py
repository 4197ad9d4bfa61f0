"""Layers that their owner has set to eval stay so in training, and a model in eval mode as a whole is trained."""

import warnings

import pytest
import torch
from torch import nn

import iaat
from helpers.training import tiny
from iaat.data import build_data
from iaat.errors import UserError
from iaat.models import Normalize, with_normalization
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


def test_a_run_of_an_earlier_version_is_trained_on_as_it_was(tmp_path):
    folder = RunFolder(tmp_path / "run")
    fit(network(), out=folder.path, schedule="constant", epochs=1)
    state = load_checkpoint(folder.checkpoint("last"))
    assert state.pop("frozen") == []
    save_checkpoint(folder.checkpoint("last"), state)
    with pytest.warns(UserWarning, match="begun with no layer in eval mode") as caught:
        fit(first_frozen(), out=folder.path, schedule="constant")
    assert not torch.equal(means(folder.path)[0], state["model"]["1.running_mean"])
    assert sum("eval mode" in str(each.message) for each in caught) == 1


def test_a_run_goes_on_with_the_layers_frozen_that_it_was_begun_with(tmp_path):
    fit(first_frozen(), out=tmp_path / "run", schedule="constant", epochs=1)
    net = network()
    net[2].eval()
    with pytest.warns(UserWarning, match="though the model is given otherwise: 1$"):
        fit(net, out=tmp_path / "run", schedule="constant")
    assert not means(tmp_path / "run")[0].any()


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
    with pytest.warns(
        UserWarning, match=r"in eval mode as a whole.*including layer 2 with frozen weights.*\.train\(\)"
    ):
        assert frozen_modules(net) == {}


def test_what_stays_in_eval_mode_is_named_by_its_outermost_modules():
    net = nn.ModuleDict({"body": network().eval(), "head": network()})
    frozen = frozen_modules(with_normalization(net, [0.5], [0.3]))
    assert len(frozen) == 6
    assert describe_frozen(frozen) == "these layers stay in eval mode, as they were given: network.body"


def test_a_warning_names_them_also_when_quiet():
    with pytest.warns(UserWarning, match="^these layers stay in eval mode, as they were given: 1$") as caught:
        fit(first_frozen(), quiet=True)
    assert sum("eval mode" in str(each.message) for each in caught) == 1


def around(net):
    """A module of the user that begins with the normalisation."""
    return nn.Sequential(Normalize([0.5], [0.3]), net)


def with_new_head(net):
    net[4] = nn.Linear(64, 3)
    return net


@pytest.mark.parametrize(
    "model",
    [
        around(network().eval()),
        around(around(network().eval())),
        around(with_new_head(network().eval())),
        with_new_head(network().eval()),
        nn.Sequential(nn.Dropout(), network().eval()[:3], nn.Flatten(), network().eval()[4]),
    ],
    ids=["wrapped", "twice", "wrapped, new head", "new head", "of parts in eval mode"],
)
def test_a_network_in_eval_mode_inside_of_another_module_is_trained(model):
    assert frozen_modules(model) == {}


def test_statistics_of_a_wrapped_network_in_eval_mode_move():
    net = network().eval()
    fit(around(net))
    assert moved(net[1]) == (True, True)


@pytest.mark.parametrize("wrap", [around, lambda net: net], ids=["wrapped", "bare"])
def test_a_backbone_in_eval_mode_beside_a_head_in_train_mode_stays_so(wrap):
    model = wrap(nn.ModuleDict({"backbone": network().eval(), "head": nn.Linear(3, 3)}))
    assert set(frozen_modules(model).values()) == set(
        model.get_submodule("1.backbone" if wrap is around else "backbone").modules()
    )
