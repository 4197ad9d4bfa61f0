"""Attackers make the attacks that their configs describe, and draw from the generator as a run of the attack would."""

import pytest
import torch

from iaat.attacks import nfgsm, per_sample, pgd, pgd_early_stop
from iaat.methods import AttackConfig, InnerConfig, NFGSMAttacker, PGDAttacker, RandomTargetAttacker
from iaat.methods.training_attacks import attacker_of
from iaat.units import Radius
from methods.settings import SIZE, digits, half_learned

RADII = torch.arange(SIZE) / 2 / 255
MIN_STEP = Radius("2px")


def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, PGDAttacker),
        ({"target": "random"}, RandomTargetAttacker),
        ({"inner": "nfgsm"}, NFGSMAttacker),
    ],
)
def test_settings_choose_the_attacker(settings, kind):
    attacker = attacker_of(InnerConfig(**settings))
    assert type(attacker) is kind
    assert attacker.config == InnerConfig(**settings)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("mode", ["eval", "batch"])
def test_pgd_has_the_steps_and_the_step_size_of_the_config(norm, mode):
    batch = digits()
    model, config = half_learned(batch), AttackConfig(steps=4, norm=norm, mode=mode, min_step=MIN_STEP)
    step_size = (2 * RADII / 4).clamp_min(MIN_STEP)
    expected = pgd(
        model, batch.x, batch.y, radius=RADII, steps=4, step_size=step_size, norm=norm, mode=mode, generator=generator()
    )
    assert torch.equal(PGDAttacker(config).attack(model, batch, RADII, generator()), expected)


def test_pgd_takes_another_loss_steps_per_sample_or_patience():
    batch = digits()
    model, config = half_learned(batch), AttackConfig(steps=3)
    steps = torch.arange(SIZE) % 4
    found = PGDAttacker(config, loss="margin").attack(model, batch, RADII, generator(), steps=steps)
    common = {"radius": RADII, "generator": generator()}
    size = (2 * RADII / steps.clamp_min(1)).clamp_min(MIN_STEP)
    assert torch.equal(found, pgd(model, batch.x, batch.y, steps=steps, step_size=size, loss="margin", **common))
    found = PGDAttacker(config, patience=1).attack(model, batch, RADII, generator())
    common = {"radius": RADII, "step_size": (2 * RADII / 3).clamp_min(MIN_STEP), "generator": generator()}
    assert torch.equal(found, pgd_early_stop(model, batch.x, batch.y, steps=3, patience=1, **common))


def test_nfgsm_takes_one_step_from_the_noise_of_the_config():
    batch = digits()
    model, config = half_learned(batch), InnerConfig(inner="nfgsm", noise=0.5)
    expected = nfgsm(model, batch.x, batch.y, radius=RADII, noise=0.5, generator=generator())
    assert torch.equal(NFGSMAttacker(config).attack(model, batch, RADII, generator()), expected)


@pytest.mark.parametrize("settings", [{}, {"target": "random"}, {"inner": "nfgsm", "noise": 0.5}], ids=str)
def test_a_start_and_targets_drawn_before_give_the_same_attack(settings):
    batch = digits()
    model, attacker = half_learned(batch), attacker_of(InnerConfig(**settings, steps=2))
    drawing = generator()
    targets = attacker.random_targets(batch.y, drawing)
    start = attacker.random_start(batch.x, RADII, drawing)
    largest = attacker.start_radius * per_sample(RADII, batch.x)
    assert bool(((start - batch.x).abs() <= largest + 1e-6).all())
    drawn = attacker.attack(model, batch, RADII, generator(), x_init=start, targets=targets)
    assert torch.equal(drawn, attacker.attack(model, batch, RADII, generator()))


def test_a_number_is_the_radius_of_every_sample():
    batch = digits()
    model, attacker = half_learned(batch), PGDAttacker(AttackConfig(steps=2))
    one, each = (attacker.attack(model, batch, r, generator()) for r in (0.1, torch.full((SIZE,), 0.1)))
    assert torch.equal(one, each)
