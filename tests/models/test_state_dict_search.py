"""Which weights of a file are taken: those that fit the network, wherever they are, and what is said of it."""

import argparse
import collections
import os
import pathlib
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from iaat.errors import UserError
from iaat.models import ModelConfig, NormalizedModel, SmallCNN, build_model
from iaat.models.state_dict_search import find_state_dicts, fits
from iaat.runs.load_any_model import load_model

SHAPE, CLASSES = (3, 8, 8), 3


class Net(nn.Module):
    """A network of somebody else's."""

    def __init__(self, classes=CLASSES):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2)
        )
        self.fc = nn.Sequential(nn.Flatten(), nn.Dropout(0), nn.Linear(32, classes))

    def forward(self, x):
        return self.fc(self.features(x))


def net(seed, classes=CLASSES):
    torch.manual_seed(seed)
    return Net(classes).eval()


def behind(prefix, state):
    return {prefix + key: value for key, value in state.items()}


@pytest.fixture
def factory(tmp_path, monkeypatch):
    """Name of the factory of `Net`, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parent))
    return f"{pathlib.Path(__file__).stem}:Net"


def load(content, factory, **settings):
    """The model of a file with this content, and what was said about it."""
    torch.save(content, "w.pt")
    config = ModelConfig(normalize="none", weights="w.pt", **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = load_model(factory, config, shape=SHAPE, classes=CLASSES)
    return model, [str(warning.message) for warning in caught]


def same(model, expected, mean=0.0, std=1.0):
    x = torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected((x - mean) / std), rtol=1e-4, atol=1e-5)


RAW, AVERAGE = net(1), net(0)
SEVERAL = {
    "model_ema": {"model": RAW.state_dict(), "model_ema": AVERAGE.state_dict()},
    "state_dict_ema": {"state_dict": behind("module.", RAW.state_dict()), "state_dict_ema": AVERAGE.state_dict()},
    "ema.ema_model": {"net": RAW.state_dict(), "ema": {"ema_model": AVERAGE.state_dict(), "step": torch.tensor(3)}},
    "averaged.model": {"model": RAW.state_dict(), "averaged": {"model": AVERAGE.state_dict(), "count": 4}},
    "flat": {**behind("online_model.", RAW.state_dict()), **behind("ema_model.", AVERAGE.state_dict())},
    "later": {"model": RAW.state_dict(), "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}},
              "extra": {"swa": behind("_orig_mod.module.", AVERAGE.state_dict())}},
}  # fmt: skip


@pytest.mark.parametrize("name", SEVERAL)
def test_the_average_is_taken_by_default_and_the_others_are_named(factory, name):
    model, said = load(SEVERAL[name], factory)
    same(model, AVERAGE)
    (line,) = said
    assert "is taken; the file has other weights under" in line
    assert "--model.weights_key" in line
    others = line.partition("other weights under ")[2].partition(":")[0]
    same(load(SEVERAL[name], factory, weights_key=others)[0], RAW)


def test_a_key_chooses_without_a_word(factory):
    model, said = load(SEVERAL["model_ema"], factory, weights_key="model")
    same(model, RAW)
    assert said == []


def test_a_wrong_key_names_those_there_are(factory):
    torch.save(SEVERAL["model_ema"], "w.pt")
    config = ModelConfig(normalize="none", weights="w.pt", weights_key="model_emma")
    with pytest.raises(UserError, match=r"weights_key 'model_emma'.*did you mean 'model_ema'.*model_ema, model$"):
        load_model(factory, config, shape=SHAPE, classes=CLASSES)


def test_a_key_without_a_file_is_refused():
    with pytest.raises(UserError, match="weights_key is 'ema', but there is no file"):
        build_model(ModelConfig(weights_key="ema", normalize="none"), shape=SHAPE, classes=CLASSES)
    with pytest.raises(UserError, match="weights_key is 'ema', but there is no file"):
        load_model("small-cnn", ModelConfig(weights_key="ema"), shape=SHAPE, classes=CLASSES)


def attacker(state, mean, std):
    """What the library robustness saves: the network twice, and its normalisation twice."""
    statistics = {"new_mean": torch.full((3, 1, 1), mean), "new_std": torch.full((3, 1, 1), std)}
    return {
        "model": {
            **behind("module.model.", state),
            **behind("module.attacker.model.", state),
            **behind("module.normalizer.", statistics),
            **behind("module.attacker.normalize.", statistics),
        },
        "epoch": 150,
    }


STATE = AVERAGE.state_dict()
ONE = {
    "robustness": (attacker(STATE, 0.3, 0.6), 0.3, 0.6),
    "robustness, no normalisation": (attacker(STATE, 0.0, 1.0), 0.0, 1.0),
    "robustbench": (
        {**behind("model.", STATE), "mu": torch.full((1, 3, 1, 1), 0.5), "sigma": torch.full((1, 3, 1, 1), 0.25)},
        0.5, 0.25),
    "lightning with metrics": (
        {"state_dict": {**behind("net.", STATE), "acc.correct": torch.tensor(1), "acc.total": torch.tensor(2)}},
        0.0, 1.0),
    "within the network": (
        {**STATE, "mean": torch.full((3,), 0.2), "std": torch.full((3,), 0.4)}, 0.2, 0.4),
    "0..255": ({**behind("1.", STATE), "0.mean": torch.full((3,), 127.5), "0.std": torch.full((3,), 63.75)}, 0.5, 0.25),
    "smoothing": (
        {**behind("1.module.", STATE), "0.means": torch.full((3,), 0.2), "0.sds": torch.full((3,), 0.4)}, 0.2, 0.4),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE)
def test_weights_are_found_behind_any_prefix_with_the_normalisation_beside_them(factory, name):
    content, mean, std = ONE[name]
    model, said = load(content, factory)
    same(model, AVERAGE, mean, std)
    assert not any("other weights" in line for line in said)
    assert isinstance(model, NormalizedModel) == any("standardised by the mean" in line for line in said)


def test_mean_and_std_that_were_typed_win_over_those_in_a_file_of_others(factory):
    model, said = load(ONE["robustbench"][0], factory, mean=[0.1], std=[0.2])
    same(model, AVERAGE, 0.1, 0.2)
    assert said == []


def test_tensors_that_belong_to_no_layer_are_named(factory):
    _, said = load({**STATE, "projection.weight": torch.ones(4, 32)}, factory)
    assert said == ["weights w.pt: projection.weight belong to no layer of the model and are left out"]


def test_a_deeper_network_is_not_taken_for_a_shallow_one(tmp_path):
    shallow, deep = (ModelConfig(name=f"wrn-{depth}-1", normalize="none") for depth in (10, 16))
    torch.save(build_model(deep, shape=(1, 8, 8), classes=3).state_dict(), tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"unexpected stages\.0\.1.*looks like --model\.name wrn-16-1$"):
        load_model(str(tmp_path / "w.pt"), shallow, shape=(1, 8, 8), classes=3)


def test_two_sets_of_the_same_weights_are_one():
    found = find_state_dicts({"a": STATE, "b": {"c": dict(STATE)}}, STATE)
    assert [each.place for each in found if fits(each, STATE)] == ["a"]


def test_a_file_of_endless_sets_of_weights_is_looked_through_in_part():
    expected = {"head.weight": torch.zeros(1), "head.bias": torch.zeros(1)}
    content = {f"p{number}.head.weight": torch.full((1,), float(number)) for number in range(2000)}
    assert len(find_state_dicts(content, expected)) == 100
    content = {str(number): {"head.weight": torch.full((1,), float(number))} for number in range(2000)}
    assert len(find_state_dicts(content, expected)) < 1000


# Data beside the weights


class Touching:
    """Its pickle makes a folder when it is loaded by plain pickle."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


BESIDE = {
    "args": argparse.Namespace(lr=0.1, out=pathlib.Path("runs"), betas=(0.9, 0.999)),
    "path": pathlib.PurePosixPath("a/b"),
    "windows": pathlib.PureWindowsPath("a/b"),
    "accuracy": np.float64(0.93),
    "epoch": np.int64(3),
    "best": np.bool_(True),
    "history": np.arange(6.0).reshape(2, 3),
    "names": np.array(["cat", "dog"]),
    "objects": np.array([None, {"a": 1}], dtype=object),
    "ordered": collections.OrderedDict(a=np.float32(1)),
}


@pytest.mark.parametrize("zipped", [True, False])
def test_settings_paths_and_numpy_values_beside_the_weights_are_data(factory, zipped):
    torch.save({"state_dict": STATE, **BESIDE}, "beside.pt", _use_new_zipfile_serialization=zipped)
    config = ModelConfig(normalize="none", weights="beside.pt")
    same(load_model(factory, config, shape=SHAPE, classes=CLASSES), AVERAGE)


def test_what_could_run_code_within_that_data_is_refused_and_not_run(factory, tmp_path):
    for number, hook in enumerate((argparse.Namespace(a=Touching("ran")), np.array([Touching("ran")], dtype=object))):
        file = f"hook{number}.pt"
        torch.save({"state_dict": STATE, "args": hook}, file)
        with pytest.raises(UserError, match="could run code"):
            load_model(factory, ModelConfig(normalize="none", weights=file), shape=SHAPE, classes=CLASSES)
    assert not (tmp_path / "ran").exists()


# Fine-tuning


def start_of(file, classes, **settings):
    config = ModelConfig(width=4, weights=str(file), normalize="none", **settings)
    return build_model(config, shape=SHAPE, classes=classes, seed=5)


def test_the_classifier_starts_anew_where_the_classes_are_others_and_that_is_said_once(tmp_path):
    trained = SmallCNN(3, 10, width=4)
    torch.save(trained.state_dict(), tmp_path / "ten.pt")
    with pytest.warns(
        UserWarning, match=r"are of 10 classes, the data has 3: the classifier \(head\.weight, head\.bias\)"
    ) as said:
        model = start_of(tmp_path / "ten.pt", 3)
    assert len(said) == 1
    fresh = build_model(ModelConfig(width=4, normalize="none"), shape=SHAPE, classes=3, seed=5)
    for name, value in model.state_dict().items():
        other = fresh if name.startswith("head.") else trained
        assert torch.equal(value, other.state_dict()[name])


def test_another_width_is_no_other_classifier(tmp_path):
    torch.save(SmallCNN(3, 10, width=8).state_dict(), tmp_path / "wide.pt")
    with pytest.raises(UserError, match=r"looks like --model\.width 8$"):
        start_of(tmp_path / "wide.pt", 3)
