"""Early stopping with patience: equal to one sample at a time by algorithm 1 of the FAT paper, at a lower cost."""

import pytest
import torch
from torch import nn

from iaat.attacks import pgd, pgd_early_stop
from iaat.errors import UserError
from iaat.runtime.passes import count_passes
from reference.fat_slow import early_stopped_pgd

B, STEPS, RADIUS = 70, 6, 0.15
STEP = {"linf": 0.06, "l2": 0.2}
every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])
every_patience = pytest.mark.parametrize("patience", [0, 1, 2])


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        hidden = nn.Linear(12, 16)
        hidden.weight.data *= 9
        return nn.Sequential(nn.Flatten(), hidden, nn.Tanh(), nn.Linear(16, 4)).double()


def batch():
    """Inputs, labels of which most are the model's own, and starts."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(B, 3, 2, 2, dtype=torch.float64, generator=generator)
    y = network()(x).argmax(dim=1)
    y[:5] = (y[:5] + 1) % 4
    start = (x + 0.1 * RADIUS * (torch.rand(x.shape, dtype=x.dtype, generator=generator) - 0.5)).clamp(0, 1)
    return x, y, start


def slow(model, x, y, start, norm, patience):
    settings = {"radius": RADIUS, "steps": STEPS, "step_size": STEP[norm], "tau": patience, "norm": norm}
    return [early_stopped_pgd(model, x[i], int(y[i]), start[i], **settings) for i in range(B)]


def attack(model, x, y, start, norm, **options):
    run = pgd_early_stop if "patience" in options else pgd
    return run(model, x, y, radius=RADIUS, steps=STEPS, step_size=STEP[norm], norm=norm, x_init=start, **options)


@every_norm
@every_patience
def test_each_sample_ends_where_it_does_alone_and_comes_back_in_its_place(norm, patience):
    model, (x, y, start) = network(), batch()
    together = attack(model, x, y, start, norm, patience=patience)
    alone = slow(model, x, y, start, norm, patience)
    torch.testing.assert_close(together, torch.stack([end for end, _ in alone]), rtol=0, atol=1e-12)
    looked = [len(seen) for _, seen in alone]
    assert len(set(looked)) >= 4  # samples leave at many times, so the batch is cut again and again


class Gap(nn.Module):
    """Wrong about class 0 only within 0.05 of 0.35, where the loss draws every input, past which long steps lead."""

    def forward(self, x):
        score = (x[:, 0] - 0.35).abs() - 0.05
        return torch.stack([score, -score], dim=1)


@every_norm
@pytest.mark.parametrize(("patience", "end"), [(0, 0.38), (1, 0.38), (2, 0.38), (100, 0.26)])
def test_only_adversarial_points_use_up_the_patience_of_a_sample(norm, patience, end):
    x, y = torch.full((1, 1), 0.5, dtype=torch.float64), torch.zeros(1, dtype=torch.int64)
    options = {"radius": 0.4, "step_size": 0.12, "steps": 6, "x_init": x, "norm": norm}
    model = Gap()
    with count_passes(model) as passes:
        x_adv = pgd_early_stop(model, x, y, patience=patience, **options)
    # The points are 0.5, 0.38, 0.26, 0.38, 0.26, 0.38 and, after the last step, 0.26.
    assert x_adv.item() == pytest.approx(end)
    assert passes.forward == {0: 2, 1: 4, 2: 6, 100: 6}[patience]


@every_patience
def test_the_price_is_what_each_looks_at_rounded_up_to_buckets(patience):
    model, (x, y, start) = network(), batch()
    alone = slow(model, x, y, start, "linf", patience)
    with count_passes(model) as passes:
        attack(model, x, y, start, "linf", patience=patience)
    # A sample that stays is seen to at the start of a step; whoever is left then takes the next ones.
    active = [B] + [sum(len(seen) > step for _, seen in alone) for step in range(1, STEPS)]
    assert passes.forward == sum(min(-(-count // 32) * 32, B) for count in active) < B * STEPS
    assert passes.forward == passes.backward


@pytest.mark.parametrize("patience", [STEPS, 100])
def test_more_patience_than_steps_is_the_plain_attack(patience):
    model, (x, y, start) = network(), batch()
    plain = attack(model, x, y, start, "linf")
    torch.testing.assert_close(attack(model, x, y, start, "linf", patience=patience), plain)
    assert not torch.equal(attack(model, x, y, start, "linf", patience=2), plain)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patience": -1}, "patience = -1"),
        ({"patience": 1, "restarts": 2}, "set restarts=1"),
        ({"restarts": 0}, "restarts = 0"),
        ({"restarts": 1.5}, "restarts = 1.5"),
    ],
)
def test_counts_that_make_no_sense_are_refused(options, words):
    model, (x, y, _) = network(), batch()
    with pytest.raises(UserError, match=words):
        pgd_early_stop(model, x, y, radius=RADIUS, **options)
