"""Batches hold each sample once, in an order of (seed, epoch), and none has a single one; extra ones fill them up."""

import hashlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iaat.data import batch_sizes, epoch_order, sequential_order
from iaat.data.batch_order import extra_visited
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


def test_order_of_a_seed_and_epoch_never_changes() -> None:
    # Runs are resumed under newer versions: they must go on with the same batches.
    batches = epoch_order(torch.arange(1000), 37, seed=5, epoch=7)
    text = repr([batch.tolist() for batch in batches])
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "e2479b98bd4b639009160b1e9ecbed4a270f88033b192beda0ce80a3f4b6fa9e"
    )


@given(n=st.integers(1, 80), batch_size=st.integers(2, 20), ratio=st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]))
def test_batches_have_the_fraction_of_extra_samples_asked_for(n: int, batch_size: int, ratio: float) -> None:
    own = round(batch_size * (1 - ratio))
    if not 0 < own < batch_size:
        with pytest.raises(UserError, match=rf"data\.extra_ratio is {ratio}: a batch of {batch_size} "):
            batch_sizes(n, batch_size, ratio)
        return
    sizes = batch_sizes(n, batch_size, ratio)
    assert sum(count for count, _ in sizes) == n
    assert all(pair == (own, batch_size - own) for pair in sizes[:-1])
    count, added = sizes[-1]
    if count <= own:
        assert added == round(count * (batch_size - own) / own)
    else:  # a single sample has joined
        assert (count, added) == (own + 1, batch_size - own)
    assert n == 1 or count + added > 1


def test_sizes_of_an_example() -> None:
    # 128 * 0.3 is 38: 10 of 128 are left, and 10 * 90 / 38 is 24.
    assert batch_sizes(48, 128, 0.7) == [(38, 90), (10, 24)]
    assert batch_sizes(9, 4, 0.0) == [(4, 0), (5, 0)]
    assert batch_sizes(9, 5, 0.2) == [(4, 1), (5, 1)]


@given(
    n=st.integers(1, 50),
    more=st.integers(0, 60),
    batch_size=st.integers(2, 12),
    ratio=st.sampled_from([0.3, 0.5, 0.7]),
    seed=st.integers(0, 100),
)
def test_extra_samples_go_round_after_round_across_epochs(
    n: int, more: int, batch_size: int, ratio: float, seed: int
) -> None:
    if not 0 < round(batch_size * (1 - ratio)) < batch_size:
        return
    counts = [count for _, count in batch_sizes(n, batch_size, ratio)]
    m = max(1, 3 * max(counts) + more)
    index, extra = torch.arange(n) * 2, 1000 + 3 * torch.arange(m)
    stream = []
    for epoch in range(6):
        batches = epoch_order(index, batch_size, seed=seed, epoch=epoch, extra=extra, ratio=ratio)
        together = torch.cat(batches)
        assert together[together < 1000].sort().values.tolist() == index.tolist()
        assert all(len(batch.unique()) == len(batch) for batch in batches)
        assert [len(batch) for batch in batches] == [sum(pair) for pair in batch_sizes(n, batch_size, ratio)]
        assert all(bool(((batch[1:] >= 1000) >= (batch[:-1] >= 1000)).all()) for batch in batches)
        stream += together[together >= 1000].tolist()
        visited = extra_visited(extra, len(stream), apart=max(counts), seed=seed)
        assert visited.tolist() == sorted(set(stream))
    for start in range(0, len(stream), m):
        one_round = stream[start : start + m]
        assert len(set(one_round)) == len(one_round)
        assert len(one_round) < m or sorted(one_round) == extra.tolist()


def test_rounds_and_seeds_of_extra_samples_differ_and_own_samples_are_shuffled_as_without_them() -> None:
    index, extra = torch.arange(40), torch.arange(100, 160)
    rounds = [
        torch.cat([batch[batch >= 100] for batch in epoch_order(index, 10, **key, extra=extra, ratio=0.6)]).tolist()
        for key in ({"seed": seed, "epoch": epoch} for seed in (0, 1) for epoch in (0, 1))
    ]
    assert all(sorted(each) == extra.tolist() for each in rounds)  # 10 batches of 6
    assert len(set(map(tuple, rounds))) == 4
    batches = epoch_order(index, 10, seed=0, epoch=1, extra=extra, ratio=0.6)
    own = torch.cat([batch[batch < 100] for batch in batches])
    assert torch.equal(own, torch.cat(epoch_order(index, 10, seed=0, epoch=1)))


def test_too_few_extra_samples_are_refused() -> None:
    with pytest.raises(UserError, match=r"data\.extra gives 17 images, too few for 6 of them.*give at least 18"):
        epoch_order(torch.arange(40), 10, seed=0, epoch=0, extra=torch.arange(100, 117), ratio=0.6)
    epoch_order(torch.arange(40), 10, seed=0, epoch=0, extra=torch.arange(100, 118), ratio=0.6)
