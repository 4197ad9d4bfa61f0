"""IAAT beyond what every method promises: radii and their images, and settings that make no sense."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from iaat.errors import UserError
from iaat.methods import IAAT, IAATConfig, IAATPaper, IAATPaperConfig
from iaat.types import Batch
from iaat.units import Radius
from methods.settings import EPOCHS, SIZE, WARMUP, build, context, digits, half_learned

warm_up_and_after = pytest.mark.parametrize("epoch", [0, WARMUP], ids=["warm-up", "after"])


class Planted(nn.Module):
    """Class 0 or 1 by the sign of the first number; a weight keeps it trainable. The margin of x is |x_0 - 0.5|."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(10.0))

    def forward(self, x):
        score = self.weight * (x.flatten(1)[:, 0] - 0.5)
        return torch.stack([score, -score], dim=1)


START, GAMMA, BETA = 0.1, 0.02, 0.5
# Radius, margin and label of four kinds of sample, and what becomes of their radius.
KINDS = {
    "robust": {"x": 0.9, "y": 0, "paper": START + BETA * GAMMA, "staircase": START + BETA * GAMMA},
    "at its margin": {"x": 0.5 + START + GAMMA / 2, "y": 0, "paper": START, "staircase": START + BETA * GAMMA},
    "weak": {"x": 0.5 - START / 2, "y": 1, "paper": START - BETA * GAMMA, "staircase": START - BETA * GAMMA},
    "misclassified": {"x": 0.2, "y": 0, "paper": (1 - BETA) * START, "staircase": START - BETA * GAMMA},
}


def planted(positions):
    """A batch of samples, that at index i of kind i % 4, in the order of `positions`."""
    kinds = list(KINDS.values())
    return Batch(
        torch.tensor([[kinds[i % 4]["x"], 0.5] for i in positions]),
        torch.tensor([kinds[i % 4]["y"] for i in positions]),
        torch.tensor(positions),
    )


def planted_method(rule, **options):
    cls, settings = {
        "paper": (IAATPaper, {"gamma": Radius(GAMMA), "beta": BETA, "warmup": 1}),
        "staircase": (IAAT, {"reach": EPOCHS * BETA * GAMMA / START}),
    }[rule]
    config = cls.Config(radius=Radius(START), steps=5, **settings, **options)
    return cls(config.over(EPOCHS), size=16, device="cpu")


@pytest.mark.parametrize("rule", ["paper", "staircase"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_each_radius_follows_its_own_sample_whatever_the_order(rule, norm):
    method = planted_method(rule, norm=norm)
    visited = [14, 3, 0, 9, 5, 7, 2, 12]
    for batch in (planted(visited[:5]), planted(visited[5:])):
        method.step(Planted(), batch, context(epoch=1))
    expected = torch.full((16,), START)
    for i in visited:
        expected[i] = list(KINDS.values())[i % 4][rule]
    torch.testing.assert_close(method.radii.values, expected)


def test_paper_rule_trains_at_the_new_radius_and_staircase_at_the_old_one():
    batch = planted(list(range(4)))
    paper, staircase = planted_method("paper"), planted_method("staircase")
    output = paper.step(Planted(), batch, context(epoch=1))
    torch.testing.assert_close(output.radius, torch.tensor([kind["paper"] for kind in KINDS.values()]))
    output = staircase.step(Planted(), batch, context(epoch=1))
    torch.testing.assert_close(output.radius, torch.full((4,), START))


def test_warm_up_of_the_paper_rule_is_uniform():
    method = planted_method("paper")
    output = method.step(Planted(), planted(list(range(4))), context(epoch=0))
    expected = torch.tensor([START, START, START, 0.0])
    torch.testing.assert_close(output.radius, expected)
    torch.testing.assert_close(method.radii.values[:4], expected)


def test_the_staircase_moves_from_its_first_visit():
    method = planted_method("staircase")
    method.step(Planted(), planted(list(range(4))), context(epoch=0))
    torch.testing.assert_close(method.radii.values[:4], torch.tensor([kind["staircase"] for kind in KINDS.values()]))


@pytest.mark.parametrize("rule", ["paper", "staircase"])
def test_floor_and_cap_bound_the_radii_trained_at(rule):
    method = planted_method(rule, floor=Radius(0.095), cap=Radius(0.105))
    batch = planted(list(range(16)))
    for _ in range(3):
        output = method.step(Planted(), batch, context(epoch=1))
    assert output.radius.min().item() == pytest.approx(0.095)
    assert output.radius.max().item() == pytest.approx(0.105)
    assert bool(((method.radii.values >= 0.095 - 1e-7) & (method.radii.values <= 0.105 + 1e-7)).all())


@pytest.mark.parametrize("clean_wrong", ["clean", "decay"])
@warm_up_and_after
def test_misclassified_samples_train_on_the_clean_image_or_on_what_is_left_of_their_radius(clean_wrong, epoch):
    batch = digits()
    method, model = build("iaat_paper", clean_wrong=clean_wrong, mode="batch"), half_learned(batch)
    with torch.no_grad():
        misclassified = deepcopy(model)(batch.x).argmax(1) != batch.y
    assert 3 <= misclassified.sum() <= SIZE - 3
    calls = []
    model.register_forward_pre_hook(lambda _module, inputs: calls.append(inputs[0].detach().clone()))
    output = method.step(model, batch, context(epoch))
    unchanged = (calls[-1] == batch.x).flatten(1).all(1)
    assert not unchanged[~misclassified].any()
    if clean_wrong == "clean" or epoch < WARMUP:
        assert unchanged[misclassified].all()
        assert output.radius[misclassified].tolist() == [0.0] * int(misclassified.sum())
    else:
        assert not unchanged[misclassified].any()
        torch.testing.assert_close(
            output.radius[misclassified], torch.full_like(output.radius[misclassified], 0.9 * 16 / 255)
        )
        torch.testing.assert_close(method.radii.values[misclassified], output.radius[misclassified])


# Mistakes in settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"beta": 0.0}, r"method\.beta = 0\.0", id="beta 0"),
        pytest.param({"beta": -0.1}, r"method\.beta = -0\.1", id="beta negative"),
        pytest.param({"beta": 1.5}, r"method\.beta = 1\.5", id="beta above 1"),
        pytest.param({"beta": float("nan")}, r"method\.beta = nan", id="beta nan"),
        pytest.param({"radius": 8.0}, r"method\.radius = 8.*8px", id="radius in pixel levels"),
        pytest.param({"radius": -0.1}, r"radius", id="radius negative"),
        pytest.param({"radius": float("nan")}, r"radius", id="radius nan"),
        pytest.param({"gamma": 1.9}, r"method\.gamma = 1\.9.*1\.9px", id="gamma in pixel levels"),
        pytest.param({"gamma": -0.1}, r"gamma", id="gamma negative"),
        pytest.param({"cap": 16.0}, r"method\.cap = 16.*16px", id="cap in pixel levels"),
        pytest.param({"floor": 4.0}, r"method\.floor = 4.*4px", id="floor in pixel levels"),
        pytest.param({"min_step": 2.0}, r"method\.min_step = 2.*2px", id="step in pixel levels"),
        pytest.param({"warmup": 1, "cap": Radius("4px")}, r"floor <= radius <= cap", id="cap below radius"),
        pytest.param({"cap": Radius("4px"), "start": Radius("5px")}, r"floor <= start <= cap", id="cap below start"),
        pytest.param({"reach": 0.0}, r"method\.reach = 0", id="no reach"),
        pytest.param({"reach": float("inf")}, r"method\.reach = inf", id="reach without end"),
        pytest.param({"gamma": Radius(0)}, r"method\.gamma = 0", id="no gamma"),
        pytest.param({"warmup": -1}, r"method\.warmup = -1", id="negative warm-up"),
        pytest.param({"steps": 0}, r"method\.steps = 0", id="no steps"),
        pytest.param({"norm": "l1"}, r"'l1'", id="norm"),
        pytest.param({"inner": "fgsm"}, r"method\.inner 'fgsm'.*pgd, nfgsm", id="inner"),
        pytest.param({"noise": -1.0}, r"method\.noise = -1", id="negative noise"),
        pytest.param({"noise": float("nan")}, r"method\.noise = nan", id="noise nan"),
        pytest.param({"guard_every": -1}, r"method\.guard_every = -1", id="negative distance of checks"),
        pytest.param({"guard_gap": 0.0}, r"method\.guard_gap = 0", id="no gap"),
        pytest.param({"guard_gap": 15.0}, r"method\.guard_gap = 15", id="gap in points"),
        pytest.param(
            {"inner": "nfgsm", "full_steps_at": Radius("8px")}, r"full_steps_at.*nfgsm", id="fractions of a single step"
        ),
    ],
)
def test_iaat_refuses_settings_that_make_no_sense(settings, message):
    config = IAATPaperConfig if {"gamma", "beta", "warmup"} & settings.keys() else IAATConfig
    with pytest.raises(UserError, match=message):
        config(**settings)


def test_defaults_of_the_paper_rule_are_the_authors():
    config = IAATPaperConfig().over(110)
    assert (config.beta, config.steps, config.warmup) == (0.1, 10, 10)
    assert (config.radius.px, config.gamma.px, config.min_step.px) == pytest.approx((8, 1.9, 2))
    assert (config.floor, config.cap, config.clean_wrong, config.norm) == (0, None, "decay", "linf")
    assert (config.initial, config.all_steps_from) == (config.radius, 0)


def test_radii_start_at_the_radius_and_steps_follow_them_by_default():
    config = IAATConfig()
    assert (config.initial, config.all_steps_from) == (config.radius, config.radius)
    assert IAATConfig(cap=Radius("4px")).initial == Radius("4px")
    assert IAATConfig(full_steps_at=Radius("12px")).all_steps_from == Radius("12px")
    for settings in ({"full_steps_at": Radius(0)}, {"mode": "batch"}, {"inner": "nfgsm"}):
        assert IAATConfig(**settings).all_steps_from == 0


def test_the_radii_of_iaat_are_in_the_norm_of_its_attack():
    config = IAATConfig(norm="l2", radius=Radius(2), cap=Radius(4))
    assert IAAT(config.over(EPOCHS), size=2, device="cpu").radii.cap == 4
