"""Friendly adversarial training: its examples and loss against one sample at a time, its order, price and schedule."""

import pytest
import torch
from torch import nn

from iaat.errors import UserError
from iaat.methods import FAT, PGDAT, FATConfig, PGDATConfig, StepContext
from iaat.runtime.passes import count_passes
from iaat.types import Batch
from iaat.units import Radius
from reference.fat_slow import early_stopped_pgd, mean_cross_entropy

B, STEPS, RADIUS = 70, 5, 0.15
ATTACK = {"radius": Radius(RADIUS), "steps": STEPS, "min_step": Radius(0)}
STAGES = {"taus": [0, 1, 2], "tau_from": [0, 2, 4]}
every_stage = pytest.mark.parametrize(("epoch", "tau"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (99, 2)])


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        hidden = nn.Linear(12, 16)
        hidden.weight.data *= 6
        return nn.Sequential(nn.Flatten(), hidden, nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 4)).double().train()


def batch(n=B):
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, 3, 2, 2, dtype=torch.float64, generator=generator)
    y = network().eval()(x).argmax(dim=1)
    y[:5] = (y[:5] + 1) % 4
    return Batch(x, y, torch.randperm(n, generator=generator))


def context(epoch=0, seed=2):
    return StepContext(epoch=epoch, generator=torch.Generator().manual_seed(seed))


def build(cls=FAT, config=FATConfig, **options):
    return cls(config(**{**ATTACK, **options}).over(120), size=B, device="cpu")


def trained_on(method, model, data, epoch=0):
    """The inputs of the training forward, and the outcome."""
    calls = []
    handle = model.register_forward_pre_hook(lambda _module, inputs: calls.append(inputs[0].detach().clone()))
    output = method.step(model, data, context(epoch))
    handle.remove()
    return calls[-1], output


def slow(data, tau):
    """Every sample alone, in order, from the library's draw for the whole batch."""
    noise = 2 * torch.rand(data.x.shape, dtype=data.x.dtype, generator=context().generator) - 1
    starts = (data.x + noise * RADIUS).clamp(0, 1)
    settings = {"radius": RADIUS, "steps": STEPS, "step_size": 2 * RADIUS / STEPS, "tau": tau}
    model = network().eval()
    rows = range(len(data.y))
    return [early_stopped_pgd(model, data.x[i], int(data.y[i]), starts[i], **settings) for i in rows]


@every_stage
def test_examples_and_loss_are_those_of_one_sample_at_a_time(epoch, tau):
    data, model = batch(), network()
    model[2].eval()  # so that the training forward, too, can be done one sample at a time
    x_adv, output = trained_on(build(**STAGES), model, data, epoch)
    alone = slow(data, tau)
    ends = [end for end, _ in alone]
    torch.testing.assert_close(x_adv, torch.stack(ends), rtol=0, atol=1e-7)  # radii are float32
    assert len({len(seen) for _, seen in alone}) >= 3
    expected = mean_cross_entropy(network().eval(), ends, data.y.tolist())
    assert output.loss.item() == pytest.approx(expected, abs=1e-5)
    torch.testing.assert_close(output.radius, torch.full((B,), RADIUS))


def test_samples_that_left_come_back_in_their_place():
    """Public code hands back those that left first, so that inputs and their index part."""
    data = batch()
    x_adv, output = trained_on(build(), network(), data)
    own = (x_adv[:, None] - data.x[None]).flatten(2).abs().amax(dim=2)
    assert own.argmin(dim=1).tolist() == list(range(B))
    assert bool((own.diagonal() <= RADIUS + 1e-6).all())
    left = [len(seen) for _, seen in slow(data, 0)]
    assert left != sorted(left)
    model = network()
    torch.testing.assert_close(output.logits, model(x_adv))


@pytest.mark.parametrize("tau", [0, 1, 2])
def test_it_takes_fewer_passes_than_pgd_the_fewer_the_less_patient_it_is(tau):
    data, model = batch(), network()
    with count_passes(model) as passes:
        method = build(taus=[tau], tau_from=[0])
        method.step(model, data, context()).loss.backward()
    stated = method.cost(0)
    assert (stated.forward, stated.backward) == (STEPS + 1, STEPS + 1)
    assert passes.forward < B * stated.forward
    assert passes.backward < B * stated.backward
    with count_passes(model) as more:
        build(taus=[tau + 1], tau_from=[0]).step(model, data, context())
    assert passes.forward < more.forward


def test_with_more_patience_than_steps_it_is_adversarial_training():
    data = batch()
    x_adv, _ = trained_on(build(taus=[STEPS], tau_from=[0]), network(), data)
    plain, _ = trained_on(build(PGDAT, PGDATConfig), network(), data)
    torch.testing.assert_close(x_adv, plain)


def test_friendly_examples_have_less_loss_than_those_of_pgd():
    data = batch()
    losses = [trained_on(build(taus=[tau], tau_from=[0]), network(), data)[1].loss.item() for tau in (0, 1, 2, STEPS)]
    assert losses == sorted(losses)
    assert losses[-1] > losses[0] + 0.05


def test_the_radius_grows_over_the_ramp_in_either_norm():
    data = batch()
    for norm in ("linf", "l2"):
        x_adv, output = trained_on(build(ramp=4, norm=norm), network(), data, epoch=1)
        torch.testing.assert_close(output.radius, torch.full((B,), RADIUS / 4))
        delta = (x_adv - data.x).flatten(1)
        size = delta.abs().amax(dim=1) if norm == "linf" else delta.norm(dim=1)
        assert 0.9 * RADIUS / 4 < size.max() <= RADIUS / 4 + 1e-6


def test_the_defaults_are_the_authors_schedule():
    config = FATConfig().over(120)
    taus = [config.tau_in(epoch) for epoch in range(120)]
    assert taus == [0] * 50 + [1] * 40 + [2] * 30


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mode": "batch"}, r"method\.mode = batch.*mode eval"),
        ({"mode": "train"}, r"method\.mode = train.*mode eval"),
        ({"taus": []}, r"method\.taus = \[\]"),
        ({"taus": [0, -1, 2]}, r"method\.taus = \[0, -1, 2\]"),
        ({"taus": [0, 1]}, r"method\.taus = \[0, 1\]: give method\.tau_from"),
        ({"taus": [0, 1], "tau_from": [0, 50, 90]}, r"method\.tau_from = \[0, 50, 90\].*method\.taus = \[0, 1\]"),
        ({"tau_from": [1, 50, 90]}, r"method\.tau_from = \[1, 50, 90\]"),
        ({"tau_from": [-1, 0, 90]}, r"method\.tau_from = \[-1, 0, 90\]"),
        ({"tau_from": [0, 90, 50]}, r"method\.tau_from = \[0, 90, 50\]"),
        ({"tau_from": [0, 50, 50]}, r"method\.tau_from = \[0, 50, 50\]"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(UserError, match=words):
        FATConfig(**settings)
