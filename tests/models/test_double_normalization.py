"""Inputs that are standardised twice are warned of; nothing else is taken for it."""

import warnings

import pytest
import torch
import torchvision
from torch import nn

import iaat
from iaat.models import ModelConfig, with_normalization
from iaat.models.double_normalization import warn_of_double_normalization

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
OURS = with_normalization(nn.Identity(), torch.full((3,), 0.5), torch.full((3,), 0.25)).normalize
OWN = ModelConfig(name="my_net:build")


class WithBuffers(nn.Module):
    def __init__(self, mean, std, names=("mean", "std")):
        super().__init__()
        for name, values in zip(names, (mean, std), strict=True):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1))

    def forward(self, x):
        mean, std = self.buffers()
        return (x - mean) / std


class Normalization(nn.Module):
    """By attributes with names of no meaning."""

    def __init__(self, a, b):
        super().__init__()
        self.a, self.b = list(a), tuple(b)


class Normalize(nn.Module):
    """To unit length, as in contrastive learning."""

    def __init__(self, power=2):
        super().__init__()
        self.power, self.scales = power, [1.0, 2.0, 4.0]


class Constants(nn.Module):
    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std = mean, std


def said(network, config=OWN):
    model = nn.Sequential(network) if config.normalize == "none" else with_normalization(network, OURS.mean, OURS.std)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_double_normalization(model, config)
    return [str(each.message) for each in caught]


@pytest.mark.parametrize(
    "module",
    [
        WithBuffers(*IMAGENET),
        WithBuffers([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616], ("mu", "sigma")),
        WithBuffers([123.675, 116.28, 103.53], [58.395, 57.12, 57.375], ("pixel_mean", "pixel_std")),
        Normalization(*IMAGENET),
        Constants(*IMAGENET),
        torchvision.transforms.Normalize(*IMAGENET),
        torchvision.transforms.Normalize([0.5] * 3, [0.5] * 3),
        OURS,
    ],
    ids=lambda module: type(module).__name__,
)
def test_a_module_with_statistics_of_pixels_is_named(module):
    (message,) = said(nn.Sequential(nn.Sequential(module), nn.Conv2d(3, 4, 3)))
    assert f"by module 0.0 ({type(module).__name__}) of your model" in message
    assert "set model.normalize to none" in message
    assert said(nn.Sequential(module), ModelConfig(name="my_net:build", normalize="none")) == []
    assert said(nn.Sequential(module), ModelConfig(name="resnet18")) == []


def test_a_model_that_keeps_the_statistics_itself_and_the_keys_that_put_ours_in_front_are_named():
    (message,) = said(WithBuffers(*IMAGENET), ModelConfig(name="my_net:build", mean=[0.5], std=[0.5]))
    assert "by its class WithBuffers of your model" in message
    assert "leave out model.mean and model.std" in message


@pytest.mark.parametrize(
    "module",
    [
        nn.BatchNorm2d(3),
        nn.InstanceNorm2d(3, affine=True, track_running_stats=True),
        nn.GroupNorm(1, 3),
        Normalize(),
        Constants(0.0, 1.0),
        Constants([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]),  # leaves inputs as they are
        WithBuffers([0.1, 0.2], [0.3, 0.4]),  # not for three channels
        Constants(torch.rand(3, 64), torch.rand(3, 64)),
        Constants("half", None),
    ],
    ids=lambda module: type(module).__name__,
)
def test_nothing_else_is_taken_for_it(module):
    assert said(nn.Sequential(module, nn.Linear(3, 2))) == []


@pytest.mark.parametrize("name", ["resnet18", "convnext_tiny", "vit_b_32", "efficientnet_b0", "swin_t", "densenet121"])
def test_networks_of_torchvision_raise_no_alarm(name):
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None)
    assert said(network) == []


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_nfnet", "test_efficientnet"])
def test_networks_of_timm_raise_no_alarm(name):
    timm = pytest.importorskip("timm")
    assert said(timm.create_model(name)) == []


def test_fit_warns_once_where_it_is_given_mean_and_std():
    net = nn.Sequential(WithBuffers(*IMAGENET), nn.Flatten(), nn.Linear(48, 2))
    data = (torch.rand(40, 3, 4, 4), torch.arange(40) % 2)
    settings = {"epochs": 1, "radius": "8px", "quiet": True, "device": "cpu"}
    with pytest.warns(UserWarning, match=r"by module 0 \(WithBuffers\).*leave out model\.mean and model\.std") as seen:
        iaat.fit(net, data, mean=list(IMAGENET[0]), std=list(IMAGENET[1]), **settings)
    assert len([each for each in seen if "standardised twice" in str(each.message)]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        iaat.fit(net, data, **settings)
