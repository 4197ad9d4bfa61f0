"""What the network becomes where BatchNorm is to be that of all processes: the same function, all else untouched."""

import copy

import pytest
import torch
from torch import nn

from iaat.models import ModelConfig, build_model
from iaat.runtime.distributed import ALONE, Ranks
from iaat.train.ddp import convert_sync_batchnorm, sync_batchnorm

X = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def network(name, **more):
    half = torch.full((3,), 0.5)
    return build_model(
        ModelConfig(name=name, **more), shape=(3, 32, 32), classes=10, mean=half, std=half, seed=0
    ).eval()


@pytest.mark.parametrize("name", ["small-cnn", "resnet18", "preactresnet18", "resnet50"])
def test_a_network_with_synchronised_batchnorm_is_the_same_function_with_the_same_weights(name):
    model = network(name)
    expected, weights = model(X), copy.deepcopy(model.state_dict())
    converted = convert_sync_batchnorm(model)
    kinds = {type(module) for module in converted.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)}
    assert kinds == {nn.SyncBatchNorm}
    torch.testing.assert_close(converted(X), expected, rtol=0, atol=0)
    assert list(converted.state_dict()) == list(weights)


def test_batchnorm_that_is_more_keeps_what_it_does_and_is_named():
    pytest.importorskip("timm")
    model = network("timm:mobilenetv3_small_050")
    expected = model(X)
    with pytest.warns(UserWarning, match="BatchNormAct2d are BatchNorm and more"):
        converted = convert_sync_batchnorm(model)
    torch.testing.assert_close(converted(X), expected, rtol=0, atol=0)


def test_a_network_that_is_a_batchnorm_is_converted_itself():
    assert type(convert_sync_batchnorm(nn.BatchNorm1d(3))) is nn.SyncBatchNorm


def test_where_it_cannot_be_had_or_is_not_wanted_nothing_changes():
    cases = ((ALONE, "cuda", True), (Ranks(0, 2), "cpu", True), (Ranks(0, 2), "cuda", False))
    for ranks, device, wanted in cases:
        model = network("small-cnn", width=4)
        assert sync_batchnorm(model, ranks, torch.device(device), wanted=wanted) is model
        assert not any(isinstance(module, nn.SyncBatchNorm) for module in model.modules())
