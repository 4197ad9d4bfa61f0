"""A training set with extra images behind it: both read as one source, and drawn from as a bundle."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from iaat.data import Augmentation, ConcatSource, DataConfig, StreamingSource, augment, build_data, read_dataset_info
from iaat.errors import UserError

N, M, CLASSES = 40, 90, 4
SHAPE = (3, 6, 6)


def images(count: int, seed: int) -> Tensor:
    return torch.randint(0, 256, (count, *SHAPE), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def pictures(split: str, floats: bool = False) -> TensorDataset:
    """What `data.name` of these tests calls."""
    x = images(N, seed=1) if split == "train" else images(12, seed=3)
    return TensorDataset(x / 255 if floats else x, torch.arange(len(x)) % CLASSES)


def features(split: str) -> TensorDataset:
    return TensorDataset(torch.zeros(N, 5), torch.arange(N) % CLASSES)


EXTRA_LABELS = torch.arange(M).flip(0) // 2 % CLASSES


@pytest.fixture
def extra(tmp_path: Path) -> str:
    path = tmp_path / "more.npz"
    np.savez(path, image=images(M, seed=2).permute(0, 2, 3, 1).numpy(), label=EXTRA_LABELS.numpy())
    return str(path)


def config(**settings: Any) -> DataConfig:
    return DataConfig(**{"name": f"{__name__}:pictures", "stream": False, **settings})


STRONG = {"crop": 2, "flip": True, "cutout": 2, "color": 0.5, "rotate": 15.0, "zoom": 0.1}


@pytest.mark.parametrize("settings", [{}, {"stream": True}, {"stream": True, "workers": 1}], ids=str)
@pytest.mark.parametrize("how", [{}, STRONG], ids=["plain", "augmented"])
def test_batches_of_both_kinds_keep_their_order(extra: str, settings: dict[str, Any], how: dict[str, Any]) -> None:
    data = build_data(config(extra=extra, **settings, **how), seed=0)
    assert isinstance(data.train, ConcatSource)
    x, y = torch.cat([images(N, 1), images(M, 2)]), torch.cat([torch.arange(N) % CLASSES, EXTRA_LABELS])
    order = [
        torch.tensor([100, 3, 41, 40, 39, 7, 129]),
        torch.tensor([5, 1]),
        torch.tensor([77, 60]),
        torch.tensor([2, 9, 50, 45]),
    ]
    batches = list(data.train.batches(order, augment=(3, 2)))
    for batch, index in zip(batches, order, strict=True):
        expected = augment(x[index], Augmentation(**how), index=index, seed=3, epoch=2)
        assert torch.equal(batch.x, expected / 255)
        assert torch.equal(batch.y, y[index])
        assert torch.equal(batch.index, index)
    [plain] = data.train.batches([torch.arange(N + M)])
    assert torch.equal(plain.x, x / 255)
    assert list(data.train.batches([])) == []


def test_floats_and_bytes_are_mixed(extra: str) -> None:
    data = build_data(config(extra=extra, options={"floats": True}, flip=True), seed=0)
    [batch] = data.train.batches([torch.tensor([0, 50])], augment=(0, 0))
    rows = torch.stack([images(N, 1)[0], images(M, 2)[10]])
    expected = augment(rows, Augmentation(flip=True), index=torch.tensor([0, 50]), seed=0, epoch=0)
    assert torch.allclose(batch.x, expected / 255, atol=1e-7)


def test_extra_images_lie_behind_the_training_set_and_change_nothing_of_it(extra: str) -> None:
    plain, data = build_data(config(), seed=0), build_data(config(extra=extra, extra_ratio=0.6), seed=0)
    assert len(data.train) == N + M
    assert data.extra_index.tolist() == list(range(N, N + M))
    assert data.extra_ratio == 0.6
    assert data.train.labels.tolist() == [*plain.train.labels.tolist(), *EXTRA_LABELS.tolist()]
    assert data.train.paths == [""] * N + [f"more.npz#{position}" for position in range(M)]
    assert (data.classes, data.shape) == (plain.classes, plain.shape)
    for name in ("train_index", "validation_index", "test_index", "mean", "std"):
        assert torch.equal(getattr(data, name), getattr(plain, name))
    assert data.test.fingerprint == plain.test.fingerprint
    assert (len(plain.extra_index), plain.extra_ratio) == (0, 0.0)
    with pytest.raises(UserError, match=r"index 130, outside the data set's 0\.\.129"):
        data.train.batches([torch.tensor([130])])


def test_paths_of_an_image_folder_stay(extra: str, make_folder: Callable[..., Path]) -> None:
    root = str(make_folder(classes=("a", "b", "c", "d")))
    plain, data = (build_data(DataConfig(name="folder", root=root, extra=file), seed=0) for file in (None, extra))
    assert plain.train.paths is not None
    assert data.train.paths is not None
    assert data.train.paths[:20] == plain.train.paths
    assert data.train.paths[20] == "more.npz#0"


def test_fingerprint_is_that_of_both_parts(extra: str, tmp_path: Path) -> None:
    other = tmp_path / "other.npz"
    np.savez(other, image=images(M, seed=3).permute(0, 2, 3, 1).numpy(), label=EXTRA_LABELS.numpy())
    moved = tmp_path / "moved.npz"
    moved.write_bytes(Path(extra).read_bytes())
    streamed = config(extra=extra, stream=True)
    prints = [
        build_data(each, seed=0).train.fingerprint
        for each in (config(), config(extra=extra), config(extra=str(other)), config(extra=str(moved)), streamed)
    ]
    assert prints[1] == prints[3] == prints[4]
    assert len(set(prints)) == 3


def test_an_epoch_of_the_bundle(extra: str) -> None:
    data = build_data(config(extra=extra, extra_ratio=0.75), seed=0)
    assert len(data.train_index) == 36
    taken = []
    for epoch in range(3):
        order = data.order(8, seed=1, epoch=epoch)
        assert [len(batch) for batch in order] == [8] * 18
        assert data.samples(8) == 144
        for batch in order:
            assert int((batch < N).sum()) == 2
        visited = torch.cat(order)
        assert visited[visited < N].sort().values.tolist() == data.train_index.tolist()
        taken += visited[visited >= N].tolist()
    assert sorted(taken[:M]) == sorted(taken[M : 2 * M]) == data.extra_index.tolist()
    for batch in data.train.batches(data.order(8, seed=1, epoch=0), augment=(1, 0)):
        assert torch.equal(batch.y, data.train.labels[batch.index])


def test_samples_trained_on_are_those_visited_so_far(extra: str) -> None:
    data = build_data(config(extra=extra, extra_ratio=0.5), seed=0)
    visited: set[int] = set()
    for epoch in range(4):
        visited |= set(torch.cat(data.order(8, seed=1, epoch=epoch)).tolist())
        assert data.trained_index(8, seed=1, epochs=epoch + 1).tolist() == sorted(visited)
        assert len(visited) == 36 + min(36 * (epoch + 1), M)
    plain = build_data(config(), seed=0)
    assert torch.equal(plain.trained_index(8, seed=1, epochs=1), plain.train_index)
    assert plain.samples(8) == 36


def test_limits_are_of_their_own_part(extra: str) -> None:
    data = build_data(config(extra=extra, limit=16, extra_limit=24), seed=0)
    full = build_data(config(extra=extra), seed=0)
    assert len(data.train_index) + len(data.validation_index) == 16
    assert len(data.extra_index) == 24
    assert torch.bincount(data.train.labels[data.extra_index]).tolist() == [6, 6, 6, 6]
    assert len(data.train) == N + M
    assert data.train.fingerprint == full.train.fingerprint
    [one], [two] = (each.train.batches([data.extra_index], augment=(0, 0)) for each in (data, full))
    assert torch.equal(one.x, two.x)
    order = torch.cat(data.order(8, seed=0, epoch=0))
    assert set(order[order >= N].tolist()) <= set(data.extra_index.tolist())


def test_extra_images_count_as_memory(extra: str, make_folder: Callable[..., Path]) -> None:
    needed, added = (N + 12) * 108 / 2**30, M * 108 / 2**30
    build_data(config(extra=extra, memory_gb=needed + added), seed=0)
    with pytest.raises(UserError, match=r"more\.npz: 90 images take .* GiB, the data set another .*data\.extra_limit"):
        build_data(config(extra=extra, memory_gb=(needed + added) * 0.99), seed=0)
    streamed = build_data(config(extra=extra, stream=None, memory_gb=(needed + added) * 0.99), seed=0)
    assert isinstance(streamed.test, StreamingSource)
    with pytest.raises(UserError, match=r"90 images take \S+ GiB, more than data\.memory_gb=\S+: raise it"):
        build_data(config(extra=extra, stream=True, memory_gb=added * 0.99), seed=0)
    build_data(config(extra=extra, stream=True, extra_limit=80, memory_gb=added * 0.99), seed=0)


def test_extra_images_that_do_not_fit_the_data_are_refused(extra: str) -> None:
    with pytest.raises(
        UserError, match=r"image has shape \[90, 6, 6, 3\], but of this data set it must be \[N, 8, 8, "
    ):
        build_data(DataConfig(extra=extra), seed=0)
    with pytest.raises(UserError, match=r"extra samples are images, but the data set's inputs have shape \[5\]"):
        build_data(DataConfig(name=f"{__name__}:features", extra=extra), seed=0)


def test_settings_of_extra_images_without_any_are_reported(extra: str) -> None:
    with pytest.warns(UserWarning, match=r"data\.extra_ratio=0\.5 has no effect without data\.extra"):
        build_data(config(extra_ratio=0.5), seed=0)
    with pytest.warns(UserWarning, match=r"data\.extra_limit=5 has no effect without data\.extra"):
        build_data(config(extra_limit=5), seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_data(config(extra=extra, extra_ratio=0.5, extra_limit=50), seed=0)


def test_facts_of_extra_images(extra: str) -> None:
    how = config(extra=extra, extra_limit=50, extra_ratio=0.5)
    facts = read_dataset_info(how)
    assert (facts.train_size, facts.extra_size, facts.extra_used(how)) == (N, M, 50)
    assert facts.decoded_bytes(how) == (N + 12 + 50) * 108
    order = build_data(how, seed=0).order(8, seed=0, epoch=0)
    assert [sum(sizes) for sizes in facts.batch_sizes(how, 8)] == [len(batch) for batch in order]
    with pytest.raises(UserError, match=r"gives 50 images, too few for 18 of them in a batch"):
        facts.batch_sizes(how, 36)
    plain = read_dataset_info(config())
    assert (plain.extra_size, plain.batch_sizes(config(), 8)) == (0, [(8, 0)] * 4 + [(4, 0)])
