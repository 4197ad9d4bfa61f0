"""Networks of torchvision: the published architecture, and weights of others that give the function of others."""

import pytest
import torch
from torchvision import models

from iaat.errors import UserError
from iaat.models import ModelConfig, build_model, with_normalization
from iaat.models.torchvision_models import TORCHVISION_MODELS, build_torchvision
from iaat.runs.load_any_model import load_model

SHAPE = (3, 32, 32)
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
DATA = {"mean": torch.full((3,), 0.1), "std": torch.full((3,), 0.2)}


def build(classes=7, shape=SHAPE, **settings):
    return build_model(ModelConfig(**{"name": "resnet50", **settings}), shape=shape, classes=classes, **DATA)


@pytest.fixture(scope="module")
def natural():
    """A network of 7 classes with statistics by which train mode differs from eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = models.resnet50(weights=None, num_classes=7)
        network(torch.randn(4, *SHAPE))
    return network.eval()


@pytest.fixture(scope="module")
def file(natural, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "natural.pth"
    torch.save(natural.state_dict(), path)
    return path


@pytest.fixture
def published(monkeypatch):
    """Published weights as they would come from the network, of 1,000 classes."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        state = models.resnet50(weights=None).state_dict()
    monkeypatch.setattr(models.ResNet50_Weights, "get_state_dict", lambda *_, **__: dict(state))
    return state


PARAMETERS = (25_557_032, 44_549_160, 60_192_808)


@pytest.mark.parametrize(("name", "parameters"), list(zip(TORCHVISION_MODELS, PARAMETERS, strict=True)))
def test_the_networks_are_the_published_ones(name, parameters):
    with torch.device("meta"):
        network = build_torchvision(name, channels=3, classes=1000)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_weights_of_others_give_the_same_function(natural, file):
    x = torch.rand(3, *SHAPE)
    model = build(weights=str(file), mean=MEAN, std=STD).eval()
    standardised = (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    torch.testing.assert_close(model(x), natural(standardised), rtol=1e-5, atol=1e-5)
    # Without a word on it, inputs are standardised by the data.
    torch.testing.assert_close(build(weights=str(file)).normalize.mean, DATA["mean"])


def test_timms_network_of_the_same_name_takes_them_too(natural, file):
    pytest.importorskip("timm")
    model = build(name="timm:resnet50", weights=str(file), normalize="none").eval()
    x = torch.rand(2, *SHAPE)
    torch.testing.assert_close(model(x), natural(x), rtol=1e-5, atol=1e-5)


def test_weights_for_another_head_leave_it_as_it_begins(file, natural):
    with pytest.warns(UserWarning, match=r"are of 7 classes, the data has 5: the classifier \(fc\.weight, fc\.bias\)"):
        model = build(classes=5, weights=str(file))
    assert model.network.fc.weight.shape == (5, 2048)
    assert torch.equal(model.network.conv1.weight, natural.conv1.weight)


def test_weights_of_another_depth_are_refused(file):
    with pytest.raises(UserError, match=r"do not fit model resnet101: missing layer3\.6"):
        build(name="resnet101", weights=str(file))


def test_the_normalisation_of_our_own_checkpoints_stays(natural, tmp_path):
    model = with_normalization(natural, torch.tensor(MEAN), torch.tensor(STD))
    torch.save({"model": model.state_dict()}, tmp_path / "last.pt")
    again = build(weights=str(tmp_path / "last.pt")).eval()
    x = torch.rand(2, *SHAPE)
    torch.testing.assert_close(again(x), model(x))
    with pytest.raises(UserError, match=r"leave out model\.mean"):
        build(weights=str(tmp_path / "last.pt"), mean=STD, std=STD)
    same = build(weights=str(tmp_path / "last.pt"), mean=MEAN, std=STD).eval()
    assert torch.equal(same(x), again(x))


@pytest.mark.parametrize("setting", [{"width": 4}, {"norm": "group"}, {"options": {"a": 1}}])
def test_settings_that_mean_nothing_are_refused(setting):
    with pytest.raises(UserError, match=rf"model\.{next(iter(setting))} is .* no effect on 'resnet50'"):
        build(**setting)


def test_grey_images_are_refused():
    with pytest.raises(
        UserError,
        match=r"of 3 channels, the data has 1: name timm:resnet50, or, .* set data\.channels to 3",
    ):
        build(shape=(1, 32, 32), normalize="none")


def test_published_weights_come_with_their_normalisation(published):
    model = build(classes=1000, pretrained=True)
    assert all(torch.equal(value, published[key]) for key, value in model.network.state_dict().items())
    torch.testing.assert_close(model.normalize.mean, torch.tensor(MEAN))
    torch.testing.assert_close(model.normalize.std, torch.tensor(STD))


def test_other_classes_get_a_new_classifier_alone(published):
    state = build(classes=7, pretrained=True).network.state_dict()
    differing = {key for key, value in state.items() if not torch.equal(value, published[key])}
    assert differing == {"fc.weight", "fc.bias"}
    assert state["fc.weight"].shape == (7, 2048)


def test_published_weights_that_cannot_be_had_are_named(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(models.ResNet50_Weights, "get_state_dict", offline)
    with pytest.raises(UserError, match=r"resnet50-.*\.pth \(no route to host\).*model\.weights"):
        build(pretrained=True)


def test_a_published_network_can_be_evaluated(published):
    model = load_model("resnet50", shape=SHAPE, classes=1000)
    assert torch.equal(model.network.fc.weight, published["fc.weight"])
    torch.testing.assert_close(model.normalize.mean, torch.tensor(MEAN))
    with pytest.raises(UserError, match="published weights are for 1000 classes, the data has 7"):
        load_model("resnet50", shape=SHAPE, classes=7)


def test_weights_of_ones_own_can_be_evaluated(natural, file):
    config = ModelConfig(normalize="none", weights=str(file), mean=MEAN, std=STD)
    model = load_model("resnet50", config, shape=SHAPE, classes=7)
    x = torch.rand(2, *SHAPE)
    standardised = (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    torch.testing.assert_close(model(x), natural(standardised), rtol=1e-5, atol=1e-5)
