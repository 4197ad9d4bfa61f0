"""The screening stages: order of targets, few classes, survivors, and how they fit the evaluation."""

from functools import partial

import pytest
import torch
from torch import nn

from iaat.attacks.screening import apgd_ce, apgd_t, screen
from iaat.errors import UserError
from iaat.runtime.passes import count_passes

every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def linear(weight, bias):
    model = nn.Sequential(nn.Flatten(), nn.Linear(weight.shape[1], len(weight)))
    model[1].weight.data, model[1].bias.data = weight, bias
    return model


def network(classes=10, inputs=16):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(inputs, 32), nn.Tanh(), nn.Linear(32, classes))
        model[1].weight.data *= 4
    return model


def only_the_third_can_win():
    """Class 0 leads; 1 and 2 come next but cannot be moved; 3 gains with the first input, 4 is far off."""
    weight = torch.tensor([[0.0], [0.0], [0.0], [8.0], [0.0]])
    return linear(weight, torch.tensor([1.0, 0.9, 0.8, -3.5, -9.0]))


@pytest.mark.parametrize(("targets", "succeeds"), [(1, False), (2, False), (3, True), (9, True)])
def test_targets_are_taken_from_the_most_likely_other_class_on(targets, succeeds):
    model, x, y = only_the_third_can_win(), torch.full((2, 1), 0.5), torch.zeros(2, dtype=torch.int64)
    generator = seeded()
    seen = []
    handle = model.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].max().item()))
    x_adv = apgd_t(model, x, y, generator, radius=0.1, targets=targets, steps=5, loss="margin")
    handle.remove()
    assert (model(x_adv).argmax(1) != y).tolist() == [succeeds] * 2


def test_only_survivors_are_attacked_and_a_misclassified_one_comes_back_untouched():
    model, y = only_the_third_can_win(), torch.zeros(64, dtype=torch.int64)
    x = torch.full((64, 1), 0.5)
    y[:32] = 4  # already misclassified
    with count_passes(model) as passes:
        x_adv = apgd_t(model, x, y, seeded(), radius=0.01, targets=2, steps=5, loss="margin", precision="fp32")
    assert torch.equal(x_adv[:32], x[:32])
    assert passes.backward == 2 * 32 * 5
    assert bool((model(x_adv[32:]).argmax(1) == 0).all())


@every_norm
@pytest.mark.parametrize("classes", [2, 3, 4, 10])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_any_number_of_classes_matches_the_closed_form(norm, classes, precision):
    weight = torch.randn(classes, 12, generator=seeded(3))
    # All boundaries meet in the middle of the inputs, so that no perturbation is cut off by the pixel range.
    model = linear(weight, -weight.sum(1) / 2)
    x = 0.4 + 0.2 * torch.rand(40, 12, generator=seeded(4))
    logits = model(x).detach()
    y = logits.argmax(1)
    gap = weight[y][:, None] - weight[None]
    size = gap.abs().sum(2) if norm == "linf" else gap.norm(dim=2)
    distance = ((logits.gather(1, y[:, None]) - logits) / size).scatter(1, y[:, None], torch.inf).amin(1)
    radius = (distance * torch.tensor([0.5, 0.9, 1.1, 2.0]).repeat(10)).clamp_max(0.38)
    expected = (radius > distance).tolist()
    assert sum(expected) > 10
    options = {"radius": radius, "norm": norm, "precision": precision}
    for x_adv in (
        apgd_t(model, x, y, seeded(), targets=9, steps=20, **options),
        screen(model, x, y, generator=seeded(), **options),
    ):
        assert (model(x_adv).argmax(1) != y).tolist() == expected
        delta = x_adv - x
        reach = delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)
        assert bool((reach <= radius + 1e-6).all())


class Split(nn.Module):
    """Predicts class 0 in float32 and class 1 under autocast."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        nn.init.constant_(self.linear.weight, 0.1)

    def forward(self, x):
        low = torch.is_autocast_enabled("cpu")
        lead = torch.tensor([0.0, 1.0, 0.0, 0.0] if low else [1.0, 0.0, 0.0, 0.0])
        return self.linear(x).float() * 1e-3 + lead


def test_what_is_adversarial_in_bfloat16_only_goes_on_to_the_next_target():
    x, y, model = torch.rand(3, 4, generator=seeded()), torch.zeros(3, dtype=torch.int64), Split()
    with count_passes(model) as passes:
        apgd_t(model, x, y, seeded(), radius=0.1, steps=5, targets=3, precision="bf16")
    assert passes.backward == 3 * 3 * 5


def test_stages_fit_the_evaluation_and_are_repeatable():
    model = network()
    x = torch.rand(40, 1, 4, 4, generator=seeded(1))
    y = model(x).argmax(1)
    options = {"radius": 0.03, "precision": "fp32"}
    for stage in (partial(apgd_ce, steps=10, **options), partial(apgd_t, steps=10, targets=2, **options)):
        first, again, other = (stage(model, x, y, seeded(seed)) for seed in (5, 5, 6))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert 0 < (model(first).argmax(1) != y).sum() < 40


def test_screening_is_the_worst_case_of_its_stages():
    model = network()
    model[3].weight.data *= 1e3  # cross-entropy saturates on the scaled logits, the ratio of DLR does not
    model[3].bias.data *= 1e3
    x = torch.rand(64, 16, generator=seeded(1))
    y = model(x).argmax(1)
    y[:3] = (y[:3] + 1) % 10
    options = {"radius": torch.linspace(0, 0.06, 64), "precision": "fp32"}
    alone = apgd_ce(model, x, y, seeded(), **options)
    adversarial = {"ce": model(alone).argmax(1) != y}
    x_adv = screen(model, x, y, generator=seeded(), **options)
    adversarial["both"] = model(x_adv).argmax(1) != y
    assert torch.equal(x_adv[adversarial["ce"]], alone[adversarial["ce"]])
    assert bool((adversarial["both"] >= adversarial["ce"]).all())
    assert adversarial["both"].sum() > adversarial["ce"].sum()


def test_radius_as_a_scalar_tensor_text_and_zero():
    model = network()
    x = torch.rand(8, 16, generator=seeded(1))
    y = model(x).argmax(1)
    results = [screen(model, x, y, radius=r, generator=seeded(), precision="fp32") for r in (0.04, torch.tensor(0.04))]
    assert torch.equal(*results)
    assert torch.equal(screen(model, x, y, radius=0.0), x)
    with pytest.raises(UserError, match="8px"):
        screen(model, x, y, radius=8.0)


def test_empty_batches_and_mistakes():
    x, y = torch.empty(0, 16), torch.empty(0, dtype=torch.int64)
    for attack in (apgd_ce, apgd_t, screen):
        assert attack(network(), x, y, radius=0.1).shape == x.shape
    x, y = torch.rand(2, 16), torch.tensor([0, 0])
    with pytest.raises(UserError, match="targets = 0"):
        apgd_t(network(), x, y, radius=0.1, targets=0)
    with pytest.raises(UserError, match="1 output"):
        apgd_t(network(classes=1), x, y, radius=0.1)
    with pytest.raises(UserError, match="precision 'half'"):
        apgd_t(network(), x, network()(x).argmax(1), radius=0.1, precision="half")
