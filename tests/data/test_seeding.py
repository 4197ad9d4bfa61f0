"""Random items of a user's data set: theirs alone, the same whoever reads them and in whichever order."""

import random
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from iaat.data import StreamingSource, epoch_order
from iaat.data.user_function import UserSplit
from iaat.errors import UserError
from iaat.types import Batch

N = 24


class Noise:
    """Draws from all three global generators; `own` adds a generator that nobody else can seed."""

    def __init__(self, own: np.random.Generator | None = None) -> None:
        self.own = own

    def __len__(self) -> int:
        return N

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        drawn = [random.random(), np.random.rand(), float(torch.rand(())), 0.0]  # noqa: NPY002
        if self.own is not None:
            drawn[3] = self.own.random()
        return torch.tensor(drawn), position % 2


def source(workers: int = 0) -> StreamingSource:
    return StreamingSource(Noise(), torch.arange(N) % 2, ("cat", "dog"), workers=workers)


def by_index(batches: list[Batch]) -> Tensor:
    x, index = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("x", "index"))
    return x[index.argsort()]


def states() -> tuple[object, ...]:
    kind, numbers, *rest = np.random.get_state()  # noqa: NPY002
    return random.getstate(), kind, numbers.tobytes(), *rest, torch.get_rng_state().numpy().tobytes()


def test_items_depend_on_seed_epoch_and_index_alone() -> None:
    order = epoch_order(torch.arange(N), 5, seed=0, epoch=0)
    expected = by_index(list(source().batches(order, augment=(0, 1))))
    assert len({tuple(row) for row in expected.tolist()}) == N
    for workers in (1, 2):
        assert torch.equal(by_index(list(source(workers).batches(order, augment=(0, 1)))), expected)
    # Resumed in the middle of the epoch, and read one by one.
    later = list(source().batches(order[2:], augment=(0, 1)))
    alone = list(source().batches([torch.tensor([int(index)]) for part in order for index in part], augment=(0, 1)))
    assert torch.equal(by_index(alone), expected)
    for batch in later:
        assert torch.equal(batch.x, expected[batch.index])


def test_items_change_with_seed_and_epoch_and_without_augmentation_never() -> None:
    order = [torch.arange(N)]
    drawn = [by_index(list(source().batches(order, augment=key))) for key in ((0, 1), (0, 2), (1, 1), None, None)]
    assert len({x.numpy().tobytes() for x in drawn}) == 4
    assert torch.equal(drawn[3], drawn[4])


def test_reading_moves_no_global_generator() -> None:
    before = states()
    list(source().batches([torch.arange(N)], augment=(0, 0)))
    split = UserSplit(Noise(), complete=True, where="mine")
    split.load(torch.arange(N))
    split.warn_if_random(streamed=True)
    assert states() == before


def test_items_read_once_do_not_depend_on_what_else_is_read() -> None:
    split = UserSplit(Noise(), complete=True, where="mine")
    whole = split.load(torch.arange(N))
    torch.manual_seed(9)
    again = UserSplit(Noise(), complete=True, where="mine")
    assert torch.equal(again.load(torch.tensor([7, 3])), whole[[7, 3]])
    assert len({tuple(row) for row in whole.tolist()}) == N


def test_an_error_leaves_the_generators_as_they_were() -> None:
    class Faulty(Noise):
        def __getitem__(self, position: int) -> tuple[Tensor, int]:
            if position == 3:
                raise ZeroDivisionError
            return super().__getitem__(position)

    faulty = StreamingSource(Faulty(), torch.arange(N) % 2, ("cat", "dog"))
    before = states()
    with pytest.raises(UserError, match=r"(?s)your code failed: ZeroDivisionError.*item 3"):
        list(faulty.batches([torch.arange(N)]))
    assert states() == before


@pytest.mark.parametrize("streamed", [False, True])
def test_a_generator_that_cannot_be_seeded_is_reported(streamed: bool) -> None:
    split = UserSplit(Noise(np.random.default_rng()), complete=True, where="mine")
    with pytest.warns(UserWarning, match="mine: items change from read to read, and not by the global generators"):
        split.warn_if_random(streamed=streamed)


def test_a_random_set_is_reported_only_where_it_is_read_once() -> None:
    split = UserSplit(Noise(), complete=True, where="mine")
    with pytest.warns(UserWarning, match="drawn once when the data is kept in memory"):
        split.warn_if_random(streamed=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        split.warn_if_random(streamed=True)
