"""Cost of IAAT: the authors' rule makes no attack that decides nothing, and steps follow the radius."""

from copy import deepcopy

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from iaat.errors import UserError
from iaat.methods import IAAT, IAATConfig, IAATPaper, IAATPaperConfig, StepContext
from iaat.runtime.passes import count_passes
from iaat.types import Batch
from iaat.units import Radius

SIZE, STEPS = 160, 4


def network(norm=nn.Identity):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3),
            norm(4) if norm is nn.BatchNorm2d else norm(),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(144, 10),
        )


def digits():
    data = load_digits()
    x = torch.tensor(data.images[:SIZE], dtype=torch.float32).unsqueeze(1) / 16
    return Batch(x, torch.tensor(data.target[:SIZE]), torch.arange(SIZE))


def half_learned(batch, norm=nn.Identity):
    model = network(norm).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batch.x), batch.y).backward()
        optimizer.step()
    return model


AUTHORS = {"gamma": Radius("1.9px"), "beta": 0.1, "warmup": 0}


def iaat(**settings):
    return with_radii(IAAT, IAATConfig(radius=Radius("24px"), steps=STEPS, **settings))


def iaat_paper(**settings):
    return with_radii(IAATPaper, IAATPaperConfig(**{"radius": Radius("24px"), "steps": STEPS, **AUTHORS, **settings}))


def with_radii(method_class, config):
    method = method_class(config.over(10), size=SIZE, device="cpu")
    # Some at 0, the others from small to large.
    method.radii[:] = (torch.arange(SIZE) % 40).float() / 255
    return method


def stepped(method, model, batch):
    """Radii after one step, and the passes per sample it took."""
    with count_passes(model) as passes:
        method.step(model, batch, StepContext(0, torch.Generator().manual_seed(0))).loss.backward()
    return method.radii.values, passes.forward / SIZE, passes.backward / SIZE


@pytest.mark.parametrize("mode", ["eval", "batch"])
def test_the_authors_rule_decides_the_same_for_less(monkeypatch, mode):
    batch = digits()
    model = half_learned(batch)
    frugal, forwards, backwards = stepped(iaat_paper(gamma=Radius("8px"), mode=mode), deepcopy(model), batch)
    monkeypatch.setattr("iaat.methods.robust_at.mixes_samples", lambda *_: True)
    full, full_forwards, full_backwards = stepped(iaat_paper(gamma=Radius("8px"), mode=mode), deepcopy(model), batch)
    assert torch.equal(frugal, full)
    before = iaat().radii.values
    assert min((full > before).sum(), (full < before).sum(), (full == before).sum()) >= 5
    assert (full_forwards, full_backwards) == (3 * STEPS + 4, 3 * STEPS + 1)
    assert forwards < 0.9 * full_forwards
    assert backwards < 0.9 * full_backwards


@pytest.mark.parametrize("mode", ["batch", "train"])
def test_the_whole_batch_is_attacked_where_batchnorm_sees_it(mode):
    batch = digits()
    model = half_learned(batch, nn.BatchNorm2d)
    _, forwards, backwards = stepped(iaat_paper(mode=mode), model, batch)
    assert (forwards, backwards) == (3 * STEPS + 4, 3 * STEPS + 1)


def test_no_sample_is_attacked_further_where_all_are_misclassified():
    batch = digits()
    model = half_learned(batch)
    relabelled = Batch(batch.x, (model(batch.x).argmax(1) + 1) % 10, batch.index)
    radii, forwards, backwards = stepped(iaat_paper(), model, relabelled)
    torch.testing.assert_close(radii, 0.9 * iaat().radii.values)
    assert (forwards, backwards) == (STEPS + 2, STEPS + 1)


@pytest.mark.parametrize("full_steps_at", ["0px", "20px", "39px", "100px"])
def test_steps_follow_the_radius(full_steps_at):
    batch = digits()
    method = iaat(full_steps_at=Radius(full_steps_at))
    expected = torch.full((SIZE,), STEPS)
    if full_steps_at != "0px":
        px = method.radii.values * 255
        expected = torch.ceil((STEPS * px / float(full_steps_at[:-2])).clamp_max(STEPS) - 1e-4)
    taken = [int((expected > done).sum()) for done in range(STEPS)]
    rounded = sum(-(-n // 8) * 8 for n in taken)
    _, forwards, backwards = stepped(method, half_learned(batch), batch)
    assert forwards == backwards == pytest.approx(rounded / SIZE + 1)
    assert (forwards < STEPS + 1) == (full_steps_at != "0px")
    assert forwards <= method.cost(0).forward


def test_a_sample_at_radius_zero_trains_on_its_clean_image():
    batch = digits()
    method, model = iaat(full_steps_at=Radius("20px")), half_learned(batch)
    calls = []
    model.register_forward_pre_hook(lambda _module, inputs: calls.append(inputs[0].detach().clone()))
    before = method.radii.values
    stepped(method, model, batch)
    unchanged = (calls[-1] == batch.x).flatten(1).all(1)
    assert torch.equal(unchanged, before == 0)


def test_steps_of_their_own_need_mode_eval():
    with pytest.raises(UserError, match=r"method\.full_steps_at.*method\.mode eval"):
        IAATConfig(full_steps_at=Radius("8px"), mode="batch")
