"""How far radii move over a run: the same multiple of the radius whatever epochs, radius and norm are."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from iaat.errors import UserError
from iaat.methods import (
    METHODS,
    CATConfig,
    FATConfig,
    IAATConfig,
    IAATPaperConfig,
    IAATTRADESConfig,
    MMAConfig,
    StepContext,
)
from iaat.types import Batch, StepOutput
from iaat.units import Radius
from methods.settings import SIZE, digits, network

epochs_and_radius = given(st.integers(1, 1000), st.floats(0.001, 0.25))


def always_correct(config, epochs, size=3):
    """Radii of samples that are classified correctly at each of `epochs` visits, of a method built for as many."""
    method = METHODS["iaat" if isinstance(config, IAATConfig) else "iaat_trades"](
        config.over(epochs), size=size, device="cpu"
    )
    batch = Batch(torch.zeros(size, 2), torch.zeros(size, dtype=torch.int64), torch.arange(size))
    output = StepOutput(torch.zeros(()), torch.tensor([[1.0, 0.0]] * size), torch.zeros(size))
    for _ in range(epochs):
        method.update(batch, output)
    return method.radii.values


@pytest.mark.parametrize("config", [IAATConfig, IAATTRADESConfig])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("epochs", "radius"), [(5, 25.5 / 255), (30, 8 / 255), (110, 8 / 255), (16, 64 / 255)])
def test_radii_move_by_the_reach_over_the_run_whatever_its_epochs_and_radius(config, norm, epochs, radius):
    found = always_correct(config(radius=Radius(radius), start=Radius(0), norm=norm), epochs)
    torch.testing.assert_close(found, torch.full((3,), 2.375 * radius))
    settings = config(radius=Radius(radius), start=Radius(0), norm=norm)
    assert settings.largest_radius(epochs) == pytest.approx(2.375 * radius)


def test_the_authors_constants_come_out_to_the_bit_at_their_radius_and_schedule():
    rule = IAATPaperConfig().over(110)
    assert (rule.gamma, rule.beta, rule.warmup) == (Radius("1.9px"), 0.1, 10)
    assert CATConfig().over(200).eta == 0.005
    assert FATConfig().over(120).tau_from == [0, 50, 90]


@epochs_and_radius
def test_the_authors_rule_moves_as_far_as_the_authors_did(epochs, radius):
    rule = IAATPaperConfig(radius=Radius(radius)).over(epochs)
    assert rule.gamma * rule.beta * (epochs - rule.warmup) == pytest.approx(2.375 * radius)
    assert 0 < rule.beta <= 1
    assert abs(rule.warmup - epochs / 11) <= 0.5
    if rule.beta < 1:
        assert rule.gamma == pytest.approx(radius * 1.9 / 8)


@epochs_and_radius
def test_trials_of_cat_can_reach_its_cap(epochs, radius):
    config = CATConfig(radius=Radius(radius), c=0.0)
    eta = config.over(epochs).eta
    assert eta * epochs >= 2.37 * radius
    assert config.largest_radius(epochs) == pytest.approx(radius)
    if epochs >= 15:
        assert eta == pytest.approx(0.005 * radius / (8 / 255))


@pytest.mark.parametrize(("epochs", "expected"), [(110, [0, 46, 83]), (30, [0, 13, 23]), (40, [0, 17, 30])])
def test_stages_of_fat_keep_their_fraction_of_the_epochs(epochs, expected):
    assert FATConfig().over(epochs).tau_from == expected


def test_of_stages_of_fat_that_begin_together_the_last_counts():
    config = FATConfig().over(1)
    assert (config.tau_from, config.taus, config.tau_in(0)) == ([0, 1], [1, 2], 1)


def test_constants_that_are_given_stay():
    rule = IAATPaperConfig(gamma=Radius("3px"), beta=0.25, warmup=4).over(40)
    assert (rule.gamma, rule.beta, rule.warmup) == (Radius("3px"), 0.25, 4)
    assert IAATPaperConfig(beta=0.25).over(40).gamma == Radius("1.9px")
    moved = IAATPaperConfig(gamma=Radius("3px"), warmup=4).over(40)
    assert moved.gamma * moved.beta * 36 == pytest.approx(19 / 255)
    assert CATConfig(eta=Radius("1px")).over(3).eta == Radius("1px")
    assert FATConfig(tau_from=[0, 1, 2]).over(120).tau_from == [0, 1, 2]


def test_a_margin_that_is_found_needs_no_pace():
    """MMA's radii are distances found at each visit; they do not move towards anything."""
    assert MMAConfig().over(3) == MMAConfig().over(300) == MMAConfig()


def test_a_warm_up_as_long_as_the_run_is_refused():
    with pytest.raises(UserError, match=r"method\.warmup = 10: none of the 5 epochs.*null for 0"):
        IAATPaperConfig(warmup=10).over(5)


@pytest.mark.parametrize("config", [IAATConfig(radius=Radius(0)), IAATPaperConfig(radius=Radius(0))])
def test_a_radius_of_zero_is_refused_where_radii_move_by_multiples_of_it(config):
    with pytest.raises(UserError, match=r"method\.radius = 0: radii move by multiples"):
        config.over(10)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("iaat", IAATConfig()),
        ("iaat_paper", IAATPaperConfig()),
        ("iaat_trades", IAATTRADESConfig()),
        ("cat", CATConfig()),
    ],
)
def test_a_method_is_not_built_from_settings_that_do_not_know_the_epochs(name, config):
    with pytest.raises(UserError, match=r"config\.over\(epochs\)"):
        METHODS[name](config, size=1, device="cpu")


@pytest.mark.parametrize("name", METHODS)
def test_no_training_attack_exceeds_the_largest_radius(name):
    """In a run in which every training forward classifies all samples correctly, so that radii grow as they can."""
    epochs, batch, model = 4, digits(), network()
    settings = METHODS[name].Config()
    method = METHODS[name](settings.over(epochs), size=SIZE, device="cpu")
    largest, seen = settings.largest_radius(epochs), 0.0
    for epoch in range(epochs):
        output = method.prepare(model, batch, StepContext(epoch, torch.Generator().manual_seed(0)))(model)
        method.update(batch, replace(output, logits=nn.functional.one_hot(batch.y, 10).float()))
        seen = max(seen, 0.0 if output.radius is None else float(output.radius.max()))
    assert (largest is None) == (name == "natural")
    assert seen <= (largest or 0) * (1 + 1e-6)
