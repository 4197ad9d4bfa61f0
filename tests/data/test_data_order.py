"""Batches hold each sample once, in an order of (seed, epoch), and none has a single sample."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iaat.data import epoch_order, sequential_order
from iaat.errors import UserError

sizes = st.integers(1, 12)


@given(n=st.integers(0, 60), batch_size=sizes, seed=st.integers(0, 100), epoch=st.integers(0, 5))
def test_each_sample_is_visited_once(n: int, batch_size: int, seed: int, epoch: int) -> None:
    index = torch.arange(n) * 3 + 1
    batches = epoch_order(index, batch_size, seed=seed, epoch=epoch)
    visited = torch.cat(batches).sort().values if batches else torch.empty(0)
    assert visited.tolist() == index.tolist()
    assert all(len(batch) == batch_size for batch in batches[:-1])
    if n > 1 and batch_size > 1:
        assert 2 <= len(batches[-1]) <= batch_size + 1


@pytest.mark.parametrize(("n", "expected"), [(8, [4, 4]), (9, [4, 5]), (10, [4, 4, 2]), (1, [1]), (3, [3])])
def test_last_batch_of_one_joins_the_one_before(n: int, expected: list[int]) -> None:
    assert [len(batch) for batch in epoch_order(torch.arange(n), 4, seed=0, epoch=0)] == expected


def test_batches_of_one_stay_when_asked_for() -> None:
    assert [len(batch) for batch in epoch_order(torch.arange(3), 1, seed=0, epoch=0)] == [1, 1, 1]


def test_order_depends_on_seed_and_epoch() -> None:
    index = torch.arange(100)
    orders = [torch.cat(epoch_order(index, 7, seed=seed, epoch=epoch)) for seed in (0, 1) for epoch in (0, 1)]
    assert torch.equal(orders[0], torch.cat(epoch_order(index, 100, seed=0, epoch=0)))
    assert len({tuple(order.tolist()) for order in orders}) == 4


@given(n=st.integers(0, 40), batch_size=sizes)
def test_sequential_order_keeps_the_order(n: int, batch_size: int) -> None:
    index = torch.arange(n).flip(0)
    batches = sequential_order(index, batch_size)
    assert [i for batch in batches for i in batch.tolist()] == index.tolist()
    assert all(1 <= len(batch) <= batch_size for batch in batches)


def test_impossible_batch_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="batch_size is 0: give a whole number of at least 1"):
        epoch_order(torch.arange(3), 0, seed=0, epoch=0)
    with pytest.raises(UserError, match="batch_size is -1"):
        sequential_order(torch.arange(3), -1)
