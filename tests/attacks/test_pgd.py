"""PGD against what is known in closed form: linear models, saturated images, and the ball itself."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from iaat.attacks import Targeted, kl_from, pgd, pgd_early_stop
from iaat.errors import UserError

B, D = 8, 12
every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])


class Linear(nn.Module):
    """`f(x) = W x + b` on inputs of any rank."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, x):
        return x.flatten(1) @ self.weight.T + self.bias


def two_classes(norm, *, low=0.4, high=0.6):
    """Model, inputs, labels it gives, the distance of each input to the boundary and the direction to it."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(2, D, generator=generator, dtype=torch.float64)
    weight[0] += weight[0].sign() * 0.2
    x = low + (high - low) * torch.rand(B, D, generator=generator, dtype=torch.float64)
    model = Linear(weight, torch.zeros(2, dtype=torch.float64))
    with torch.no_grad():
        gap = model(x)[:, 0] - model(x)[:, 1]
        model.bias[0] -= gap.median()  # both classes occur
        gap = gap - gap.median()
        model.bias[0] -= gap[gap > 0].min() / 2  # nobody on the boundary
        y = model(x).argmax(1)
        gap = (model(x)[:, 0] - model(x)[:, 1]).abs()
    towards_zero = weight[0] - weight[1]
    away = torch.where(y == 0, 1.0, -1.0).double()[:, None] * towards_zero  # w_y - w_other
    if norm == "linf":
        return model, x, y, gap / towards_zero.abs().sum(), -away.sign()
    return model, x, y, gap / towards_zero.norm(), -away / towards_zero.norm()


@every_norm
@pytest.mark.parametrize("loss", ["ce", "margin"])
@pytest.mark.parametrize("random_start", [True, False])
@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
def test_optimum_of_a_linear_model_with_a_radius_per_sample(norm, loss, random_start, bounds):
    model, x, y, distance, direction = two_classes(norm)
    assert set(y.tolist()) == {0, 1}
    radius = distance * torch.tensor([0.5, 0.98, 1.02, 2.0] * (B // 4), dtype=torch.float64)
    x_adv = pgd(
        model,
        x,
        y,
        radius=radius,
        steps=40,
        step_size=radius,
        norm=norm,
        loss=loss,
        x_init=None if random_start else x,
        bounds=bounds,
        generator=torch.Generator().manual_seed(0),
    )
    torch.testing.assert_close(x_adv, x + radius[:, None] * direction, rtol=0, atol=1e-9)
    adversarial = model(x_adv).argmax(1) != y
    assert adversarial.tolist() == [False, False, True, True] * (B // 4)


@every_norm
@pytest.mark.parametrize("share", [0.95, 1.05])
def test_flip_happens_only_beyond_the_margin_with_the_default_step_size(norm, share):
    model, x, y, distance, _ = two_classes(norm)
    x_adv = pgd(model, x, y, radius=distance * share, steps=40, norm=norm, generator=torch.Generator().manual_seed(0))
    assert bool(((model(x_adv).argmax(1) != y) == (share > 1)).all())


@every_norm
def test_one_number_is_that_radius_for_every_sample(norm):
    model, x, y, _, _ = two_classes(norm)
    one, many = (
        pgd(model, x, y, radius=r, norm=norm, generator=torch.Generator().manual_seed(0))
        for r in (0.1, torch.full((B,), 0.1, dtype=torch.float64))
    )
    assert torch.equal(one, many)


def test_radius_follows_its_sample_where_batch_equals_width():
    """A bare `[B]` radius would run along the width of `[B, C, H, W]` wherever W = B."""
    model = Linear(torch.tensor([[1.0], [-1.0]]).expand(2, 32 * 32) / 1024, torch.zeros(2))
    x, y = torch.full((32, 1, 32, 32), 0.5), torch.zeros(32, dtype=torch.int64)
    radius = torch.arange(32) / 100
    x_adv = pgd(model, x, y, radius=radius, steps=3, step_size=radius, x_init=x)
    for row, r in zip(x_adv, radius, strict=True):
        torch.testing.assert_close(row, torch.full_like(row, 0.5 - r.item()))


@every_norm
def test_step_size_is_per_sample_too(norm):
    model, x, y, _, direction = two_classes(norm)
    step = torch.linspace(0.001, 0.02, B, dtype=torch.float64)
    x_adv = pgd(model, x, y, radius=0.3, steps=1, step_size=step, norm=norm, x_init=x)
    torch.testing.assert_close(x_adv, x + step[:, None] * direction)


def test_default_step_size_is_two_and_a_half_radii_over_the_steps():
    model, x, y, _, direction = two_classes("linf")
    points = []
    model.register_forward_pre_hook(lambda _module, inputs: points.append(inputs[0].detach().clone()))
    radius = torch.linspace(0.0, 0.2, B, dtype=torch.float64)
    pgd(model, x, y, radius=radius, steps=10, x_init=x)
    for step, point in enumerate(points):
        torch.testing.assert_close(point, x + min(0.25 * step, 1.0) * radius[:, None] * direction)
    assert len(points) == 10


# Saturated pixels: since torch 2.14 the gradient of `clamp` at its bound is 0, so an attack that differentiates through
# the clamp loses every pixel at exactly 0 or 1.


@pytest.mark.parametrize("random_start", [True, False])
def test_every_saturated_pixel_that_can_move_inwards_does(random_start):
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(2, D, generator=generator)
    x = torch.randint(0, 2, (B, D), generator=generator).float()
    y = torch.randint(0, 2, (B,), generator=generator)
    away = weight[y] - weight[1 - y]
    x_adv = pgd(
        Linear(weight, torch.zeros(2)), x, y, radius=0.1, x_init=None if random_start else x, generator=generator
    )
    expected = (x - 0.1 * away.sign()).clamp(0, 1)
    movable = (x == 1) == (away > 0)
    assert 0.2 < movable.float().mean() < 0.8
    torch.testing.assert_close(x_adv, expected)
    assert bool((x_adv != x)[movable].all())


def test_saturated_images_are_attacked_as_strongly_as_interior_ones():
    """Every pixel sits on the bound it can leave, so the logit gap must fall by the full radius * ||w||_1."""
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(2, D, generator=generator, dtype=torch.float64)
    gap = weight[0] - weight[1]
    model = Linear(weight, torch.zeros(2, dtype=torch.float64))
    y = torch.zeros(1, dtype=torch.int64)

    def fall(x):
        x_adv = pgd(model, x, y, radius=8 / 255, generator=torch.Generator().manual_seed(0))
        change = (model(x) - model(x_adv))[0]
        return (change[0] - change[1]).item()

    saturated = (gap > 0).double()[None]
    interior = torch.full_like(saturated, 0.5)
    assert fall(interior) == pytest.approx(8 / 255 * gap.abs().sum().item())
    assert fall(saturated) == pytest.approx(fall(interior))


def test_pixels_that_reach_a_bound_can_come_back():
    """The first gradient pushes the pixel on to the bound, the later ones away from it."""

    class Peak(nn.Module):
        def forward(self, x):
            score = torch.where(x < 0.05, 10 * x, 1 - 10 * x)  # falls towards 0 from 0.05 down, and from 0.1 up
            return torch.cat([torch.zeros_like(score), score], dim=1)

    x, y = torch.tensor([[0.0]]), torch.tensor([0])
    x_adv = pgd(Peak(), x, y, radius=0.04, steps=4, step_size=0.04, x_init=x)
    torch.testing.assert_close(x_adv, torch.tensor([[0.04]]))


@st.composite
def attacks(draw):
    batch = draw(st.integers(1, 4))
    shape = [batch, *draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))]
    radius = draw(st.lists(st.sampled_from([0.0, 1e-12, 1e-4, 8 / 255, 0.5, 1.0]), min_size=batch, max_size=batch))
    return {
        "shape": shape,
        "radius": torch.tensor(radius),
        "steps": draw(st.integers(1, 4)),
        "step_size": draw(st.sampled_from([None, 0.0, 2 / 255, 1.0])),
        "norm": draw(st.sampled_from(["linf", "l2"])),
        "random_start": draw(st.booleans()),
        "restarts": draw(st.sampled_from([None, 1, 2])),
        "loss": draw(st.sampled_from(["ce", "margin", "dlr", "kl"])),
        "poison": draw(st.sampled_from(["none", "nan", "inf", "nan logits"])),
        "seed": draw(st.integers(0, 1000)),
    }


class Poisoned(nn.Module):
    """A linear model with input gradients, or logits, that are not finite."""

    def __init__(self, inputs, poison, generator):
        super().__init__()
        self.poison = poison
        self.weight = nn.Parameter(torch.randn(4, inputs, generator=generator))

    def forward(self, x):
        logits = x.flatten(1) @ self.weight.T
        if self.poison == "nan":  # the derivative of the root is infinite at 0
            logits = logits + (0 * x).sqrt().flatten(1).sum(1, keepdim=True)
        elif self.poison == "inf":
            logits = logits + (x - x.detach()).abs().sqrt().flatten(1).sum(1, keepdim=True) * logits.detach()
        elif self.poison == "nan logits":
            logits = logits / 0
        return logits


@given(attacks())
@settings(max_examples=150)
def test_result_is_always_inside_the_ball_and_the_bounds(case):
    shape, radius, poison = case.pop("shape"), case["radius"], case.pop("poison")
    generator = torch.Generator().manual_seed(case.pop("seed"))
    x = torch.rand(shape, generator=generator)
    x = torch.where(x < 0.2, 0.0, torch.where(x > 0.8, 1.0, x))
    y = torch.randint(0, 4, (shape[0],), generator=generator)
    model = Poisoned(x[0].numel(), poison, generator)

    # KL has gradient 0 at the clean inputs, and is refused there.
    case["x_init"] = None if case.pop("random_start") or case["loss"] == "kl" else x
    restarts = case.pop("restarts")
    attack = pgd if restarts is None else partial(pgd_early_stop, restarts=restarts)

    x_adv = attack(model, x, y, generator=generator, **case)

    assert x_adv.shape == x.shape
    assert x_adv.dtype == x.dtype
    assert not x_adv.requires_grad
    assert bool(((x_adv >= 0) & (x_adv <= 1)).all())
    delta = (x_adv.double() - x.double()).flatten(1)
    size = delta.abs().amax(1) if case["norm"] == "linf" else delta.norm(dim=1)
    assert bool((size <= radius * (1 + 1e-5) + 2e-7).all())
    assert torch.equal(x_adv[radius == 0], x[radius == 0])


@every_norm
@pytest.mark.parametrize("restarts", [None, 1, 3])
def test_radius_zero_gives_the_clean_input_bit_for_bit_also_in_a_mixed_batch(norm, restarts):
    model, x, y, _, _ = two_classes(norm, low=0.0, high=1.0)
    x = x.float()
    model = model.float()
    radius = torch.tensor([0.0, 0.1] * (B // 2))
    attack = pgd if restarts is None else partial(pgd_early_stop, restarts=restarts)
    x_adv = attack(model, x, y, radius=radius, step_size=0.5, norm=norm)
    assert torch.equal(x_adv[::2], x[::2])
    assert bool((x_adv[1::2] != x[1::2]).any(dim=1).all())
    assert torch.equal(pgd(model, x, y, radius=0.0, step_size=0.5, norm=norm), x)


# Targets. On f(x) = x the best move towards class t raises x_t and lowers all others.


@pytest.mark.parametrize("loss", ["ce", "margin", "dlr"])
@pytest.mark.parametrize("share", [0.9, 1.1])
def test_target_is_reached_exactly_when_it_lies_in_the_ball(loss, share):
    generator = torch.Generator().manual_seed(4)
    classes = 5
    x = torch.rand(20, classes, generator=generator, dtype=torch.float64)
    # The runner-up, whom all three losses lead to at once.
    target = x.topk(2, dim=1).indices[:, 1]
    lead = (x.amax(1) - x.gather(1, target[:, None])[:, 0]) / 2
    model = Linear(torch.eye(classes, dtype=torch.float64), torch.zeros(classes, dtype=torch.float64))
    x_adv = pgd(model, x, target, radius=lead * share, steps=100, loss=Targeted(loss), bounds=None, generator=generator)
    reached = model(x_adv).argmax(1) == target
    assert bool((reached == (share > 1)).all())


@pytest.mark.parametrize("loss", ["ce", "margin", "dlr"])
def test_every_class_can_be_the_target(loss):
    generator = torch.Generator().manual_seed(4)
    classes = 5
    x = torch.rand(20, classes, generator=generator, dtype=torch.float64)
    target = torch.arange(20) % classes
    lead = ((x.amax(1) - x.gather(1, target[:, None])[:, 0]) / 2).clamp_min(0.01)
    model = Linear(torch.eye(classes, dtype=torch.float64), torch.zeros(classes, dtype=torch.float64))
    radius = lead * 1.2
    x_adv = pgd(
        model,
        x,
        target,
        radius=radius,
        steps=200,
        step_size=0.05 * radius,
        loss=Targeted(loss),
        bounds=None,
        generator=generator,
    )
    assert (model(x_adv).argmax(1) == target).tolist() == [True] * 20


def test_cross_entropy_towards_a_target_ends_in_the_corner_of_the_ball():
    model = Linear(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    x = torch.tensor([[0.5, 0.4, 0.45]], dtype=torch.float64)
    x_adv = pgd(model, x, torch.tensor([1]), radius=0.2, loss=Targeted())
    torch.testing.assert_close(x_adv, torch.tensor([[0.3, 0.6, 0.25]], dtype=torch.float64))


# Losses given by name


def small_net(seed=0, inputs=6, classes=4):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, classes)).double()


@pytest.mark.parametrize("given_logits", [True, False])
def test_kl_attack_equals_one_written_out_by_hand(given_logits):
    model, radius, steps = small_net(), 0.1, 3
    x = torch.rand(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    clean_logits = model(x).detach()
    x_adv = pgd(
        model,
        x,
        torch.zeros(3, dtype=torch.int64),
        radius=radius,
        steps=steps,
        loss=kl_from(clean_logits) if given_logits else "kl",
        generator=torch.Generator().manual_seed(1),
    )
    uniform = torch.rand(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    for row in range(3):
        point = (x[row] + (2 * uniform[row] - 1) * radius).clamp(0, 1)
        p = clean_logits[row].softmax(0)
        for _ in range(steps):
            leaf = point.clone().requires_grad_()
            q = model(leaf).softmax(0)
            (gradient,) = torch.autograd.grad((p * (p / q).log()).sum(), leaf)
            delta = (point + 2.5 * radius / steps * gradient.sign() - x[row]).clamp(-radius, radius)
            point = (x[row] + delta).clamp(0, 1)
        torch.testing.assert_close(x_adv[row], point)


def test_a_callable_loss_is_maximised():
    model, x = small_net(), torch.full((2, 6), 0.5, dtype=torch.float64)
    third_logit = pgd(model, x, torch.tensor([0, 1]), radius=0.1, loss=lambda logits, _y: logits[:, 2])
    assert bool((model(third_logit)[:, 2] > model(x)[:, 2]).all())


# Random numbers


def test_same_generator_seed_gives_the_same_result_and_another_seed_another():
    model, x, y = small_net(), torch.full((2, 6), 0.5, dtype=torch.float64), torch.tensor([0, 1])
    results = [
        pgd(model, x, y, radius=0.1, steps=1, step_size=0.01, generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_a_generator_leaves_the_global_random_numbers_alone():
    before = torch.get_rng_state()
    pgd(
        small_net(),
        torch.rand(2, 6, dtype=torch.float64, generator=torch.Generator()),
        torch.tensor([0, 1]),
        radius=0.1,
        generator=torch.Generator(),
    )
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_generator_the_global_seed_decides():
    model, x, y = small_net(), torch.full((2, 6), 0.5, dtype=torch.float64), torch.tensor([0, 1])
    results = []
    with torch.random.fork_rng():
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            results.append(pgd(model, x, y, radius=0.1, steps=1, step_size=0.01))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


# Other inputs than images


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    ("model", "shape"),
    [
        pytest.param(nn.Linear(7, 3), (5, 7), id="table"),
        pytest.param(
            nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(36, 3)),
            (5, 2, 9),
            id="signal",
        ),
        pytest.param(
            nn.Sequential(nn.Conv3d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3)), (5, 1, 3, 3, 3), id="volume"
        ),
    ],
)
def test_inputs_of_any_rank_without_bounds(norm, model, shape):
    torch.manual_seed(0)  # the weights were drawn when the module was imported: draw them anew
    model.apply(lambda module: module.reset_parameters() if hasattr(module, "reset_parameters") else None)
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(shape, generator=generator)
    y = model(x).argmax(1)
    radius = torch.tensor([0.0, 0.5, 1.0, 2.0, 4.0])
    before = nn.functional.cross_entropy(model(x), y, reduction="none")
    x_adv = pgd(model, x, y, radius=radius, norm=norm, bounds=None, generator=generator)
    after = nn.functional.cross_entropy(model(x_adv), y, reduction="none")
    assert torch.equal(x_adv[0], x[0])
    assert bool((after > before)[1:].all())
    size = (x_adv - x).flatten(1).abs().amax(1) if norm == "linf" else (x_adv - x).flatten(1).norm(dim=1)
    torch.testing.assert_close(size, radius, rtol=1e-2, atol=1e-5)


def test_bounds_other_than_zero_and_one_are_kept():
    model = Linear(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]), torch.zeros(2))
    x = torch.tensor([[-0.9, 2.9], [1.0, 1.0]])
    x_adv = pgd(model, x, torch.tensor([0, 0]), radius=0.5, bounds=(-1.0, 3.0), x_init=x)
    torch.testing.assert_close(x_adv, torch.tensor([[-1.0, 3.0], [0.5, 1.5]]))


# Mistakes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"radius": 8}, r"8px.*8/255", id="radius in pixel levels"),
        pytest.param({"radius": 3.0}, r"radius = 3 .*3px", id="eps 3.0 on unit images"),
        pytest.param({"radius": 128.0, "norm": "l2"}, r"radius = 128.*px", id="l2 beyond the diameter"),
        pytest.param({"radius": -0.1}, r"radius = -0.1", id="negative radius"),
        pytest.param({"radius": float("nan")}, r"radius = nan", id="radius nan"),
        pytest.param({"radius": float("inf")}, r"radius = inf", id="radius inf"),
        pytest.param({"steps": 0}, r"steps = 0", id="no step"),
        pytest.param({"norm": "l1"}, r"'l1'.*linf, l2", id="norm"),
        pytest.param({"loss": "hinge"}, r"'hinge'.*ce, margin, dlr, kl", id="loss"),
        pytest.param({"mode": "test"}, r"'test'.*eval, train, batch", id="mode"),
        pytest.param({"loss": Targeted("kl")}, r"kl.*target", id="kl with a target"),
        pytest.param({"radius": torch.full((3,), 0.1)}, r"\[3\].*batch of 2", id="radius of another length"),
        pytest.param({"radius": torch.full((2, 1), 0.1)}, r"\[2, 1\].*batch of 2", id="radius of another shape"),
        pytest.param({"step_size": torch.full((3,), 0.1)}, r"\[3\].*batch of 2", id="step size of another length"),
    ],
)
def test_mistakes_are_refused_by_name(settings, message):
    x, y = torch.full((2, 6), 0.5, dtype=torch.float64), torch.tensor([0, 1])
    with pytest.raises(UserError, match=message):
        pgd(small_net(), x, y, **{"radius": 0.1, **settings})


def test_dlr_on_two_classes_is_refused():
    with pytest.raises(UserError, match="3 classes"):
        pgd(
            small_net(classes=2),
            torch.full((1, 6), 0.5, dtype=torch.float64),
            torch.tensor([0]),
            radius=0.1,
            loss="dlr",
        )


def test_large_radii_are_fine_where_the_inputs_are_large():
    x, y = torch.full((2, 6), 100.0, dtype=torch.float64), torch.tensor([0, 1])
    for bounds in (None, (0.0, 255.0)):
        x_adv = pgd(small_net(), x, y, radius=8.0, bounds=bounds)
        assert 1 < (x_adv - x).abs().max().item() <= 8 + 1e-9


def test_attack_under_inference_mode_is_the_same_attack():
    model = nn.Linear(6, 3)
    x, y = torch.rand(4, 6), torch.tensor([0, 1, 2, 0])
    outside = pgd(model, x, y, radius=0.1, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        inside = pgd(model, x.clone(), y.clone(), radius=0.1, generator=torch.Generator().manual_seed(0))
    assert torch.equal(inside, outside)


@pytest.mark.parametrize("step_size", [-0.1, float("nan")])
def test_step_size_that_makes_no_sense_is_refused(step_size):
    with pytest.raises(UserError, match="step_size"):
        pgd(nn.Linear(6, 3), torch.rand(4, 6), torch.zeros(4, dtype=torch.long), radius=0.1, step_size=step_size)


def test_radius_in_a_scalar_tensor_is_checked_like_a_number():
    with pytest.raises(UserError, match="8px"):
        pgd(nn.Linear(6, 3), torch.rand(4, 6), torch.zeros(4, dtype=torch.long), radius=torch.tensor(8.0))


@every_norm
def test_lengths_may_be_written_with_a_unit(norm):
    model, x, y, _, _ = two_classes(norm)
    settings = {"norm": norm, "x_init": x}
    text = pgd(model, x, y, radius="8px", step_size="2/255", **settings)
    assert torch.equal(text, pgd(model, x, y, radius=8 / 255, step_size=2 / 255, **settings))
    with pytest.raises(UserError, match="'8 pixels' cannot be read"):
        pgd(model, x, y, radius="8 pixels")
    with pytest.raises(UserError, match=r"radius = 8 .*8px"):
        pgd(model, x, y, radius="8")


@every_norm
@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("-inf")])
@pytest.mark.parametrize("attack", [pgd, pgd_early_stop])
def test_a_radius_in_the_batch_that_is_no_length_counts_as_zero(norm, bad, attack):
    model, x, y, _, _ = two_classes(norm)
    radius = torch.full((B,), 0.05, dtype=torch.float64)
    expected = pgd(model, x, y, radius=radius * (torch.arange(B) != 2), norm=norm, x_init=x)
    radius[2] = bad
    x_adv = attack(model, x, y, radius=radius, norm=norm)
    assert torch.equal(x_adv[2], x[2])
    assert (x_adv != x).flatten(1).any(1).sum() == B - 1
    assert torch.equal(pgd(model, x, y, radius=radius, norm=norm, x_init=x), expected)


@every_norm
@pytest.mark.parametrize("bad", [-0.1, float("nan")])
def test_a_step_size_in_the_batch_that_is_no_length_counts_as_zero(norm, bad):
    model, x, y, _, _ = two_classes(norm)
    step = torch.full((B,), 0.01, dtype=torch.float64)
    step[2] = bad
    x_adv = pgd(model, x, y, radius=0.05, step_size=step, norm=norm, x_init=x)
    assert torch.equal(x_adv[2], x[2])
    assert (x_adv != x).flatten(1).any(1).sum() == B - 1


@pytest.mark.parametrize(
    ("loss", "shape"),
    [
        (nn.CrossEntropyLoss(), r"\[\]"),
        (lambda logits, _y: logits, r"\[8, 2\]"),
        (lambda logits, y: nn.functional.cross_entropy(logits, y, reduction="none")[:, None], r"\[8, 1\]"),
        (lambda logits, y: nn.functional.cross_entropy(logits, y).item(), r"\[\]"),
    ],
    ids=["mean", "logits", "column", "number"],
)
@pytest.mark.parametrize("targeted", [True, False])
def test_a_loss_that_is_not_one_value_a_sample_is_refused(loss, shape, targeted):
    model, x, y, _, _ = two_classes("linf")
    with pytest.raises(UserError, match=rf"loss returned .*shape {shape} for a batch of 8.*pass reduction='none'"):
        pgd(model, x, y, radius=0.1, loss=Targeted(loss) if targeted else loss)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_integer_inputs_are_refused(dtype):
    x = torch.zeros(4, 6, dtype=dtype)
    with pytest.raises(UserError, match=rf"x is {dtype}.*x\.float\(\) / 255"):
        pgd(nn.Linear(6, 3), x, torch.zeros(4, dtype=torch.long), radius=0.1)


@every_norm
@pytest.mark.parametrize(
    "attack",
    [pgd, partial(pgd, loss="kl"), pgd_early_stop, partial(pgd_early_stop, restarts=2)],
    ids=["pgd", "pgd-kl", "early-stop", "restarts"],
)
@pytest.mark.parametrize("radius", [0.1, torch.empty(0)], ids=["number", "[B]"])
def test_an_empty_batch_comes_back_empty(norm, attack, radius):
    x = torch.empty(0, 1, 4, 4)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    x_adv = attack(model, x, torch.empty(0).long(), radius=radius, norm=norm)
    assert x_adv.shape == x.shape
    assert x_adv.dtype == x.dtype
