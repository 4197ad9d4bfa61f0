"""DeepFool against the exact distance to the boundaries of linear models, and against a slow reference."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from iaat.attacks.deepfool import deepfool
from iaat.errors import UserError
from reference.deepfool_slow import deepfool_slow

OVERSHOOT = 0.02
every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])


def linear(inputs=12, classes=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(inputs, classes)).double()
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(classes, inputs, generator=generator))
        model[1].bias.copy_(torch.randn(classes, generator=generator))
    return model


def bumpy(inputs=6, classes=4, *, scale=3.0):
    model = nn.Sequential(nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, classes)).double()
    with torch.no_grad():
        model[0].weight *= scale
    return model


def draws(*shape, seed=1):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def size(delta, norm):
    return delta.flatten(1).abs().amax(1) if norm == "linf" else delta.flatten(1).norm(dim=1)


def distances(model, x, norm):
    """Exact distance of each sample to the nearest boundary of a linear model within [0, 1].

    The nearest point of a boundary is `clip(x + t * d)`, d the steepest way to it, with the t that just reaches it.
    """
    weight = model[1].weight.detach()
    logits = model(x).detach()
    result = []
    for point, values in zip(x.flatten(1), logits, strict=True):
        label, found = int(values.argmax()), []
        for other in set(range(len(values))) - {label}:
            slope = weight[other] - weight[label]
            gap = values[label] - values[other]
            way = slope.sign() if norm == "linf" else slope
            low, high = 0.0, 1e4
            if slope @ ((point + high * way).clamp(0, 1) - point) < gap:
                continue  # this boundary lies outside of the cube
            for _ in range(100):
                middle = (low + high) / 2
                short = slope @ ((point + middle * way).clamp(0, 1) - point) < gap
                low, high = (middle, high) if short else (low, middle)
            delta = (point + high * way).clamp(0, 1) - point
            found.append(size(delta[None], norm).item())
        result.append(min(found, default=math.inf))
    return torch.tensor(result, dtype=torch.float64)


@every_norm
@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("shape", [(40, 12), (12, 1, 1, 12), (40, 2, 3, 2)], ids=str)
def test_finds_the_exact_distance_up_to_the_overshoot_on_a_linear_model(norm, classes, shape):
    model, x = linear(classes=classes), 0.4 + 0.2 * draws(*shape)
    logits = model(x).detach()
    weight, y = model[1].weight.detach(), logits.argmax(1)
    leads = logits.gather(1, y[:, None]) - logits
    slopes = (weight[None] - weight[y][:, None]).norm(dim=2, p=1 if norm == "linf" else 2)
    exact = (leads / slopes).nan_to_num(nan=torch.inf).amin(1)  # 0 / 0 for the label itself
    x_adv = deepfool(model, x, y, norm=norm, bounds=None)
    assert bool((model(x_adv).argmax(1) != y).all())
    torch.testing.assert_close(size(x_adv - x, norm), (1 + OVERSHOOT) * exact)


@every_norm
def test_saturated_inputs_are_crossed_at_the_exact_distance_within_the_bounds(norm):
    model, x = linear(inputs=40), (2 * draws(60, 40) - 0.5).clamp(0, 1)
    assert 0.4 < ((x == 0) | (x == 1)).double().mean() < 0.6
    y = model(x).argmax(1)
    x_adv = deepfool(model, x, y, norm=norm)
    assert bool((model(x_adv).argmax(1) != y).all())
    assert bool(((x_adv >= 0) & (x_adv <= 1)).all())
    ratio = size(x_adv - x, norm) / distances(model, x, norm)
    assert bool((ratio > 1).all())
    # The nearest boundary may be another one than that of the first linearisation, which sees no bound ahead.
    assert bool((ratio < 1 + OVERSHOOT + 1e-6).double().mean() >= 0.9)
    assert bool((ratio < 1.3).all())


@every_norm
@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
@pytest.mark.parametrize("classes", [10, 2])
def test_equals_the_slow_reference_on_a_curved_model(norm, bounds, classes):
    model, x = bumpy(), draws(10, 6)
    x[:3] = x[:3].round()
    y = model(x).argmax(1)
    y[-1] = (y[-1] + 1) % 4  # misclassified
    x_adv = deepfool(model, x, y, norm=norm, bounds=bounds, classes=classes, steps=20)
    broken = 0
    for row in range(10):
        expected = deepfool_slow(
            model,
            x[row].tolist(),
            int(y[row]),
            norm=norm,
            steps=20,
            overshoot=OVERSHOOT,
            classes=classes,
            bounds=bounds,
        )
        broken += expected is not None
        expected = x[row] if expected is None else torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(x_adv[row], expected, rtol=0, atol=1e-6)
    assert broken > 5


@every_norm
@pytest.mark.parametrize("as_text", [False, True])
def test_with_a_radius_only_what_lies_within_it_counts(norm, as_text):
    model, x = linear(), 0.4 + 0.2 * draws(20, 12)
    y = model(x).argmax(1)
    free = deepfool(model, x, y, norm=norm)
    found = size(free - x, norm)
    radius = found.median() if as_text else found * torch.tensor([0.99, 1.01] * 10, dtype=torch.float64)
    counts = found <= radius
    x_adv = deepfool(model, x, y, norm=norm, radius=str(radius.item()) if as_text else radius)
    assert 0 < counts.sum() < 20
    assert torch.equal(x_adv, torch.where(counts[:, None], free, x))
    assert torch.equal(deepfool(model, x, y, norm=norm, radius=0.0), x)


def test_a_radius_that_is_no_length_counts_as_zero():
    model, x = linear(), 0.4 + 0.2 * draws(3, 12)
    y = model(x).argmax(1)
    x_adv = deepfool(model, x, y, norm="l2", radius=torch.tensor([float("nan"), -1.0, 3.0], dtype=torch.float64))
    assert (x_adv != x).any(1).tolist() == [False, False, True]


def test_misclassified_inputs_come_back_untouched():
    model, x = linear(), draws(6, 12)
    y = model(x).argmax(1)
    y[::2] = (y[::2] + 1) % 5
    x_adv = deepfool(model, x, y)
    assert (x_adv != x).any(1).tolist() == [False, True] * 3


def test_what_no_attack_succeeds_on_comes_back_clean():
    class Stubborn(nn.Module):
        """Class 0 always, by a lead that looks smaller than it is."""

        def forward(self, x):
            return torch.cat([1 + 0 * x[:, :1], (x[:, :1] / 10).tanh()], dim=1)

    x, y = draws(3, 2), torch.zeros(3, dtype=torch.long)
    assert torch.equal(deepfool(Stubborn(), x, y, bounds=None), x)
    assert torch.equal(deepfool(Stubborn(), x, y), x)


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
@every_norm
def test_flat_and_undefined_gradients_move_nothing(norm, bounds):
    class Flat(nn.Module):
        def forward(self, x):
            return torch.stack([1 + 0 * x.sum(1), (x * 0).sqrt().sum(1)], dim=1)  # the second has gradient NaN

    x, y = draws(3, 4), torch.zeros(3, dtype=torch.long)
    assert torch.equal(deepfool(Flat(), x, y, norm=norm, bounds=bounds), x)


@every_norm
def test_an_input_on_the_boundary_is_moved_off_it(norm):
    model = nn.Linear(4, 2, bias=False)
    x, y = torch.zeros(2, 4), torch.zeros(2, dtype=torch.long)  # both logits are 0, so the first class is predicted
    x_adv = deepfool(model, x, y, norm=norm, bounds=None)
    assert (model(x_adv).argmax(1) == 1).tolist() == [True, True]
    assert 0 < size(x_adv - x, norm).max().item() < 1e-5


def test_only_the_likeliest_classes_are_candidates():
    model = nn.Linear(3, 3, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 10.0, 0.0]]))
        model.bias = nn.Parameter(torch.tensor([1.0, 0.9, 0.0], dtype=torch.float64))
    x, y = torch.zeros(1, 3, dtype=torch.float64), torch.tensor([0])
    near, likely = (deepfool(model, x, y, norm="l2", bounds=None, classes=classes) for classes in (3, 2))
    torch.testing.assert_close(near, torch.tensor([[0.0, 0.102, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(likely, torch.tensor([[1.02, 0.0, 0.0]], dtype=torch.float64))


def test_adversarial_examples_leave_the_batch_and_others_do_not_notice():
    model, x = bumpy(inputs=12), draws(100, 12)
    y = model(x).argmax(1)
    sizes = []
    handle = model.register_forward_pre_hook(lambda _module, inputs: sizes.append(len(inputs[0])))
    together = deepfool(model, x, y)
    handle.remove()
    assert sizes[0] == 100
    assert sizes[-1] in (32, 64)
    assert sizes == sorted(sizes, reverse=True)
    alone = torch.cat([deepfool(model, x[row : row + 1], y[row : row + 1]) for row in range(100)])
    torch.testing.assert_close(together, alone)


@given(
    shape=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    seed=st.integers(0, 99),
    norm=st.sampled_from(["linf", "l2"]),
    classes=st.integers(2, 5),
    scale=st.sampled_from([1e-12, 1.0, 1e12]),
)
@settings(max_examples=60)
def test_result_is_adversarial_or_the_clean_input_and_stays_in_the_bounds(shape, seed, norm, classes, scale):
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(shape, generator=generator) * 2 - 0.5).clamp(0, 1)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 8), nn.Tanh(), nn.Linear(8, classes))
    with torch.no_grad():
        model[3].weight *= scale
        model[3].bias *= scale
    y = torch.randint(0, classes, (shape[0],), generator=generator)
    x_adv = deepfool(model, x, y, norm=norm, steps=10)
    assert x_adv.shape == x.shape
    assert x_adv.dtype == x.dtype
    assert not x_adv.requires_grad
    assert bool(((x_adv >= 0) & (x_adv <= 1)).all())
    moved = (x_adv != x).flatten(1).any(1)
    # In one batch, as the attack evaluates them: at the boundary the rounding of another size may decide.
    adversarial = model(x_adv).argmax(1) != y
    assert bool((adversarial | ~moved).all())


def test_the_model_comes_back_as_it_was():
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    model[1].eval()
    first, second = (deepfool(model, draws(4, 6).float(), torch.zeros(4).long()) for _ in range(2))
    assert torch.equal(first, second)
    assert [module.training for module in model] == [True, False, True, True]
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_attack_under_inference_mode_is_the_same_attack():
    model, x = bumpy(), draws(4, 6)
    y = model(x).argmax(1)
    outside = deepfool(model, x, y)
    with torch.inference_mode():
        inside = deepfool(model, x.clone(), y.clone())
    assert torch.equal(inside, outside)


def test_an_empty_batch_comes_back_empty():
    assert deepfool(nn.Linear(6, 3), torch.empty(0, 6), torch.empty(0).long()).shape == (0, 6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"radius": 8}, r"8px"),
        ({"steps": 0}, r"steps = 0"),
        ({"overshoot": 0.0}, r"overshoot = 0"),
        ({"overshoot": float("inf")}, r"overshoot = inf"),
        ({"classes": 1}, r"classes = 1"),
        ({"norm": "l1"}, r"'l1'.*linf, l2"),
        ({"radius": torch.full((3,), 0.1)}, r"\[3\].*batch of 2"),
    ],
    ids=str,
)
def test_mistakes_are_refused_by_name(settings, message):
    with pytest.raises(UserError, match=message):
        deepfool(bumpy(), draws(2, 6), torch.tensor([0, 1]), **settings)


def test_a_model_of_one_output_is_refused():
    with pytest.raises(UserError, match="1 output"):
        deepfool(nn.Linear(6, 1), torch.rand(2, 6), torch.tensor([0, 0]))
