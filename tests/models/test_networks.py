"""iaat's own networks against published parameter counts, torchvision and forwards written out by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock, ResNet

from iaat.errors import UserError
from iaat.models import PreActResNet, SmallCNN, WideResNet, count_parameters, preactresnet18, resnet18
from iaat.models.layers import group_count
from iaat.models.wrn import blocks_per_stage

COUNTS = {
    "small-cnn": (SmallCNN, {}, 145_242),
    "resnet18": (resnet18, {}, 11_173_962),
    "preactresnet18": (preactresnet18, {}, 11_172_170),
    "wrn-28-10": (WideResNet, {"depth": 28, "widen": 10}, 36_479_194),
    "wrn-34-10": (WideResNet, {"depth": 34, "widen": 10}, 46_160_474),
    "wrn-32-10": (WideResNet, {"depth": 32, "widen": 10}, 46_160_474),
}


def randomise_norms(network):
    """Away from scale 1, shift 0, mean 0, variance 1, where a normalisation in the wrong place would not show."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low in ((module.weight, 0.5), (module.running_var, 0.5)):
                nn.init.uniform_(values, low, low + 1)
            for values in (module.bias, module.running_mean):
                nn.init.uniform_(values, -0.3, 0.3)


def batch_norm_relu(x, state, name):
    weight, bias, mean, var = (state[f"{name}.0.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
    scale = weight / (var + 1e-5).sqrt()
    return ((x - mean[:, None, None]) * scale[:, None, None] + bias[:, None, None]).clamp(min=0)


def preact_forward(state, x, *, stages, blocks):
    """A pre-activation network straight from its equations, for the weights in `state`."""
    x = F.conv2d(x, state["stem.weight"], padding=1)
    for stage in range(stages):
        for block in range(blocks):
            name, stride = f"stages.{stage}.{block}", 2 if stage > 0 and block == 0 else 1
            a = batch_norm_relu(x, state, f"{name}.activate")
            h = F.conv2d(a, state[f"{name}.residual.0.weight"], stride=stride, padding=1)
            h = batch_norm_relu(h, state, f"{name}.residual.1")
            h = F.conv2d(h, state[f"{name}.residual.2.weight"], padding=1)
            projection = state.get(f"{name}.shortcut.weight")
            x = h + (x if projection is None else F.conv2d(a, projection, stride=stride))
    features = batch_norm_relu(x, state, "activate").mean(dim=(2, 3))
    return features @ state["head.weight"].T + state["head.bias"]


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name):
    factory, arguments, expected = COUNTS[name]
    with torch.device("meta"):
        assert count_parameters(factory(3, 10, **arguments)) == expected


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("side", [4, 9])
@pytest.mark.parametrize(
    ("factory", "arguments"),
    [
        (SmallCNN, {"width": 4}),
        (resnet18, {"width": 4}),
        (preactresnet18, {"width": 4}),
        (WideResNet, {"depth": 16, "widen": 1}),
    ],
)
def test_every_network_trains_on_small_images(factory, arguments, side, norm):
    network = factory(2, 5, norm=norm, **arguments)
    logits = network(torch.rand(3, 2, side, side))
    assert logits.shape == (3, 5)
    F.cross_entropy(logits, torch.tensor([0, 1, 2])).backward()
    dead = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert dead == []


@pytest.mark.parametrize("factory", [SmallCNN, resnet18, preactresnet18])
def test_group_norm_leaves_no_batch_norm(factory):
    kinds = [type(module) for module in factory(3, 10, width=8, norm="group").modules()]
    assert nn.GroupNorm in kinds
    assert nn.BatchNorm2d not in kinds


def test_group_norm_does_not_mix_samples():
    network = WideResNet(3, 10, depth=10, widen=1, norm="group").double()
    x = torch.rand(4, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(network(x)[:1], network(x[:1]))


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (4, 2), (7, 1), (9, 3), (12, 6), (16, 8), (640, 8)])
def test_group_count(channels, groups):
    assert group_count(channels) == groups


def test_unknown_norm_is_refused():
    with pytest.raises(UserError, match=r"model\.norm is 'layer'"):
        SmallCNN(3, 10, norm="layer")


@pytest.mark.parametrize(("depth", "blocks"), [(8, 1), (10, 1), (16, 2), (28, 4), (32, 5), (34, 5), (70, 11)])
def test_both_depth_conventions(depth, blocks):
    assert blocks_per_stage(depth) == blocks
    with torch.device("meta"):
        convolutions = [
            module
            for module in WideResNet(3, 10, depth=depth, widen=2).modules()
            if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
        ]
    assert len(convolutions) == 1 + 3 * 2 * blocks


@pytest.mark.parametrize(("depth", "near"), [(30, "28 and 32"), (29, "26 and 28"), (1, "8 and 10"), (6, "8 and 10")])
def test_bad_depth_names_the_nearest(depth, near):
    with pytest.raises(UserError, match=f"no WideResNet has depth {depth}; nearest are {near}"):
        WideResNet(3, 10, depth=depth, widen=1)


def test_wide_resnet_without_width_is_refused():
    with pytest.raises(UserError, match="wrn-16-0 is 0"):
        WideResNet(3, 10, depth=16, widen=0)


@pytest.mark.parametrize(
    ("network", "stages", "blocks"),
    [
        (lambda: WideResNet(3, 10, depth=16, widen=2), 3, 2),
        (lambda: WideResNet(3, 10, depth=10, widen=1), 3, 1),
        (lambda: preactresnet18(3, 10, width=4), 4, 2),
    ],
)
def test_preactivation_networks_equal_their_equations(network, stages, blocks):
    network = network().double().eval()
    assert isinstance(network, PreActResNet)
    randomise_norms(network)
    x = torch.rand(3, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(network(x), preact_forward(network.state_dict(), x, stages=stages, blocks=blocks))


@pytest.mark.parametrize("training", [True, False])
def test_resnet18_equals_torchvision(training):
    ours = resnet18(3, 10).double().train(training)
    randomise_norms(ours)
    theirs = ResNet(BasicBlock, [2, 2, 2, 2], num_classes=10)
    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    state = dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True))
    theirs.double().train(training).load_state_dict(state)
    x = torch.rand(4, 3, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_convolutions_start_at_the_fan_out_kaiming_scale():
    torch.manual_seed(0)
    network = SmallCNN(3, 10, width=32)
    convolutions = [module for module in network.features if isinstance(module, nn.Conv2d)]
    for convolution in convolutions[1:]:
        expected = (2 / (9 * convolution.out_channels)) ** 0.5
        assert convolution.weight.std().item() == pytest.approx(expected, rel=0.05)
    assert not network.head.bias.any()


@pytest.mark.parametrize(
    "network",
    [
        SmallCNN(3, 10, width=4),
        resnet18(3, 10, width=4),
        preactresnet18(3, 10, width=4),
        WideResNet(3, 10, depth=10, widen=1),
    ],
    ids=lambda network: type(network).__name__,
)
def test_head_takes_pooled_features(network):
    seen = []
    network.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    logits = network.eval()(torch.rand(2, 3, 8, 8))
    (features,) = seen
    assert features.shape == (2, network.head.in_features)
    torch.testing.assert_close(network.head(features), logits)


def test_small_cnn_halves_the_image_at_its_third_and_fifth_convolution():
    x, sides, widths = torch.rand(1, 3, 12, 12), [], []
    for layer in SmallCNN(3, 10, width=2).features:
        x = layer(x)
        if isinstance(layer, nn.Conv2d):
            widths.append(x.shape[1])
            sides.append(x.shape[2])
    assert widths == [2, 4, 4, 8, 8, 16]
    assert sides == [12, 12, 6, 6, 3, 3]
