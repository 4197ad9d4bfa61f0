"""Samples that are there twice are counted and shown by an example; others are not."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from iaat.data import DataConfig, DataSplits, SampleLog, build_data
from iaat.data.duplicates import duplicates
from iaat.data.sample_log import SampleRecord, input_digests


def built(root: Path, **settings: Any) -> DataSplits:
    """The data of a folder, every sample of which was read."""
    data = build_data(DataConfig(name="folder", root=str(root), **{"validation_fraction": 0.2, **settings}), seed=0)
    for source in (data.train, data.test):
        list(source.batches([torch.arange(len(source))]))
    return data


def lines(data: DataSplits) -> list[str]:
    return [notice.line() for notice in data.notices()]


@pytest.mark.parametrize("how", [{}, {"stream": True}, {"stream": True, "workers": 2}])
def test_test_images_that_are_trained_on_are_counted(make_folder: Callable[..., Path], how: dict[str, Any]) -> None:
    root = make_folder()
    for number in (1, 3):
        shutil.copy(root / f"train/dog/00{number}.png", root / f"test/dog/00{number}.png")
    assert lines(built(root, **how)) == [
        f"test images of {root}: 2 of 10 test samples are in the training set, too, such as test/dog/001.png"
        " (in training: train/dog/001.png): accuracy will be overstated; remove them from one of the sets"
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_equal_images_of_two_classes_are_counted(make_folder: Callable[..., Path], stream: bool) -> None:
    root = make_folder()
    for number in (1, 3):
        shutil.copy(root / f"train/dog/00{number}.png", root / f"train/cat/00{number}.png")
    shutil.copy(root / "train/dog/000.png", root / "train/dog/004.png")  # a twin of the same class is no contradiction
    assert lines(built(root, stream=stream)) == [
        f"training images of {root}: 4 of 10 samples have a twin of another class, such as train/cat/001.png (cat) and"
        " train/dog/001.png (dog): no model is correct on both; remove or relabel them"
    ]


def test_validation_images_that_are_trained_on_are_counted(make_folder: Callable[..., Path]) -> None:
    root = make_folder()
    shutil.copytree(root / "test", root / "val")
    shutil.copy(root / "train/dog/001.png", root / "val/dog/001.png")
    logged = lines(built(root, validation="val"))
    assert len(logged) == 1
    assert "1 of 10 validation samples is in the training set, too, such as val/dog/001.png (in training: " in logged[0]


@pytest.mark.parametrize("stream", [False, True])
def test_drawn_validation_images_that_are_trained_on_are_counted(
    make_folder: Callable[..., Path], stream: bool
) -> None:
    root = make_folder()
    data = built(root, stream=stream)
    held, trained = (
        index[data.train.labels[index] == 1].tolist() for index in (data.validation_index, data.train_index)
    )
    assert data.train.paths is not None
    one, other = data.train.paths[held[0]], data.train.paths[trained[0]]
    shutil.copy(root / other, root / one)
    assert lines(built(root, stream=stream)) == [
        f"training images of {root}: 1 of 2 validation samples is in the training set, too, such as {one} (in training:"
        f" {other}): the selection will be biased; remove it, or what equals it in training"
    ]


def test_distinct_and_unused_images_are_passed_over(make_folder: Callable[..., Path]) -> None:
    root = make_folder()
    assert lines(built(root)) == []
    shutil.copy(root / "train/dog/001.png", root / "test/dog/001.png")
    one_each = build_data(DataConfig(name="folder", root=str(root), test_limit=1, limit=4, split_seed=3), seed=0)
    used = {one_each.train.paths[i] for i in [*one_each.train_index.tolist(), *one_each.validation_index.tolist()]}  # type: ignore[index]
    tested = {one_each.test.paths[i] for i in one_each.test_index.tolist()}  # type: ignore[index]
    assert not ("train/dog/001.png" in used and "test/dog/001.png" in tested)
    assert lines(one_each) == []


def test_samples_without_paths_are_named_by_their_index() -> None:
    x = torch.rand(6, 3)
    labels = torch.arange(10) % 2
    train, test = (SampleLog(10, where=f"mine, {split}") for split in ("train", "test"))
    train.add(SampleRecord(i, digest=d) for i, d in zip((1, 2, 4, 5, 7, 9), input_digests(x), strict=True))
    test.add([SampleRecord(8, digest=input_digests(x[[3]])[0])])
    (notice,) = duplicates(train, test, labels, ("a", "b"))
    assert notice.line().startswith("mine, test: 1 of 1 test samples is")
    assert "such as index 8 (in training: index 5)" in notice.line()


def test_unreadable_samples_are_no_twins_of_each_other() -> None:
    train, test = (SampleLog(4, where=split, limit=4) for split in ("train", "test"))
    train.add(SampleRecord(i, error="damaged") for i in range(3))
    test.add([SampleRecord(0, error="damaged"), SampleRecord(1, digest=7)])
    assert len(duplicates(train, test, torch.arange(4) % 2, ("a", "b"))) == 0


def test_random_images_have_different_digests() -> None:
    x = torch.randint(0, 256, (10_000, 3, 32, 32), dtype=torch.uint8)
    assert len(set(input_digests(x))) == len(x)
