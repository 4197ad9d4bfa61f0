"""Mistakes of a caller: an error names the value, the argument and the fix, and no device is waited for."""

import inspect
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from iaat import Radius, attacks, count_passes
from iaat.attacks import (
    PerSampleLoss,
    Targeted,
    apgd,
    apgd_ce,
    apgd_t,
    cw_l2,
    cw_pgd,
    deepfool,
    find_boundary,
    kl_from,
    mi_fgsm,
    nfgsm,
    pgd,
    pgd_early_stop,
    screen,
    smallest_radius,
)
from iaat.attacks.losses import LOSSES, soft_margin
from iaat.errors import UserError
from iaat.runtime import async_checks

B, CLASSES = 8, 10
DEVICE_FREE = {"pgd", "nfgsm", "mi_fgsm", "cw_pgd"}
"""Attacks that take the same course for all values, so that nothing of them ever waits for the device."""


def of_levels(model, x, y, *, radius):
    return smallest_radius(pgd, model, x, y, levels=torch.tensor([0.01, 0.02]))


def to_the_boundary(model, x, y, *, radius):
    return find_boundary(model, x, y, x, limit=0.1)


BALL = {
    "pgd": pgd,
    "nfgsm": nfgsm,
    "mi_fgsm": mi_fgsm,
    "apgd": apgd,
    "apgd_ce": apgd_ce,
    "apgd_t": apgd_t,
    "screen": screen,
    "deepfool": deepfool,
    "cw_pgd": cw_pgd,
    "cw_l2": lambda *args, **options: cw_l2(*args, steps=2, searches=1, **options),
}
ATTACKS = {**BALL, "smallest_radius": of_levels, "find_boundary": to_the_boundary}
every_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
every_ball = pytest.mark.parametrize("attack", BALL.values(), ids=BALL)


def network(device="cpu"):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(27, CLASSES)).to(device)


def batch():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(B, 3, 3, 3, generator=generator)
    return x, network()(x).argmax(1)


def refused(attack, message, *, x=None, y=None, model=None, **options):
    clean, labels = batch()
    x, y = clean if x is None else x(clean), labels if y is None else y(labels)
    with pytest.raises(UserError, match=message):
        attack(model or network(), x, y, **{"radius": 0.05, **options})


@every_attack
@pytest.mark.parametrize(
    ("y", "message"),
    [
        (lambda y: nn.functional.one_hot(y, CLASSES), r"y is torch.int64 \[8, 10\], which looks one-hot.*argmax"),
        (lambda y: nn.functional.one_hot(y, CLASSES).float(), r"y is torch.float32 \[8, 10\].*one-hot"),
        (lambda y: y.float(), r"y is torch.float32: labels are whole numbers; pass y.long\(\)"),
        (lambda y: y > 3, r"y is torch.bool"),
        (lambda y: y[:, None], r"y is torch.int64 \[8, 1\] for a batch of 8"),
        (lambda y: y[:1], r"y is torch.int64 \[1\] for a batch of 8"),
        (lambda y: y[0], r"y is torch.int64 \[\] for a batch of 8"),
        (lambda y: y.tolist(), r"y is a list"),
        (lambda y: torch.where(y == y[0], -100, y), r"y holds the label -100"),
        (lambda y: torch.where(y == y[0], 255, y), r"labels \d to 255, but the model has 10 classes"),
        (lambda y: torch.arange(1, B + 1) + 2, r"y holds labels 3 to 10, .*10 classes, 0 to 9: subtract 1"),
    ],
)
def test_labels_that_are_no_class_numbers(attack, y, message):
    refused(attack, message, y=y)


@every_attack
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (lambda x: x.numpy(), r"x is a ndarray"),
        (lambda x: (x * 255).byte(), r"x is torch.uint8: .*x.float\(\) / 255"),
        (lambda x: x.flatten(), r"x is torch.float32 \[216\]|y is torch.int64 \[8\] for a batch of 216"),
        (lambda x: torch.where(x > 0.9, torch.inf, x), r"x holds inf"),
    ],
)
def test_inputs_no_attack_can_work_on(attack, x, message):
    refused(attack, message, x=x)


def parameters(name):
    found = getattr(attacks, name)
    return inspect.signature(found).parameters.keys() if inspect.isfunction(found) else set()


RADIUS_TAKERS = [name for name in attacks.__all__ if {"model", "radius"} <= parameters(name)]
"""Every name of `iaat.attacks` that attacks a model at a radius."""
QUICK = {"cw_l2": {"steps": 2, "searches": 1}, "cw_pgd": {"steps": 2}, "pgd": {"steps": 2}, "apgd": {"steps": 2}}
every_taker = pytest.mark.parametrize("name", RADIUS_TAKERS)


def attacked(name, x, y, **options):
    generator = torch.Generator().manual_seed(1)
    return getattr(attacks, name)(network(), x, y, generator=generator, **QUICK.get(name, {}), **options)


def test_attacks_at_a_radius_are_all_found():
    assert {"pgd", "screen", "apgd_t", "deepfool"} <= set(RADIUS_TAKERS)
    assert len(RADIUS_TAKERS) == 11


@every_taker
def test_a_sample_with_a_radius_that_is_nan_or_negative_is_not_attacked(name):
    x, y = batch()
    radius = torch.full((B,), 0.3)
    radius[2], radius[5], radius[6] = torch.nan, -1.0, 0.0
    x_adv = attacked(name, x, y, radius=radius)
    assert x_adv.isfinite().all()
    assert torch.equal(x_adv[[2, 5, 6]], x[[2, 5, 6]])


@every_taker
def test_radii_may_be_text_and_results_have_no_history(name):
    x, y = batch()
    x_adv = attacked(name, x.clone().requires_grad_(), y, radius="30px")
    assert not x_adv.requires_grad
    assert torch.equal(x_adv, attacked(name, x, y, radius=30 / 255))
    with count_passes(model := network()) as passes, pytest.raises(UserError, match="'30 pixels' cannot be read"):
        getattr(attacks, name)(model, x, y, radius="30 pixels")
    assert passes.forward == 0


def test_smallest_norms_have_no_history():
    x, y = batch()
    found = smallest_radius(pgd, network(), x.requires_grad_(), y, levels=torch.tensor([0.01, 0.3]))
    assert not found.norm.requires_grad


TAKES_BOUNDS = [name for name in RADIUS_TAKERS if "bounds" in parameters(name)]


@pytest.mark.parametrize("name", TAKES_BOUNDS)
@pytest.mark.parametrize(
    ("bounds", "number"), [((0, 255), ", 8$"), ((-1.0, 1.0), r", 0\.0627451$"), (None, "scale of the inputs$")]
)
def test_units_are_those_of_images_in_0_to_1(name, bounds, number):
    if name == "cw_l2" and bounds is None:
        return  # which needs bounds
    x, y = batch()
    x = x * 255 if bounds == (0, 255) else x
    for radius in ("8px", Radius("8/255")):
        with pytest.raises(UserError, match=rf"radius = 8(px|/255) is a length of images in \[0, 1\].*{number}"):
            attacked(name, x, y, radius=radius, bounds=bounds)
    if "step_size" in parameters(name):
        with pytest.raises(UserError, match=r"step_size = 2px is a length .*scale of the inputs"):
            attacked(name, x, y, radius=0.5, step_size="2px", bounds=bounds)
    assert attacked(name, x, y, radius="0.1", bounds=bounds).shape == x.shape  # a number without a unit
    assert attacked(name, batch()[0], y, radius="8px", bounds=(0.0, 1.0)).shape == x.shape


def test_the_divergence_from_x_is_not_followed_from_x():
    """Its gradient is 0 there, so these samples would come back as they are."""
    x, y = batch()
    beside = x + 1e-3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    for attack in (pgd, pgd_early_stop):
        with pytest.raises(UserError, match=r"x_init equals x in 8 of 8 samples, where loss 'kl' .*randn"):
            attack(network(), x, y, radius=0.1, loss="kl", x_init=x)
    partly = torch.where(torch.arange(B)[:, None, None, None] == 3, x, beside)
    with pytest.raises(UserError, match="x_init equals x in 1 of 8 samples"):
        pgd(network(), x, y, radius=0.1, loss="kl", x_init=partly)
    radius = torch.where(torch.arange(B) == 3, 0.0, 0.1)
    for start, size in ((beside, 0.1), (partly, radius)):
        x_adv = pgd(network(), x, y, radius=size, loss="kl", x_init=start)
        assert ((x_adv - x).flatten(1).abs().amax(1) > 0.05).sum() >= B - 1
    pgd(network(), x, y, radius=0.1, x_init=x)


def test_the_start_of_the_divergence_is_checked_without_a_wait(travelling):
    x, y = batch()
    pgd(network(), x, y, radius=0.1, loss="kl", x_init=x)
    for each in travelling:
        each.there = True
    with pytest.raises(UserError, match=r"x_init equals x in 8 of 8 samples.*noticed on the GPU"):
        async_checks.check_arrived()


@every_ball
def test_a_number_that_is_nan_hides_no_other_from_the_check_of_the_range(attack):
    def spoilt(x):
        x = 255 * x
        x[0, 0, 0, 0] = torch.nan
        return x

    refused(attack, r"x holds values from .* outside of bounds \[0, 1\]: divide images in 0\.\.255 by 255", x=spoilt)
    infinite = lambda x: torch.where(x == x[0, 0, 0, 0], torch.nan, torch.where(x > 0.9, torch.inf, x))  # noqa: E731
    refused(attack, "x holds inf", x=infinite)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_search_of_carlini_and_wagner_refuses_half_precision(dtype):
    with pytest.raises(UserError, match=rf"x is {dtype}, too coarse .*pass x\.float\(\), and model\.float\(\)"):
        cw_l2(network().to(dtype), batch()[0].to(dtype), batch()[1], steps=2)


@pytest.mark.parametrize(
    ("attack", "options", "message"),
    [
        (pgd, {"generator": 0}, r"generator = 0: pass a torch\.Generator"),
        (pgd, {"steps": "10"}, r"steps = '10': an attack needs a whole number"),
        (pgd, {"steps": None}, r"steps = None: an attack needs a whole number"),
        (apgd, {"restarts": "2"}, r"restarts = '2': an attack needs a whole number"),
        (apgd, {"targets": 4}, r"targets = 4: pass class numbers \[B\] as a tensor"),
        (apgd_t, {"targets": 2.5}, r"targets = 2\.5: an attack needs a whole number"),
        (nfgsm, {"noise": "2"}, r"noise = '2': give a number of radii, or a length with a unit"),
        (nfgsm, {"step": None}, r"step = None: a number of radii"),
        (nfgsm, {"step": "10px", "bounds": (0, 255)}, r"step = 10px is a length of images in \[0, 1\].*, 10$"),
    ],
)
def test_settings_of_another_type(attack, options, message):
    refused(attack, message, **options)


def test_numbers_of_numpy_are_numbers():
    x, y = batch()
    expected = pgd(network(), x, y, radius=0.1, steps=2, x_init=x)
    assert torch.equal(pgd(network(), x, y, radius=np.float64(0.1), steps=np.int64(2), x_init=x), expected)


def test_levels_are_a_tensor():
    with pytest.raises(UserError, match=r"levels is a list: pass radii \[L\] as a tensor, torch\.tensor\(levels\)"):
        smallest_radius(pgd, network(), *batch(), levels=[0.1, 0.2])


def test_noise_and_step_of_the_single_step_may_be_lengths():
    x, y = batch()
    radius = torch.full((B,), 0.1)
    radius[3] = 0.0
    options = {"x_init": None, "radius": radius}
    found, expected = (
        nfgsm(network(), x, y, **options, noise=noise, step=step, generator=torch.Generator().manual_seed(1))
        for noise, step in (("51px", "10px"), (2.0, 10 / 25.5))
    )
    torch.testing.assert_close(found, expected)
    assert torch.equal(found[3], x[3])


@pytest.mark.parametrize("attack", [pgd, nfgsm])
def test_a_sample_that_is_nan_is_left_to_the_loss_and_touches_no_other(attack):
    """A loop notices a loss that is NaN and names the sample; an error here would cost the whole batch."""
    x, y = batch()
    x_init = x.clone()
    options = {"radius": 0.1, "x_init": x_init, **({"steps": 2} if attack is pgd else {})}
    whole = attack(network(), x, y, **options)
    x[3] = torch.nan
    spoilt = attack(network(), x, y, **{**options, "x_init": torch.where(x.isnan(), x, x_init)})
    others = torch.arange(len(x)) != 3
    assert spoilt[3].isnan().all()
    torch.testing.assert_close(spoilt[others], whole[others])


@every_ball
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (lambda x: (x - 0.45) / 0.2, r"from -2\.\d+ to 2\.\d+, outside of bounds \[0, 1\]: remove Normalize"),
        (lambda x: x * 255, r"outside of bounds \[0, 1\]: divide images in 0\.\.255 by 255"),
        (lambda x: x * 1.1 - 0.05, r"outside of bounds \[0, 1\]: clamp it, x.clamp\(0, 1\)"),
    ],
)
def test_inputs_outside_of_the_bounds(attack, x, message):
    refused(attack, message, x=x)


def test_inputs_are_checked_against_bounds_of_ones_own():
    x, y = batch()
    for scale in (1, 255):
        x_adv = pgd(network(), x * scale, y, radius=0.1 * scale, bounds=(0, scale))
        assert (x_adv - x * scale).abs().amax() <= 0.1001 * scale
    assert pgd(network(), 3 * x - 1, y, radius=0.1, bounds=None).isfinite().all()
    refused(pgd, r"outside of bounds \[0, 255\]: scale the inputs", x=lambda x: 2000 * x, bounds=(0, 255))
    refused(pgd, r"bounds = \(1, 0\)", bounds=(1, 0))


def test_rounding_is_no_overshoot():
    x, y = batch()
    pgd(network(), (x - 0.45) / 0.2 * 0.2 + 0.45, y, radius=0.1)
    pgd(network(), x.round() * (1 + 1e-6), y, radius=0.1)


@every_ball
@pytest.mark.parametrize(
    ("radius", "message"),
    [
        (torch.full((B,), 8.0), r"radius holds 8, beyond 1.*for 8 pixel levels pass 8 / 255"),
        (torch.tensor([0.1] * (B - 1) + [8.0]), r"radius holds 8"),
        (torch.tensor([torch.nan] * (B - 1) + [8.0]), r"radius holds 8"),
        (torch.full((B,), torch.inf), r"radius holds"),
        (torch.full((B,), 8), r"radius holds 8"),
        (torch.tensor(8.0), r"radius = 8 is above the pixel range 1; for 8 pixel levels write 8px"),
        (torch.full((B, 1), 0.1), r"radius of shape \[8, 1\] does not fit a batch of 8"),
        (torch.full((1,), 0.1), r"radius of shape \[1\] does not fit a batch of 8"),
        ([0.1] * B, r"radius is a list"),
        (np.full(B, 0.1), r"radius is a ndarray"),
    ],
    ids=str,
)
def test_radii_that_are_not_one_length_a_sample(attack, radius, message):
    if attack is BALL["cw_l2"]:
        message = message.replace("beyond 1", r"beyond 5\.19").replace("is above the pixel range 1", "exceeds every")
        message = message.replace("write 8px", "write px")
        message = message.split(";")[0]
    refused(attack, message, radius=radius)


@pytest.mark.parametrize("attack", [pgd, mi_fgsm, cw_pgd])
@pytest.mark.parametrize("step", [8.0, torch.full((B,), 8.0), torch.full((B, 1), 0.1)], ids=str)
def test_steps_longer_than_any_way(attack, step):
    refused(attack, "step_size", step_size=step)


@pytest.mark.parametrize("attack", [pgd, mi_fgsm, apgd, deepfool])
@pytest.mark.parametrize("steps", [0, -1, 2.5, 10.0])
def test_steps_are_a_whole_number(attack, steps):
    refused(attack, rf"steps = {steps}: an attack needs a whole number, at least 1", steps=steps)


def test_negative_steps_are_refused_where_they_are_read():
    refused(pgd, r"steps holds -3", steps=torch.tensor([1] * (B - 1) + [-3]))


@pytest.mark.parametrize("attack", [pgd, nfgsm, apgd])
def test_a_start_does_not_broadcast(attack):
    refused(attack, r"x_init of shape \[1, 3, 3, 3\] does not fit", x_init=batch()[0][:1])
    refused(attack, r"x_init of shape \[8, 1, 3, 3\] does not fit", x_init=batch()[0][:, :1])
    refused(attack, r"x_init is a ndarray: pass a tensor like x", x_init=batch()[0].numpy())


def test_clean_logits_do_not_broadcast():
    refused(pgd, r"data \[1, 10\] for a batch of 8", loss=kl_from(torch.zeros(1, CLASSES)))


@dataclass
class Output:
    logits: torch.Tensor


class Returning(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.inner, self.make = network(), make

    def forward(self, x):
        return self.make(self.inner(x))


@every_attack
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda z: {"aux": z.sum(), "out": z},
            r"returns a dict with the keys aux, out, not logits.*self.network\(x\)\['out'\]",
        ),
        (lambda z: (z, z), r"returns a tuple of 2, not logits.*self.network\(x\)\[0\]"),
        (lambda z: [z], r"returns a list of 1, not logits.*self.network\(x\)\[0\]"),
        (Output, r"returns a Output, not logits.*self.network\(x\).logits"),
        (lambda z: SimpleNamespace(scores=z), r"returns a SimpleNamespace, not logits.*self.network\(x\).scores"),
        (lambda z: {"mean": z.mean()}, r"returns a dict with the keys mean, not logits.*the logits alone"),
        (lambda z: z.argmax(1), r"returns torch.int64 \[8\].*not logits"),
        (lambda z: z.long(), r"returns torch.int64 \[8, 10\].*not logits"),
        (lambda z: z[:, 0], r"returns torch.b?float(32|16) \[8\].*not logits"),
        (lambda z: z[:, :, None], r"returns torch.b?float(32|16) \[8, 10, 1\].*not logits"),
        (lambda z: z.mean(0, keepdim=True), r"returns torch.b?float(32|16) \[1, 10\] for a batch of 8"),
        (lambda z: z[:, :1], r"the model has 1 output"),
    ],
)
def test_models_that_return_something_else_than_logits(attack, make, message):
    refused(attack, message, model=Returning(make), y=lambda y: 0 * y)


@every_attack
def test_a_function_is_no_model(attack):
    refused(attack, "the model is a function, not a torch.nn.Module", model=lambda x: x.flatten(1))


@every_ball
def test_what_is_no_mistake_still_works(attack):
    x, y = batch()
    for labels in (y.int(), y.byte()):
        again = attack(network(), x, labels, radius=0.05, generator=torch.Generator().manual_seed(1))
        assert torch.equal(again, attack(network(), x, y, radius=0.05, generator=torch.Generator().manual_seed(1)))
    assert attack(network(), x[:0], y[:0], radius=0.05).shape == (0, 3, 3, 3)
    assert attack(Returning(torch.Tensor.double), x, y, radius=0.05).isfinite().all()


def test_what_a_loss_needs_of_a_sample_follows_it():
    """Soft labels travel beside samples with a number of attack steps of their own, which changes the batch's order."""
    x, y = batch()
    soft = torch.rand(B, CLASSES, generator=torch.Generator().manual_seed(3)).softmax(1)

    def loss(logits, labels, targets):
        assert len(logits) == len(labels) == len(targets)
        return -(targets * logits.log_softmax(1)).sum(1)

    steps = torch.arange(B)
    together = pgd(network(), x, y, radius=0.1, steps=steps, x_init=x, loss=PerSampleLoss(loss, soft))
    for i in range(1, B):
        one = slice(i, i + 1)
        alone = pgd(
            network(),
            x[one],
            y[one],
            radius=0.1,
            steps=i,
            step_size=0.25 / i,
            x_init=x[one],
            loss=PerSampleLoss(loss, soft[one]),
        )
        torch.testing.assert_close(together[one], alone)
    refused(pgd, r"data \[1, 10\] for a batch of 8", loss=PerSampleLoss(loss, soft[:1]))
    refused(pgd, r"data \[1, 10\] for a batch of 8", loss=Targeted(PerSampleLoss(loss, soft[:1])))


@pytest.mark.parametrize("name", sorted(DEVICE_FREE))
def test_nothing_waits_for_a_device_that_is_not_the_cpu(name):
    """A tensor on meta has no values: whatever reads one on the host fails."""
    x, y, radius = torch.rand(B, 3, 3, 3, device="meta"), torch.zeros(B, dtype=torch.int64, device="meta"), None
    for radius in (0.1, torch.full((B,), 0.1, device="meta"), torch.tensor(0.1, device="meta")):
        x_adv = ATTACKS[name](network("meta"), x, y, radius=radius)
        assert (x_adv.shape, x_adv.device.type) == (x.shape, "meta")
    with pytest.raises(RuntimeError, match="meta"):
        x.sum().item()


@pytest.mark.parametrize("loss", [*LOSSES.values(), soft_margin])
def test_a_label_out_of_range_stops_no_device(loss, monkeypatch):
    """Off the CPU an index out of range ends the process, so it must not come to that before the message does."""
    monkeypatch.setattr(async_checks, "check_async", lambda *_: None)
    logits, y = torch.randn(B, CLASSES, device="meta"), torch.full((B,), 99, device="meta")
    assert loss(logits, y).shape == (B,)
    from iaat.attacks.losses import clamp_labels

    assert clamp_labels(torch.tensor([3]), torch.zeros(1, 2)).item() == 3


class Later:
    """Stands for the event of a copy from a GPU."""

    def __init__(self):
        self.there = False

    def query(self):
        return self.there


@pytest.fixture
def travelling(monkeypatch):
    """Numbers on the CPU are treated as if they had to come from a GPU; they arrive when the test says so."""
    arrivals = []

    def sent(numbers, complaint, error):
        arrivals.append(Later())
        return async_checks._Copy(numbers, arrivals[-1], complaint, error)

    monkeypatch.setattr(async_checks, "_start_copy", sent)
    monkeypatch.setattr(async_checks, "ASYNC_DEVICES", ("cpu",))
    monkeypatch.setattr(async_checks, "_SYNC_DEVICES", ())
    yield arrivals
    async_checks._underway.copies.clear()


@pytest.mark.parametrize(
    ("x", "y", "radius", "message"),
    [
        (lambda x: x * 255, lambda y: y, 0.1, r"divide images in 0\.\.255 by 255 \(noticed on the GPU, after"),
        (lambda x: x, lambda y: 0 * y - 1, 0.1, r"the label -1"),
        (lambda x: x, lambda y: y, torch.full((B,), 8.0), r"radius holds 8"),
    ],
)
def test_a_mistake_on_a_gpu_is_reported_once_it_has_arrived(travelling, x, y, radius, message):
    clean, labels = batch()
    soft = {"loss": lambda logits, _y: logits[:, 0]}  # the CPU itself refuses labels that are no index
    pgd(network(), x(clean), y(labels), radius=radius, **soft)
    pgd(network(), clean, labels, radius=0.1)  # not there yet
    travelling[0].there = True
    with pytest.raises(UserError, match=message):
        pgd(network(), clean, labels, radius=0.1)
    for each in travelling:
        each.there = True
    pgd(network(), clean, labels, radius=0.1)  # reported once


def test_labels_beyond_the_classes_are_reported_on_a_gpu_too(travelling):
    clean, labels = batch()
    pgd(network(), clean, labels + CLASSES, radius=0.1, loss=lambda logits, _y: logits[:, 0])
    travelling[0].there = True
    with pytest.raises(UserError, match=r"the model has 10 classes"):
        async_checks.check_arrived()


def test_nothing_is_reported_of_a_call_without_mistakes(travelling):
    pgd(network(), *batch(), radius=0.1)
    assert len(travelling) == 1
    travelling[0].there = True
    async_checks.check_arrived()
