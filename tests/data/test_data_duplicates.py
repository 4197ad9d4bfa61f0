"""Samples that are there twice are counted and shown by an example; others are not."""

import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from iaat.data import DataConfig, build_data
from iaat.data.duplicates import StoredSplit, input_digests, warn_of_duplicates


def config(root: Path, **settings: object) -> DataConfig:
    return DataConfig(name="folder", root=str(root), holdout=0.2, **settings)  # type: ignore[arg-type]


def test_test_images_that_are_trained_on_are_counted(make_folder: Callable[..., Path]) -> None:
    root = make_folder()
    for number in (1, 3):
        shutil.copy(root / f"train/dog/00{number}.png", root / f"test/dog/00{number}.png")
    message = (
        r"^test images of .*: 2 of 10 samples are in the training set too, such as test/dog/001\.png \(in training:"
        r" train/dog/001\.png\): accuracy will be overstated; remove them"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        build_data(config(root), seed=0)
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)


def test_equal_images_of_two_classes_are_counted(make_folder: Callable[..., Path]) -> None:
    root = make_folder()
    for number in (1, 3):
        shutil.copy(root / f"train/dog/00{number}.png", root / f"train/cat/00{number}.png")
    shutil.copy(root / "train/dog/000.png", root / "train/dog/004.png")  # a twin of the same class is no contradiction
    message = (
        r"^training images of .*: 4 of 10 samples have a twin of another class, such as train/cat/001\.png \(cat\) and"
        r" train/dog/001\.png \(dog\): no model can be right on both"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        build_data(config(root), seed=0)
    assert len(caught) == 1


def test_distinct_streamed_and_unused_images_are_passed_over(make_folder: Callable[..., Path]) -> None:
    root = make_folder()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_data(config(root), seed=0)
        build_data(DataConfig(), seed=0)
        shutil.copy(root / "train/dog/001.png", root / "test/dog/001.png")
        build_data(config(root, stream=True), seed=0)


def test_samples_without_paths_are_named_by_their_index() -> None:
    x = torch.rand(6, 3)
    labels = torch.arange(10) % 2
    train = StoredSplit(x, torch.tensor([1, 2, 4, 5, 7, 9]), labels, ("a", "b"), None, "mine, train")
    test = StoredSplit(x[[3]], torch.tensor([8]), labels, ("a", "b"), None, "mine, test")
    with pytest.warns(UserWarning, match=r"mine, test: 1 of 1 .* such as index 8 \(in training: index 5\)"):
        warn_of_duplicates(train, test)


def test_cifar_10_takes_less_than_a_second() -> None:
    x = torch.randint(0, 256, (10_000, 3, 32, 32), dtype=torch.uint8)
    begun = time.process_time()
    assert len(set(input_digests(x))) == len(x)
    assert time.process_time() - begun < 1 / 2  # of a sixth of it
