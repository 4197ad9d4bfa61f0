"""In memory, streamed by this process or by two workers: the same batches to the last bit, each with its index."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from iaat.data import (
    Augmentation,
    DataConfig,
    InMemorySource,
    StreamingSource,
    augment,
    epoch_order,
    folder_splits,
    sequential_order,
)
from iaat.data.sample_log import SampleLog, SampleReadError
from iaat.data.source import Source, fingerprint
from iaat.errors import UserError
from iaat.types import Batch

CLASSES = ("cat", "dog", "owl")
HOW = Augmentation(crop=2, flip=True)
STRONG = Augmentation(crop=2, flip=True, cutout=2, color=0.5, rotate=15, zoom=0.1)
N = 30


def coded_images(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Images with their index as the top left pixel."""
    x = torch.randint(0, 256, (N, 3, 6, 6), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    x[:, 0, 0, 0] = torch.arange(N)
    y = torch.arange(N) % 3
    return (x, y) if dtype == torch.uint8 else (x.float() / 255, y)


def sources(x: Tensor, y: Tensor, how: Augmentation = HOW) -> list[Source]:
    dataset = TensorDataset(x, y)
    return [
        InMemorySource(x, y, CLASSES, augmentation=how),
        StreamingSource(dataset, y, CLASSES, augmentation=how),
        StreamingSource(dataset, y, CLASSES, augmentation=how, workers=2),
    ]


def assert_same(first: Sequence[Batch], second: Sequence[Batch]) -> None:
    for one, two in zip(first, second, strict=True):
        assert torch.equal(one.x, two.x)
        assert torch.equal(one.y, two.y)
        assert torch.equal(one.index, two.index)


@pytest.mark.parametrize("how", [HOW, STRONG], ids=["crop and flip", "all"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_all_sources_give_the_same_batches(dtype: torch.dtype, how: Augmentation) -> None:
    x, y = coded_images(dtype)
    order = epoch_order(torch.arange(1, N), 7, seed=3, epoch=2)
    memory, streamed, workers = (list(source.batches(order, augment=(3, 2))) for source in sources(x, y, how))
    assert_same(memory, streamed)
    assert_same(memory, workers)
    for batch, index in zip(memory, order, strict=True):
        assert torch.equal(batch.index, index)
        assert torch.equal(batch.y, y[index])
        assert batch.x.dtype == torch.float32
        assert batch.index.dtype == batch.y.dtype == torch.int64


def test_image_folder_gives_the_same_batches(make_folder: Callable[..., Path]) -> None:
    split, _ = folder_splits(DataConfig(name="folder", root=str(make_folder(per_class=8))))
    everything = torch.arange(16)
    order = epoch_order(everything, 5, seed=0, epoch=0)
    settings = {"augmentation": HOW, "paths": split.paths}
    all_sources = [
        InMemorySource(split.load(everything), split.labels, split.classes, **settings),
        StreamingSource(split, split.labels, split.classes, **settings),
        StreamingSource(split, split.labels, split.classes, workers=2, **settings),
    ]
    assert len({source.fingerprint for source in all_sources}) == 1
    memory, streamed, workers = (list(source.batches(order, augment=(0, 0))) for source in all_sources)
    assert_same(memory, streamed)
    assert_same(memory, workers)
    for batch in memory:
        # The folder's images are of one colour: red says the class, green the number within it.
        assert torch.equal((batch.x[:, 0, 3, 3] * 255).round().long(), 10 * batch.y + 1)
        assert torch.equal((batch.x[:, 1, 3, 3] * 255).round().long(), batch.index % 8)


@pytest.mark.parametrize("kind", [0, 1], ids=["memory", "streaming"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_index_stays_with_its_image(dtype: torch.dtype, kind: int) -> None:
    x, y = coded_images(dtype)
    for batch in sources(x, y)[kind].batches(epoch_order(torch.arange(N), 8, seed=0, epoch=0)):
        assert torch.equal((batch.x[:, 0, 0, 0] * 255).round().long(), batch.index)
        expected = x[batch.index].float() / 255 if dtype == torch.uint8 else x[batch.index]
        assert torch.equal(batch.x, expected)


@pytest.mark.parametrize("kind", [0, 1], ids=["memory", "streaming"])
def test_augmentation_is_keyed_by_sample(kind: int) -> None:
    source = sources(*coded_images(torch.uint8))[kind]
    [whole] = source.batches([torch.arange(N)], augment=(0, 4))
    [part] = source.batches([torch.tensor([20, 3])], augment=(0, 4))
    assert torch.equal(part.x, whole.x[[20, 3]])
    [plain] = source.batches([torch.arange(N)])
    assert not torch.equal(plain.x, whole.x)


@pytest.mark.parametrize("how", [HOW, STRONG], ids=["crop and flip", "all"])
def test_an_index_that_recurs_is_augmented_anew_by_all_sources(how: Augmentation) -> None:
    order, visits = [torch.tensor([7]), torch.tensor([7])], [torch.tensor([0]), torch.tensor([1])]
    of_all = sources(*coded_images(torch.uint8), how)
    memory, streamed, workers = (list(each.batches(order, augment=(3, 2), visits=visits)) for each in of_all)
    assert_same(memory, streamed)
    assert_same(memory, workers)
    first, again = memory
    assert torch.equal(first.index, again.index)
    assert not torch.equal(first.x, again.x)
    [once] = of_all[1].batches(order[:1], augment=(3, 2))
    assert torch.equal(first.x, once.x)


@pytest.mark.parametrize("kind", [0, 1, 2], ids=["memory", "streaming", "workers"])
def test_reading_leaves_the_global_random_state_alone(kind: int) -> None:
    source = sources(*coded_images(torch.uint8))[kind]
    state = torch.get_rng_state()
    list(source.batches(sequential_order(torch.arange(N), 10), augment=(0, 0)))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", [0, 1], ids=["memory", "streaming"])
def test_batches_do_not_share_memory_with_the_data(kind: int) -> None:
    x, y = coded_images(torch.float32)
    source = sources(x, y)[kind]
    index = torch.arange(N)
    for batch in source.batches([index]):
        batch.x.zero_()
        batch.y.zero_()
        batch.index.zero_()
    [again] = source.batches([index])
    assert torch.equal(again.x, coded_images(torch.float32)[0])
    assert torch.equal(again.y, torch.arange(N) % 3)
    assert torch.equal(index, torch.arange(N))


@pytest.mark.parametrize("kind", [0, 1], ids=["memory", "streaming"])
def test_orders(kind: int) -> None:
    source = sources(*coded_images(torch.uint8))[kind]
    assert len(source) == N
    assert list(source.batches([])) == []
    assert list(source.batches([], augment=(0, 0), visits=[])) == []
    with pytest.raises(UserError, match=r"the order asks for index 30, outside the data set's 0\.\.29"):
        source.batches([torch.tensor([0]), torch.tensor([1, 30])])
    with pytest.raises(UserError, match="index -1, outside"):
        source.batches([torch.tensor([-1])])


def test_source_that_stores_a_part_keeps_the_indices_of_the_whole() -> None:
    x, y = coded_images(torch.uint8)
    stored = torch.tensor([4, 9, 20, 29])
    whole, part = InMemorySource(x, y, CLASSES), InMemorySource(x[stored], y, CLASSES, stored=stored)
    assert len(part) == N
    assert part.fingerprint == whole.fingerprint
    order = [torch.tensor([29, 4]), torch.tensor([20])]
    assert_same(list(part.batches(order)), list(whole.batches(order)))
    with pytest.raises(UserError, match=r"index 5 is left out by data\.limit"):
        part.batches([torch.tensor([4, 5])])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_source_that_stores_a_part_augments_by_the_indices_of_the_whole(dtype: torch.dtype) -> None:
    x, y = coded_images(dtype)
    stored = torch.tensor([4, 9, 20, 29])
    part = InMemorySource(x[stored], y, CLASSES, augmentation=HOW, stored=stored)
    order = [torch.tensor([29, 4]), torch.tensor([20])]
    for batch, index in zip(part.batches(order, augment=(2, 5)), order, strict=True):
        expected = augment(x[index], HOW, index=index, seed=2, epoch=5)
        assert torch.equal(batch.x, expected.float() / 255 if dtype == torch.uint8 else expected)
        assert torch.equal(batch.index, index)


@pytest.mark.parametrize("shape", [(5,), (2, 4), (1, 2, 3, 4)])
def test_inputs_of_any_rank(shape: tuple[int, ...]) -> None:
    x, y = torch.rand(6, *shape), torch.arange(6) % 3
    for source in (InMemorySource(x, y, CLASSES), StreamingSource(TensorDataset(x, y), y, CLASSES)):
        assert source.shape == shape
        [batch] = source.batches([torch.tensor([5, 2])])
        assert torch.equal(batch.x, x[[5, 2]])


def test_in_memory_source_checks_its_data() -> None:
    x, y = coded_images(torch.float32)
    wrong = x.clone()
    wrong[17, 0, 0, 0] = float("nan")
    with pytest.raises(UserError, match="the training set: the input at index 17 holds nan"):
        InMemorySource(wrong, y, CLASSES, where="the training set")
    with pytest.raises(UserError, match="at index 21 holds nan"):
        InMemorySource(wrong[[2, 17]], y, CLASSES, stored=torch.tensor([2, 21]))
    with pytest.raises(UserError, match="the label at index 2 is 2, outside"):
        InMemorySource(x, y, ("cat", "dog"))
    with pytest.raises(UserError, match=r"is 0\.0 \(torch\.float32\), class ids must be integers"):
        InMemorySource(x, y.float(), CLASSES)
    with pytest.raises(UserError, match="29 inputs but 30 labels"):
        InMemorySource(x[1:], y, CLASSES)
    with pytest.raises(UserError, match="no samples of class 'emu'"):
        InMemorySource(x, y, (*CLASSES, "emu"))
    with pytest.raises(UserError, match=r"data\.crop is 6, but images of 6 x 6"):
        InMemorySource(x, y, CLASSES, augmentation=Augmentation(crop=6))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ((torch.full((2,), 2.0), 1), r"data: the input at index 3 reaches from 2 to 2.*divide by 255"),
        ((torch.zeros(3), 1), r"data: item 3 has shape \[3\] .*but item 0 has \[2\].*one shape"),
        (
            (torch.zeros(2, dtype=torch.uint8), 1),
            r"data: item 3 has shape \[2\] \(torch\.uint8\), but item 0 .*float32",
        ),
        ((torch.zeros(2), 0), r"data: item 3 has label 0, but 1 in the list of labels: make .*targets agree"),
        ((torch.zeros(2), 1.0), r"data: item 3: the label is 1\.0 \(float\)"),
        ((torch.zeros(2, dtype=torch.int64), 1), r"data: item 3: the input is torch\.int64: convert it to uint8"),
        ((torch.tensor(0.5), 1), r"data: item 3: the input is a single number"),
        (([0.0, 0.0], 1), r"data: item 3: the input is a builtins\.list: return a float tensor"),
        ((torch.zeros(2),), r"data: item 3 is a tuple, not a pair \(x, y\)"),
    ],
)
@pytest.mark.parametrize("workers", [0, 1])
def test_streaming_source_names_a_wrong_item(fault: tuple[object, ...], message: str, workers: int) -> None:
    items: list[tuple[object, ...]] = [(torch.zeros(2), i % 2) for i in range(6)]
    items[3] = fault
    source = StreamingSource(items, torch.arange(6) % 2, ("cat", "dog"), workers=workers)
    with pytest.raises(UserError, match=rf"^{message}[^\n]*$"):
        list(source.batches([torch.arange(6)]))


def test_inputs_are_compared_with_the_first_that_can_be_read() -> None:
    class Items(list[tuple[object, ...]]):
        def __getitem__(self, position: int) -> tuple[object, ...]:  # type: ignore[override]
            if position == 0:
                raise SampleReadError("damaged")
            return super().__getitem__(position)

    items = Items([(torch.zeros(2 if i < 3 else 3), i % 2) for i in range(4)])
    sample_log = SampleLog(4, where="data", limit=1)
    source = StreamingSource(items, torch.arange(4) % 2, ("cat", "dog"), sample_log=sample_log)
    with pytest.raises(UserError, match=r"item 3 has shape \[3\] .*but item 1 has \[2\]"):
        list(source.batches([torch.arange(4)]))


def test_streaming_source_checks_its_labels() -> None:
    items = [(torch.zeros(2), i % 2) for i in range(6)]
    with pytest.raises(UserError, match="6 items but 5 labels"):
        StreamingSource(items, torch.arange(5) % 2, ("cat", "dog"))
    with pytest.raises(UserError, match="no samples of class 'owl'"):
        StreamingSource(items, torch.arange(6) % 2, CLASSES)
    assert len(StreamingSource(items, torch.arange(6) % 2, CLASSES, complete=False)) == 6


def test_error_of_the_users_code_in_a_worker_is_not_swallowed() -> None:
    source = StreamingSource(FailingDataset(), torch.arange(4) % 2, ("cat", "dog"), workers=1)
    with pytest.raises(UserError, match=r"(?s)^your code failed: ZeroDiv.*test_source\.py, line .*item 2"):
        list(source.batches([torch.arange(4)]))


class FailingDataset:
    def __len__(self) -> int:
        return 4

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        return torch.full((2,), 0 / (position - 2)), position % 2


def test_fingerprint_tells_data_sets_apart() -> None:
    labels = torch.tensor([0, 1, 1])
    base = fingerprint(labels, ("a", "b"), (3, 4, 4), ["x", "y", "z"])
    others = [
        fingerprint(torch.tensor([0, 1, 0]), ("a", "b"), (3, 4, 4), ["x", "y", "z"]),
        fingerprint(torch.tensor([0, 1, 1, 1]), ("a", "b"), (3, 4, 4), ["x", "y", "z"]),
        fingerprint(labels, ("a", "c"), (3, 4, 4), ["x", "y", "z"]),
        fingerprint(labels, ("a", "b"), (3, 8, 2), ["x", "y", "z"]),
        fingerprint(labels, ("a", "b"), (3, 4, 4), ["x", "z", "y"]),
        fingerprint(labels, ("a", "b"), (3, 4, 4), None),
    ]
    assert len({base, *others}) == 7
    assert base == fingerprint(labels.clone(), ["a", "b"], [3, 4, 4], ["x", "y", "z"])
    assert len(base) == 64
