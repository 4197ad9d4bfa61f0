"""Details of single samples: closed form on linear models, neighbours by brute force."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from iaat.data import InMemorySource
from iaat.errors import UserError
from iaat.report.detail_records import DetailSettings
from iaat.report.neighbours import neighbour_pool
from iaat.report.representation import last_linear, represent
from iaat.report.sample_details import sample_details
from iaat.runtime.passes import count_passes
from iaat.units import PIXEL, unit_of

SHAPE = (1, 4, 4)
CLASSES = ("a", "b", "c")
FEW = DetailSettings(steps=3, levels=7, batch_size=8)


def linear(classes=3, bias=True):
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, classes, bias=bias))


def halved():
    """A linear model of two classes with its boundary in the middle of the data: some predictions are correct."""
    model = linear(classes=2)
    with torch.no_grad():
        model[1].bias.copy_(torch.tensor([0.5, 0.0]) * (model[1].weight[1] - model[1].weight[0]).sum())
    return model


def network():
    """A network with all that training would change, half of it frozen."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 5), nn.ReLU(),
        nn.Linear(5, 3),
    )  # fmt: skip


def source(count=60, classes=CLASSES, seed=0, shape=SHAPE):
    generator = torch.Generator().manual_seed(seed)
    x = 0.35 + 0.3 * torch.rand(count, *shape, generator=generator)
    return InMemorySource(x, torch.arange(count) % len(classes), classes)


def inputs(data, index):
    (batch,) = data.batches([torch.as_tensor(index)])
    return batch.x, batch.y


def flat(detail):
    """All of a detail but its pictures, and these as lists."""
    return dataclasses.asdict(
        detail, dict_factory=lambda pairs: {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in pairs}
    )


def test_probabilities_are_the_softmax_of_a_linear_model():
    model, data = linear(), source()
    index = torch.tensor([5, 0, 17])
    weight, bias = (each.detach().double() for each in model[1].parameters())
    x, y = inputs(data, index)
    logits = x.flatten(1).double() @ weight.T + bias
    chance = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    for row, found in enumerate(sample_details(model, data, index, data, settings=FEW)):
        others = [c for c in range(3) if c != int(y[row])]
        assert (found.index, found.label) == (int(index[row]), int(y[row]))
        assert found.confused == max(others, key=lambda c: float(chance[row, c]))
        assert found.clean.prediction == int(chance[row].argmax())
        assert list(found.clean.classes) == sorted(range(3), key=lambda c: -float(chance[row, c]))
        assert found.clean.probabilities == pytest.approx(sorted(chance[row].tolist(), reverse=True), abs=1e-6)
        assert found.clean.label == pytest.approx(float(chance[row, y[row]]), abs=1e-6)
        assert found.clean.confused == pytest.approx(float(chance[row, found.confused]), abs=1e-6)
        assert np.array_equal(found.image, (x[row] * 255).round().byte().numpy())


def test_attacks_end_at_the_corner_of_a_linear_model():
    """With two classes the worst point of the ball is known, and the attack reaches it in two steps of 2.5 / 3."""
    model, data = linear(classes=2), source(classes=("a", "b"))
    index, own = torch.arange(4), torch.tensor([0.0, 3.0, 8.0, torch.nan]) * PIXEL
    gap = (model[1].weight[1] - model[1].weight[0]).detach()
    x, y = inputs(data, index)
    for row, found in enumerate(sample_details(model, data, index, data, own=own, settings=FEW)):
        away = gap.sign().reshape(SHAPE) * (1 - 2 * float(y[row]))
        swept = [found.uniform, *found.strip, *found.frames]
        attempts = [*swept, *([found.own] if found.own else [])]
        own_px = [float(own[row]) * 255] if found.own else []
        frames = sorted({*range(0, 18, 2), *np.round(own_px, 4)})
        radii = [8.0, 8.0, 16.0, 32.0, *frames, *own_px]
        for attempt, radius in zip(attempts, radii, strict=True):
            worst = x[row] + away * radius * PIXEL
            expected = model(worst[None]).detach().softmax(dim=1)[0]
            assert attempt.radius == pytest.approx(radius, abs=1e-4)
            assert attempt.size == pytest.approx(radius, abs=1e-4)
            assert attempt.reading.confused == pytest.approx(float(expected[found.confused]), abs=1e-5)
            assert attempt.succeeded == (int(expected.argmax()) != found.label)
            assert np.array_equal(attempt.image, (worst * 255).round().byte().numpy())
            if radius:
                assert attempt.factor == pytest.approx(0.5 / (radius * PIXEL), rel=1e-4)
                assert set(np.unique(attempt.perturbation)) <= {0, 255}
                # The factor is exact: nothing is cut off, and the attacked image follows from the two pictures.
                shown = (attempt.perturbation / 255 - 0.5) / attempt.factor
                assert np.abs(shown - (worst - x[row]).numpy()).max() < 1e-6
            else:
                assert (attempt.perturbation == 128).all()
        assert (found.own is None) == (row == 3)
        assert [attempt.target for attempt in attempts[:4]] == [None, 1 - found.label, 1 - found.label, 1 - found.label]


def test_details_in_l2_are_on_the_image_scale_and_radii_that_look_alike_have_one_frame():
    own = torch.tensor([0.3, 0.2504, torch.nan])
    settings = dataclasses.replace(FEW, norm="l2", radius=0.5, sweep=(0.5, 1.0, 2.0))
    found = list(sample_details(linear(), source(), torch.arange(3), source(), own=own, settings=settings))
    grid = [0, 0.25, 0.5, 1.0]
    assert [frame.radius for frame in found[0].frames] == pytest.approx([0, 0.25, 0.3, 0.5, 1.0])
    for each in found[1:]:
        assert [frame.radius for frame in each.frames] == pytest.approx(grid)
        assert all(frame.size <= frame.radius + 1e-5 for frame in each.frames)
    assert [each.own_at for each in found] == [2, 1, None]
    assert {each.norm for each in found} == {"l2"}
    assert found[0].searched == pytest.approx(2.0)


def test_frames_are_the_clean_input_and_attacks_at_growing_radii_with_the_own_at_its_place():
    model, data = linear(), source()
    own = torch.tensor([0.0, 5.0, 4.0, 40.0, torch.nan]) * PIXEL
    grid = [0, 2, 4, 6, 8, 10, 12, 14, 16]
    expected = [(grid, 0, 4), ([0, 2, 4, 5, *grid[3:]], 3, 5), (grid, 2, 4), ([*grid, 40], 9, 4), (grid, None, 4)]
    found = sample_details(model, data, torch.arange(5), data, own=own, settings=FEW)
    for row, (each, (radii, own_at, uniform_at)) in enumerate(zip(found, expected, strict=True)):
        assert [frame.radius for frame in each.frames] == pytest.approx(radii, abs=1e-4), row
        assert (each.own_at, each.uniform_at) == (own_at, uniform_at)
        assert each.frames[0].size == 0
        assert (each.frames[0].perturbation == 128).all()
        for frame in each.frames:
            assert frame.target is None
            assert frame.size <= frame.radius + 1e-4
            assert frame.succeeded == (frame.reading.prediction != each.label)
            # What a page makes of the clean image and the perturbation: the attacked image to one level.
            made = each.image + 255 * (frame.perturbation / 255 - 0.5) / frame.factor * (frame.size > 0)
            assert np.abs(np.clip(np.rint(made), 0, 255) - frame.image).max() <= 1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_smallest_radius_is_the_distance_to_a_linear_boundary(norm):
    model, data = halved(), source(classes=("a", "b"))
    gap = (model[1].weight[1] - model[1].weight[0]).detach()
    index = torch.arange(20)
    x, y = inputs(data, index)
    logits = model(x).detach()
    margin = logits.gather(1, y[:, None])[:, 0] - logits.gather(1, 1 - y[:, None])[:, 0]
    unit = PIXEL * unit_of(norm).scale
    reach = 32 * unit
    distance = margin / (gap.norm(1) if norm == "linf" else gap.norm(2)) * unit_of(norm).scale
    settings = DetailSettings(norm=norm, steps=20, levels=127, batch_size=8)
    found = [each.smallest for each in sample_details(model, data, index, data, settings=settings)]
    assert 3 < sum(float(each) > 0 for each in distance) < 17
    for each, exact in zip(found, distance.tolist(), strict=True):
        if exact <= 0:
            assert each == 0
        elif exact > reach:
            assert each is None
        else:
            assert exact - 1e-3 * unit <= each <= exact + reach / 127 + 1e-3 * unit


@pytest.mark.parametrize(("norm", "radius"), [("linf", 0.3), ("l2", 3.0)])
def test_radii_end_where_any_input_can_become_any_other(norm, radius):
    """Four times the evaluation's radius is more than that: with it the search ended in an error."""
    model, data = linear(), source()
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.copy_(torch.tensor([5.0, 0.0, 0.0]))
    settings = dataclasses.replace(FEW, norm=norm, radius=radius)
    (found,) = sample_details(model, data, torch.tensor([0]), data, settings=settings)
    whole = 255.0 if norm == "linf" else inputs(data, torch.tensor([0]))[0][0].numel() ** 0.5
    reach = min(unit_of(norm).scale * 4 * radius, whole)
    assert (found.smallest, found.searched) == (None, pytest.approx(reach))
    assert max(each.radius for each in (*found.frames, *found.strip)) <= whole + 1e-3


def test_a_sample_that_nothing_breaks_has_no_smallest_radius():
    model, data = linear(), source()
    with torch.no_grad():
        model[1].weight.mul_(1e-4)
        model[1].bias.copy_(torch.tensor([5.0, 0.0, 0.0]))
    correct, misclassified = sample_details(model, data, torch.tensor([0, 1]), data, settings=FEW)
    assert (correct.smallest, correct.searched) == (None, pytest.approx(32))
    assert not correct.uniform.succeeded
    assert not any(attempt.succeeded for attempt in correct.strip)
    assert (misclassified.smallest, misclassified.uniform.succeeded, misclassified.confused) == (0, True, 0)


def test_an_attack_that_succeeds_is_never_below_the_smallest_radius():
    model, data = halved(), source(classes=("a", "b"))
    own = torch.full((20,), 5.3 * PIXEL)
    coarse = dataclasses.replace(FEW, levels=1)  # so that the search alone finds breaks of 26.7 px and more
    found = list(sample_details(model, data, torch.arange(20), data, own=own, settings=coarse))
    for each in found:
        for attempt in (*each.frames, *each.strip):
            if attempt.reading.prediction != each.label:
                assert each.smallest <= attempt.size
    assert any(0 < each.smallest < 26 for each in found if each.smallest is not None)


@pytest.mark.parametrize("itself", [True, False])
def test_neighbours_are_those_of_brute_force(itself):
    model, train = network(), source(90)
    data = train if itself else source(30, seed=1)
    index = torch.tensor([4, 11, 2, 29])
    with torch.no_grad():
        model.eval()
        (far_x, far_y), (x, _) = inputs(train, torch.arange(90)), inputs(data, index)
        far_features, features = model[:7](far_x).double(), model[:7](x).double()
        model.train()
    for row, found in enumerate(sample_details(model, data, index, train, settings=FEW)):
        assert found.space == "penultimate"
        for label, near in ((found.label, found.near_own), (found.confused, found.near_confused)):
            distance = (far_features - features[row]).norm(dim=1)
            allowed = [n for n in range(90) if int(far_y[n]) == label and not (itself and n == int(index[row]))]
            expected = sorted(allowed, key=lambda n: float(distance[n]))[:4]
            assert [each.index for each in near] == expected
            assert [each.distance for each in near] == pytest.approx([float(distance[n]) for n in expected], abs=1e-5)
            assert {each.label for each in near} == {label}
            for each in near:
                assert np.array_equal(each.image, (far_x[each.index] * 255).round().byte().numpy())


def test_networks_without_a_last_linear_layer_are_compared_by_their_inputs():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    train, data = source(90), source(30, seed=1)
    (far_x, far_y), (x, _) = inputs(train, torch.arange(90)), inputs(data, [7])
    (found,) = sample_details(model, data, torch.tensor([7]), train, settings=FEW)
    distance = (far_x - x).flatten(1).double().norm(dim=1).masked_fill(far_y != found.label, torch.inf)
    assert found.space == "input"
    assert [each.index for each in found.near_own] == distance.argsort()[:4].tolist()
    assert [each.distance for each in found.near_own] == pytest.approx(distance.sort().values[:4].tolist(), abs=1e-5)


def test_only_samples_among_those_given_are_neighbours():
    model, train = network(), source(90)
    among = torch.arange(0, 90, 5)
    for found in sample_details(model, train, torch.arange(10), train, among=among, settings=FEW):
        near = [each.index for each in (*found.near_own, *found.near_confused)]
        assert set(near) <= set(among.tolist())
        assert found.index not in near
    none = sample_details(model, train, torch.arange(3), train, among=torch.tensor([0]), settings=FEW)
    assert [[each.index for each in found.near_own] for found in none] == [[], [], []]


@pytest.mark.parametrize(
    ("most", "least", "sizes"), [(60, 5, {0: 30, 2: 30}), (6, 5, {0: 5, 2: 5}), (999, 1, {0: 40, 2: 40})]
)
def test_the_pool_is_of_the_needed_classes_in_equal_parts(most, least, sizes):
    labels, among = torch.arange(150) % 3, torch.arange(120)
    pool = neighbour_pool(labels, among, torch.tensor([2, 0, 0]), most, least, seed=1)
    assert {c: int((labels[pool] == c).sum()) for c in labels[pool].unique().tolist()} == sizes
    assert pool.tolist() == sorted(set(pool.tolist()))
    assert int(pool.max()) < 120
    assert torch.equal(pool, neighbour_pool(labels, among, torch.tensor([0, 2]), most, least, seed=1))


class Crossed(nn.Module):
    """A model with modules in another order than its computation, and one of them unused."""

    def __init__(self):
        super().__init__()
        self.head, self.body, self.unused = nn.Linear(5, 3), nn.Linear(16, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.body(x.flatten(1)).relu()) * 2


def test_the_last_linear_layer_is_the_last_that_runs():
    model, x = Crossed(), torch.rand(2, *SHAPE)
    assert last_linear(model, x) is model.head
    logits, features = represent(model, x, model.head)
    assert torch.equal(features, model.body(x.flatten(1)).relu())
    assert torch.equal(logits, model(x))
    assert not model.head._forward_pre_hooks
    assert not any(module._forward_hooks for module in model.modules())


def test_a_linear_layer_with_outputs_that_are_not_the_logits_is_no_head():
    tokens = nn.Sequential(nn.Flatten(2), nn.Linear(16, 3), nn.AdaptiveMaxPool2d((1, 3)), nn.Flatten())
    assert last_linear(tokens, torch.rand(2, *SHAPE)) is None
    assert last_linear(nn.Sequential(nn.Flatten(), nn.Linear(16, 9), nn.Unflatten(1, (3, 3)), nn.Flatten(2)),
                       torch.rand(2, *SHAPE)) is None  # fmt: skip


def test_a_seed_gives_the_same_details_and_another_seed_others():
    model, data = network(), source()
    runs = [
        [
            flat(each)
            for each in sample_details(model, data, torch.arange(10), data, settings=dataclasses.replace(FEW, seed=s))
        ]
        for s in (0, 0, 1)
    ]
    torch.rand(1)  # what others draw does not matter
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_the_model_comes_back_as_it_was():
    model, data = network(), source()
    model[4].eval()
    model[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in sample_details(model, data, torch.arange(10), data, settings=FEW):
        # Also between two samples: what the caller does there is its own affair.
        assert [module.training for module in model] == [True, True, True, True, False, True, True, True]
        assert [p.requires_grad for p in model.parameters()] == [False] + 7 * [True]
        assert torch.is_grad_enabled()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_it_costs_at_most_what_is_said():
    model, data = linear(), source(40)
    with torch.no_grad():  # nothing breaks, so that every round is whole
        model[1].weight.mul_(1e-4)
        model[1].bias.copy_(torch.tensor([5.0, 0.0, 0.0]))
    index, own = torch.arange(0, 30, 3), torch.full((10,), PIXEL)
    pool = len(neighbour_pool(data.labels, torch.arange(40), torch.tensor([0, 1]), 5000, 5, 0))
    with count_passes(model) as passes:
        list(sample_details(model, data, index, data, own=own))
    assert passes.forward == 10 * 402 + pool + 1  # one to find the last linear layer
    assert passes.backward == 10 * 380


def test_inputs_that_are_no_images_have_everything_but_pictures():
    torch.manual_seed(0)
    model, data = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), source(shape=(6,))
    (found,) = sample_details(model, data, torch.tensor([3]), data, own=torch.tensor([PIXEL]), settings=FEW)
    attempts = (*found.frames, *found.strip)
    assert [each.image for each in (found, *attempts, *found.near_own, *found.near_confused)] == [None] * 22
    assert all(each.perturbation is None for each in attempts)
    assert found.uniform.size == pytest.approx(8, abs=1e-3)


def test_radii_beyond_the_pixel_range_are_cut_to_it():
    settings = dataclasses.replace(FEW, radius=0.5)
    (found,) = sample_details(linear(), source(), torch.tensor([3]), source(), settings=settings)
    assert [each.radius for each in found.strip] == pytest.approx([127.5, 255, 255])
    assert found.searched == pytest.approx(255)
    assert [frame.radius for frame in found.frames[-3:]] == pytest.approx([191.25, 223.125, 255])
    assert found.image.shape == SHAPE


def test_no_samples_have_no_details():
    assert list(sample_details(linear(), source(), torch.tensor([], dtype=torch.int64), source(), settings=FEW)) == []


def test_what_makes_no_sense_is_refused():
    model, data = linear(), source()
    with pytest.raises(UserError, match="radii of shape"):
        list(sample_details(model, data, torch.arange(3), data, own=torch.zeros(2)))
    with pytest.raises(UserError, match="1 class"):
        list(sample_details(linear(classes=1), data, torch.arange(3), data, settings=FEW))
    with pytest.raises(UserError, match="index 60"):
        list(sample_details(model, data, torch.tensor([60]), data, settings=FEW))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("radius", 0.0),
        ("radius", 8.0),
        ("reach", -1.0),
        ("growth", (1.0, float("nan"))),
        ("sweep", (0.0,)),
        ("steps", 0),
        ("levels", 0),
    ],
)
def test_settings_without_a_meaning_are_refused(setting, value):
    with pytest.raises(UserError, match=setting):
        DetailSettings(**{setting: value})
