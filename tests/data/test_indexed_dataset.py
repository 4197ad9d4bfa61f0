"""Stable indices for the user's own data sets, and clear words where there can be none."""

from collections.abc import Iterator

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from iaat.data import IndexedDataset, with_index
from iaat.errors import UserError


def dataset(n: int = 10) -> TensorDataset:
    """The input is ten times the position, so that a sample is known by its pixels."""
    return TensorDataset(torch.arange(n)[:, None] * 10.0, torch.arange(n) % 3)


@pytest.mark.parametrize("workers", [0, 1])
def test_loader_gives_each_sample_its_index(workers: int) -> None:
    loader = DataLoader(
        with_index(dataset()),
        batch_size=4,
        shuffle=True,
        num_workers=workers,
        generator=torch.Generator().manual_seed(0),
    )
    seen = []
    for x, y, index in loader:
        assert torch.equal(x[:, 0], index * 10.0)
        assert torch.equal(y, index % 3)
        assert index.dtype == torch.int64
        seen += index.tolist()
    assert sorted(seen) == list(range(10))
    assert seen != list(range(10))


def test_what_follows_x_and_y_is_dropped() -> None:
    indexed = with_index([("x0", 0, "mask"), ["x1", 1, "mask"]])
    assert indexed[0] == ("x0", 0, 0)
    assert indexed[1] == ("x1", 1, 1)


def test_items_that_are_mappings_keep_their_keys() -> None:
    items = [{"image": torch.zeros(2), "label": 1}, {"image": torch.ones(2), "label": 0}]
    batch = next(iter(DataLoader(with_index(items), batch_size=2)))
    assert {key: value.tolist() for key, value in batch.items()} == {
        "image": [[0, 0], [1, 1]],
        "label": [1, 0],
        "index": [0, 1],
    }
    assert set(items[0]) == {"image", "label"}
    with pytest.raises(UserError, match="with_index: item 0 of list has a key 'index': rename it"):
        with_index([{"index": 7}])[0]


def test_index_from_the_end_and_beyond_it() -> None:
    indexed = with_index(dataset(3))
    assert indexed[-1][2] == 2
    for position in (3, -4):
        with pytest.raises(IndexError, match=f"position {position} is outside a data set of 3 samples"):
            indexed[position]
    assert [index for _, _, index in indexed] == [0, 1, 2]  # type: ignore[attr-defined]


def test_index_of_a_subset_is_its_own_and_leads_back_to_the_root() -> None:
    inner = Subset(dataset(), [9, 7, 5, 3, 1])
    indexed = with_index(Subset(inner, [4, 0, 2]))
    assert [indexed[i][2] for i in range(3)] == [0, 1, 2]
    assert [float(indexed[i][0]) for i in range(3)] == [10.0, 90.0, 50.0]
    assert indexed.root_index(torch.arange(3)).tolist() == [1, 9, 5]
    assert indexed.root_index(torch.tensor([[2], [0]])).tolist() == [[5], [1]]
    assert with_index(Subset(with_index(inner), [1])).root_index(torch.tensor([0])).tolist() == [7]


def test_root_index_without_a_subset_is_the_index() -> None:
    assert with_index(dataset()).root_index(torch.tensor([3, 1])).tolist() == [3, 1]


def test_indexed_dataset_is_not_wrapped_again() -> None:
    indexed = with_index(dataset())
    assert with_index(indexed) is indexed
    assert isinstance(indexed, IndexedDataset)


class Stream(IterableDataset[tuple[int, int]]):
    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter([(0, 0)])


class NoLength:
    def __getitem__(self, position: int) -> tuple[int, int]:
        return position, 0


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (Stream(), r"Stream is an IterableDataset, and its samples have no stable index: make it map-style"),
        (DataLoader(dataset()), r"a DataLoader has no stable index for its samples: pass loader\.dataset"),
        (NoLength(), r"NoLength has no __len__, so its samples have no stable index"),
        ((i for i in range(3)), r"generator has no __len__ and no __getitem__"),
        ({0: (1, 2)}, r"dict is not addressed by position"),
        ("images", r"str is not addressed by position"),
        ([], r"list has no samples: check the filter or the path"),
    ],
)
def test_what_has_no_stable_index_is_refused(thing: object, message: str) -> None:
    with pytest.raises(UserError, match=f"with_index: {message}"):
        with_index(thing)  # type: ignore[arg-type]


@pytest.mark.parametrize("item", [torch.zeros(2), {1, 2}, (1,)])
def test_item_that_is_no_pair_is_named(item: object) -> None:
    with pytest.raises(UserError, match=r"with_index: item 1 of list is a .*, not a pair \(x, y\)"):
        with_index([(0, 0), item])[1]
