"""From the recipe's data section to sources, splits and statistics."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import TensorDataset

from iaat.data import DataConfig, InMemorySource, StreamingSource, build_data
from iaat.data.channel_statistics import channel_stats
from iaat.data.given_data import GivenData
from iaat.errors import UserError
from iaat.runtime.user_code import GIVEN

COUNTS = {"train": 40, "test": 12}


def make_features(split: str, rows: int = 0, width: int = 4, classes: int = 4) -> TensorDataset:
    """What `data.name` of these tests calls; the test split has no sample of the last class."""
    n = rows or COUNTS[split]
    x = torch.rand(n, width, generator=torch.Generator().manual_seed(n))
    return TensorDataset(x, torch.arange(n) % (classes if split == "train" else classes - 1))


def uneven(split: str) -> TensorDataset:
    return make_features(split, width=4 if split == "train" else 5)


def config(function: str = "make_features", **settings: Any) -> DataConfig:
    return DataConfig(name=f"{__name__}:{function}", **settings)


def read_all(source: InMemorySource | StreamingSource | Any, index: Tensor) -> Tensor:
    [batch] = source.batches([index])
    return batch.x  # type: ignore[no-any-return]


def test_default_is_digits_split_in_three() -> None:
    data = build_data(DataConfig(), seed=0)
    assert data.shape == (1, 8, 8)
    assert data.classes == tuple("0123456789")
    assert len(data.train) == len(data.train_index) + len(data.validation_index) == 1438
    assert not set(data.train_index.tolist()) & set(data.validation_index.tolist())
    assert len(data.validation_index) == pytest.approx(143.8, abs=5)
    assert data.test_index.tolist() == list(range(359))
    x = read_all(data.train, data.train_index)
    assert float(data.mean) == pytest.approx(float(x.mean()), abs=1e-6)
    assert float(data.std) == pytest.approx(float(x.std(correction=0)), abs=1e-6)


def test_training_seed_moves_the_split_only_if_asked() -> None:
    fixed = [build_data(config(), seed=seed).validation_index.tolist() for seed in (0, 1)]
    assert fixed[0] == fixed[1]
    other = build_data(config(split_seed=1), seed=0).validation_index.tolist()
    moving = [build_data(config(split_seed=None), seed=seed).validation_index.tolist() for seed in (0, 1)]
    assert moving == [fixed[0], other]
    assert other != fixed[0]


@pytest.mark.parametrize("stream", [True, False])
def test_limits_keep_the_indices_of_the_full_set(stream: bool) -> None:
    full = build_data(config(), seed=0)
    data = build_data(config(limit=16, test_limit=5, stream=stream, validation_fraction=0.25), seed=0)
    assert isinstance(data.train, StreamingSource if stream else InMemorySource)
    assert len(data.train) == 40
    assert len(data.train_index) == 12
    assert len(data.validation_index) == 4
    assert len(data.test_index) == 5
    assert data.train.fingerprint == full.train.fingerprint
    assert torch.equal(read_all(data.train, data.train_index), read_all(full.train, data.train_index))
    assert torch.equal(read_all(data.test, data.test_index), read_all(full.test, data.test_index))
    used = torch.cat([data.train_index, data.validation_index])
    assert torch.bincount(data.train.labels[used]).tolist() == [4, 4, 4, 4]


def test_limit_too_small_for_the_classes_is_refused() -> None:
    with pytest.raises(UserError, match=r"data\.limit is 7, too few for 2 samples of each of 4 classes.*at least 8"):
        build_data(config(limit=7), seed=0)
    build_data(config(limit=8), seed=0)


def test_class_of_one_sample_is_trained_on_and_counted() -> None:
    data = build_data(config(options={"rows": 7}), seed=0)
    assert data.train.labels.bincount().tolist() == [2, 2, 2, 1]
    assert 3 in data.train_index
    assert data.train.labels[data.validation_index].tolist() == [0, 1, 2]
    assert [(notice.kind, notice.count, notice.example) for notice in data.listed] == [("single", 1, "'3'")]


def test_streaming_starts_where_memory_ends() -> None:
    needed = (40 + 12) * 4 * 4 / 2**30
    assert isinstance(build_data(config(memory_gb=needed), seed=0).train, InMemorySource)
    streamed = build_data(config(memory_gb=needed * 0.99), seed=0)
    assert isinstance(streamed.train, StreamingSource)
    assert isinstance(streamed.test, StreamingSource)
    assert isinstance(build_data(config(memory_gb=needed * 0.99, stream=False), seed=0).train, InMemorySource)
    assert isinstance(build_data(DataConfig(memory_gb=1e-9), seed=0).train, InMemorySource)
    assert isinstance(build_data(DataConfig(stream=True), seed=0).train, StreamingSource)


def test_image_folder_in_memory_and_streamed_agree(make_folder: Callable[..., Path]) -> None:
    root = str(make_folder(per_class=10))
    settings = {"name": "folder", "root": root, "crop": 2, "flip": True}
    memory, streamed = (build_data(DataConfig(stream=stream, **settings), seed=0) for stream in (False, True))
    assert memory.train.fingerprint == streamed.train.fingerprint
    assert memory.train.paths == streamed.train.paths
    assert torch.equal(memory.mean, streamed.mean)
    assert torch.equal(memory.std, streamed.std)
    [one], [two] = (data.train.batches([data.train_index], augment=(0, 0)) for data in (memory, streamed))
    assert torch.equal(one.x, two.x)


def test_class_missing_from_the_users_test_set_is_allowed_but_not_from_training() -> None:
    data = build_data(config(), seed=0)
    assert data.classes == ("0", "1", "2", "3")
    assert int(data.test.labels.max()) == 2
    with pytest.raises(UserError, match=r"split=train: no samples of class '2'"):
        build_data(config("with_labels", options={"train": [0, 1, 3] * 4}), seed=0)


def with_labels(split: str, train: tuple[int, ...] = (0, 1, 2) * 4, test: tuple[int, ...] = (0, 1, 2)) -> TensorDataset:
    y = torch.tensor(train if split == "train" else test)
    return TensorDataset(torch.full((len(y), 2), 0.5), y)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"train": [0, 1, 2, 0, 1, 2, 0, -1]},
            r"split=train: the label at index 7 is -1, outside 0\.\.2 \(3 classes\)",
        ),
        ({"test": [0, -1]}, r"split=test: the label at index 1 is -1, outside 0\.\.2"),
        (
            {"test": [0, 1, 9]},
            r"split=test: the label at index 2 is 9, outside 0\.\.2 \(3 classes\): number the classes",
        ),
    ],
)
def test_label_that_is_no_class_of_the_training_set_is_named(
    stream: bool, options: dict[str, list[int]], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        build_data(config("with_labels", stream=stream, options=options), seed=0)


def test_shapes_of_both_splits_must_agree() -> None:
    with pytest.raises(UserError, match=r"split=train: inputs have shape \[4\], but .*split=test: \[5\]: bring both"):
        build_data(config("uneven"), seed=0)


def test_settings_without_effect_are_reported(make_folder: Callable[..., Path]) -> None:
    with pytest.warns(UserWarning, match=r"data\.size=8 has no effect with data\.name=digits"):
        build_data(DataConfig(size=8), seed=0)
    with pytest.warns(UserWarning, match=r"data\.options=\{'n': 1\} has no effect"):
        build_data(DataConfig(options={"n": 1}), seed=0)
    with pytest.warns(UserWarning, match=r"data\.root='here' has no effect"):
        build_data(config(root="here"), seed=0)
    root = str(make_folder())
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".* has no effect")
        build_data(DataConfig(name="folder", root=root, size=6, channels=1), seed=0)
        build_data(DataConfig(name="cifar10", root=root, size=6, download=False), seed=0)
        build_data(config(options={"rows": 24}), seed=0)


def test_channel_stats_equal_those_of_all_samples() -> None:
    x = torch.rand(600, 3, 4, 4) * torch.tensor([0.1, 0.5, 1.0]).view(3, 1, 1)
    x[:, 1] = 0.25
    source = InMemorySource(x, torch.arange(600) % 2, ("a", "b"))
    index = torch.arange(0, 600, 2)
    mean, std = channel_stats(source, index, seed=0)
    assert torch.allclose(mean, x[index].mean((0, 2, 3)), atol=1e-6)
    expected = x[index].std((0, 2, 3), correction=0)
    expected[1] = 1e-3
    assert torch.allclose(std, expected, atol=1e-6)


def test_channel_stats_of_features_are_per_feature() -> None:
    x = torch.rand(50, 7)
    mean, std = channel_stats(InMemorySource(x, torch.arange(50) % 2, ("a", "b")), torch.arange(50), seed=0)
    assert torch.allclose(mean, x.mean(0), atol=1e-6)
    assert torch.allclose(std, x.std(0, correction=0), atol=1e-6)


def test_channel_stats_draw_at_most_5000_samples() -> None:
    x = torch.rand(6000, 1)
    source = InMemorySource(x, torch.arange(6000) % 2, ("a", "b"))
    mean, _ = channel_stats(source, torch.arange(6000), seed=0)
    assert not torch.allclose(mean, x.mean(0), atol=1e-7)
    assert abs(float(mean) - 0.5) < 0.03
    assert torch.equal(mean, channel_stats(source, torch.arange(6000), seed=0)[0])


def given(validation: bool = False, images: bool = False, **settings: Any) -> DataConfig:
    x = [Image.new("RGB", (4, 4), (20 * row,) * 3) if images else torch.full((4,), row / 20) for row in range(12)]
    items = [(each, row % 2) for row, each in enumerate(x)]
    return DataConfig(name=GIVEN, given=GivenData(items, items if validation else None), **settings)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (given(test_limit=3), "test_limit=3 has no effect with data passed to iaat.fit as an object"),
        (given(root="here"), "root='here' has no effect with data passed to iaat.fit as an object"),
        (given(True, validation_fraction=0.3), "validation_fraction=0.3 has no effect with validation= of iaat.fit"),
        (given(channels=1), "channels=1 has no effect on train_data, which has tensors and not images"),
        (given(True, background="red"), "background='red' has no effect on train_data and validation, which has tens"),
        (
            config(max_value=9),
            "max_value=9 has no effect on data.name=.*, split=train, which has tensors and not images",
        ),
    ],
)
def test_settings_without_effect_on_data_of_yours_are_reported(config: DataConfig, message: str) -> None:
    with pytest.warns(UserWarning, match=rf"data\.{message}"):
        build_data(config, seed=0)


def test_settings_that_have_no_effect_on_a_folder_that_is_passed_are_reported(make_folder: Callable[..., Path]) -> None:
    folder = make_folder()
    for key, value in (("validation", "test"), ("root", str(folder))):
        config = DataConfig(name=GIVEN, given=GivenData(folder / "train"), **{key: value})  # type: ignore[arg-type]
        with pytest.warns(UserWarning, match=rf"data\.{key}='.*' has no effect with data passed to iaat\.fit"):
            build_data(config, seed=0)


def test_settings_with_an_effect_on_data_of_yours_are_not_reported() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".* has no effect")
        build_data(given(True, True, channels=1, background="red", max_value=255), seed=0)
        build_data(given(validation_fraction=0.3), seed=0)
