"""N-FGSM against its closed form on linear models, and against the algorithm written out for one sample."""

import pytest
import torch
from torch import nn

from iaat.attacks import nfgsm, pgd
from iaat.errors import UserError
from iaat.runtime.passes import count_passes
from iaat.units import Radius

every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])


def draws(*shape, seed=1):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def linear(inputs=6):
    """A linear model of two classes and, for each label, the steepest way up its loss."""
    model = nn.Linear(inputs, 2).double()
    with torch.no_grad():
        model.weight.copy_(draws(2, inputs, seed=3) - 0.5)
    return model, lambda y: (model.weight[1 - y] - model.weight[y]).detach()


def bumpy(inputs=6, classes=4):
    model = nn.Sequential(nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, classes)).double()
    with torch.no_grad():
        model[0].weight *= 6
    return model


@every_norm
@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
def test_without_noise_it_is_one_step_of_a_radius_up_the_gradient(norm, bounds):
    model, way = linear()
    x, y = 0.4 + 0.2 * draws(4, 6), torch.tensor([0, 1, 0, 1])
    direction = way(y).sign() if norm == "linf" else way(y) / way(y).norm(dim=1, keepdim=True)
    radius = torch.tensor([0.05, 0.1, 0.2, 0.0], dtype=torch.float64)
    x_adv = nfgsm(model, x, y, radius=radius, noise=0.0, norm=norm, bounds=bounds)
    torch.testing.assert_close(x_adv, x + radius[:, None] * direction)
    as_pgd = pgd(model, x, y, radius=radius, steps=1, step_size=radius, norm=norm, x_init=x, bounds=bounds)
    torch.testing.assert_close(x_adv, as_pgd)


@every_norm
@pytest.mark.parametrize("noise", [1.0, 2.0])
@pytest.mark.parametrize("step", [0.0, 1.0, 1.5])
def test_on_a_linear_model_it_is_the_noise_and_a_step_beyond_it_not_projected(norm, noise, step):
    model, way = linear()
    x, y = torch.full((64, 6), 0.5).double(), torch.arange(64) % 2
    radius = torch.linspace(0.01, 0.1, 64, dtype=torch.float64)
    direction = way(y).sign() if norm == "linf" else way(y) / way(y).norm(dim=1, keepdim=True)
    x_adv = nfgsm(model, x, y, radius=radius, noise=noise, step=step, norm=norm, generator=seeded())
    drawn = (x_adv - x) / radius[:, None] - step * direction
    if norm == "linf":
        assert 0.9 * noise < drawn.abs().max() <= noise + 1e-9
        assert abs(drawn.mean()) < 0.2 * noise
        assert drawn.abs().mean() == pytest.approx(noise / 2, rel=0.1)  # uniform
    else:
        size = drawn.norm(dim=1)
        assert 0.9 * noise < size.max() <= noise + 1e-9
        assert (size / noise).pow(6).mean() == pytest.approx(0.5, abs=0.15)  # uniform in a ball of 6 dimensions
    size = (x_adv - x).flatten(1).abs().amax(1) if norm == "linf" else (x_adv - x).norm(dim=1)
    assert bool((size <= (noise + step) * radius + 1e-9).all())
    if step == 1.0:
        assert bool((size > 1.05 * radius).any())  # nothing projects it back


def by_hand(model, x, label, *, start, radius, step, bounds):
    """Algorithm 1 for one sample in L-inf, number by number."""
    clamp = (lambda value: value) if bounds is None else (lambda value: min(max(value, bounds[0]), bounds[1]))
    leaf = torch.tensor([clamp(value) for value in start.tolist()], dtype=x.dtype, requires_grad=True)
    logits = model(leaf[None])[0]
    loss = torch.logsumexp(logits, 0) - logits[label]
    (gradient,) = torch.autograd.grad(loss, leaf)
    moved = []
    for value, slope in zip(leaf.tolist(), gradient.tolist(), strict=True):
        sign = 1 if slope > 0 else -1 if slope < 0 else 0
        moved.append(clamp(value + step * radius * sign))
    return torch.tensor(moved, dtype=x.dtype)


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
@pytest.mark.parametrize(("noise", "step"), [(0.0, 1.0), (2.0, 1.0), (0.5, 1.25)])
def test_equals_the_algorithm_written_out_for_one_sample(bounds, noise, step):
    model, x, y = bumpy(), draws(5, 6), torch.tensor([0, 1, 2, 3, 0])
    x[0] = x[0].round()  # saturated
    radius = torch.tensor([0.3, 0.05, 0.1, 0.0, 0.4], dtype=torch.float64)
    x_adv = nfgsm(model, x, y, radius=radius, noise=noise, step=step, bounds=bounds, generator=seeded(5))
    uniform = torch.rand(x.shape, dtype=x.dtype, generator=seeded(5))
    for row in range(5):
        start = x[row] + (2 * uniform[row] - 1) * noise * radius[row]
        settings = {"radius": radius[row].item(), "step": step, "bounds": bounds}
        expected = by_hand(model, x[row], int(y[row]), start=start, **settings)
        torch.testing.assert_close(x_adv[row], expected)


@every_norm
def test_a_given_start_replaces_the_draw(norm):
    model, x, y = bumpy(), draws(4, 6), torch.tensor([0, 1, 2, 3])
    start = (x + 0.1).clone()
    given = nfgsm(model, x, y, radius=0.05, norm=norm, x_init=start, bounds=None)
    shifted = nfgsm(model, x + 0.1, y, radius=0.05, norm=norm, noise=0.0, bounds=None)
    torch.testing.assert_close(given, shifted)
    assert torch.equal(start, x + 0.1)


@every_norm
def test_radius_zero_gives_the_clean_input_bit_for_bit_also_in_a_mixed_batch(norm):
    model, x, y = bumpy().float(), draws(6, 6).float(), torch.arange(6) % 4
    x[0] = x[0].round()
    radius = torch.tensor([0.0, 0.1, -0.1, 0.1, float("nan"), 0.1])
    x_adv = nfgsm(model, x, y, radius=radius, norm=norm)
    assert torch.equal(x_adv[::2], x[::2])
    assert bool((x_adv[1::2] != x[1::2]).any(dim=1).all())
    assert torch.equal(nfgsm(model, x, y, radius=0.0, norm=norm), x)


@every_norm
def test_the_gradient_is_taken_at_the_leaf_so_saturated_pixels_move(norm):
    """Since torch 2.14 the gradient of `clamp` is 0 at its bounds."""
    model, way = linear()
    y = torch.tensor([0, 1])
    x = (way(y) < 0).double()  # every pixel on the bound it can leave
    x_adv = nfgsm(model, x, y, radius=0.1, noise=0.0, norm=norm)
    assert bool((x_adv != x).all())


def test_radius_follows_its_sample_where_batch_equals_width():
    model = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 2, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0], [-1.0]]).expand(2, 32 * 32) / 1024)
    x, y = torch.full((32, 1, 32, 32), 0.5), torch.zeros(32, dtype=torch.int64)
    radius = torch.arange(32) / 100
    x_adv = nfgsm(model, x, y, radius=radius, noise=0.0)
    for row, r in zip(x_adv, radius, strict=True):
        torch.testing.assert_close(row, torch.full_like(row, 0.5 - r.item()))


def test_one_number_text_and_a_tensor_are_the_same_radius():
    model, x, y = bumpy(), draws(4, 6), torch.tensor([0, 1, 2, 3])
    forms = (8 / 255, "8px", "8/255", torch.full((4,), 8 / 255, dtype=torch.float64))
    results = [nfgsm(model, x, y, radius=radius, generator=seeded()) for radius in forms]
    assert all(torch.equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("mode", ["eval", "batch", "train"])
def test_the_model_is_left_as_it_was_and_meets_one_forward_and_one_backward(mode):
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)).train()
    model[3].eval()  # frozen by its owner
    model[0].bias.requires_grad_(False)
    flags = [(module, module.training) for module in model.modules()]
    needs = [weight.requires_grad for weight in model.parameters()]
    mean = model[1].running_mean.clone()
    x, y = torch.rand(8, 6), torch.arange(8) % 3
    with count_passes(model) as passes:
        x_adv = nfgsm(model, x, y, radius=0.1, mode=mode)
    assert (passes.forward, passes.backward) == (8, 8)
    assert not x_adv.requires_grad
    assert x.grad is None
    assert all(weight.grad is None for weight in model.parameters())
    assert [weight.requires_grad for weight in model.parameters()] == needs
    assert all(module.training == flag for module, flag in flags)
    assert torch.equal(model[1].running_mean, mean) == (mode != "train")


def test_losses_are_float32_where_the_model_computes_in_bfloat16():
    """A bfloat16 softmax of a sure network is 1 for the label: its gradient would be 0 everywhere."""

    class Half(nn.Module):
        def forward(self, x):
            score = 8 * x.sum(1).to(torch.bfloat16)
            return torch.stack([score, -score], dim=1)

    x, y = torch.full((2, 2), 0.5), torch.tensor([0, 0])
    x_adv = nfgsm(Half(), x, y, radius=0.1, noise=0.0)
    torch.testing.assert_close(x_adv, torch.full((2, 2), 0.4))


def test_one_generator_decides_the_noise():
    model, x, y = bumpy(), draws(4, 6), torch.tensor([0, 1, 2, 3])
    before = torch.get_rng_state()
    results = [nfgsm(model, x, y, radius=0.1, generator=seeded(seed)) for seed in (0, 0, 1)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("radius", [0.1, torch.empty(0)], ids=["number", "[B]"])
def test_an_empty_batch_comes_back_empty(radius):
    x = torch.empty(0, 6, dtype=torch.float64)
    assert nfgsm(bumpy(), x, torch.empty(0).long(), radius=radius).shape == x.shape


def test_attack_under_inference_mode_is_the_same_attack():
    model, x, y = bumpy(), draws(4, 6), torch.tensor([0, 1, 2, 3])
    outside = nfgsm(model, x, y, radius=0.1, generator=seeded())
    with torch.inference_mode():
        inside = nfgsm(model, x.clone(), y.clone(), radius=0.1, generator=seeded())
    assert torch.equal(inside, outside)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"radius": 8}, r"8px.*8/255", id="radius in pixel levels"),
        pytest.param({"radius": -0.1}, r"radius = -0.1", id="negative radius"),
        pytest.param({"noise": -1.0}, r"noise = -1", id="negative noise"),
        pytest.param({"noise": float("nan")}, r"noise = nan", id="noise nan"),
        pytest.param({"step": float("inf")}, r"step = inf", id="endless step"),
        pytest.param({"norm": "l1"}, r"'l1'.*linf, l2", id="norm"),
        pytest.param({"mode": "test"}, r"'test'.*eval, train, batch", id="mode"),
        pytest.param({"radius": torch.full((3,), 0.1)}, r"\[3\].*batch of 4", id="radius of another length"),
        pytest.param({"x": torch.zeros(4, 6, dtype=torch.uint8)}, r"x is torch.uint8", id="integers"),
    ],
)
def test_mistakes_are_refused_by_name(settings, message):
    x = settings.pop("x", draws(4, 6))
    with pytest.raises(UserError, match=message):
        nfgsm(bumpy(), x, torch.tensor([0, 1, 2, 3]), **{"radius": 0.1, **settings})


def test_a_missing_gradient_path_is_named():
    class Detached(nn.Module):
        def forward(self, x):
            return x.detach()

    with pytest.raises(UserError, match="no gradient path"):
        nfgsm(Detached(), draws(2, 3), torch.tensor([0, 1]), radius=0.1)


def test_lengths_are_lengths_however_they_are_given():
    model, x, y = bumpy(), draws(4, 6), torch.tensor([0, 1, 2, 3])
    for noise in ("16px", Radius("16px")):
        with pytest.raises(UserError, match=r"noise = 16px is a length of images in \[0, 1\]"):
            nfgsm(model, x, y, radius=0.1, noise=noise, bounds=None)
    for noise in ("2", Radius(2)):
        with pytest.raises(UserError, match=r"noise = '(2|510px)': give a number of radii, or a length with a unit"):
            nfgsm(model, x, y, radius=0.1, noise=noise)
    with pytest.raises(UserError, match=r"noise = 300/1 is above 255px"):
        nfgsm(model, x, y, radius=0.1, noise="300/1")
