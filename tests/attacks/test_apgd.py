"""Auto-PGD against a slow reference written from the paper, closed forms on linear models, and its own promises."""

import pytest
import torch
from torch import nn

from iaat.attacks.apgd import apgd, checkpoints
from iaat.errors import UserError
from iaat.runtime.passes import count_passes
from reference import apgd_slow

every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])
INPUTS, CLASSES = 6, 5


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def network(*, bumps=4.0, inputs=INPUTS, classes=CLASSES):
    """A bumpy network, on which the loss oscillates and steps must be halved."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(inputs, 24), nn.Tanh(), nn.Linear(24, classes)).double()
        model[1].weight.data *= bumps
    return model


def samples(model, size, *, inputs=INPUTS):
    x = torch.rand(size, inputs, generator=seeded(1), dtype=torch.float64)
    return x, model(x).argmax(1)


def linear(weight, bias=None):
    """`W x + b` on inputs of any rank."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(weight.shape[1], len(weight))).to(weight.dtype)
    model[1].weight.data = weight
    model[1].bias.data = torch.zeros(len(weight), dtype=weight.dtype) if bias is None else bias
    return model


def recorded(model, *args, **kwargs):
    """What the attack returns, and the points it shows to the model `[forwards, B, ...]`."""
    points = []
    handle = model.register_forward_pre_hook(lambda _module, inputs: points.append(inputs[0].detach().clone()))
    try:
        return apgd(model, *args, **kwargs), torch.stack(points)
    finally:
        handle.remove()


# Losses in the tests' own words


def loss_of(logits, y, loss, target):
    others = [value for number, value in enumerate(logits) if number != y]
    gap = (logits[target] if target is not None else max(others)) - logits[y]
    if loss == "margin":
        return gap
    if loss == "ce":
        return logits.logsumexp(0) - logits[y] if target is None else logits[target] - logits.logsumexp(0)
    top = logits.sort(descending=True).values
    # Where the true class is third the ratio is 1 on a plateau and rounding decides: the library's constant.
    return gap / ((top[0] - top[2] if target is None else top[0] - (top[2] + top[3]) / 2) + 1e-12)


@pytest.mark.parametrize(
    ("norm", "loss", "aim"),
    [
        ("linf", "ce", None),
        ("linf", "margin", None),
        ("linf", "dlr", 1),
        ("l2", "ce", 1),
        ("l2", "margin", 1),
        ("l2", "dlr", None),
    ],
)
def test_every_step_is_that_of_the_slow_reference(norm, loss, aim):
    model, size, steps = network(bumps=12.0, inputs=12), 6, 32
    x, y = samples(model, size, inputs=12)
    x[0] = x[0].round()  # some pixels on the bounds
    y = model(x).argmax(1)
    targets = None if aim is None else (y + aim) % CLASSES
    radius = torch.linspace(0.0, 1.0, size, dtype=torch.float64)
    x_init = x + 0.2 * torch.randn(x.shape, generator=seeded(2), dtype=torch.float64)
    result, points = recorded(
        model,
        x,
        y,
        radius=radius,
        steps=steps,
        norm=norm,
        loss=loss,
        targets=targets,
        early_stop=False,
        x_init=x_init,
    )
    assert len(points) == steps + 1
    halvings = []
    for row in range(size):
        target = None if targets is None else targets[row].item()

        def evaluate(pixels, row=row, target=target):
            leaf = torch.tensor([pixels], dtype=torch.float64, requires_grad=True)
            value = loss_of(model(leaf)[0], y[row].item(), loss, target)
            (gradient,) = torch.autograd.grad(value, leaf)
            return value.item(), gradient[0].tolist()

        visited, losses, halved = apgd_slow.auto_pgd(
            evaluate, x[row].tolist(), x_init[row].tolist(), radius[row].item(), steps, norm
        )
        halvings.append(halved)
        torch.testing.assert_close(points[:, row], torch.tensor(visited, dtype=torch.float64), rtol=0, atol=1e-6)
        adversarial = (model(points[:, row]).argmax(1) != y[row]).tolist()
        best = max(range(steps + 1), key=lambda k, a=adversarial, v=losses: (a[k], v[k]))
        value = evaluate(result[row].tolist())[0]
        assert (model(result[row : row + 1]).argmax(1) != y[row]).item() == adversarial[best]
        assert value == pytest.approx(losses[best], abs=1e-6)
    assert len(set(halvings)) >= 2  # decisions differ from sample to sample


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 20, 33, 50, 100, 1000])
def test_checkpoints_are_those_of_the_paper(steps):
    assert [0, *sorted(set(checkpoints(steps)))] == apgd_slow.checkpoints(steps)
    if steps == 100:
        assert checkpoints(steps) == [22, 41, 57, 70, 80, 87, 93, 99]


# Linear models


@every_norm
@pytest.mark.parametrize("factor", [0.98, 1.02])
@pytest.mark.parametrize("loss", ["margin", "dlr"])
def test_a_linear_model_is_attacked_successfully_exactly_beyond_its_closed_form_distance(norm, factor, loss):
    weight = torch.randn(CLASSES, 12, generator=seeded(3), dtype=torch.float64)
    model = linear(weight)
    x = torch.rand(20, 12, generator=seeded(4), dtype=torch.float64)
    logits = model(x)
    y = logits.argmax(1)
    gap = weight[y][:, None] - weight[None]  # [B, classes, D]
    size = gap.abs().sum(2) if norm == "linf" else gap.norm(dim=2)
    margin = logits.gather(1, y[:, None]) - logits
    distance = (margin / size).scatter(1, y[:, None], torch.inf)
    nearest, target = distance.min(1)
    options = {"norm": norm, "bounds": None, "loss": loss, "steps": 100, "generator": seeded(5)}
    x_adv = apgd(model, x, y, radius=nearest * factor, targets=target, early_stop=False, **options)
    assert (model(x_adv).argmax(1) != y).tolist() == [factor > 1] * 20


@every_norm
@pytest.mark.parametrize("early_stop", [True, False])
def test_two_classes_with_radii_of_their_own(norm, early_stop):
    weight = torch.randn(2, 12, generator=seeded(3), dtype=torch.float64)
    model = linear(weight)
    x = torch.rand(40, 12, generator=seeded(4), dtype=torch.float64)
    y = model(x).argmax(1)
    gap = weight[0] - weight[1]
    distance = (model(x)[:, 0] - model(x)[:, 1]).abs() / (gap.abs().sum() if norm == "linf" else gap.norm())
    radius = distance * torch.tensor([0.5, 0.99, 1.01, 2.0], dtype=torch.float64).repeat(10)
    x_adv = apgd(model, x, y, radius=radius, norm=norm, bounds=None, early_stop=early_stop, generator=seeded())
    assert (model(x_adv).argmax(1) != y).tolist() == [False, False, True, True] * 10
    if not early_stop:
        away = torch.where(y == 0, -1.0, 1.0)[:, None] * (gap.sign() if norm == "linf" else gap / gap.norm())
        torch.testing.assert_close(x_adv, x + radius[:, None] * away, rtol=0, atol=1e-6)


def test_radius_follows_its_sample_where_batch_equals_width():
    model = linear(torch.tensor([[1.0], [-1.0]]).expand(2, 32 * 32) / 1024)
    x, y = torch.full((32, 1, 32, 32), 0.5), torch.zeros(32, dtype=torch.int64)
    radius = torch.arange(32) / 100
    x_adv = apgd(model, x, y, radius=radius, steps=20, early_stop=False, x_init=x)
    for row, r in zip(x_adv, radius, strict=True):
        torch.testing.assert_close(row, torch.full_like(row, 0.5 - r.item()))


@every_norm
def test_every_saturated_pixel_that_can_move_inwards_does(norm):
    weight = torch.randn(2, 12, generator=seeded(6))
    x = torch.randint(0, 2, (8, 12), generator=seeded(7)).float()
    y = torch.randint(0, 2, (8,), generator=seeded(8))
    away = weight[y] - weight[1 - y]
    x_adv = apgd(linear(weight), x, y, radius=0.1, norm=norm, early_stop=False, generator=seeded())
    movable = (x == 1) == (away > 0)
    assert 0.2 < movable.float().mean() < 0.8
    assert bool(((x_adv != x) == movable).all())


# The ball


@every_norm
@pytest.mark.parametrize("early_stop", [True, False])
def test_results_lie_in_the_ball_and_radius_zero_gives_the_clean_input(norm, early_stop):
    model = network()
    x, y = samples(model, 50)
    x[:10] = x[:10].round()
    radius = torch.linspace(0, 0.5, 50, dtype=torch.float64)
    radius[3], radius[4] = -1.0, torch.nan
    x_adv = apgd(model, x, y, radius=radius, steps=20, norm=norm, early_stop=early_stop, generator=seeded())
    delta = (x_adv - x).flatten(1)
    size = delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)
    assert bool((size <= radius.nan_to_num(0).clamp_min(0) + 1e-12).all())
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    assert torch.equal(x_adv[[0, 3, 4]], x[[0, 3, 4]])
    assert bool((x_adv != x).any(1)[5:].all())


@every_norm
def test_a_start_outside_of_the_ball_is_put_inside(norm):
    model = network()
    x, y = samples(model, 4)
    _, points = recorded(model, x, y, radius=0.1, steps=1, norm=norm, x_init=x + 5, bounds=None)
    expected = 0.1 if norm == "linf" else 0.1 / INPUTS**0.5
    torch.testing.assert_close(points[0], x + expected)


# Early stop


@every_norm
@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_a_sample_does_not_depend_on_its_neighbours(norm, loss, monkeypatch):
    monkeypatch.setattr("iaat.attacks.batching.BUCKET", 4)
    model, size = network(), 24
    x, y = samples(model, size)
    start = x + 0.05 * torch.randn(x.shape, generator=seeded(2), dtype=torch.float64)
    options = {"steps": 30, "norm": norm, "loss": loss}
    targets = (y + 1) % CLASSES
    radius = torch.linspace(0.0, 0.25 if norm == "linf" else 0.6, size, dtype=torch.float64)
    with count_passes(model) as passes:
        together = apgd(model, x, y, radius=radius, targets=targets, x_init=start, **options)
    adversarial = model(together).argmax(1) != y
    assert 4 < adversarial.sum() < 20
    assert passes.forward < 31 * size  # the batch did shrink
    alone = torch.cat(
        [
            apgd(model, x[i], y[i], radius=radius[i], targets=targets[i], x_init=start[i], **options)
            for i in torch.arange(size).split(1)
        ]
    )
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


def test_an_adversarial_example_comes_back_as_it_first_was():
    model, size = network(bumps=12.0, inputs=12), 32
    x, y = samples(model, size, inputs=12)
    options = {"radius": torch.linspace(0.02, 0.3, size, dtype=torch.float64), "steps": 20, "norm": "l2", "x_init": x}
    options["targets"] = (y + 2) % CLASSES
    _, points = recorded(model, x, y, early_stop=False, **options)
    first = apgd(model, x, y, early_stop=True, **options)
    adversarial = torch.stack([model(point).argmax(1) != y for point in points])
    when = adversarial.int().argmax(0)
    hit = adversarial.any(0)
    assert len(set(when[hit].tolist())) >= 3
    torch.testing.assert_close(first[hit], points[when, torch.arange(size)][hit], rtol=0, atol=1e-9)


def test_passes_are_one_forward_more_than_steps_and_end_with_the_last_sample(monkeypatch):
    monkeypatch.setattr("iaat.attacks.batching.BUCKET", 1)
    model = network()
    x, y = samples(model, 8)
    with count_passes(model) as passes:
        apgd(model, x, y, radius=0.0, steps=7, restarts=2)
    assert (passes.forward, passes.backward) == (2 * 8 * 8, 2 * 7 * 8)
    with count_passes(model) as passes:
        x_adv = apgd(model, x, (y + 1) % CLASSES, radius=0.1, steps=7, restarts=3, x_init=x)
    assert passes.forward == 8
    assert torch.equal(x_adv, x)


def test_restarts_keep_the_worst_of_their_runs():
    model, size = network(bumps=12.0), 40
    x, y = samples(model, size)
    options = {"radius": torch.linspace(0.02, 0.2, size, dtype=torch.float64), "steps": 3, "early_stop": False}
    generator = seeded(2)
    runs = [apgd(model, x, y, generator=generator, **options) for _ in range(4)]
    x_adv = apgd(model, x, y, generator=seeded(2), restarts=4, **options)
    logits = torch.stack([model(run) for run in runs])
    loss = torch.stack([nn.functional.cross_entropy(each, y, reduction="none") for each in logits])
    best = (loss + 1000 * (logits.argmax(2) != y)).argmax(0)
    assert len(set(best.tolist())) == 4
    after = model(x_adv)
    torch.testing.assert_close(nn.functional.cross_entropy(after, y, reduction="none"), loss.gather(0, best[None])[0])
    assert torch.equal(after.argmax(1) != y, (logits.argmax(2) != y).any(0))
    survivors = apgd(model, x, y, generator=seeded(2), restarts=4, **{**options, "early_stop": True})
    assert torch.equal(model(survivors).argmax(1) != y, (logits.argmax(2) != y).any(0))


# Precision and gradients that are none


class Split(nn.Module):
    """Predicts class 0 in float32 and class 1 under autocast, with a gradient either way."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 2)
        nn.init.constant_(self.linear.weight, 0.1)

    def forward(self, x):
        low = torch.is_autocast_enabled("cpu")
        return self.linear(x).float() * 1e-3 + torch.tensor([0.0, 1.0] if low else [1.0, 0.0])


def test_what_is_adversarial_in_bfloat16_only_does_not_count_and_is_attacked_further():
    x, y = torch.rand(3, 4, generator=seeded()), torch.zeros(3, dtype=torch.int64)
    model, points = Split(), []
    model.register_forward_pre_hook(lambda _module, _inputs: points.append(torch.is_autocast_enabled("cpu")))
    apgd(model, x, y, radius=0.1, steps=5, precision="bf16")
    assert points == [True, False] * 6  # no sample has left, and each claim was checked
    points.clear()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        apgd(model, x, y, radius=0.1, steps=5, precision="fp32")
    assert points == [False] * 6


@every_norm
def test_a_bfloat16_run_finds_what_float32_confirms(norm):
    model = network(inputs=16).float()
    x = torch.rand(64, 16, generator=seeded(1))
    y = model(x).argmax(1)
    radius = 0.06 if norm == "linf" else 0.2
    options = {"radius": radius, "steps": 30, "norm": norm, "x_init": x}
    counts = {}
    for precision in ("fp32", "bf16"):
        x_adv = apgd(model, x, y, precision=precision, **options)
        assert x_adv.dtype == torch.float32
        counts[precision] = int((model(x_adv).argmax(1) != y).sum())
    assert 10 < counts["fp32"] < 60
    assert abs(counts["bf16"] - counts["fp32"]) <= 2


class Blocked(nn.Module):
    """A linear model with gradient NaN in its first input and 0 in its second."""

    def forward(self, x):
        flat = x.flatten(1)
        bad = (flat[:, :1] - flat[:, :1].detach()).sqrt()  # value 0, gradient inf * 0
        lead = flat[:, 2:].sum(1, keepdim=True) + 0 * bad
        return torch.cat([lead, torch.ones_like(lead)], 1)


@every_norm
def test_nan_gradients_leave_no_nan_behind(norm):
    x, y = torch.full((4, 5), 0.5), torch.zeros(4, dtype=torch.int64)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(Blocked()(leaf).sum(), leaf)
    assert bool(gradient[:, 0].isnan().all())
    x_adv = apgd(Blocked(), x, y, radius=0.1, steps=10, norm=norm, early_stop=False, x_init=x)
    assert bool(x_adv.isfinite().all())
    assert torch.equal(x_adv[:, :2], x[:, :2])
    assert bool((x_adv[:, 2:] < x[:, 2:]).all())


def test_a_loss_that_is_nan_at_the_start_does_not_hide_what_comes_later():
    def loss(logits, _y):
        return torch.where(logits[:, 0] < 0.5, torch.nan, logits[:, 0])

    model = linear(torch.eye(2))
    x, y = torch.tensor([[0.45, 0.0]]), torch.zeros(1, dtype=torch.int64)
    start = torch.tensor([[0.55, 0.0]])
    x_adv = apgd(model, x, y, radius=0.2, steps=5, loss=loss, x_init=start, early_stop=False)
    torch.testing.assert_close(x_adv, torch.tensor([[0.65, 0.0]]))


# Promises to the caller


def test_model_and_random_numbers_are_left_as_they_were():
    model = network()
    x, y = samples(model, 4)
    model.train()
    model[1].weight.grad = torch.ones_like(model[1].weight)
    before = torch.get_rng_state()
    apgd(model, x, y, radius=0.1, steps=3, generator=seeded())
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(model[1].weight.grad, torch.ones_like(model[1].weight))
    assert model[3].weight.grad is None


def test_the_model_is_attacked_in_eval_mode():
    model = nn.Sequential(nn.Linear(INPUTS, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, CLASSES)).train()
    mean = model[1].running_mean.clone()
    x, y = torch.rand(4, INPUTS, generator=seeded()), torch.tensor([0, 1, 2, 3])
    results = [apgd(model, x, y, radius=0.1, steps=3, generator=seeded(1)) for _ in range(2)]
    assert torch.equal(*results)
    assert torch.equal(model[1].running_mean, mean)


@pytest.mark.parametrize("shape", [(5, 7), (5, 2, 9), (5, 1, 3, 3, 3)])
@every_norm
def test_inputs_of_any_rank_without_bounds(norm, shape):
    inputs = torch.Size(shape[1:]).numel()
    model = network(inputs=inputs)
    x = 3 * torch.randn(shape, generator=seeded(), dtype=torch.float64)
    y = model(x).argmax(1)
    radius = torch.tensor([0.0, 0.5, 1.0, 2.0, 4.0], dtype=torch.float64)
    options = {"norm": norm, "bounds": None, "steps": 20, "early_stop": False, "loss": "margin"}
    x_adv = apgd(model, x, y, radius=radius, generator=seeded(), **options)
    assert torch.equal(x_adv[0], x[0])
    for row in range(1, 5):
        before, after = (loss_of(model(each)[row], y[row].item(), "margin", None) for each in (x, x_adv))
        assert after > before


def test_text_radius_inference_mode_and_scalar_tensors():
    model = network()
    x, y = samples(model, 4)
    expected = apgd(model, x, y, radius=8 / 255, steps=3, generator=seeded())
    assert torch.equal(apgd(model, x, y, radius="8px", steps=3, generator=seeded()), expected)
    scalar = torch.tensor(8 / 255, dtype=torch.float64)
    assert torch.equal(apgd(model, x, y, radius=scalar, steps=3, generator=seeded()), expected)
    with torch.inference_mode():
        assert torch.equal(apgd(model, x.clone(), y.clone(), radius=8 / 255, steps=3, generator=seeded()), expected)


def test_an_empty_batch_comes_back_empty():
    x = torch.empty(0, INPUTS, dtype=torch.float64)
    assert apgd(network(), x, torch.empty(0).long(), radius=0.1).shape == x.shape


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"radius": 8}, "8px"),
        ({"radius": -0.1}, r"radius = -0.1"),
        ({"radius": torch.full((3,), 0.1)}, r"\[3\].*batch of 2"),
        ({"steps": 0}, r"steps = 0"),
        ({"restarts": 0}, r"restarts = 0"),
        ({"norm": "l1"}, r"'l1'.*linf, l2"),
        ({"loss": "kl"}, r"'kl'.*ce, margin, dlr"),
        ({"precision": "fp16"}, r"'fp16'.*auto, fp32, bf16"),
        ({"loss": nn.CrossEntropyLoss()}, r"reduction='none'"),
        ({"targets": torch.tensor([1])}, r"targets of shape \[1\].*batch of 2"),
        ({"x_init": torch.zeros(1, INPUTS).double()}, r"x_init of shape \[1, 6\].*\[2, 6\]"),
    ],
)
def test_mistakes_are_refused_by_name(settings, message):
    x, y = torch.full((2, INPUTS), 0.5, dtype=torch.float64), torch.tensor([0, 1])
    with pytest.raises(UserError, match=message):
        apgd(network(), x, y, **{"radius": 0.1, **settings})


@pytest.mark.parametrize(("classes", "targets"), [(2, None), (3, torch.tensor([1, 0]))])
def test_dlr_on_too_few_classes_is_refused(classes, targets):
    x, y = torch.full((2, INPUTS), 0.5, dtype=torch.float64), torch.tensor([0, 1])
    with pytest.raises(UserError, match=r"use 'margin'"):
        apgd(network(classes=classes), x, y, radius=0.1, loss="dlr", targets=targets)
