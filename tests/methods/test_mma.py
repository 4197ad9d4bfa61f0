"""Max-margin training: margins in closed form on a linear model, its two losses and their weights, its memory."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from iaat.attacks import soft_margin
from iaat.errors import UserError
from iaat.methods import MMA, MMAConfig, StepContext
from iaat.runtime.passes import count_passes
from iaat.types import Batch
from iaat.units import Radius

D_MAX, FLOOR, STEPS, INPUTS = 0.1, 0.005, 10, 12
ACCURACY = 1.05 * D_MAX / 2**10
every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])
# Signed distances to the boundary: misclassified, nearer than the floor, near, near, beyond d_max, far beyond.
DISTANCES = torch.tensor([-0.03, 0.001, 0.02, 0.08, 0.103, 0.12], dtype=torch.float64)


class Linear(nn.Module):
    """Two classes by the sign of `weight . (x - 0.5) + bias`."""

    def __init__(self, bias=0.0):
        super().__init__()
        self.bias = bias
        self.weight = nn.Parameter(torch.randn(INPUTS, generator=torch.Generator().manual_seed(3), dtype=torch.float64))

    def forward(self, x):
        score = (x - 0.5) @ self.weight + self.bias
        return torch.stack([score, -score], dim=1)


def dual(weight, norm):
    return weight.abs().sum() if norm == "linf" else weight.norm()


def at_distances(norm, distances=DISTANCES, index=None):
    """Inputs of class 0 that far from the boundary of `Linear`."""
    weight = Linear().weight.detach()
    way = weight.sign() if norm == "linf" else weight / weight.norm()
    index = torch.arange(len(distances)) if index is None else index
    return Batch(0.5 + distances[:, None] * way, torch.zeros(len(distances), dtype=torch.int64), index)


def context(epoch=0, seed=0):
    return StepContext(epoch=epoch, generator=torch.Generator().manual_seed(seed))


def build(norm="linf", size=6, **options):
    settings = {"radius": Radius(D_MAX), "floor": Radius(FLOOR), "steps": STEPS, "norm": norm}
    return MMA(MMAConfig(**{**settings, **options}), size=size, device="cpu")


def forwards(model, method, data, epoch=0):
    """The outcome of a step, and the inputs of its two training forwards: clean ones and boundary points."""
    objective, calls = method.prepare(model, data, context(epoch)), []
    handle = model.register_forward_pre_hook(lambda _module, inputs: calls.append(inputs[0].detach().clone()))
    output = objective(model)
    handle.remove()
    method.update(data, output)
    clean, points = calls
    assert torch.equal(clean, data.x)
    return output, points


def sizes(delta, norm):
    return delta.flatten(1).abs().amax(dim=1) if norm == "linf" else delta.flatten(1).norm(dim=1)


@every_norm
def test_margins_are_the_closed_form_on_a_linear_model(norm):
    # Steps as long as the radius find the steepest way in L2 too, whatever the random start.
    method, data, model = build(norm, min_step=Radius(D_MAX)), at_distances(norm), Linear()
    for _ in range(3):  # the later attacks start from margins learned before
        output, points = forwards(model, method, data)
        distance = sizes(points - data.x, norm)
        near = slice(1, 4)
        assert bool((distance[near] > DISTANCES[near]).all())
        assert bool((distance[near] <= 1.001 * DISTANCES[near] + ACCURACY).all())
        assert bool((model(points)[near].argmax(dim=1) == 1).all())
        assert torch.equal(points[0], data.x[0])
        torch.testing.assert_close(output.radius, distance.float())
        expected = torch.cat([torch.zeros(1), distance[1:4].float()])  # below the floor, too, the margin itself
        torch.testing.assert_close(method.radii.values[:4], expected)
    # Bisection, too, separates 1.03 d_max from d_max, and finds that both of the last two have no loss.
    assert 0.103 < method.radii.values[4] <= 1.05 * D_MAX + 1e-6
    assert method.radii.values[5].item() == pytest.approx(1.05 * D_MAX)


@every_norm
def test_boundary_points_stay_in_the_pixel_range_with_saturated_pixels(norm):
    """What is blocked does not move, and the margin is that of the other pixels. Public code leaves the range here."""
    model = Linear()
    weight = model.weight.detach()
    blocked = torch.arange(INPUTS) < 4
    x = torch.full((1, INPUTS), 0.5, dtype=torch.float64)
    x[0, blocked] = (weight[blocked] < 0).double()  # towards the boundary lies the outside
    free = torch.where(blocked, 0, weight)
    margin = 0.04
    way = free.sign() if norm == "linf" else free / free.norm()
    x[0] -= ((x[0] - 0.5) @ weight) * free / (free @ free)
    x[0] += margin * way
    assert bool(((x >= 0) & (x <= 1)).all())
    method, data = (
        build(norm, size=1, min_step=Radius(D_MAX)),
        Batch(x, torch.zeros(1, dtype=torch.int64), torch.arange(1)),
    )
    _, points = forwards(model, method, data)
    assert model(x).argmax().item() == 0
    assert bool(((points >= 0) & (points <= 1)).all())
    assert torch.equal(points[0, blocked], x[0, blocked])
    assert margin < sizes(points - x, norm).item() <= 1.001 * margin + ACCURACY
    torch.testing.assert_close(method.radii.values, sizes(points - x, norm).float())


def test_a_sample_without_adversarial_example_in_the_pixel_range_has_no_margin_loss():
    """All pixels are blocked: the search ends at the clean input, near as it is, and the margin counts as beyond."""
    model = Linear(bias=Linear().weight.abs().sum().item() / 2 + 0.1)
    corner = (model.weight.detach() < 0).double()[None]
    method, data = build(size=1), Batch(corner, torch.zeros(1, dtype=torch.int64), torch.arange(1))
    output, points = forwards(model, method, data)
    assert torch.equal(points, corner)
    torch.testing.assert_close(output.loss, F.cross_entropy(model(corner), data.y) / 3)
    assert method.radii.values.item() == pytest.approx(1.05 * D_MAX)


def test_margins_are_found_where_cross_entropy_is_flat():
    """In float32 its gradient is 0 where the network is so sure; that of the soft margin is not."""
    model = Linear().float()
    with torch.no_grad():
        model.weight *= 400
    exact = at_distances("linf")
    data = Batch(exact.x.float(), exact.y, exact.index)
    leaf = data.x.clone().requires_grad_()
    F.cross_entropy(model(leaf), data.y, reduction="none")[3].backward()
    assert not leaf.grad.any()
    _, points = forwards(model, build(), data)
    distance = sizes(points - data.x, "linf")[2:4]
    torch.testing.assert_close(distance, DISTANCES[2:4].float(), rtol=0, atol=2 * ACCURACY)


@every_norm
@pytest.mark.parametrize("clean_share", [1 / 3, 0.0, 0.5])
def test_the_gradient_is_two_thirds_of_the_margin_loss_and_one_third_of_the_clean_loss(norm, clean_share):
    method, data, model = build(norm, clean_share=clean_share), at_distances(norm), Linear()
    output, points = forwards(model, method, data)
    output.loss.backward()
    twin = Linear()
    learns = [0, 1, 2, 3]  # misclassified ones on themselves, correct ones up to d_max
    (margin_gradient,) = torch.autograd.grad(
        F.cross_entropy(twin(points[learns]), data.y[learns], reduction="sum") / len(data.y), twin.weight
    )
    (clean_gradient,) = torch.autograd.grad(F.cross_entropy(twin(data.x), data.y), twin.weight)
    torch.testing.assert_close(model.weight.grad, (1 - clean_share) * margin_gradient + clean_share * clean_gradient)
    torch.testing.assert_close(output.logits, twin(data.x).detach())


def test_the_default_weights_are_the_authors():
    config = MMAConfig()
    assert config.clean_share == pytest.approx(1 / 3)
    assert (config.radius.px, config.floor, config.searches, config.steps) == (pytest.approx(12), 0.005, 10, 10)


def test_margins_follow_their_own_sample_whatever_the_order():
    order = torch.tensor([3, 0, 5, 2, 4, 1])
    method = build(size=20)
    data = at_distances("linf", DISTANCES[order], index=order + 10)
    forwards(Linear(), method, data)
    whole = build()
    forwards(Linear(), whole, at_distances("linf"))
    torch.testing.assert_close(method.radii.values[10:16], whole.radii.values, rtol=0, atol=2 * ACCURACY)
    assert bool((method.radii.values[:10] == torch.tensor(FLOOR)).all())


def test_attacks_are_made_at_the_margin_remembered():
    method, data, model = build(), at_distances("linf"), Linear()
    method.radii[data.index] = torch.linspace(0.01, 0.09, len(DISTANCES))
    seen = []
    model.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].detach().clone()))
    method.prepare(model, data, context())
    attacked = torch.stack([sizes(each - data.x, "linf") for each in seen[1 : STEPS + 2]])
    torch.testing.assert_close(attacked.amax(dim=0).float(), torch.linspace(0.01, 0.09, len(DISTANCES)))


def test_the_objective_can_be_evaluated_again_and_changes_no_memory():
    method, data, model = build(), at_distances("linf"), Linear()
    objective = method.prepare(model, data, context())
    kept = method.radii.values
    first, second = objective(model), objective(model)
    method.update(data, first)
    assert torch.equal(first.loss, second.loss)
    assert torch.equal(method.radii.values, kept)


@pytest.mark.parametrize("searches", [1, 10])
def test_every_step_takes_the_passes_it_states(searches):
    method, data, model = build(searches=searches), at_distances("linf"), Linear()
    with count_passes(model) as passes:
        objective = method.prepare(model, data, context())
        before = passes.forward
        objective(model).loss.backward()
    stated = method.cost(0)
    assert (stated.forward, stated.backward) == (STEPS + searches + 4, STEPS + 2)
    assert (passes.forward, passes.backward) == (stated.forward * len(DISTANCES), stated.backward * len(DISTANCES))
    assert passes.forward - before == method.objective_cost.forward * len(DISTANCES)


@every_norm
def test_all_radii_grow_over_the_ramp(norm):
    """At half of d_max, what lies beyond 0.05 has no boundary loss; at none nothing that is correct has one."""
    for epoch, reach in ((2, 0.05), (0, 0.0)):
        method, data = build(norm, ramp=4), at_distances(norm)
        output, points = forwards(Linear(), method, data, epoch)
        assert bool((sizes(points - data.x, norm) <= 1.05 * reach + 1e-9).all())
        losses = F.cross_entropy(Linear()(points), data.y, reduction="none")
        learns = DISTANCES.lt(reach) | DISTANCES.lt(0)
        clean = F.cross_entropy(Linear()(data.x), data.y)
        torch.testing.assert_close(output.loss, 2 / 3 * (losses * learns).mean() + clean / 3)


def test_the_soft_margin_grows_as_cross_entropy_does_but_does_not_vanish():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, dtype=torch.float64, generator=generator).requires_grad_()
    y = torch.tensor([0, 1, 2, 3, 4, 0])
    torch.testing.assert_close(F.softplus(soft_margin(logits, y)), F.cross_entropy(logits, y, reduction="none"))
    assert torch.autograd.gradcheck(lambda each: soft_margin(each, y), logits)
    sure = torch.tensor([[200.0, 1.0, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(soft_margin(sure, torch.tensor([0])).sum(), sure)
    torch.testing.assert_close(gradient, torch.tensor([[-1.0, 0.7310586, 0.2689414]]))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"radius": 12.0}, r"method\.radius = 12.*12px"),
        ({"floor": 2.0}, r"method\.floor = 2.*2px"),
        ({"floor": Radius(0)}, r"0 < floor <= radius"),
        ({"floor": Radius("13px")}, r"0 < floor <= radius, not 13px, 12px"),
        ({"searches": 0}, r"method\.searches = 0"),
        ({"clean_share": 1.0}, r"method\.clean_share = 1"),
        ({"clean_share": -0.1}, r"method\.clean_share = -0\.1"),
        ({"clean_share": float("nan")}, r"method\.clean_share = nan"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(UserError, match=words):
        MMAConfig(**settings)


def test_the_largest_radius_of_all_can_be_the_largest_margin():
    assert build(radius=Radius(1)).radii.cap == 1
    assert build("l2", radius=Radius(1)).radii.cap == pytest.approx(1.05)
