"""What every training method keeps, and what IAAT promises beyond it."""

import io
from copy import deepcopy

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from iaat.errors import UserError
from iaat.methods import METHODS, IAATConfig, PGDATConfig, StepContext
from iaat.passes import count_passes
from iaat.types import Batch
from iaat.units import Radius

SIZE, STEPS, WARMUP = 40, 3, 1
ATTACK = {"radius": Radius("16px"), "steps": STEPS}
IAAT = {**ATTACK, "warmup": WARMUP}
STAIRCASE = {**ATTACK, "rule": "staircase", "start": Radius("16px")}
# Where BatchNorm sees the batch, all of it is probed.
PAPER = {**IAAT, "rule": "paper", "mode": "batch"}

SETTINGS = {
    "natural": ("natural", {}),
    "pgd_at": ("pgd_at", ATTACK),
    "iaat paper": ("iaat", PAPER),
    "iaat paper, clean-wrong on clean": ("iaat", {**PAPER, "clean_wrong": "clean"}),
    "iaat staircase": ("iaat", STAIRCASE),
    "iaat staircase, all steps for all": ("iaat", {**STAIRCASE, "full_steps_at": Radius(0)}),
    "pgd_at nfgsm": ("pgd_at", {**ATTACK, "inner": "nfgsm"}),
    "iaat staircase nfgsm": ("iaat", {**STAIRCASE, "inner": "nfgsm"}),
    "iaat paper nfgsm": ("iaat", {**PAPER, "inner": "nfgsm"}),
}
WITH_ATTACK = [name for name in SETTINGS if name != "natural"]

every_method = pytest.mark.parametrize("name", list(SETTINGS))
every_attack = pytest.mark.parametrize("name", WITH_ATTACK)
every_mode = pytest.mark.parametrize("mode", ["eval", "batch", "train"])
warm_up_and_after = pytest.mark.parametrize("epoch", [0, WARMUP], ids=["warm-up", "after"])


def build(name, size=SIZE, **overrides):
    method, options = SETTINGS[name]
    cls = METHODS[method]
    return cls(cls.Config(**{**options, **overrides}), size=size, device="cpu")


def reach(method):
    """How far its attacks lead at most, in radii."""
    return 1 if method.config.inner == "pgd" else 1 + method.config.noise


def network(seed=0, dtype=torch.float32):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10)).to(
            dtype
        )


def digits(size=SIZE, dtype=torch.float32):
    data = load_digits()
    x = torch.tensor(data.images[:size], dtype=dtype).unsqueeze(1) / 16
    return Batch(x, torch.tensor(data.target[:size]), torch.arange(size))


def half_learned(batch, dtype=torch.float32):
    """A network that is right on some of the digits and wrong on others."""
    model = network(dtype=dtype).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batch.x), batch.y).backward()
        optimizer.step()
    return model


def context(epoch=WARMUP, seed=0):
    return StepContext(epoch=epoch, generator=torch.Generator().manual_seed(seed))


def test_the_table_covers_every_method():
    assert {method for method, _ in SETTINGS.values()} >= {"natural", "pgd_at", "iaat"}
    assert set(METHODS) >= {method for method, _ in SETTINGS.values()}


@every_method
@warm_up_and_after
def test_stated_cost_equals_counted_passes(name, epoch):
    method, model, batch = build(name), network().train(), digits()
    with count_passes(model) as passes:
        method.step(model, batch, context(epoch)).loss.backward()
    stated = method.cost(epoch)
    assert (passes.forward / SIZE, passes.backward / SIZE) == (stated.forward, stated.backward)


def test_the_papers_cost_at_ten_steps():
    config = IAATConfig(rule="paper")
    cost = METHODS["iaat"](config, size=1, device="cpu").cost(config.warmup)
    assert (cost.forward, cost.backward) == (34, 31)


@every_method
@every_mode
@warm_up_and_after
def test_a_step_changes_neither_weights_nor_gradients_nor_flags(name, mode, epoch):
    method, model, batch = build(name, **({} if name == "natural" else {"mode": mode})), network().train(), digits()
    weights = [w.detach().clone() for w in model.parameters()]
    output = method.step(model, batch, context(epoch))
    assert all(w.grad is None for w in model.parameters())
    assert all(torch.equal(w, before) for w, before in zip(model.parameters(), weights, strict=True))
    assert all(module.training for module in model.modules())
    assert batch.x.grad is None
    output.loss.backward()
    assert all(w.grad is not None and w.grad.abs().sum() > 0 for w in model.parameters())


@every_method
@warm_up_and_after
def test_the_weight_gradient_is_that_of_the_training_loss_alone(name, epoch):
    """Nothing an attack leaves behind mixes into it."""
    method, model, batch = build(name), network().train(), digits()
    calls = []
    handle = model.register_forward_pre_hook(lambda _module, inputs: calls.append(inputs[0].detach().clone()))
    method.step(model, batch, context(epoch)).loss.backward()
    handle.remove()
    twin = network().train()
    nn.functional.cross_entropy(twin(calls[-1]), batch.y).backward()
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


@every_method
@every_mode
@warm_up_and_after
def test_running_statistics_move_once_a_step_unless_the_attack_runs_in_train_mode(name, mode, epoch):
    method, model, batch = build(name, **({} if name == "natural" else {"mode": mode})), network().train(), digits()
    calls = []
    model.register_forward_pre_hook(lambda _module, inputs: calls.append(inputs[0].detach().clone()))
    method.step(model, batch, context(epoch)).loss.backward()
    moves = model[1].num_batches_tracked.item()
    assert moves == (method.cost(epoch).forward if mode == "train" else 1)
    if mode != "train":
        twin = network().train()
        twin(calls[-1])
        assert torch.equal(model[1].running_mean, twin[1].running_mean)
        assert torch.equal(model[1].running_var, twin[1].running_var)


@every_method
@warm_up_and_after
def test_the_output_describes_the_step(name, epoch):
    method, model, batch = build(name), network().train(), digits()
    output = method.step(model, batch, context(epoch))
    assert output.loss.shape == ()
    assert output.loss.requires_grad
    assert output.logits.shape == (SIZE, 10)
    assert not output.logits.requires_grad
    expected = nn.functional.cross_entropy(output.logits, batch.y)
    torch.testing.assert_close(output.loss.detach(), expected)
    assert (output.radius is None) == (name == "natural")
    if output.radius is not None:
        assert output.radius.shape == (SIZE,)
        assert output.radius.dtype == torch.float32


@every_attack
@warm_up_and_after
def test_training_inputs_stay_within_the_stated_radius_and_the_pixel_range(name, epoch):
    batch = digits()
    method, model = build(name), half_learned(batch)
    calls = []
    model.register_forward_pre_hook(lambda _module, inputs: calls.append(inputs[0].detach().clone()))
    output = method.step(model, batch, context(epoch))
    trained_on = calls[-1]
    size = (trained_on - batch.x).flatten(1).abs().amax(1)
    assert bool((size <= reach(method) * output.radius + 1e-6).all())
    assert bool((size[output.radius > 0] > 0.5 * output.radius[output.radius > 0]).all())
    assert bool(((trained_on >= 0) & (trained_on <= 1)).all())
    assert (output.radius > 0).any()


@every_attack
def test_attacks_move_in_the_norm_of_the_settings(name):
    batch = digits()
    method, model = build(name, norm="l2"), half_learned(batch)
    calls = []
    model.register_forward_pre_hook(lambda _module, inputs: calls.append(inputs[0].detach().clone()))
    output = method.step(model, batch, context())
    size = (calls[-1] - batch.x).flatten(1).norm(dim=1)
    assert bool((size <= reach(method) * output.radius + 1e-6).all())
    assert bool((size >= 0.3 * output.radius).all())


@every_method
@warm_up_and_after
def test_two_optimiser_steps_reduce_the_loss(name, epoch):
    method, model, batch = build(name), network().train(), digits()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        output = method.step(model, batch, context(epoch))
        output.loss.backward()
        optimizer.step()
        losses.append(output.loss.item())
    assert losses[0] > losses[1] > losses[2]


def train(method, model, optimizer, batches, generator, epoch=WARMUP):
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        output = method.step(model, batch, StepContext(epoch=epoch, generator=generator))
        output.loss.backward()
        optimizer.step()
        losses.append(output.loss.item())
    return losses


@every_method
def test_a_restored_method_goes_on_identically(name):
    batch = digits()
    batches = [Batch(batch.x[i], batch.y[i], batch.index[i]) for i in torch.arange(SIZE).split(10)]
    method, model, generator = build(name), half_learned(batch), torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    train(method, model, optimizer, batches, generator)

    file = io.BytesIO()
    torch.save(method.state_dict(), file)
    file.seek(0)
    resumed, other_model = build(name), deepcopy(model)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    other_optimizer = torch.optim.SGD(other_model.parameters(), lr=0.1)
    other_generator = torch.Generator()
    other_generator.set_state(generator.get_state())

    assert train(resumed, other_model, other_optimizer, batches, other_generator) == train(
        method, model, optimizer, batches, generator
    )
    if name.startswith("iaat"):
        assert torch.equal(resumed.radii.values, method.radii.values)
        assert len(resumed.radii.values.unique()) > 2
        assert not torch.equal(resumed.radii.values, build(name).radii.values)


@every_method
def test_only_iaat_has_radii_of_its_own(name):
    method = build(name)
    assert (method.radii is not None) == name.startswith("iaat")
    assert ("radii" in method.state_dict()) == name.startswith("iaat")
    assert ("guard" in method.state_dict()) == name.endswith("nfgsm")


@every_attack
def test_one_generator_decides_everything_random(name):
    batch = digits()
    model = half_learned(batch)
    global_state = torch.get_rng_state()
    losses = [build(name).step(deepcopy(model), batch, context(seed=seed)).loss.item() for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(torch.get_rng_state(), global_state)


def test_logits_of_a_float64_model_are_not_rounded():
    """The parity with a float64 oracle, and finite differences through a step, depend on it."""
    batch = digits(dtype=torch.float64)
    for name in SETTINGS:
        output = build(name).step(network(dtype=torch.float64).train(), batch, context())
        assert output.loss.dtype == torch.float64, name


# IAAT: radii and their images


class Planted(nn.Module):
    """Class 0 or 1 by the sign of the first number; a weight keeps it trainable. The margin of x is |x_0 - 0.5|."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(10.0))

    def forward(self, x):
        score = self.weight * (x.flatten(1)[:, 0] - 0.5)
        return torch.stack([score, -score], dim=1)


START, GAMMA, BETA = 0.1, 0.02, 0.5
# Radius, margin and label of four kinds of sample, and what becomes of their radius.
KINDS = {
    "robust": {"x": 0.9, "y": 0, "paper": START + BETA * GAMMA, "staircase": START + BETA * GAMMA},
    "at its margin": {"x": 0.5 + START + GAMMA / 2, "y": 0, "paper": START, "staircase": START + BETA * GAMMA},
    "weak": {"x": 0.5 - START / 2, "y": 1, "paper": START - BETA * GAMMA, "staircase": START - BETA * GAMMA},
    "clean-wrong": {"x": 0.2, "y": 0, "paper": (1 - BETA) * START, "staircase": START - BETA * GAMMA},
}


def planted(positions):
    """A batch whose sample at index i is of kind i % 4, in the order of `positions`."""
    kinds = list(KINDS.values())
    return Batch(
        torch.tensor([[kinds[i % 4]["x"], 0.5] for i in positions]),
        torch.tensor([kinds[i % 4]["y"] for i in positions]),
        torch.tensor(positions),
    )


def planted_method(rule, **options):
    cls = METHODS["iaat"]
    settings = {
        "paper": {"gamma": Radius(GAMMA), "beta": BETA, "warmup": 1},
        "staircase": {"start": Radius(START), "rate": Radius(BETA * GAMMA)},
    }[rule]
    config = cls.Config(radius=Radius(START), rule=rule, steps=5, **settings, **options)
    return cls(config, size=16, device="cpu")


@pytest.mark.parametrize("rule", ["paper", "staircase"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_each_radius_follows_its_own_sample_whatever_the_order(rule, norm):
    method = planted_method(rule, norm=norm)
    visited = [14, 3, 0, 9, 5, 7, 2, 12]
    for batch in (planted(visited[:5]), planted(visited[5:])):
        method.step(Planted(), batch, context(epoch=1))
    expected = torch.full((16,), START)
    for i in visited:
        expected[i] = list(KINDS.values())[i % 4][rule]
    torch.testing.assert_close(method.radii.values, expected)


def test_paper_rule_trains_at_the_new_radius_and_staircase_at_the_old_one():
    batch = planted(list(range(4)))
    paper, staircase = planted_method("paper"), planted_method("staircase")
    output = paper.step(Planted(), batch, context(epoch=1))
    torch.testing.assert_close(output.radius, torch.tensor([kind["paper"] for kind in KINDS.values()]))
    output = staircase.step(Planted(), batch, context(epoch=1))
    torch.testing.assert_close(output.radius, torch.full((4,), START))


def test_warm_up_of_the_paper_rule_is_uniform():
    method = planted_method("paper")
    output = method.step(Planted(), planted(list(range(4))), context(epoch=0))
    expected = torch.tensor([START, START, START, 0.0])
    torch.testing.assert_close(output.radius, expected)
    torch.testing.assert_close(method.radii.values[:4], expected)


def test_the_staircase_moves_from_its_first_visit():
    method = planted_method("staircase")
    method.step(Planted(), planted(list(range(4))), context(epoch=0))
    torch.testing.assert_close(method.radii.values[:4], torch.tensor([kind["staircase"] for kind in KINDS.values()]))


@pytest.mark.parametrize("rule", ["paper", "staircase"])
def test_floor_and_cap_bound_the_radii_trained_at(rule):
    method = planted_method(rule, floor=Radius(0.095), cap=Radius(0.105))
    batch = planted(list(range(16)))
    for _ in range(3):
        output = method.step(Planted(), batch, context(epoch=1))
    assert output.radius.min().item() == pytest.approx(0.095)
    assert output.radius.max().item() == pytest.approx(0.105)
    assert bool(((method.radii.values >= 0.095 - 1e-7) & (method.radii.values <= 0.105 + 1e-7)).all())


@pytest.mark.parametrize("clean_wrong", ["clean", "decay"])
@warm_up_and_after
def test_clean_wrong_samples_train_on_the_clean_image_or_on_what_is_left_of_their_radius(clean_wrong, epoch):
    batch = digits()
    method, model = build("iaat paper", clean_wrong=clean_wrong, mode="batch"), half_learned(batch)
    with torch.no_grad():
        wrong = deepcopy(model)(batch.x).argmax(1) != batch.y
    assert 3 <= wrong.sum() <= SIZE - 3
    calls = []
    model.register_forward_pre_hook(lambda _module, inputs: calls.append(inputs[0].detach().clone()))
    output = method.step(model, batch, context(epoch))
    unchanged = (calls[-1] == batch.x).flatten(1).all(1)
    assert not unchanged[~wrong].any()
    if clean_wrong == "clean" or epoch < WARMUP:
        assert unchanged[wrong].all()
        assert output.radius[wrong].tolist() == [0.0] * int(wrong.sum())
    else:
        assert not unchanged[wrong].any()
        torch.testing.assert_close(output.radius[wrong], torch.full_like(output.radius[wrong], 0.9 * 16 / 255))
        torch.testing.assert_close(method.radii.values[wrong], output.radius[wrong])


# Mistakes in settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"beta": 0.0}, r"method\.beta = 0\.0", id="beta 0"),
        pytest.param({"beta": -0.1}, r"method\.beta = -0\.1", id="beta negative"),
        pytest.param({"beta": 1.5}, r"method\.beta = 1\.5", id="beta above 1"),
        pytest.param({"beta": float("nan")}, r"method\.beta = nan", id="beta nan"),
        pytest.param({"radius": 8.0}, r"method\.radius = 8.*8px", id="radius in pixel levels"),
        pytest.param({"radius": -0.1}, r"radius", id="radius negative"),
        pytest.param({"radius": float("nan")}, r"radius", id="radius nan"),
        pytest.param({"gamma": 1.9}, r"method\.gamma = 1\.9.*1\.9px", id="gamma in pixel levels"),
        pytest.param({"gamma": -0.1}, r"gamma", id="gamma negative"),
        pytest.param({"cap": 16.0}, r"method\.cap = 16.*16px", id="cap in pixel levels"),
        pytest.param({"floor": 4.0}, r"method\.floor = 4.*4px", id="floor in pixel levels"),
        pytest.param({"min_step": 2.0}, r"method\.min_step = 2.*2px", id="step in pixel levels"),
        pytest.param({"rule": "paper", "cap": Radius("4px")}, r"floor <= radius <= cap", id="cap below radius"),
        pytest.param({"cap": Radius("4px"), "start": Radius("5px")}, r"floor <= start <= cap", id="cap below start"),
        pytest.param({"rate": 2.0}, r"method\.rate = 2.*2px", id="rate in pixel levels"),
        pytest.param({"rate": Radius(0)}, r"method\.rate = 0", id="no rate"),
        pytest.param({"warmup": -1}, r"method\.warmup = -1", id="negative warm-up"),
        pytest.param({"steps": 0}, r"method\.steps = 0", id="no steps"),
        pytest.param({"norm": "l1"}, r"'l1'", id="norm"),
        pytest.param({"rule": "staircase", "clean_wrong": "clean"}, r"clean_wrong.*staircase", id="unused setting"),
        pytest.param({"inner": "fgsm"}, r"method\.inner 'fgsm'.*pgd, nfgsm", id="inner"),
        pytest.param({"noise": -1.0}, r"method\.noise = -1", id="negative noise"),
        pytest.param({"noise": float("nan")}, r"method\.noise = nan", id="noise nan"),
        pytest.param({"guard_every": -1}, r"method\.guard_every = -1", id="negative distance of checks"),
        pytest.param({"guard_gap": 0.0}, r"method\.guard_gap = 0", id="no gap"),
        pytest.param({"guard_gap": 15.0}, r"method\.guard_gap = 15", id="gap in points"),
        pytest.param(
            {"inner": "nfgsm", "full_steps_at": Radius("8px")}, r"full_steps_at.*nfgsm", id="shares of a single step"
        ),
    ],
)
def test_iaat_refuses_settings_that_make_no_sense(settings, message):
    with pytest.raises(UserError, match=message):
        IAATConfig(**settings)


def test_the_radius_of_pgd_at_grows_over_the_ramp():
    batch, ramp = digits(), 4
    for epoch, share in ((0, 0), (1, 0.25), (3, 0.75), (4, 1), (9, 1)):
        output = build("pgd_at", ramp=ramp).step(half_learned(batch), batch, context(epoch))
        torch.testing.assert_close(output.radius, torch.full((SIZE,), share * 16 / 255))
    with pytest.raises(UserError, match=r"method\.ramp = -1"):
        PGDATConfig(ramp=-1)


@pytest.mark.parametrize("radius", [8.0, -0.1, float("nan")])
def test_pgd_at_refuses_radii_that_make_no_sense(radius):
    with pytest.raises(UserError, match="radius"):
        PGDATConfig(radius=radius)


def test_defaults_of_the_paper_rule_are_the_authors():
    config = IAATConfig(rule="paper")
    assert (config.beta, config.steps, config.warmup) == (0.1, 10, 10)
    assert (config.radius.px, config.gamma.px, config.min_step.px) == pytest.approx((8, 1.9, 2))
    assert (config.floor, config.cap, config.clean_wrong, config.norm) == (0, None, "decay", "linf")
    assert (config.initial, config.all_steps_from) == (config.radius, 0)


def test_radii_start_at_zero_and_steps_follow_them_by_default():
    config = IAATConfig()
    assert (config.rule, config.initial, config.all_steps_from) == ("staircase", 0, config.radius)
    assert IAATConfig(full_steps_at=Radius("12px")).all_steps_from == Radius("12px")
    for settings in ({"full_steps_at": Radius(0)}, {"mode": "batch"}, {"inner": "nfgsm"}):
        assert IAATConfig(**settings).all_steps_from == 0


@pytest.mark.parametrize("name", ["pgd_at", "iaat"])
def test_an_l2_radius_beyond_every_distance_is_refused(name):
    model, batch = network().train(), digits()  # of 64 numbers, so at most 8 apart

    def step(radius):
        cls = METHODS[name]
        method = cls(cls.Config(norm="l2", radius=Radius(radius), steps=1), size=SIZE, device="cpu")
        method.step(model, batch, context(0))

    with pytest.raises(UserError, match=r"method\.radius = 128 exceeds .*64 numbers \(8\); .*write 128px"):
        step(128)
    step("128px")
    step(8)


def test_an_l2_radius_given_to_the_attack_is_judged_like_the_settings():
    config = PGDATConfig(norm="l2", radius=Radius("128px"), steps=1)
    with pytest.raises(UserError, match=r"method\.radius = 9 exceeds"):
        config.attack(network(), digits(), 9.0, context())


def test_the_radii_of_iaat_are_in_the_norm_of_its_attack():
    config = IAATConfig(norm="l2", radius=Radius(2), cap=Radius(4))
    assert METHODS["iaat"](config, size=2, device="cpu").radii.cap == 4
