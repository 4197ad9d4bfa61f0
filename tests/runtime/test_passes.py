import pytest
import torch
import torch.distributed as dist
from torch import nn

from iaat.attacks import kl_from, pgd, pgd_early_stop
from iaat.errors import UserError
from iaat.runtime.passes import Passes, count_passes


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def test_counts_samples_forward_and_backward(model):
    with count_passes(model) as passes:
        model(torch.rand(5, 4)).sum().backward()
        model(torch.rand(2, 4))
    assert passes == Passes(forward=7, backward=5)


def test_a_forward_without_gradients_counts_as_a_forward_alone(model):
    with count_passes(model) as passes, torch.no_grad():
        model(torch.rand(5, 4))
    assert passes == Passes(forward=5, backward=0)


def test_input_gradients_count_as_backwards(model):
    x = torch.rand(5, 4, requires_grad=True)
    with count_passes(model) as passes:
        torch.autograd.grad(model(x).sum(), x)
    assert passes == Passes(forward=5, backward=5)


def test_a_backward_counts_once_however_often_the_output_is_used(model):
    with count_passes(model) as passes:
        logits = model(torch.rand(5, 4))
        (logits.sum() + logits.square().sum()).backward()
    assert passes == Passes(forward=5, backward=5)


def test_a_loss_that_does_not_use_the_model_costs_no_backward(model):
    with count_passes(model) as passes:
        model(torch.rand(5, 4))
        model[0].weight.square().sum().backward()
    assert passes == Passes(forward=5, backward=0)


def test_an_attack_costs_one_of_each_a_step(model):
    with count_passes(model) as passes:
        pgd(model, torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1]), radius=0.1, steps=3)
    assert passes == Passes(forward=15, backward=15)


def test_samples_that_leave_early_are_not_counted_on(model, monkeypatch):
    monkeypatch.setattr("iaat.attacks.batching.BUCKET", 1)
    x = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
    y = model(x).argmax(1)
    y[:2] = (y[:2] + 1) % 3  # wrong from the start: one visit each
    with count_passes(model) as passes:
        pgd_early_stop(model, x, y, radius=0.0, steps=4)
    assert passes == Passes(forward=6 + 3 * 4, backward=6 + 3 * 4)


@pytest.mark.parametrize("given_logits", [True, False])
def test_kl_computes_the_clean_logits_once_or_takes_them(model, given_logits):
    x, y = torch.rand(5, 4), torch.zeros(5, dtype=torch.int64)
    loss = kl_from(model(x)) if given_logits else "kl"
    with count_passes(model) as passes:
        pgd(model, x, y, radius=0.1, steps=3, loss=loss)
    assert passes == Passes(forward=15 if given_logits else 20, backward=15)


def test_nothing_is_counted_after_the_context_or_after_an_error_in_it(model):
    with count_passes(model) as passes:
        model(torch.rand(5, 4))
    with pytest.raises(RuntimeError), count_passes(model) as broken:
        model(torch.rand(5, 3))
    model(torch.rand(5, 4)).sum().backward()
    assert passes == Passes(forward=5, backward=0)
    assert broken == Passes(forward=0, backward=0)
    assert not model._forward_hooks


def test_two_counters_count_independently(model):
    with count_passes(model) as outer:
        model(torch.rand(1, 4))
        with count_passes(model) as inner:
            model(torch.rand(2, 4))
    assert (outer.forward, inner.forward) == (3, 2)


def test_text_is_short():
    assert str(Passes(34, 31)) == "34F 31B"
    assert str(Passes(1.5, 1)) == "1.5F 1B"
    assert str(Passes(88.4889, 1_000_000)) == "88.5F 1e+06B"


@pytest.mark.parametrize("output", [{"out": torch.zeros(2, 3)}, (torch.zeros(2, 3),)])
def test_what_is_no_tensor_cannot_be_counted(output):
    class Returning(nn.Module):
        def forward(self, x):
            return output

    model = Returning()
    with count_passes(model), pytest.raises(UserError, match=r"returns a (dict|tuple).*passes are counted on a tensor"):
        model(torch.rand(2, 4))


def test_passes_of_a_distributed_model_are_counted(model):
    """Attacks go past the wrapper, so that a hook on it would see none of theirs."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        wrapped, x, y = nn.parallel.DistributedDataParallel(model), torch.rand(4, 4), torch.tensor([0, 1, 2, 0])
        with count_passes(wrapped) as passes:
            pgd(wrapped, x, y, radius=0.1, steps=5)
            wrapped(x).sum().backward()
    finally:
        dist.destroy_process_group()
    assert (passes.forward, passes.backward) == (24, 24)
