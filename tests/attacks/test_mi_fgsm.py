"""MI-FGSM against linear models, of which the steps are known, and against the algorithm written out for one sample."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from iaat.attacks.losses import Targeted
from iaat.attacks.mi_fgsm import mi_fgsm
from iaat.attacks.pgd import pgd
from iaat.errors import UserError

every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])


def linear(inputs=6, classes=2):
    generator = torch.Generator().manual_seed(0)
    model = nn.Linear(inputs, classes).double()
    with torch.no_grad():
        model.weight.copy_(torch.randn(classes, inputs, generator=generator))
        model.bias.zero_()
    return model


def bumpy(inputs=6, classes=4, *, scale=6.0):
    model = nn.Sequential(nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, classes)).double()
    with torch.no_grad():
        model[0].weight *= scale
    return model


def draws(*shape, seed=1):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@every_norm
@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_on_a_linear_model_it_walks_straight_to_the_sphere_in_equal_steps(norm, decay):
    model, x, y = linear(), 0.4 + 0.2 * draws(4, 6), torch.tensor([0, 1, 0, 1])
    away = (model.weight[1 - y] - model.weight[y]).detach()
    direction = away.sign() if norm == "linf" else away / away.norm(dim=1, keepdim=True)
    radius = torch.tensor([0.05, 0.1, 0.2, 0.0], dtype=torch.float64)
    points = []
    model.register_forward_pre_hook(lambda _module, inputs: points.append(inputs[0].detach()))
    x_adv = mi_fgsm(model, x, y, radius=radius, steps=5, decay=decay, norm=norm)
    for step, point in enumerate([*points, x_adv]):
        torch.testing.assert_close(point, x + step / 5 * radius[:, None] * direction)
    assert len(points) == 5


def by_hand(model, x, label, *, radius, steps, step, decay, norm, sign):
    """Algorithm 1 of the paper, with its L1 norm."""
    point, velocity = x.clone(), torch.zeros_like(x)
    for _ in range(steps):
        leaf = point.clone().requires_grad_()
        loss = -model(leaf[None]).log_softmax(1)[0, label] * sign
        (gradient,) = torch.autograd.grad(loss, leaf)
        velocity = decay * velocity + gradient / gradient.abs().sum()
        if norm == "linf":
            delta = (point + step * velocity.sign() - x).clamp(-radius, radius)
        else:
            delta = point + step * velocity / velocity.norm() - x
            delta = delta * min(1.0, radius / delta.norm().item())
        point = (x + delta).clamp(0, 1)
    return point


@every_norm
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("decay", [1.0, 0.5])
@pytest.mark.parametrize("step", [None, 0.08])
def test_equals_the_algorithm_written_out_for_one_sample(norm, targeted, decay, step):
    model, x, y = bumpy(), draws(5, 6), torch.tensor([0, 1, 2, 3, 0])
    x[0] = x[0].round()  # saturated
    radius = torch.tensor([0.3, 0.05, 0.1, 0.2, 0.4], dtype=torch.float64)
    loss = Targeted() if targeted else "ce"
    x_adv = mi_fgsm(model, x, y, radius=radius, steps=7, step_size=step, decay=decay, norm=norm, loss=loss)
    for row in range(5):
        expected = by_hand(
            model,
            x[row],
            y[row],
            radius=radius[row].item(),
            steps=7,
            step=radius[row].item() / 7 if step is None else step,
            decay=decay,
            norm=norm,
            sign=-1 if targeted else 1,
        )
        torch.testing.assert_close(x_adv[row], expected)


def test_momentum_makes_a_difference_and_no_momentum_is_plain_gradient_ascent():
    model, x, y = bumpy(), draws(8, 6), torch.zeros(8, dtype=torch.long)
    settings = {"radius": 0.3, "steps": 6, "step_size": 0.1}
    plain = pgd(model, x, y, x_init=x, **settings)
    torch.testing.assert_close(mi_fgsm(model, x, y, decay=0.0, **settings), plain)
    assert not torch.allclose(mi_fgsm(model, x, y, decay=1.0, **settings), plain)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_gradients_of_any_magnitude_count_alike(scale):
    class Scaled(nn.Module):
        def forward(self, x):
            return torch.stack([x.sum(1) * scale, -(x**2).sum(1) * scale], dim=1)

    x, y = draws(3, 6).float(), torch.tensor([0, 1, 0])
    x_adv = mi_fgsm(Scaled(), x, y, radius=0.1, loss="margin", norm="l2")
    torch.testing.assert_close((x_adv - x).norm(dim=1), torch.full((3,), 0.1), rtol=1e-4, atol=0)


def test_radius_follows_its_sample_where_batch_equals_width():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0], [-1.0]]).expand(2, 64))
    radius = torch.arange(8) / 20
    x_adv = mi_fgsm(
        model, torch.full((8, 1, 8, 8), 0.5), torch.zeros(8, dtype=torch.long), radius=radius, loss="margin"
    )
    for row, r in zip(x_adv, radius, strict=True):
        torch.testing.assert_close(row, torch.full_like(row, 0.5 - r.item()))


@given(
    shape=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    seed=st.integers(0, 99),
    norm=st.sampled_from(["linf", "l2"]),
    loss=st.sampled_from(["ce", "margin", "dlr"]),
    random_start=st.booleans(),
    poison=st.booleans(),
)
@settings(max_examples=60)
def test_result_is_always_inside_the_ball_and_the_bounds(shape, seed, norm, loss, random_start, poison):
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(shape, generator=generator) * 1.5 - 0.25).clamp(0, 1)
    y = torch.randint(0, 4, (shape[0],), generator=generator)
    radius = torch.tensor([0.0, 8 / 255, 0.5, -1.0])[torch.arange(shape[0]) % 4]
    model = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 4))
    if poison:  # gradients that are NaN or infinite where a number is 0
        model.register_forward_hook(
            lambda _module, inputs, out: out + inputs[0].sqrt().flatten(1).sum(1)[:, None] * out
        )
    x_adv = mi_fgsm(
        model, x, y, radius=radius, norm=norm, loss=loss, steps=3, random_start=random_start, generator=generator
    )
    assert x_adv.shape == x.shape
    assert not x_adv.requires_grad
    assert bool(((x_adv >= 0) & (x_adv <= 1)).all())
    delta = (x_adv.double() - x.double()).flatten(1)
    size = delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)
    assert bool((size <= radius.clamp_min(0) * (1 + 1e-5) + 2e-7).all())
    assert torch.equal(x_adv[radius <= 0], x[radius <= 0])


def test_the_model_comes_back_as_it_was():
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = (mi_fgsm(model, draws(4, 6).float(), torch.zeros(4).long(), radius="8px") for _ in range(2))
    assert torch.equal(first, second)  # dropout is off
    assert [module.training for module in model] == [True, False, True, True]
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_random_start_comes_from_the_generator():
    model, x, y = bumpy(), draws(4, 6), torch.zeros(4, dtype=torch.long)
    results = [
        mi_fgsm(model, x, y, radius=0.1, steps=1, random_start=True, generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_attack_under_inference_mode_is_the_same_attack():
    model, y = bumpy(), torch.zeros(4, dtype=torch.long)
    outside = mi_fgsm(model, draws(4, 6), y, radius=0.1)
    with torch.inference_mode():
        inside = mi_fgsm(model, draws(4, 6), y.clone(), radius=0.1)
    assert torch.equal(inside, outside)


def test_an_empty_batch_comes_back_empty():
    assert mi_fgsm(nn.Linear(6, 3), torch.empty(0, 6), torch.empty(0).long(), radius=0.1).shape == (0, 6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"radius": 8}, r"8px"),
        ({"steps": 0}, r"steps = 0"),
        ({"decay": -1.0}, r"decay = -1"),
        ({"decay": float("nan")}, r"decay = nan"),
        ({"norm": "l1"}, r"'l1'.*linf, l2"),
        ({"loss": "kl"}, r"'kl'"),
        ({"loss": "hinge"}, r"'hinge'"),
        ({"step_size": -0.1}, r"step_size"),
        ({"radius": torch.full((3,), 0.1)}, r"\[3\].*batch of 2"),
    ],
    ids=str,
)
def test_mistakes_are_refused_by_name(settings, message):
    with pytest.raises(UserError, match=message):
        mi_fgsm(bumpy(), draws(2, 6), torch.tensor([0, 1]), **{"radius": 0.1, **settings})
