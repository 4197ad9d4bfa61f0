import sys

import pytest
import torch
from torch import nn

from iaat.errors import UserError
from iaat.models import MODELS, ModelConfig, NormalizedModel, WideResNet, build_model, supports_channels_last
from iaat.runtime.user_code import GIVEN

SHAPE = (3, 8, 8)
MEAN, STD = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.25, 0.2, 0.5])


def build(*, shape=SHAPE, classes=10, seed=0, **settings):
    return build_model(ModelConfig(**{"normalize": "none", **settings}), shape=shape, classes=classes, seed=seed)


@pytest.fixture
def user_code(tmp_path, monkeypatch):
    """Write a module in the working directory, which is on no import path, and forget it afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)

    def write(text, name="my_models"):
        (tmp_path / f"{name}.py").write_text(f"from torch import nn\n{text}")

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("my_"):
            del sys.modules[name]


@pytest.mark.parametrize("name", [*MODELS, "wrn-10-1"])
def test_networks_by_name(name):
    width = None if name.startswith("wrn") else 4
    model = build(name=name, width=width, shape=(1, 8, 8), classes=7)
    assert all(module.training for module in model.modules())
    batches_seen = [value for key, value in model.state_dict().items() if key.endswith("num_batches_tracked")]
    assert batches_seen
    assert not any(batches_seen)
    assert model(torch.rand(3, 1, 8, 8)).shape == (3, 7)


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.parametrize("name", [*MODELS, "wrn-10-1", "resnet18 with groups"])
def test_networks_are_torchscript(name):
    width = None if name.startswith("wrn") else 4
    config = ModelConfig(name=name.split()[0], width=width, norm="group" if "groups" in name else "batch")
    model = build_model(config, shape=SHAPE, classes=7, mean=MEAN, std=STD).eval()
    program = torch.jit.script(model)
    for size in (1, 5):
        x = torch.rand(size, *SHAPE)
        torch.testing.assert_close(program(x), model(x))


def test_wrn_name_gives_depth_and_width():
    model = build(name="wrn-16-2")
    assert isinstance(model, WideResNet)
    assert [len(stage) for stage in model.stages] == [2, 2, 2]
    assert model.head.in_features == 128


def test_width_is_the_first_layers():
    assert build(name="small-cnn", width=5).features[0].out_channels == 5
    assert build(name="small-cnn").features[0].out_channels == 16


def test_equal_seeds_give_equal_weights_and_others_do_not():
    first, second, third = (build(seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["head.weight"], third["head.weight"])


def test_global_generator_is_untouched():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    build(seed=3)
    assert torch.equal(torch.rand(3), expected)


def test_weights_do_not_depend_on_the_global_generator():
    torch.manual_seed(1)
    first = build().head.weight
    torch.manual_seed(2)
    assert torch.equal(build().head.weight, first)


def test_normalisation_is_the_first_layer():
    model = build_model(ModelConfig(width=4), shape=SHAPE, classes=10, mean=MEAN, std=STD).eval()
    assert isinstance(model, NormalizedModel)
    x = torch.rand(2, *SHAPE)
    standardised = (x - MEAN[:, None, None]) / STD[:, None, None]
    torch.testing.assert_close(model(x), model.network(standardised))


def test_normalisation_does_not_change_the_weights():
    bare = build(seed=3)
    wrapped = build_model(ModelConfig(), shape=SHAPE, classes=10, mean=MEAN, std=STD, seed=3)
    assert torch.equal(wrapped.network.head.weight, bare.head.weight)


@pytest.mark.parametrize(
    ("statistics", "message"),
    [
        ({}, "no mean and std"),
        ({"mean": MEAN}, "no mean and std"),
        ({"mean": MEAN[:1], "std": STD[:1]}, "1 values, but inputs have 3 channels"),
    ],
)
def test_unusable_statistics_are_refused(statistics, message):
    with pytest.raises(UserError, match=message):
        build_model(ModelConfig(), shape=SHAPE, classes=10, **statistics)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("smal-cnn", "small-cnn"), ("ResNet18", "resnet18"), ("preact-resnet18", "preactresnet18"), ("wrn-28", "wrn-28")],
)
def test_unknown_name_suggests_the_nearest(name, suggestion):
    with pytest.raises(
        UserError, match=rf"model\.name.*'{name}' \(did you mean .*{suggestion}.*\?\); there are small-cnn"
    ):
        build(name=name)


def test_name_like_nothing_still_lists_what_exists():
    with pytest.raises(UserError, match=r"'%%%%'; there are small-cnn, resnet18, preactresnet18, wrn-DEPTH-WIDTH"):
        build(name="%%%%")


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "wrn-10-1", "width": 4},
        {"name": "small-cnn", "pretrained": True},
        {"name": "resnet18", "options": {"depth": 18}},
        {"name": "timm:test_resnet", "width": 4},
        {"name": "test_resnet", "norm": "group"},
        {"name": "my_models:build", "width": 4},
        {"name": "my_models:build", "pretrained": True},
    ],
    ids=str,
)
def test_setting_without_effect_is_refused(settings):
    if "test_resnet" in settings["name"]:
        pytest.importorskip("timm")
    setting = next(key for key in settings if key != "name")
    with pytest.raises(UserError, match=rf"model\.{setting} is .* no effect on '{settings['name']}'"):
        build(**settings)


def test_width_below_one_is_refused():
    with pytest.raises(UserError, match=r"model\.width is 0"):
        build(width=0)


@pytest.mark.parametrize("name", ["small-cnn", "wrn-10-1"])
def test_own_networks_refuse_feature_vectors(name):
    with pytest.raises(UserError, match=r"takes images \[C, H, W\], but one input has shape \[64\]"):
        build(name=name, shape=(64,))


def test_user_factory_from_the_working_directory(user_code):
    user_code("def tiny(*, shape, classes, bias): return nn.Linear(shape[0], classes, bias=bias)")
    model = build(name="my_models:tiny", shape=(6,), classes=4, options={"bias": False})
    assert (model.weight.shape, model.bias) == ((4, 6), None)
    assert torch.equal(
        build(name="my_models:tiny", shape=(6,), classes=4, options={"bias": False}).weight, model.weight
    )


@pytest.mark.parametrize("name", ["Net", "shaped", "bare", "open_ended", "both"])
def test_factories_and_classes_get_what_their_signature_takes(user_code, name):
    user_code(
        "class Net(nn.Linear):\n"
        "    def __init__(self, classes=3): super().__init__(6, classes)\n"
        "def shaped(shape): return nn.Linear(*shape, 4)\n"
        "def bare(): return nn.Linear(6, 4)\n"
        "def open_ended(**given): return nn.Linear(*given['shape'], given['classes'])\n"
        "def both(classes, **given): return nn.Linear(*given['shape'], classes)\n"
    )
    assert build(name=f"my_models:{name}", shape=(6,), classes=4).weight.shape == (4, 6)


def test_a_given_module_with_other_outputs_is_answered_with_the_number():
    with pytest.raises(UserError, match=r"has 3 classes, the data 4; build it with 4 outputs$"):
        build(name=GIVEN, module=nn.Linear(6, 3), shape=(6,), classes=4)


def test_user_factory_keeps_its_frozen_modules(user_code):
    user_code("def frozen(shape, classes): return nn.Sequential(nn.BatchNorm1d(6).eval(), nn.Linear(6, classes))")
    model = build(name="my_models:frozen", shape=(6,), classes=4)
    assert [module.training for module in model] == [False, True]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_absent:tiny", r"model\.name: no module 'my_absent'"),
        ("my_models:tinny", r"my_models\.py has no function 'tinny'.* \(did you mean 'tiny'"),
        ("my_models:", r"my_models\.py has no function ''"),
        ("my_models:constant", "holds no function but a value under the name 'constant'"),
        ("./my_models.py:tiny", r"'./my_models\.py' is a file; write my_models:tiny, without \.py"),
        ("my_models.py:tiny", r"model\.name is .*write my_models:tiny, without \.py"),
        ("my models:tiny", "is not a module's name: write module:function"),
        ("my_models:number", "returned a int; it must return a torch.nn.Module"),
        ("my_models:needy", r"called with classes= and model.options \{\}: missing a required argument: 'depth'"),
        ("my_models:positional", "missing a required argument: 'classes'|missing a required positional-only argument"),
        (
            "my_models:wrong",
            r"wrong' returns shape \[2, 5\] .*: the model has 5 classes, the data 4; build it with 4 outputs: an "
            r"argument named classes is given this number, any other by --model\.options '\{NAME: 4\}'",
        ),
        ("my_models:pair", r"returns a tuple of 2 .*return self\.network\(x\)\[0\]"),
        ("my_models:mismatch", r"cannot take inputs of shape \[2, 6\], .*: RuntimeError"),
    ],
)
def test_user_factory_mistakes(user_code, name, message):
    user_code(
        "constant = 3\n"
        "class Pair(nn.Module):\n"
        "    def forward(self, x): return x, x\n"
        "def tiny(shape, classes): return nn.Linear(6, classes)\n"
        "def number(shape, classes): return 3\n"
        "def needy(depth, classes): return nn.Linear(6, classes)\n"
        "def positional(classes, /): return nn.Linear(6, classes)\n"
        "def wrong(shape, classes): return nn.Linear(6, 5)\n"
        "def pair(shape, classes): return Pair()\n"
        "def mismatch(shape, classes): return nn.Linear(7, 4)\n"
    )
    with pytest.raises(UserError, match=message):
        build(name=name, shape=(6,), classes=4)


def test_option_that_repeats_an_argument_is_refused(user_code):
    user_code("def tiny(shape, classes): return nn.Linear(6, classes)")
    with pytest.raises(UserError, match="multiple values for keyword argument 'classes'"):
        build(name="my_models:tiny", shape=(6,), classes=4, options={"classes": 5})


def test_errors_inside_the_users_code_are_not_disguised(user_code):
    user_code("import my_missing_dependency", name="my_imports")
    with pytest.raises(ModuleNotFoundError, match="my_missing_dependency"):
        build(name="my_imports:build")
    user_code("def build(shape, classes): return {}['weights']")
    with pytest.raises(KeyError, match="weights"):
        build(name="my_models:build")


def test_check_restores_modes_after_a_failure(user_code):
    user_code("network = nn.Sequential(nn.Dropout(), nn.Linear(7, 4))\ndef mismatch(shape, classes): return network\n")
    with pytest.raises(UserError, match="cannot take inputs"):
        build(name="my_models:mismatch", shape=(6,), classes=4)
    assert all(module.training for module in sys.modules["my_models"].network.modules())


def test_any_registered_network_can_be_named(monkeypatch):
    monkeypatch.setitem(MODELS, "mine", lambda channels, classes, **_: nn.Sequential(nn.Flatten(), nn.Linear(192, 10)))
    assert build(name="mine")(torch.rand(2, *SHAPE)).shape == (2, 10)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("nn.AdaptiveAvgPool1d(classes)", "no weights to train .it holds no torch.nn.Parameter"),
        ("nn.Linear(6, classes).requires_grad_(False)", "no weights to train .all 2 are frozen"),
    ],
)
def test_network_without_trainable_weights_is_refused(user_code, body, message):
    user_code(f"def build(shape, classes): return {body}")
    with pytest.raises(UserError, match=f"model.name 'my_models:build' has {message}"):
        build(name="my_models:build", shape=(6,), classes=4)


def test_imports_inside_a_users_functions_find_the_working_directory(user_code):
    user_code("width = 6", name="my_lazy")
    user_code(
        "class Late(nn.Linear):\n"
        "    def forward(self, x):\n"
        "        import my_lazy\n"
        "        return super().forward(x[:, :my_lazy.width])\n"
        "def build(shape, classes): return Late(6, classes)\n"
    )
    before = len(sys.path)
    for _ in range(2):
        model = build(name="my_models:build", shape=(6,), classes=4)
        assert len(sys.path) == before + 1
    sys.modules.pop("my_lazy")
    assert model(torch.zeros(2, 6)).shape == (2, 4)


class Viewing(nn.Module):
    def __init__(self):
        super().__init__()
        self.features, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 5)

    def forward(self, x):
        x = self.features(x)
        return self.head(x.view(len(x), -1))


class Backwards(torch.autograd.Function):
    """Fails where the gradient arrives channels last, and only there."""

    @staticmethod
    def forward(_context, x):
        return x.contiguous()

    @staticmethod
    def backward(_context, gradient):
        return gradient.contiguous(memory_format=torch.channels_last).view(-1).view(gradient.shape)


class ViewingBackwards(nn.Conv2d):
    def forward(self, x):
        return Backwards.apply(super().forward(x)).flatten(1)


def test_networks_that_view_channels_last_inputs_are_recognised():
    assert supports_channels_last(build(name="small-cnn", width=4), SHAPE)
    assert not supports_channels_last(Viewing(), SHAPE)
    assert not supports_channels_last(ViewingBackwards(3, 4, 3), SHAPE)
    assert not supports_channels_last(nn.Linear(6, 3), (6,))


def test_the_channels_last_trial_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4).eval(), nn.Dropout(), nn.Flatten(), nn.Linear(144, 5))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    random = torch.get_rng_state()
    with torch.no_grad():
        assert supports_channels_last(model, SHAPE)
    assert [module.training for module in model] == [True, False, True, True, True]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model[0].weight.is_contiguous()
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
