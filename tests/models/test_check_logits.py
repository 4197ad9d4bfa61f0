"""Models that do not return logits are refused with the line to write, before anything is trained or attacked."""

from collections import namedtuple
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from iaat.errors import UserError
from iaat.evaluate.evaluate_given import evaluate_model
from iaat.models import ModelConfig, build_model
from iaat.runs.load_any_model import load_model

SHAPE, CLASSES = (1, 4, 4), 3
Outputs = namedtuple("Outputs", ["logits", "aux_logits"])


class Net(nn.Module):
    """Linear; what it returns is made by two functions of logits, one a mode."""

    def __init__(self, trained=lambda z: z, evaluated=lambda z: z, classes=CLASSES, before=lambda x: x):
        super().__init__()
        self.norm, self.linear = nn.BatchNorm2d(1), nn.Linear(16, classes)
        self.trained, self.evaluated, self.before = trained, evaluated, before

    def forward(self, x):
        logits = self.linear(self.norm(self.before(x)).flatten(1))
        return self.trained(logits) if self.training else self.evaluated(logits)


def with_aux(z):
    return Outputs(z, z + 1)


def as_object(z):
    return SimpleNamespace(features=z.flatten(), scores=z)


def subtract(x):
    with torch.no_grad():
        x.sub_(0.5)
    return x


NETS = {
    "aux": lambda shape, classes: Net(trained=with_aux),
    "pair": lambda shape, classes: Net(trained=lambda z: (z, z)),
    "second": lambda shape, classes: Net(*[lambda z: (z.mean(), z)] * 2),
    "both": lambda shape, classes: Net(with_aux, with_aux),
    "dict": lambda shape, classes: Net(*[lambda z: {"loss": z.mean(), "out": z}] * 2),
    "object": lambda shape, classes: Net(as_object, as_object),
    "writing": lambda shape, classes: Net(before=subtract),
    "relu": lambda shape, classes: Net(before=nn.ReLU(inplace=True)),
    "integers": lambda shape, classes: Net(trained=lambda z: z.argmax(1)),
    "function": lambda shape, classes: torch.sin,
    "class": lambda shape, classes: Net,
    "weights": lambda shape, classes: Net().state_dict(),
    "other": lambda shape, classes: Net(classes=CLASSES + 1),
    "half": lambda shape, classes: Net(*[lambda z: z.half()] * 2),
    "all_half": lambda shape, classes: Net().half(),
    "one": lambda shape, classes: Net(classes=1),
    "one_flat": lambda shape, classes: Net(*[lambda z: z[:, 0]] * 2, classes=1),
}
globals().update(NETS)


def build(name, classes=CLASSES):
    config = ModelConfig(name=f"{__name__}:{name}", normalize="none")
    return build_model(config, shape=SHAPE, classes=classes)


TRAIN = "in train mode model.name"
LINES = {
    "aux": (TRAIN, "returns a Outputs of 2", "out = self.network(x); return out.logits if self.training else out"),
    "pair": (TRAIN, "returns a tuple of 2", "return out[0] if self.training else out"),
    "second": ("returns a tuple of 2", "return self.network(x)[1]"),
    "both": ("returns a Outputs of 2", "return self.network(x).logits"),
    "dict": ("a dict with the keys loss, out", "return self.network(x)['out']"),
    "object": ("returns a SimpleNamespace", "return self.network(x).scores"),
    "writing": ("writes into its input", "x = x.clone()"),
    "integers": (TRAIN, "return the scores before argmax"),
    "function": ("returned a builtin_function_or_method", "forward = staticmethod(sin)"),
    "class": ("returned the class Net: call it, Net()",),
    "weights": ("returned a OrderedDict; it must return a torch.nn.Module",),
    "other": ("the model has 4 classes, the data 3",),
    "all_half": ("its weights are torch.float16: call model.float()",),
}


@pytest.mark.parametrize("name", LINES)
def test_what_is_no_network_of_logits_is_refused_before_training_with_the_line_to_write(name):
    with pytest.raises(UserError) as caught:
        build(name)
    assert all(part in str(caught.value) for part in LINES[name])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["one", "one_flat"])
def test_one_logit_for_two_classes_gets_the_line_that_makes_two(name):
    with pytest.raises(UserError) as caught:
        build(name, classes=2)
    line = str(caught.value).partition("return two: ")[2]
    # The line does what it says.
    network = NETS[name](SHAPE, 2)
    body = line.replace("; ", "\n    ")
    scope = {"torch": torch}
    exec(f"def forward(self, x):\n    {body}", scope)
    wrapped = type("Two", (nn.Module,), {"forward": scope["forward"]})()
    wrapped.network = network.eval()
    x = torch.rand(5, *SHAPE)
    logits = wrapped(x)
    assert logits.shape == (5, 2)
    torch.testing.assert_close(logits.softmax(1)[:, 1], network(x).flatten().sigmoid())


def test_a_network_that_changes_nothing_in_place_is_taken():
    assert build("relu")(torch.rand(3, *SHAPE)).shape == (3, CLASSES)


def test_the_look_at_train_mode_leaves_nothing_behind():
    model = build("half")
    assert torch.equal(model.norm.running_mean, torch.zeros(1))
    assert int(model.norm.num_batches_tracked) == 0


def test_logits_of_half_precision_are_cast_in_training_and_evaluation():
    assert build("half")(torch.rand(3, *SHAPE)).dtype == torch.float32
    loaded = load_model(f"{__name__}:half", shape=SHAPE, classes=CLASSES)
    assert loaded(torch.rand(3, *SHAPE)).dtype == torch.float32
    torch.manual_seed(0)
    network = NETS["half"](SHAPE, CLASSES).eval()
    x, y = torch.rand(12, *SHAPE), torch.arange(12) % CLASSES
    results = evaluate_model(network, x, y, classes=CLASSES, suite="pgd-2+screening", radius="8px")
    with torch.no_grad():
        assert network(x).dtype == torch.float16
        assert results.accuracy["clean"] == pytest.approx(float((network(x).argmax(1) == y).double().mean()))


def test_functions_and_writers_are_refused_by_the_evaluation_in_python():
    x, y = torch.rand(12, *SHAPE), torch.arange(12) % CLASSES
    for model, part in (
        (lambda x: x.flatten(1)[:, :3], "the model is a function; it must be a torch.nn.Module"),
        (Net(before=subtract).eval(), "writes into its input: let its forward begin with x = x.clone()"),
        (Net, "the class Net: call it"),
    ):
        with pytest.raises(UserError) as caught:
            evaluate_model(model, x, y, classes=CLASSES)
        assert part in str(caught.value)
    assert float(x.min()) >= 0


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_torchvisions_networks_with_auxiliary_classifiers_are_found_before_training(name, monkeypatch):
    from torchvision import models

    def make(shape, classes):
        return getattr(models, name)(num_classes=classes, aux_logits=True, init_weights=False)

    monkeypatch.setitem(globals(), "auxiliary", make)
    config = ModelConfig(name=f"{__name__}:auxiliary", normalize="none")
    side = 299 if name == "inception_v3" else 64
    with pytest.raises(UserError, match=r"in train mode .*return out\.logits if self\.training else out$"):
        build_model(config, shape=(3, side, side), classes=3)
