import pytest
import torch
from torch import nn

from iaat.errors import UserError
from iaat.models import Normalize, with_normalization

MEAN, STD = torch.tensor([0.5, 0.25]), torch.tensor([0.5, 0.125])


@pytest.mark.parametrize("rest", [(), (5,), (2, 2), (4, 3), (2, 3, 4)])
@pytest.mark.parametrize("stored", [(2,), (2, 1, 1)])
def test_closed_form_at_every_rank(rest, stored):
    x = torch.rand(3, 2, *rest)
    z = Normalize(MEAN.reshape(stored), STD.reshape(stored))(x)
    torch.testing.assert_close(z[:, 0], 2 * x[:, 0] - 1)
    torch.testing.assert_close(z[:, 1], 8 * x[:, 1] - 2)


def test_lists_are_taken_as_other_libraries_do():
    layer = Normalize(MEAN.tolist(), tuple(STD.tolist()))
    assert torch.equal(layer.mean, MEAN)
    assert torch.equal(layer.std, STD)


def test_statistics_travel_with_the_weights_and_are_not_trained():
    model = with_normalization(nn.Flatten(), MEAN, STD)
    assert set(model.state_dict()) == {"normalize.mean", "normalize.std"}
    assert list(model.parameters()) == []


def test_statistics_are_copied():
    mean = MEAN.clone()
    layer = Normalize(mean, STD)
    mean.zero_()
    assert torch.equal(layer.mean, MEAN)


def test_wrapped_model_sees_standardised_inputs():
    network = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
    model = with_normalization(network, MEAN, STD)
    x = torch.rand(4, 2, 2, 2)
    standardised = torch.stack([2 * x[:, 0] - 1, 8 * x[:, 1] - 2], dim=1)
    assert model.network is network
    torch.testing.assert_close(model(x), network(standardised))


def test_normalization_is_put_on_the_device_of_the_model():
    model = with_normalization(nn.Linear(2, 3, device="meta"), MEAN, STD)
    assert model.normalize.mean.device.type == "meta"


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (MEAN, torch.tensor([0.5, 0.0]), "std above 0"),
        (torch.tensor([0.5, torch.nan]), STD, "must be finite"),
        (torch.tensor([0.5]), STD, "1 means but 2 standard deviations"),
    ],
)
def test_useless_statistics_are_refused(mean, std, message):
    with pytest.raises(UserError, match=message):
        Normalize(mean, std)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_wrapped_model_keeps_its_number_format(dtype):
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).to(dtype)
    model = with_normalization(net, [0.5] * 3, [0.2] * 3)
    assert model(torch.rand(2, 3, 4, 4, dtype=dtype)).dtype == dtype


def test_inputs_with_another_number_of_channels_are_refused():
    with pytest.raises(UserError, match=r"has 3 means, but inputs of shape \[2, 1, 4, 4\] have 1 channels"):
        Normalize([0.5] * 3, [0.2] * 3)(torch.rand(2, 1, 4, 4))
    assert Normalize([0.5], [0.2])(torch.rand(2, 3, 4, 4)).shape == (2, 3, 4, 4)
