"""Every mistake planted in a model that is correct without: the mistake is named with its fix, the rest is silent."""

import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from helpers.external_models import cnn, coloured, digits, mlp, statistics, trained
from iaat.errors import UserError
from iaat.evaluate import evaluate_model
from iaat.evaluate.model_checks import check_model
from iaat.models import Normalize

N = 300


class Around(nn.Module):
    """A network with something done to its inputs or outputs."""

    def __init__(self, network, before=lambda x: x, after=lambda logits: logits):
        super().__init__()
        self.network, self.before, self.after = network, before, after

    def forward(self, x):
        return self.after(self.network(self.before(x)))


@pytest.fixture(scope="module")
def data():
    (x, y), (x_test, y_test) = digits()
    return SimpleNamespace(x=x, y=y, x_test=x_test[:N], y_test=y_test[:N], statistics=statistics(x))


@pytest.fixture(scope="module")
def honest(data):
    torch.manual_seed(0)
    return trained(cnn(), data.x, data.y)


def check(model, data, **settings):
    mean, std = data.statistics
    return check_model(model, data.x_test, data.y_test, **{"classes": 10, "mean": mean, "std": std, **settings})


def names(findings):
    return {finding.name: finding.serious for finding in findings}


def refused(model, data, **settings):
    with pytest.raises(UserError) as caught:
        check(model, data, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_honest_model_gives_no_findings_and_is_left_as_it_was(honest, data):
    before = {key: value.clone() for key, value in honest.state_dict().items()}
    honest.train()
    honest[0].eval()
    modes = [module.training for module in honest.modules()]
    assert check(honest, data) == []
    assert [module.training for module in honest.modules()] == modes
    honest.eval()
    assert all(torch.equal(before[key], value) for key, value in honest.state_dict().items())


def test_an_honest_model_of_three_channels_gives_no_findings():
    (x, y), (x_test, y_test) = coloured()
    model = trained(mlp(192), x, y)
    mean, std = statistics(x)
    assert check_model(model, x_test[:N], y_test[:N], classes=10, mean=mean, std=std) == []


@pytest.mark.parametrize("mean", [[0.4914, 0.4822, 0.4465], [0.485, 0.456, 0.406]], ids=["cifar", "imagenet"])
def test_published_statistics_are_tried_on_three_channels(mean):
    (x, y), (x_test, y_test) = coloured()
    scale = Normalize(torch.tensor(mean), torch.tensor([0.02, 0.3, 0.25]))
    model = Around(trained(mlp(192), scale(x), y))
    mean, std = scale.mean, scale.std
    with pytest.raises(UserError, match=r"standardised by the data's mean.*--model\.mean '\[0\.4[89]"):
        check_model(model, x_test[:N], y_test[:N], classes=10, mean=mean, std=std)


def threshold(x):
    """A network that looks at the sign of its inputs: at inputs in [0, 1] it sees nothing."""
    return (x > 0).float() - (x < 0).float()


def test_a_model_of_standardised_inputs_is_refused_with_the_statistics_of_the_data(data):
    model = Around(trained(mlp(), threshold(Normalize(*data.statistics)(data.x)), data.y), before=threshold)
    message = refused(model, data)
    mean, std = (f"{value.item():.4g}" for value in data.statistics)
    assert "standardised by the data's mean and deviation" in message
    assert f"--model.mean '[{mean}]' --model.std '[{std}]'" in message
    assert f"of {N} clean samples are correct (chance of that: " in message


def test_the_fix_in_the_message_is_the_fix(data):
    network = Around(trained(mlp(), threshold(Normalize(*data.statistics)(data.x)), data.y), before=threshold)
    assert check(nn.Sequential(Normalize(*data.statistics), network), data) == []


def test_a_model_of_inputs_in_0_to_255_is_refused_with_its_fix(data):
    model = Around(trained(mlp(), data.x, data.y), before=lambda x: x.round() / 255)
    message = refused(model, data)
    assert "the model expects inputs in 0..255, not inputs in [0, 1]" in message
    assert "--model.mean '[0.0]' --model.std '[0.003922]'" in message


def test_a_scale_that_gains_little_is_a_note(honest, data):
    """A tenth of the images goes dark unless inputs are in 0..255: worth knowing, and no other network."""
    dark = data.x_test.mean((1, 2, 3)).quantile(0.1)

    def before(x):
        levels = x.amax((1, 2, 3), keepdim=True) > 1
        return torch.where(levels, x / 255, x * (x.mean((1, 2, 3), keepdim=True) > dark))

    found = check(Around(honest, before=before), data)
    assert names(found) == {"input-scale": False}
    assert "inputs in 0..255 in place of [0, 1]" in found[0].evidence


def test_channels_in_the_other_order_are_a_note():
    (x, y), (x_test, y_test) = coloured()
    model = Around(trained(mlp(192), x, y), before=lambda x: x.flip(1))
    mean, std = statistics(x)
    found = check_model(model, x_test[:N], y_test[:N], classes=10, mean=mean, std=std)
    assert names(found)["channel-order"] is False
    assert "class-order" not in names(found)
    assert "x.flip(1)" in next(each.advice for each in found if each.name == "channel-order")


def test_a_model_that_misclassifies_in_a_pattern_is_not_advised_to_reorder_its_classes():
    """Four in ten samples are taken for the next class, and the others for no class in particular."""
    y = torch.arange(N) % 10
    other = (y + torch.randint(2, 10, (N,), generator=torch.Generator().manual_seed(0))) % 10
    table = torch.eye(10)[torch.where(torch.arange(N) % 7 < 3, (y + 1) % 10, other)]
    x = (torch.arange(N) / N)[:, None]
    model = Around(nn.Identity(), after=lambda x: 5 * table[(x[:, 0] * N).round().long().clamp(0, N - 1)])
    found = check_model(model, x, y, classes=10)
    assert names(found) == {"class-order": False, "chance-accuracy": False}


@pytest.mark.parametrize(
    ("after", "name", "serious"),
    [
        (lambda z: z.softmax(1), "softmax-outputs", True),
        (lambda z: z.log_softmax(1), "log-softmax-outputs", False),
        (lambda z: z.sigmoid(), "sigmoid-outputs", True),
    ],
)
def test_outputs_that_are_no_logits(honest, data, after, name, serious):
    assert names(check(Around(honest, after=after), data)) == {name: serious}


def test_train_mode_is_a_note(honest, data):
    assert names(check(honest, data, was_training=True)) == {"train-mode": False}


@pytest.mark.parametrize(
    ("after", "message"),
    [
        pytest.param(lambda z: z[:, :7], r"\[128, 7\].*the model has 7 classes, the data 10", id="fewer classes"),
        pytest.param(lambda z: torch.cat([z, z], 1), r"the model has 20 classes, the data 10", id="more classes"),
        pytest.param(lambda z: z[:, :1], r"\[128, 1\] .*return 10 logits", id="one logit"),
        pytest.param(lambda z: z.argmax(1), r"\[128\].*torch\.int64 and no logits; return the scores", id="classes"),
        pytest.param(lambda z: z[:, :, None, None], r"logits\.flatten\(1\)", id="maps"),
        pytest.param(lambda z: (z, z.sum()), r"a tuple of 2 .*return self\.network\(x\)\[0\]", id="tuple"),
        pytest.param(
            lambda z: {"loss": z.sum(), "out": z},
            r"keys loss, out.*self\.network\(x\)\['out'\]",
            id="dict",
        ),
        pytest.param(
            lambda z: SimpleNamespace(logits=z),
            r"SimpleNamespace.*\(x\)\.logits",
            id="hugging face",
        ),
        pytest.param(lambda z: None, r"a NoneType and no tensor", id="nothing"),
        pytest.param(lambda z: z.mean(), r"shape \[\] for 128", id="number"),
    ],
)
def test_outputs_of_another_shape_are_refused(honest, data, after, message):
    assert re.search(message, refused(Around(honest, after=after), data))


def test_one_logit_for_two_classes_is_refused_with_the_two(data):
    rows = data.y_test < 2
    with pytest.raises(UserError, match=r"one logit of a sigmoid; return two: z = .*; return torch\.stack"):
        check_model(mlp(classes=1), data.x_test[rows], data.y_test[rows], classes=2)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_refused(honest, data, value):
    def spoil(logits):
        return torch.where((logits.argmax(1) == 4)[:, None], value, logits)

    count = int((honest(data.x_test).argmax(1) == 4).sum())
    assert f"for {count} of {N} clean samples" in refused(Around(honest, after=spoil), data)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Around(mlp(), before=lambda x: x.permute(0, 3, 1, 2)[:, :1] if x.shape[3] == 1 else x[0, 5]), "permute"),
        (nn.Sequential(nn.Linear(64, 10)), r"one row of numbers, \[B, N\]: .*x\.flatten\(1\)"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 10)),
            r"RuntimeError.*bring the data to the size",
        ),
    ],
    ids=["channels last", "flat", "three channels"],
)
def test_inputs_the_model_cannot_take(data, network, message):
    assert re.search(message, refused(network, data))


def test_classes_in_another_order_are_refused_with_the_order(honest, data):
    order = torch.tensor([3, 1, 2, 0, 5, 6, 4, 9, 8, 7])
    message = refused(Around(honest, after=lambda z: z[:, order]), data)
    assert "class 0 is output 3" in message
    back = eval(message.split("logits[:, ")[1][:-1])  # the list in the advice
    assert check(Around(honest, after=lambda z: z[:, order][:, back]), data) == []


def test_two_classes_swapped_are_a_note_where_little_is_lost(honest, data):
    order = torch.tensor([1, 0, 2, 3, 4, 5, 6, 7, 8, 9])
    rows = torch.cat([torch.arange(N)[data.y_test > 1], torch.arange(N)[data.y_test < 2][:36]])
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]
    found = check_model(Around(honest, after=lambda z: z[:, order]), data.x_test[rows], data.y_test[rows], classes=10)
    assert names(found) == {"class-order": False}
    assert "class 0 is output 1, class 1 is output 0" in found[0].evidence


def test_an_untrained_model_is_at_chance_and_nothing_else(data):
    for seed in range(5):
        torch.manual_seed(seed)
        assert names(check(cnn(), data)) == {"chance-accuracy": False}


def test_chance_alone_never_makes_an_order_of_a_thousand_classes():
    y = torch.randint(0, 1000, (N,), generator=torch.Generator().manual_seed(0))
    model = Around(nn.Flatten(), after=lambda z: z @ torch.randn(64, 1000, generator=torch.Generator().manual_seed(1)))
    x = torch.rand(N, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    assert "class-order" not in names(check_model(model, x, y, classes=1000))


def test_inputs_of_another_rank_than_images(data):
    model = trained(nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10)), data.x.flatten(1), data.y)
    assert check_model(model, data.x_test.flatten(1), data.y_test, classes=10) == []


X, Y = torch.rand(4, 1, 2, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 1])


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        pytest.param(X[:0], Y[:0], "samples: has no samples: give at least one", id="empty"),
        pytest.param(torch.rand(4), Y, r"x is torch\.float32 \[4\]: give .*\[n, ...\]", id="no inputs"),
        pytest.param((X * 255).byte(), Y, r"x is torch\.uint8.*x\.float\(\) / 255", id="bytes"),
        pytest.param(X * 255, Y, r"reaches from .*outside \[0, 1\]: divide by 255", id="0..255"),
        pytest.param(X / 255 / 255, Y, "divided by 255 twice", id="divided twice"),
        pytest.param(X * 1000, Y, "divide by the largest value there can be", id="beyond 255"),
        pytest.param(X * 2 - 1, Y, r"reaches from -.*looks normalised.*give mean= and std=", id="standardised"),
        pytest.param(X.where(X.max() > X, torch.nan), Y, "holds nan", id="nan"),
        pytest.param(X, Y[:3], "4 inputs but 3 labels: give one label an input", id="fewer labels"),
        pytest.param(X, nn.functional.one_hot(Y, 3), r"\[4, 3\].*labels\.argmax\(1\)", id="one-hot"),
        pytest.param(X, Y.float(), r"torch\.float32.*labels\.to\(torch\.int64\)", id="float labels"),
        pytest.param(X, Y + 1, r"outside 0\.\.2 .*labels go from 1 to 3: subtract 1", id="from 1"),
        pytest.param(X, Y - 1, r"the label at index 0 is -1, outside 0\.\.2", id="negative"),
        pytest.param(X, Y * 2, r"the label at index 2 is 4, outside 0\.\.2", id="too large"),
    ],
)
def test_samples_that_are_not_fit(x, y, message):
    with pytest.raises(UserError, match=message):
        evaluate_model(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), x, y, classes=3)
