"""Where a training step waits for a GPU, which empties its queue: counted on a stand-in for one."""

from unittest import mock

import pytest
import torch

from helpers.async_device import DEVICE, DeviceTensor, MixedDevicesError, standing_in
from helpers.training import tiny
from iaat.data import build_data
from iaat.runtime import rng
from iaat.runtime.distributed import ALONE
from iaat.train.batch_split import split_batch
from iaat.train.build_state import build_state
from iaat.train.nonfinite import LAG, NonfiniteMonitor
from iaat.train.step import take_step
from iaat.types import Batch
from methods.settings import SETTINGS, STEPS, WARMUP

WAITS = {
    **dict.fromkeys(
        ["iaat", "iaat, soft labels by radius and kl", "iaat, spread", "iaat_trades"], 1
    ),  # for the number of steps of each sample
    **dict.fromkeys([name for name in SETTINGS if name.startswith("iaat_paper")], 2),  # two times samples are picked
    "fat": STEPS,  # picks samples in each of its steps
}
"""Waits of a step, by name of the settings; elsewhere none."""

PARTS = {
    "fp32": [],
    "bf16": ["--train.precision", "bf16"],
    "fp16": ["--train.precision", "fp16"],
    "EMA": ["--train.ema", "0.9"],
    "AWP": ["--train.awp", "0.005"],
    "clipping": ["--train.clip_grad", "1"],
    "accumulate": ["--train.accumulate", "2"],
}


def settings_of(name):
    case = SETTINGS[name]
    average = PARTS["EMA"] if case.needs_ema else []
    return (
        case.method,
        *average,
        *(word for key, value in case.options.items() for word in (f"--method.{key}", str(value))),
    )


def waits_of_step(recipe):
    """Waits of the second step of a run, by operation."""
    data = build_data(recipe.data, seed=0, device="cpu")
    micros = split_batch(data.order(64, seed=0, epoch=0)[0], ALONE, recipe.train.accumulate)
    batches = list(data.train.batches([micro.index for micro in micros]))
    with standing_in() as waits, mock.patch.object(rng, "batch_generator", return_value=_Generator()):
        state = build_state(recipe, data, 10, DEVICE)
        state.model.train()
        state.epoch = WARMUP  # after which a method is whole
        monitor = NonfiniteMonitor(LAG)
        parts = [(micro, _on_device(batch)) for micro, batch in zip(micros, batches, strict=True)]
        for _ in range(2):
            waits.clear()
            take_step(state, parts, recipe.train, DEVICE, monitor)
        return dict(waits)


class _Generator(rng.BatchGenerator):
    """A generator of the stand-in."""

    device = DEVICE


def _on_device(batch):
    return Batch(*(DeviceTensor(each) for each in (batch.x, batch.y, batch.index)))


@pytest.mark.parametrize("name", SETTINGS)
def test_a_step_waits_as_often_as_its_method_needs(name):
    waits = waits_of_step(tiny(*settings_of(name)))
    assert sum(waits.values()) == WAITS.get(name, 0), waits


@pytest.mark.parametrize("part", PARTS)
def test_number_formats_and_parts_of_the_loop_add_no_wait(part):
    assert waits_of_step(tiny(*settings_of("pgd_at"), *PARTS[part])) == {}


WAITING = {
    "item": lambda x: x.sum().item(),
    "tolist": lambda x: x.tolist(),
    "bool": lambda x: bool((x > 0).any()),
    "to the CPU": lambda x: x.cpu(),
    "from the CPU": lambda x: torch.ones(3).to(DEVICE),
    "a new tensor of values": lambda x: torch.tensor([1.0, 2.0], device=DEVICE),
    "an index of bools": lambda x: x[x > 0],
    "nonzero": lambda x: x.nonzero(),
}


@pytest.mark.parametrize("operation", WAITING.values(), ids=WAITING)
def test_the_stand_in_counts_a_wait(operation):
    with standing_in() as waits:
        operation(DeviceTensor(torch.rand(3)))
        assert waits.total() == 1


def test_the_stand_in_computes_without_a_wait_and_refuses_to_mix_devices():
    with standing_in() as waits:
        x = DeviceTensor(torch.ones(3)).requires_grad_()
        (gradient,) = torch.autograd.grad((x * x + torch.zeros(3, device=DEVICE)).sum(), x)
        assert not waits
        assert gradient.tolist() == [2.0, 2.0, 2.0]
        with pytest.raises(MixedDevicesError):
            x + torch.ones(3)


@pytest.mark.parametrize("method", ["pgd_at", "iaat"])
def test_a_step_that_is_not_finite_is_undone_on_the_device(method):
    recipe = tiny(*settings_of(method), *PARTS["EMA"])
    data = build_data(recipe.data, seed=0, device="cpu")
    micros = split_batch(data.order(64, seed=0, epoch=0)[0], ALONE, 1)
    (batch,) = data.train.batches([micros[0].index])
    with standing_in(), mock.patch.object(rng, "batch_generator", return_value=_Generator()):
        state = build_state(recipe, data, 10, DEVICE)
        state.model.train()
        state.epoch = WARMUP
        monitor = NonfiniteMonitor(LAG)
        good = _on_device(batch)
        bad = Batch(DeviceTensor(torch.full_like(batch.x, torch.nan)), good.y, good.index)
        take_step(state, [(micros[0], good)], recipe.train, DEVICE, monitor)
        before = _numbers(state)
        take_step(state, [(micros[0], bad)], recipe.train, DEVICE, monitor)
        assert all(map(torch.equal, before, _numbers(state)))
        take_step(state, [(micros[0], good)], recipe.train, DEVICE, monitor)
        assert not all(map(torch.equal, before, _numbers(state)))


def _numbers(state):
    """Copies of weights, buffers, EMA, momenta and radii."""
    modules = state.model, state.ema.model
    tensors = [each for module in modules for each in (*module.parameters(), *module.buffers())]
    tensors += [each for values in state.optimizer.state.values() for each in values.values() if each is not None]
    tensors += [] if state.method.radii is None else [state.method.radii[:]]
    return [each.detach().inner.clone() for each in tensors]
