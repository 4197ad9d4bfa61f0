"""What a GPU computes and waits for; skipped where there is none."""

import warnings

import pytest
import torch

from helpers.training import assert_resumes_bitwise, tiny
from iaat import evaluate_model
from iaat.data import build_data
from iaat.methods import METHODS
from iaat.runtime import rng
from iaat.runtime.distributed import ALONE
from iaat.train.batch_split import split_batch
from iaat.train.build_state import build_state
from iaat.train.nonfinite import LAG, NonfiniteMonitor
from iaat.train.step import take_step
from iaat.types import Batch
from methods.settings import EPOCHS, SETTINGS, SIZE, WARMUP, context, digits, half_learned
from train.test_device_waits import PARTS, WAITS, settings_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
GPU = torch.device("cuda", 0)


def moved(batch, device):
    return Batch(batch.x.to(device), batch.y.to(device), batch.index.to(device))


def step_on(device, name):
    """Loss, radii and gradients of a step in float64, all random numbers drawn on the CPU."""
    batch = digits(dtype=torch.float64)
    model = half_learned(batch, dtype=torch.float64).to(device)
    case = SETTINGS[name]
    cls = METHODS[case.method]
    method = cls(cls.Config(**case.options).over(EPOCHS), size=SIZE, device=device)
    if method.radii is not None:
        method.radii[:] = (torch.arange(SIZE) / 3 / 255).to(device)
    output = method.step(model, moved(batch, device), context())
    output.loss.backward()
    found = [output.loss.detach(), *(parameter.grad for parameter in model.parameters())]
    return [each.cpu() for each in ([*found, method.radii[:]] if method.radii is not None else found)]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_step_is_the_same_as_on_the_cpu(name):
    for ours, theirs in zip(step_on(GPU, name), step_on(torch.device("cpu"), name), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9, check_dtype=False)


def waits_of_step(recipe):
    """Waits of the host for the GPU in the second step of a run."""
    data = build_data(recipe.data, seed=0, device=GPU)
    micros = split_batch(data.order(64, seed=0, epoch=0)[0], ALONE, recipe.train.accumulate)
    state = build_state(recipe, data, 10, GPU)
    state.model.train()
    state.epoch = WARMUP
    monitor = NonfiniteMonitor(LAG)
    parts = list(zip(micros, data.train.batches([micro.index for micro in micros]), strict=True))
    take_step(state, parts, recipe.train, GPU, monitor)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            take_step(state, parts, recipe.train, GPU, monitor)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return [f"{each.filename}:{each.lineno}" for each in caught if "called a synchronizing" in str(each.message)]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_step_waits_no_oftener_than_on_the_stand_in(name):
    waits = waits_of_step(tiny(*settings_of(name), "--train.device", "cuda"))
    assert len(waits) <= WAITS.get(name, 0), waits


@pytest.mark.parametrize("part", PARTS)
def test_number_formats_and_parts_of_the_loop_add_no_wait(part):
    assert waits_of_step(tiny(*settings_of("pgd_at"), *PARTS[part], "--train.device", "cuda")) == []


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("method", ["iaat", "pgd_at"])
def test_training_resumes_bit_for_bit(tmp_path, method, precision):
    settings = "--train.device", "cuda", "--train.precision", precision, "--train.deterministic", "true"
    assert_resumes_bitwise(tiny(method, *settings), tmp_path, 3)


@pytest.mark.parametrize("suite", ["quick", "standard"])
def test_an_evaluation_finds_what_it_finds_on_the_cpu(suite):
    batch = digits(size=60)
    model = half_learned(batch)
    on_cpu, on_gpu = (
        evaluate_model(model.to(device), (batch.x, batch.y), suite=suite, radius="16px", n=60)
        for device in ("cpu", GPU)
    )
    assert on_gpu.accuracy["clean"] == on_cpu.accuracy["clean"]
    for name, accuracy in on_cpu.accuracy.items():
        assert on_gpu.accuracy[name] == pytest.approx(accuracy, abs=2 / 60), name


def test_draws_that_belong_to_samples_are_those_of_the_cpu():
    index = torch.arange(100)
    assert torch.equal(rng.keyed_uniform(0, 1, index.to(GPU), 3).cpu(), rng.keyed_uniform(0, 1, index, 3))
