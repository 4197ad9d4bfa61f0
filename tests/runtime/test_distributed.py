"""What processes agree on, as one that is alone sees it."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from iaat import pgd
from iaat.attacks import is_correct
from iaat.errors import UserError
from iaat.methods import IAAT, IAATConfig, StepContext
from iaat.runtime.distributed import ALONE, ElsewhereError, current
from iaat.types import Batch


def test_a_process_of_its_own_is_alone():
    assert current() == ALONE
    assert (ALONE.main, ALONE.several) == (True, False)


def test_alone_everything_is_as_it_was():
    values = torch.tensor([1.0, 2.0])
    assert ALONE.sum_(values) is values
    assert ALONE.mean_(values) is values
    assert ALONE.any(True, False) == (True, False)
    assert ALONE.all_gather(values) == [values]
    assert ALONE.all_gather_states({"a": 1}) == [{"a": 1}]
    assert ALONE.all_gather_dict({3: "x"}) == {3: "x"}
    assert ALONE.broadcast_text("x") == "x"
    assert ALONE.main_first(lambda: 5) == 5
    ALONE.raise_together(None)
    ALONE.check_same("anything", "it")


def test_alone_an_error_is_its_own():
    error = UserError("wrong")
    with pytest.raises(UserError, match="wrong") as raised:
        ALONE.raise_together(error)
    assert raised.value is error
    assert not isinstance(raised.value, ElsewhereError)

    def fail():
        raise OSError(28, "No space left on device", "file")

    with pytest.raises(OSError, match="No space"):
        ALONE.on_main(fail)


@pytest.fixture
def one_process():
    """A process group of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_attacks_go_round_the_wrapper_of_ddp_and_the_loss_goes_through_it(one_process):
    """Forwards through it exchange buffers: processes that attack in different numbers of steps would wait for ever."""
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    wrapper, through = DistributedDataParallel(model), []
    wrapper.register_forward_pre_hook(lambda *_: through.append(True))
    x, y = torch.rand(6, 4), torch.arange(6) % 2
    settings = {"radius": "8px", "steps": torch.arange(6)}
    found = [pgd(each, x, y, generator=torch.Generator().manual_seed(0), **settings) for each in (wrapper, model)]
    assert torch.equal(*found)
    assert is_correct(wrapper, x, y).tolist() == is_correct(model, x, y).tolist()
    assert through == []
    method = IAAT(IAATConfig(steps=2).over(epochs=1), size=6, device="cpu")
    method.step(wrapper, Batch(x, y, torch.arange(6)), StepContext(epoch=0)).loss.backward()
    assert through == [True]
    assert all(weight.grad is not None for weight in model.parameters())
