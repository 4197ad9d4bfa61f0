"""Learning rates against their closed forms, and optimisers against PyTorch's own steps."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from helpers.training import assert_resumes_bitwise, same, tiny
from iaat.config.load_recipe import load_recipe
from iaat.config.train_config import TrainConfig
from iaat.errors import UserError
from iaat.train.ddp import GradientSync
from iaat.train.optim import build_optimizer, build_schedule
from iaat.train.restored_parts import checked_part
from iaat.train.state import TrainState
from iaat.train.step_snapshot import StepSnapshot

EPOCHS, STEPS = 10, 7
TOTAL = EPOCHS * STEPS


def course(config, steps=STEPS):
    """Learning rate and momentum used in each step of a training."""
    optimizer = build_optimizer(nn.Linear(2, 2), config)
    schedule = build_schedule(optimizer, config, steps)
    used = []
    for _ in range(config.epochs * steps):
        used.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]))
        optimizer.step()
        schedule.step()
    rates, momenta = zip(*used, strict=True)
    assert set(momenta) == {config.momentum}
    return rates


def cosine(start, end, fraction):
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2


def test_onecycle_peaks_at_30_percent_and_ends_near_0():
    rates = course(TrainConfig(epochs=EPOCHS, lr=0.2, schedule="onecycle", momentum=0.8))
    peak = 0.3 * TOTAL - 1
    expected = [
        cosine(0.2 / 25, 0.2, t / peak) if t <= peak else cosine(0.2, 0.2 / 25e4, (t - peak) / (TOTAL - 1 - peak))
        for t in range(TOTAL)
    ]
    assert rates == pytest.approx(expected)
    assert rates.index(max(rates)) == peak
    assert max(rates) == pytest.approx(0.2)
    assert rates[-1] == pytest.approx(0.2 / 25e4)


def test_cosine_falls_from_the_first_step_to_0():
    rates = course(TrainConfig(epochs=EPOCHS, lr=0.2, schedule="cosine"))
    assert rates == pytest.approx([0.1 * (1 + math.cos(math.pi * t / TOTAL)) for t in range(TOTAL)])


def test_multistep_drops_after_its_epochs_and_not_a_step_earlier():
    rates = course(TrainConfig(epochs=EPOCHS, lr=0.2, schedule="multistep", milestones=[3, 4, 9], lr_drop=0.5))
    by_epoch = [0.2] * 3 + [0.1] + [0.05] * 5 + [0.025]
    assert rates == pytest.approx([rate for rate in by_epoch for _ in range(STEPS)])


def test_constant_stays():
    assert set(course(TrainConfig(epochs=EPOCHS, lr=0.2, schedule="constant"))) == {0.2}


@pytest.mark.parametrize("schedule", ["onecycle", "cosine", "constant"])
def test_a_training_of_one_step_has_a_rate(schedule):
    (rate,) = course(TrainConfig(epochs=1, schedule=schedule), steps=1)
    assert 0.05 < rate <= 0.1


@pytest.mark.parametrize("nesterov", [False, True])
def test_steps_are_those_of_sgd_with_the_recipes_numbers(nesterov):
    config = TrainConfig(lr=0.1, momentum=0.8, weight_decay=0.01, nesterov=nesterov)
    model = nn.Linear(1, 1, bias=False)
    optimizer = build_optimizer(model, config)
    w, velocity = model.weight.item(), 0.0
    for slope in (3.0, -2.0, 0.5):
        optimizer.zero_grad()
        model.weight.grad = torch.tensor([[slope]])
        optimizer.step()
        gradient = slope + 0.01 * w
        velocity = 0.8 * velocity + gradient
        w -= 0.1 * (gradient + 0.8 * velocity if nesterov else velocity)
        assert model.weight.item() == pytest.approx(w, rel=1e-5)


def test_frozen_weights_are_not_in_the_optimizer():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    model[0].requires_grad_(False)
    optimizer = build_optimizer(model, TrainConfig())
    optimised = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert optimised == {id(parameter) for parameter in model[1].parameters()}


# Other optimisers than SGD

NAMES = ["sgd", "ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop"]
NAMES.append("Rprop")


def started(name, **settings):
    """A model, its optimiser and a function that takes a step on it by a gradient that depends on the step's number."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    for weight in model.parameters():
        nn.init.constant_(weight, 0.5)
    optimizer = build_optimizer(model, TrainConfig(**{"optimizer": name, "lr": 0.01, "weight_decay": 0.1, **settings}))

    def step(number):
        for weight in model.parameters():
            weight.grad = torch.cos(torch.arange(weight.numel()) + float(number)).view_as(weight)
        optimizer.step()

    return model, optimizer, step


@pytest.mark.parametrize("name", NAMES)
def test_any_optimizer_of_torch_takes_its_own_steps(name):
    settings = {"optimizer_options": {"betas": [0.5, 0.6]}} if "Adam" in name or name == "Adamax" else {}
    model, _, step = started(name, **settings)
    twin, *_ = started(name)
    own = torch.optim.SGD if name == "sgd" else getattr(torch.optim, name)
    decay = {} if name == "Rprop" else {"weight_decay": 0.1}
    more = {"momentum": 0.9} if name == "sgd" else {"betas": (0.5, 0.6)} if settings else {}
    optimizer = own(twin.parameters(), lr=0.01, **decay, **more)
    for number in range(3):
        step(number)
        for weight, source in zip(twin.parameters(), model.parameters(), strict=True):
            weight.grad = source.grad.clone()
        optimizer.step()
    assert same(dict(model.state_dict()), dict(twin.state_dict()))


@pytest.mark.parametrize("begun", [False, True], ids=["first step", "later step"])
@pytest.mark.parametrize("name", NAMES)
def test_an_undone_step_leaves_every_optimizer_as_it_was(name, begun):
    model, optimizer, step = started(name)
    twin, _, other = started(name)
    if begun:
        step(0), other(0)
    state = SimpleNamespace(model=model, optimizer=optimizer, method=SimpleNamespace(radii=None), ema=None)
    snapshot = StepSnapshot(state, torch.arange(1))
    step(1)
    snapshot.restore_unless(torch.tensor(False))
    for number in (2, 3):
        step(number), other(number)
    assert same(dict(model.state_dict()), dict(twin.state_dict()))


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_optimizer_goes_on_as_before(name):
    model, optimizer, step = started(name)
    step(0), step(1)
    twin, other, twins_step = started(name)
    twin.load_state_dict(model.state_dict())
    saved = copy.deepcopy(optimizer.state_dict())
    other.load_state_dict(checked_part("optimizer", saved, other))
    for number in (2, 3):
        step(number), twins_step(number)
    assert same(dict(model.state_dict()), dict(twin.state_dict()))


@pytest.mark.parametrize("value", [torch.ones(7), torch.ones(4, 2), "a text", 1.0])
def test_a_state_that_no_optimizer_keeps_is_refused(value):
    _, optimizer, step = started("AdamW")
    step(0)
    saved = optimizer.state_dict()
    saved["state"][0]["exp_avg"] = value
    with pytest.raises(ValueError, match=r"state\.0\.exp_avg"):
        checked_part("optimizer", saved, optimizer)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "adamw"}, r"train\.optimizer 'adamw' is not known \(did you mean 'AdamW'"),
        ({"optimizer": "LBFGS"}, "is not known"),
        ({"optimizer": "SGD"}, "did you mean 'sgd'"),
        ({"optimizer": "Adam", "optimizer_options": {"lr": 1}}, r"train\.optimizer_options has lr: write train\.lr"),
        ({"optimizer": "Adam", "optimizer_options": {"beta": 1}}, r"Adam has no beta \(did you mean 'betas'"),
        ({"optimizer": "Adam", "optimizer_options": {"betas": [0.9, 2]}}, "train.optimizer Adam: Invalid beta"),
        ({"optimizer": "Muon"}, "train.optimizer Muon: Muon only supports 2D parameters"),
        ({"clip_grad": -1.0}, r"train\.clip_grad is -1"),
        ({"warmup_epochs": 3.0}, "has no effect with schedule onecycle"),
        ({"warmup_epochs": 30.0, "schedule": "cosine"}, "fewer than train.epochs, 30"),
    ],
)
def test_wrong_settings_of_optimizers_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        build_optimizer(nn.Linear(2, 2), TrainConfig(**settings))


def test_a_rate_that_was_written_for_another_optimizer_is_refused():
    with pytest.raises(UserError, match=r"train\.lr = 0\.1 was written for sgd; give a train\.lr as well"):
        load_recipe("quickstart", ["--train.optimizer", "AdamW"])
    recipe = load_recipe("quickstart", ["--train.optimizer", "AdamW", "--train.lr", "0.001"])
    assert (recipe.train.optimizer, recipe.train.lr) == ("AdamW", 0.001)


def test_settings_of_sgd_have_no_effect_on_others():
    with pytest.warns(UserWarning, match=r"without effect here: train\.momentum \(needs train\.optimizer sgd"):
        load_recipe("quickstart", ["--train.optimizer", "AdamW", "--train.lr", "0.001", "--train.momentum", "0.8"])


@pytest.mark.parametrize("schedule", ["cosine", "multistep", "constant"])
def test_a_warm_up_rises_linearly_and_then_follows_the_schedule(schedule):
    more = {"milestones": [4, 6]} if schedule == "multistep" else {}
    rates = course(TrainConfig(epochs=EPOCHS, lr=0.2, schedule=schedule, warmup_epochs=2.5, **more))
    rise = round(2.5 * STEPS)
    assert rates[:rise] == pytest.approx([0.2 * (t + 1) / rise for t in range(rise)])
    after = {
        "cosine": [cosine(0.2, 0, t / (TOTAL - rise)) for t in range(TOTAL - rise)],
        "multistep": [0.2 * 0.1 ** ((t >= 4 * STEPS) + (t >= 6 * STEPS)) for t in range(rise, TOTAL)],
        "constant": [0.2] * (TOTAL - rise),
    }
    assert rates[rise:] == pytest.approx(after[schedule])


def test_a_long_gradient_is_scaled_to_the_largest_norm_and_a_short_one_stays():
    model, optimizer, _ = started("sgd", momentum=0.0, weight_decay=0.0)
    schedule = build_schedule(optimizer, TrainConfig(schedule="constant"), 3)
    state = TrainState(model, None, optimizer, schedule, None, GradientSync(model), clip_grad=0.5)
    for norm, length in ((4.0, 0.5), (0.3, 0.3)):
        before = [weight.detach().clone() for weight in model.parameters()]
        count = sum(weight.numel() for weight in before)
        for weight in model.parameters():
            weight.grad = torch.full_like(weight, norm / math.sqrt(count))
        state.step()
        moved = torch.cat([(new - old).flatten() for new, old in zip(model.parameters(), before, strict=True)])
        assert float(moved.detach().norm()) == pytest.approx(0.01 * length, rel=1e-4)


@pytest.mark.parametrize("batch", [3, 5], ids=["between epochs", "within an epoch"])
def test_a_run_with_adamw_clipping_and_warm_up_resumes_bit_for_bit(tmp_path, batch):
    words = ["--train.optimizer", "AdamW", "--train.lr", "0.002", "--train.clip_grad", "0.5", "--method.steps", "1"]
    words += ["--train.schedule", "cosine", "--train.warmup_epochs", "1.5"]
    words += ["--train.optimizer_options", "{betas: [0.8, 0.9]}"]
    whole, _ = assert_resumes_bitwise(tiny("iaat", *words), tmp_path, batch)
    assert whole.recipe().train.optimizer_options == {"betas": [0.8, 0.9]}
