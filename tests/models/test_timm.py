import sys

import pytest
import torch

from iaat.errors import UserError
from iaat.models import ModelConfig, build_model


def build(name, *, shape=(3, 32, 32), mean=None, std=None, **settings):
    settings = {"normalize": "none", **settings}
    return build_model(ModelConfig(name=name, **settings), shape=shape, classes=7, mean=mean, std=std)


@pytest.fixture
def timm():
    return pytest.importorskip("timm")


@pytest.mark.parametrize("name", ["test_resnet", "timm:test_resnet"])
def test_bare_and_prefixed_names(timm, name):
    model = build(name, shape=(1, 32, 32))
    assert type(model) is timm.models.ResNet
    assert model(torch.rand(2, 1, 32, 32)).shape == (2, 7)


def test_prefix_reaches_names_that_are_ours_too(timm):
    assert type(build("timm:resnet18")) is timm.models.ResNet
    assert type(build("resnet18")).__module__.startswith("iaat.")


def test_options_reach_timm(timm):
    fixed = {"dynamic_img_size": False}
    assert build("test_vit", options={"img_size": 32, **fixed})(torch.rand(2, 3, 32, 32)).shape == (2, 7)
    with pytest.raises(UserError, match=r"cannot take inputs of shape \[2, 3, 32, 32\], .*: AssertionError"):
        build("test_vit", options=fixed)


@pytest.mark.parametrize("options", [{"bogus": 1}, {"num_classes": 3}])
def test_options_timm_refuses(timm, options):
    with pytest.raises(UserError, match=r"timm cannot build .* model\.options .*TypeError"):
        build("test_resnet", options=options)


@pytest.mark.parametrize("name", ["timm:resnet19", "resnet19"])
def test_unknown_name_suggests_timm_names(timm, name):
    with pytest.raises(UserError, match=r"no model '(timm:)?resnet19' \(did you mean .*resnet18"):
        build(name)


def pretend_pretrained(timm, monkeypatch):
    """Let timm build without weights, which would have to be downloaded."""
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **options: create(name, **options))


def test_pretrained_network_keeps_its_own_statistics(timm, monkeypatch):
    pretend_pretrained(timm, monkeypatch)
    data = {"mean": torch.full((3,), 0.1), "std": torch.full((3,), 0.2)}
    model = build("resnet10t", normalize="data", pretrained=True, **data)
    torch.testing.assert_close(model.normalize.mean, torch.tensor([0.485, 0.456, 0.406]))
    torch.testing.assert_close(model.normalize.std, torch.tensor([0.229, 0.224, 0.225]))
    fresh = build("resnet10t", normalize="data", **data)
    torch.testing.assert_close(fresh.normalize.mean, data["mean"])


def test_pretrained_network_of_other_channels_takes_those_of_the_data(timm, monkeypatch):
    pretend_pretrained(timm, monkeypatch)
    mean, std = torch.tensor([0.1]), torch.tensor([0.2])
    model = build("test_resnet", shape=(1, 32, 32), normalize="data", pretrained=True, mean=mean, std=std)
    torch.testing.assert_close(model.normalize.mean, mean)


def test_pretrained_reaches_timm(timm, monkeypatch):
    asked = []
    create = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda name, pretrained, **options: asked.append(pretrained) or create(name, **options)
    )
    build("test_resnet", pretrained=True)
    build("test_resnet")
    assert asked == [True, False]


def test_missing_timm_is_named_with_its_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match="needs timm, which is not installed: pip install timm"):
        build("timm:test_resnet")
    with pytest.raises(UserError, match=r"no model 'test_resnet'.*pip install timm"):
        build("test_resnet")


def test_own_networks_do_not_need_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert build("small-cnn")(torch.rand(2, 3, 32, 32)).shape == (2, 7)
