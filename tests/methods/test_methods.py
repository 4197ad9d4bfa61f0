"""What every training method keeps, whatever its loss: the table of `methods.settings` drives all of it."""

import io
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import fields
from functools import partial

import pytest
import torch
from torch import nn

from helpers.training import QUIET, same
from iaat.config.load_recipe import load_recipe
from iaat.errors import UserError
from iaat.methods import METHODS, IAATPaperConfig, PGDATConfig, PGDAttacker, StepContext
from iaat.methods.setting_fields import is_setting
from iaat.runs.run_folder import RunFolder
from iaat.runtime.device import autocast
from iaat.runtime.passes import count_passes
from iaat.train import train
from iaat.train.gradient import accumulate_gradient
from iaat.types import Batch
from iaat.units import Radius
from methods.settings import (
    SETTINGS,
    SIZE,
    TEACHER,
    WARMUP,
    build,
    context,
    counted,
    digits,
    half_learned,
    names,
    network,
    one_each,
    visited,
)

every_method = pytest.mark.parametrize("name", names())
every_attack = pytest.mark.parametrize("name", names(attacks=True))
every_stage = pytest.mark.parametrize(("name", "epoch"), [(name, e) for name in names() for e in SETTINGS[name].epochs])
every_stage_in_every_mode = pytest.mark.parametrize(
    ("name", "mode", "epoch"),
    [(name, mode, e) for name in names() for mode in SETTINGS[name].modes for e in SETTINGS[name].epochs],
)
every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])
RAMP = 4


def test_the_table_covers_every_method():
    assert {case.method for case in SETTINGS.values()} == set(METHODS)


def in_mode(name, mode):
    return build(name, **({"mode": mode} if SETTINGS[name].attacks else {}))


def step_seen(method, model, batch, context):
    """The outcome of a step, and the inputs of its training forwards."""
    objective = method.prepare(model, batch, context)
    seen = []
    handle = model.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].detach().clone()))
    output = objective(model)
    handle.remove()
    method.update(batch, output)
    return output, seen


def away(seen, batch, norm):
    """Largest distance `[B]` of a sample's training inputs from the sample."""
    inputs = [part for each in seen for part in each.split(len(batch.y))]
    order = {"linf": torch.inf, "l2": 2}[norm]
    distances = [torch.linalg.vector_norm((x - batch.x).flatten(1), ord=order, dim=1) for x in inputs]
    return torch.stack(distances).amax(0)


def reach(method):
    """How far its attacks lead at most, in radii."""
    return 1 + method.config.noise if getattr(method.config, "inner", "pgd") == "nfgsm" else 1


def steps(method, model, optimizer, batches, generator, epoch=WARMUP):
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        output = method.step(model, batch, StepContext(epoch, generator, teacher=TEACHER))
        output.loss.backward()
        optimizer.step()
        losses.append(output.loss.item())
    return losses


# Training


@every_stage
def test_two_optimiser_steps_reduce_the_loss(name, epoch):
    model, generator = network().train(), torch.Generator().manual_seed(0)
    losses = steps(build(name), model, torch.optim.SGD(model.parameters(), lr=0.1), [digits()] * 3, generator, epoch)
    assert losses[0] > losses[1] > losses[2]


@pytest.mark.parametrize("name", one_each())
def test_the_loop_learns_digits_with_it(name, tmp_path):
    case = SETTINGS[name]
    settings = {f"--method.{key}": str(value) for key, value in case.options.items()}
    settings |= {
        "--data.limit": "400",
        "--train.epochs": "3",
        "--train.batch_size": "40",
        "--train.validation_steps": "1",
    }
    recipe = load_recipe("quickstart", ["--method", case.method, *(word for pair in settings.items() for word in pair)])
    run = RunFolder(tmp_path / "run")
    train(recipe, run, QUIET)
    first, last = run.metrics()[0], run.metrics()[-1]
    assert last.loss < first.loss
    assert last.validation_clean > 0.6  # of ten classes


@every_method
def test_a_restored_method_goes_on_identically(name):
    batch = digits()
    batches = [batch.rows(i) for i in torch.arange(SIZE).split(10)]
    method, model, generator = build(name), half_learned(batch), torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    steps(method, model, optimizer, batches, generator)

    file = io.BytesIO()
    torch.save(method.state_dict(), file)
    file.seek(0)
    resumed, other_model = build(name), deepcopy(model)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    other_optimizer = torch.optim.SGD(other_model.parameters(), lr=0.1)
    other_generator = torch.Generator()
    other_generator.set_state(generator.get_state())

    assert steps(resumed, other_model, other_optimizer, batches, other_generator) == steps(
        method, model, optimizer, batches, generator
    )
    assert same(resumed.state_dict(), method.state_dict())
    if SETTINGS[name].learns_radii:
        assert len(resumed.radii.values.unique()) > 2
        assert not torch.equal(resumed.radii.values, build(name).radii.values)


@every_method
def test_only_what_a_method_has_is_saved(name):
    method, case = build(name), SETTINGS[name]
    assert (method.radii is not None) == case.learns_radii
    assert ("radii" in method.state_dict()) == case.learns_radii
    assert ("guard" in method.state_dict()) == (getattr(method.config, "inner", "pgd") == "nfgsm")


# What a step states


@every_stage
def test_stated_cost_equals_counted_passes(name, epoch):
    method, model, batch = build(name), network().train(), digits()
    with counted(model) as passes:
        method.step(model, batch, context(epoch)).loss.backward()
    stated = method.cost(epoch)
    if SETTINGS[name].exact_cost:
        assert (passes.forward / SIZE, passes.backward / SIZE) == (stated.forward, stated.backward)
    assert 1 <= passes.forward / SIZE <= stated.forward
    assert 1 <= passes.backward / SIZE <= stated.backward


@every_method
def test_the_objective_costs_what_is_stated(name):
    method, model, batch = build(name), network().train(), digits()
    objective = method.prepare(model, batch, context())
    with count_passes(model) as passes:
        objective(model).loss.backward()
    assert (passes.forward / SIZE, passes.backward / SIZE) == (
        method.objective_cost.forward,
        method.objective_cost.backward,
    )


def test_the_papers_cost_at_ten_steps():
    config = IAATPaperConfig().over(110)
    cost = METHODS["iaat_paper"](config, size=1, device="cpu").cost(config.warmup)
    assert (cost.forward, cost.backward) == (34, 31)


@every_stage
def test_the_output_describes_the_step(name, epoch):
    method, model, batch, case = build(name), network().train(), digits(), SETTINGS[name]
    output = method.step(model, batch, context(epoch))
    assert output.loss.shape == ()
    assert output.loss.requires_grad
    assert output.logits.shape == (SIZE, 10)
    assert not output.logits.requires_grad
    if case.cross_entropy:
        torch.testing.assert_close(output.loss.detach(), nn.functional.cross_entropy(output.logits, batch.y))
    assert (output.radius is not None) == case.attacks
    if output.radius is not None:
        assert output.radius.shape == (SIZE,)
        assert output.radius.dtype == torch.float32
    for values in output.metrics.values():
        assert values.shape == (SIZE,)
        assert not values.requires_grad


@pytest.mark.parametrize("name", names(cross_entropy=True))
def test_label_smoothing_mixes_in_the_mean_over_all_classes(name):
    batch = digits()
    output = build(name, label_smoothing=0.3).step(half_learned(batch), batch, context())
    log_p = output.logits.log_softmax(1)
    expected = -(0.7 * log_p[torch.arange(SIZE), batch.y] + 0.3 * log_p.mean(1)).mean()
    torch.testing.assert_close(output.loss.detach(), expected)


@pytest.mark.parametrize("name", names(smooths=False))
def test_label_smoothing_is_refused_where_it_means_nothing(name):
    with pytest.raises(UserError, match=r"method\.label_smoothing = 0\.3"):
        build(name, label_smoothing=0.3)


@pytest.mark.parametrize("name", names(smooths=True))
def test_label_smoothing_changes_the_loss(name):
    batch = digits()
    losses = [build(name, label_smoothing=s).step(half_learned(batch), batch, context()).loss for s in (0.0, 0.3)]
    assert losses[1].isfinite()
    assert abs(losses[0] - losses[1]) > 1e-2


# What a step leaves alone


@every_stage_in_every_mode
def test_a_step_changes_neither_weights_nor_gradients_nor_flags(name, mode, epoch):
    method, model, batch = in_mode(name, mode), network().train(), digits()
    before = deepcopy(batch.x)
    weights = [w.detach().clone() for w in model.parameters()]
    output = method.step(model, batch, context(epoch))
    assert all(w.grad is None for w in model.parameters())
    assert all(torch.equal(w, before) for w, before in zip(model.parameters(), weights, strict=True))
    assert all(module.training for module in model.modules())
    assert batch.x.grad is None
    assert torch.equal(batch.x, before)
    output.loss.backward()
    assert all(w.grad is not None and w.grad.abs().sum() > 0 for w in model.parameters())


@every_method
def test_frozen_layers_stay_frozen(name):
    method, model, batch = build(name), network().train(), digits()
    model[1].eval()
    model[0].weight.requires_grad_(False)
    method.step(model, batch, context()).loss.backward()
    assert not model[1].training
    assert model[0].training
    assert model[1].num_batches_tracked == 0
    assert not model[0].weight.requires_grad
    assert model[0].weight.grad is None


@every_stage
def test_the_weight_gradient_is_that_of_the_training_loss_alone(name, epoch):
    """Nothing an attack leaves behind mixes into it."""
    method, model, batch = build(name), network().train(), digits()
    output, seen = step_seen(method, model, batch, context(epoch))
    output.loss.backward()
    twin = network().train()
    if SETTINGS[name].cross_entropy:
        nn.functional.cross_entropy(twin(seen[-1]), batch.y).backward()
    else:
        build(name).prepare(network().train(), batch, context(epoch))(twin).loss.backward()
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


@every_stage_in_every_mode
def test_running_statistics_move_by_training_forwards_alone_unless_the_attack_runs_in_train_mode(name, mode, epoch):
    method, model, batch = in_mode(name, mode), network().train(), digits()
    _, seen = step_seen(method, model, batch, context(epoch))
    moves = model[1].num_batches_tracked.item()
    if mode != "train" or not SETTINGS[name].attacks:
        assert moves == len(seen) == method.objective_cost.forward
        twin = network().train()
        for x in seen:
            twin(x)
        assert torch.equal(model[1].running_mean, twin[1].running_mean)
        assert torch.equal(model[1].running_var, twin[1].running_var)
    elif SETTINGS[name].exact_cost:
        assert moves == method.cost(epoch).forward - SETTINGS[name].needs_ema  # the teacher has its own
    else:
        assert moves > method.objective_cost.forward


@every_method
def test_an_objective_can_be_evaluated_again(name):
    method, model, batch = visited(name), half_learned(digits()), digits()
    where = context()
    objective = method.prepare(model, batch, where)
    state, stream = deepcopy(method.state_dict()), where.generator.get_state()
    first, second = objective(model), objective(model)
    assert first.loss == second.loss
    assert torch.equal(first.logits, second.logits)
    assert same(method.state_dict(), state)
    assert torch.equal(where.generator.get_state(), stream)


@every_method
def test_weight_perturbation_goes_around_it(name):
    batch = digits()
    start, gradients = half_learned(batch), []
    for awp in (0.0, 0.02):
        method, model = visited(name), deepcopy(start)
        before = [w.detach().clone() for w in model.parameters()]
        objective = method.prepare(model, batch, context())
        model.zero_grad()
        output = accumulate_gradient(model, objective, awp=awp, computing=nullcontext)
        method.update(batch, output)
        assert all(torch.equal(w, old) for w, old in zip(model.parameters(), before, strict=True))
        gradients.append((output.loss.item(), torch.cat([w.grad.flatten() for w in model.parameters()])))
    (loss, plain), (same_loss, perturbed) = gradients
    assert loss == same_loss
    assert bool(perturbed.isfinite().all())
    assert not torch.allclose(plain, perturbed, rtol=1e-2)


# Radii and attacks


@pytest.mark.parametrize(("name", "epoch"), [(name, e) for name in names(attacks=True) for e in SETTINGS[name].epochs])
@every_norm
def test_training_inputs_stay_within_the_stated_radius_and_the_pixel_range(name, norm, epoch):
    batch = digits()
    method, model = build(name, norm=norm), half_learned(batch)
    output, seen = step_seen(method, model, batch, context(epoch))
    size, radius = away(seen, batch, norm), output.radius
    assert bool((size <= reach(method) * radius + 1e-6).all())
    assert all(bool(((x >= 0) & (x <= 1)).all()) for x in seen)
    assert (radius > 0).any()
    if SETTINGS[name].full_radius:
        assert bool((size[radius > 0] >= 0.3 * radius[radius > 0]).all())
    assert bool((size > 0).any())


@every_attack
def test_radii_grow_over_the_ramp(name):
    batch = digits()
    model = half_learned(batch)

    def stepped(epoch, ramp):
        return step_seen(build(name, ramp=ramp), deepcopy(model), batch, context(epoch))

    output, seen = stepped(0, RAMP)
    assert output.radius.tolist() == [0] * SIZE
    assert away(seen, batch, "linf").tolist() == [0] * SIZE
    for epoch in (1, RAMP // 2, RAMP, RAMP + 5):
        factor, radius = min(epoch / RAMP, 1), stepped(epoch, RAMP)[0].radius
        if SETTINGS[name].finds_radii:
            assert 0 < radius.max() <= 1.1 * factor * build(name).config.radius
        else:
            torch.testing.assert_close(radius, factor * stepped(epoch, 0)[0].radius)
            assert radius.max() > 0


@every_attack
def test_one_generator_decides_everything_random(name):
    batch = digits()
    model = half_learned(batch)
    global_state = torch.get_rng_state()
    losses = [visited(name).step(deepcopy(model), batch, context(seed=seed)).loss.item() for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(torch.get_rng_state(), global_state)


@every_attack
def test_without_a_generator_the_global_one_decides(name):
    batch = digits()
    model, losses = half_learned(batch), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        losses.append(visited(name).step(deepcopy(model), batch, StepContext(WARMUP, teacher=TEACHER)).loss.item())
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("name", METHODS)
def test_radii_of_the_settings_may_be_text(name):
    kind = METHODS[name].Config
    keys = [one.name for one in fields(kind) if "Radius" in str(one.type) and is_setting(one)]
    assert bool(keys) == (name != "natural")
    config = kind(**dict.fromkeys(keys, "4px"))
    assert [getattr(config, key) for key in keys] == [Radius("4px")] * len(keys)
    for key in keys:
        with pytest.raises(UserError, match=r"radius '4 px or so' cannot be read: write 8px"):
            kind(**{key: "4 px or so"})


@pytest.fixture
def steady(monkeypatch):
    """Every sample has the same random start, whatever its place in the batch."""

    def constant(shape, *, dtype=None, device=None, generator=None):
        return torch.full(shape, 0.7, dtype=dtype)

    monkeypatch.setattr(torch, "rand", constant)
    monkeypatch.setattr(torch, "randn", constant)
    monkeypatch.setattr(torch, "randint", lambda _high, shape, **_: torch.full(shape, 7))


@every_method
@pytest.mark.usefixtures("steady")
def test_the_order_of_a_batch_means_nothing(name):
    batch = digits(dtype=torch.float64)
    order = torch.randperm(SIZE, generator=torch.Generator().manual_seed(1))
    shuffled = batch.rows(order)
    outcomes = []
    for each in (batch, shuffled):
        method, model = visited(name), half_learned(batch, torch.float64)
        outcomes.append((method, method.step(model, each, context())))
    (method, output), (other_method, other) = outcomes
    torch.testing.assert_close(other.loss, output.loss)
    torch.testing.assert_close(other.logits, output.logits[order])
    if output.radius is not None:
        torch.testing.assert_close(other.radius, output.radius[order])
    for key, values in output.metrics.items():
        torch.testing.assert_close(other.metrics[key], values[order])
    if method.radii is not None:
        torch.testing.assert_close(other_method.radii.values, method.radii.values)


@pytest.mark.parametrize("name", names(learns_radii=True))
def test_a_visit_moves_the_radii_of_its_samples_alone(name):
    batch = digits()
    visited = torch.tensor([3, 77, 12, 40, 8, 55, 21, 0])
    method = build(name, size=2 * SIZE)
    before = method.radii.values
    some = Batch(batch.x[:8], batch.y[:8], visited)
    method.step(half_learned(batch), some, context())
    moved = method.radii.values != before
    assert moved[visited].any()
    moved[visited] = False
    assert not moved.any()


# Number formats


@every_method
def test_logits_of_a_float64_model_are_not_rounded(name):
    """The parity with a float64 oracle, and finite differences through a step, depend on it."""
    output = build(name).step(network(dtype=torch.float64).train(), digits(dtype=torch.float64), context())
    assert output.loss.dtype == torch.float64
    assert output.logits.dtype == torch.float64


@every_method
def test_in_bfloat16_the_loss_is_about_the_same_and_float32(name):
    batch = digits()
    start, losses = half_learned(batch), []
    for precision in ("fp32", "bf16"):
        method, model = build(name), deepcopy(start)
        computing = partial(autocast, precision, torch.device("cpu"))
        with computing():
            objective = method.prepare(model, batch, context())
        model.zero_grad()
        output = accumulate_gradient(model, objective, computing=computing)
        assert output.loss.dtype == output.logits.dtype == torch.float32
        assert all(bool(w.grad.isfinite().all()) for w in model.parameters())
        losses.append(output.loss.item())
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


# Mistakes in settings


@pytest.mark.parametrize("name", one_each(attacks=True))
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"radius": 8.0}, r"method\.radius = 8.*8px"),
        ({"radius": -0.1}, r"method\.radius"),
        ({"radius": float("nan")}, r"method\.radius"),
        ({"min_step": 2.0}, r"method\.min_step = 2.*2px"),
        ({"steps": 0}, r"method\.steps = 0"),
        ({"ramp": -1}, r"method\.ramp = -1"),
        ({"norm": "l1"}, r"method\.norm 'l1'"),
        ({"mode": "test"}, r"method\.mode 'test'"),
        ({"label_smoothing": 1.0}, r"method\.label_smoothing = 1"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_settings_of_the_attack_that_make_no_sense_are_refused(name, settings, message):
    with pytest.raises(UserError, match=message):
        build(name, **settings)


@every_attack
def test_an_l2_radius_beyond_every_distance_is_refused(name):
    batch = digits()  # of 64 numbers, so at most 8 apart

    def step(radius):
        method = build(name, norm="l2", radius=Radius(radius), **SETTINGS[name].any_radius)
        method.step(network().train(), batch, context(0))

    with pytest.raises(UserError, match=r"method\.radius = 128 exceeds .*64 numbers \(8\); .*write 128px"):
        step(128)
    step("128px")


def test_an_l2_radius_given_to_the_attacker_is_checked_like_the_settings():
    config = PGDATConfig(norm="l2", radius=Radius("128px"), steps=1)
    with pytest.raises(UserError, match=r"method\.radius = 9 exceeds"):
        PGDAttacker(config).attack(network(), digits(), 9.0, context().generator)


@pytest.mark.parametrize("name", METHODS)
def test_labels_of_a_step_are_class_numbers_of_any_integer_type(name):
    def loss(y):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
        method = METHODS[name](METHODS[name].Config().over(epochs=30), size=8, device="cpu")
        context = StepContext(0, torch.Generator().manual_seed(0))
        return method.step(model, Batch(torch.rand(8, 3, 4, 4), y, torch.arange(8)), context).loss.item()

    y = torch.arange(8) % 3
    assert loss(y.int()) == loss(y.byte()) == loss(y)
    with pytest.raises(UserError, match="looks one-hot: pass class numbers"):
        loss(nn.functional.one_hot(y, 3))


def test_numbers_of_settings_are_numbers():
    for key in ("success", "label_smoothing"):
        with pytest.raises(UserError, match=rf"method\.{key} = 'a': give a number"):
            METHODS["iaat"].Config(**{key: "a"})


@pytest.mark.parametrize("steps", [2.5, "2", None, True])
def test_numbers_of_steps_are_whole(steps):
    with pytest.raises(UserError, match=r"method\.steps = .*: give a whole number"):
        PGDATConfig(steps=steps)
