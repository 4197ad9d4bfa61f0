"""How a batch is shared out: each sample counts once, wherever it is trained on."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iaat.runtime.distributed import Ranks
from iaat.train.batch_split import AT_LEAST, split_batch

SIZES = {"batch": st.integers(1, 70), "world": st.integers(1, 9), "parts": st.integers(1, 5)}


def split_up(batch, world, parts):
    """The micro-batches of all processes, by part."""
    index = torch.arange(100, 100 + batch)
    return index, list(zip(*(split_batch(index, Ranks(rank, world), parts) for rank in range(world)), strict=True))


@settings(deadline=None)
@given(**SIZES)
def test_together_the_micro_batches_are_the_batch_in_its_order(batch, world, parts):
    index, by_part = split_up(batch, world, parts)
    own = [micro.index[: micro.own] for part in by_part for micro in part]
    assert torch.equal(torch.cat(own), index)


@settings(deadline=None)
@given(**SIZES)
def test_the_weighted_mean_over_processes_is_the_mean_over_the_batch(batch, world, parts):
    index, by_part = split_up(batch, world, parts)
    loss = torch.linspace(1, 2, 200, dtype=torch.float64) ** 3
    total = sum(micro.weight * loss[micro.index].mean() for part in by_part for micro in part) / world
    torch.testing.assert_close(total, loss[index].mean())


@settings(deadline=None)
@given(**SIZES)
def test_rows_are_places_within_the_part(batch, world, parts):
    index, by_part = split_up(batch, world, parts)
    begin = 0
    for part in by_part:
        assert {micro.total for micro in part} == {sum(micro.own for micro in part)}
        for micro in part:
            assert torch.equal(index[begin + micro.rows], micro.index)
        begin += part[0].total


@settings(deadline=None)
@given(**SIZES)
def test_every_process_has_work_in_every_part(batch, world, parts):
    _, by_part = split_up(batch, world, parts)
    assert 1 <= len(by_part) <= parts
    sizes = [len(micro.index) for part in by_part for micro in part]
    assert min(sizes) >= (AT_LEAST if world > 1 else 1)


def test_alone_a_batch_is_one_micro_batch_of_weight_one():
    index = torch.tensor([5, 3, 9])
    (micro,) = split_batch(index, Ranks())
    assert torch.equal(micro.index, index)
    assert (micro.total, micro.own, micro.weight) == (3, 3, 1.0)


def test_a_process_without_samples_gets_copies_that_count_for_nothing():
    index = torch.tensor([5, 3])
    found = [split_batch(index, Ranks(rank, 3))[0] for rank in range(3)]
    assert [micro.index.tolist() for micro in found] == [[5, 5], [3, 3], [5, 5]]
    assert [micro.own for micro in found] == [1, 1, 0]
    assert [micro.weight for micro in found] == [1.5, 1.5, 0.0]
