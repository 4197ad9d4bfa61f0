"""Image folders as splits: pixels stay with their index, faults are named by path."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from iaat.data import DataConfig, StreamingSource, build_data, file_states, folder_splits, image_split
from iaat.data.batch_order import sequential_order
from iaat.data.dataset_info import read_dataset_info
from iaat.errors import UserError


def config(root: object, **settings: object) -> DataConfig:
    return DataConfig(name="folder", root=str(root), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("threaded_bytes", [0, 10**9], ids=["threads", "one thread"])
def test_loading_keeps_pixels_with_their_index(
    make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, threaded_bytes: int
) -> None:
    monkeypatch.setattr(image_split, "_CHUNK", 3)
    monkeypatch.setattr(image_split, "_THREADED_FILE_BYTES", threaded_bytes)
    train, test = folder_splits(config(make_folder(per_class=20)))
    for split, mark in ((train, 1), (test, 2)):
        x = split.load(torch.arange(40))
        assert x.shape == (40, 3, 6, 6)
        assert x[:, 0, 0, 0].tolist() == [mark] * 20 + [10 + mark] * 20
        assert x[:, 1, 5, 5].tolist() == [*range(20), *range(20)]
    some = torch.tensor([39, 0, 25])
    assert torch.equal(train.load(some)[:, 1, 0, 0], torch.tensor([19, 0, 5], dtype=torch.uint8))
    image, label = train[25]
    assert torch.equal(image, train.load(some)[2])
    assert label == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("test", r"'test' \(found as 'val'\), which is the test folder"),
        ("val", "'val', which is the test folder"),
        ("linked", r"'linked', which is the test folder"),
        ("train", "'train', which is the training folder"),
    ],
)
def test_the_test_folder_under_another_name_is_no_validation_folder(
    make_folder: Callable[..., Path], name: str, message: str
) -> None:
    root = make_folder()
    (root / "test").rename(root / "val")
    (root / "linked").symlink_to(root / "val")
    with pytest.raises(UserError, match=rf"data\.validation is {message} already"):
        folder_splits(config(root, validation=name))


def test_sizes_that_differ_are_refused_with_both_paths(make_folder: Callable[..., Path]) -> None:
    root = make_folder()
    Image.new("RGB", (7, 6)).save(root / "train/dog/002.png")
    train, _ = folder_splits(config(root))
    message = (
        r"train/dog/002\.png has shape \[3, 6, 7\].*but .*train/cat/000\.png has \[3, 6, 6\].*: set data\.size to bring"
    )
    with pytest.raises(UserError, match=message):
        train.load(torch.arange(10))
    with pytest.raises(UserError, match=message):
        train[7]
    resized, _ = folder_splits(config(root, size=5))
    assert resized.load(torch.arange(10)).shape == (10, 3, 5, 5)


def test_test_images_must_have_the_size_of_the_training_images(make_folder: Callable[..., Path]) -> None:
    root = make_folder()
    for path in (root / "test").rglob("*.png"):
        Image.new("RGB", (9, 9)).save(path)
    _, test = folder_splits(config(root))
    with pytest.raises(UserError, match=r"test/cat/000\.png has shape .*but .*train/cat/000\.png has"):
        test.load(torch.arange(10))


@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_image_is_named_when_loaded_and_when_streamed(make_folder: Callable[..., Path], workers: int) -> None:
    root = make_folder()
    (root / "train/dog/003.png").write_bytes(b"not an image")
    train, _ = folder_splits(config(root))
    with pytest.raises(UserError, match=r"train/dog/003\.png: cannot be read as an image"):
        train.load(torch.arange(10))
    source = StreamingSource(train, train.labels, train.classes, workers=workers)
    with pytest.raises(UserError, match=r"^[^\n]*train/dog/003\.png: cannot be read as an image[^\n]*$"):
        list(source.batches(sequential_order(torch.arange(10), 4)))


def test_grey_channels(make_folder: Callable[..., Path]) -> None:
    train, _ = folder_splits(config(make_folder(per_class=1), channels=1))
    assert train[0][0].shape == (1, 6, 6)
    assert train.sample_bytes == 36


def test_an_image_folder_in_the_default_root_is_read(
    make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder()
    monkeypatch.chdir(root.rename(root.with_name("data")).parent)
    assert len(build_data(DataConfig(name="cifar10", download=False), seed=0).train) == 10


@pytest.mark.parametrize("read", [read_dataset_info, lambda config: build_data(config, seed=0)])
def test_images_of_the_users_without_a_test_folder_are_not_passed_over_for_a_known_set(
    make_folder: Callable[..., Path], read: Callable[[DataConfig], object]
) -> None:
    root = make_folder()
    config = DataConfig(name="cifar10", root=str(root), download=False)
    (root / "test").rename(root / "holdout")
    with pytest.raises(UserError, match=r"without test/<class>.*or put cifar10 into another data\.root"):
        read(config)
    (root / "train").rename(root / "other")
    (root / "train-000.tar").touch()
    with pytest.raises(UserError, match=r"tar shards .* data\.name is cifar10.*or put cifar10 into another data\.root"):
        read(config)


@pytest.mark.parametrize("own", ["cifar-10-batches-py/data_batch_1", "cifar-10-python.tar.gz"])
@pytest.mark.parametrize("other", ["train/cat/1.png", "train-000.tar", "train/000.tar"])
def test_a_known_set_is_read_from_a_root_that_has_other_images_beside_it(tmp_path: Path, own: str, other: str) -> None:
    for file in (own, other):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    config = DataConfig(name="cifar10", root=str(tmp_path), download=False)
    assert read_dataset_info(config).train_size == 50_000
    with pytest.raises(UserError, match=r"^data\.name=cifar10: the data set is not there"):  # as the files are empty
        build_data(config, seed=0)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("what", ["pipe", "broken link", "vanished"])
def test_what_is_no_file_any_more_is_named(make_folder: Callable[..., Path], workers: int, what: str) -> None:
    root = make_folder()
    train, _ = folder_splits(config(root))
    path = root / "train/dog/003.png"
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "broken link":
        path.symlink_to("nowhere.png")
    message = "is no regular file: remove it" if what == "pipe" else "there is no such file: put it back"
    with pytest.raises(UserError, match=rf"train/dog/003\.png: {message}"):
        train.load(torch.arange(10))
    source = StreamingSource(train, train.labels, train.classes, workers=workers)
    with pytest.raises(UserError, match=rf"train/dog/003\.png: {message}"):
        list(source.batches(sequential_order(torch.arange(10), 4)))


@pytest.mark.parametrize("slow", [-1.0, 1e9], ids=["threads", "one thread"])
def test_states_are_size_and_times_of_each_file(
    make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, slow: float
) -> None:
    monkeypatch.setattr(file_states, "_LOOKED_UP", 3)
    monkeypatch.setattr(file_states, "_SLOW", slow)
    root = make_folder()
    for number, path in enumerate(sorted((root / "train").rglob("*.png"))):
        os.utime(path, ns=(0, 10**9 * number))
    train, _ = folder_splits(config(root))
    (root / "train/dog/002.png").unlink()
    found = [(root / path).stat() for number, path in enumerate(train.paths or ()) if number != 7]
    assert [each.st_mtime_ns // 10**9 for each in found] == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    expected = [[each.st_size, each.st_mtime_ns, each.st_ctime_ns] for each in found]
    assert train.states().tolist() == [*expected[:7], [-1, -1, -1], *expected[7:]]


def test_a_folder_that_vanishes_while_it_is_streamed_is_named(make_folder: Callable[..., Path]) -> None:
    root = make_folder()
    train, _ = folder_splits(config(root))
    batches = StreamingSource(train, train.labels, train.classes).batches(sequential_order(torch.arange(10), 4))
    next(batches)
    shutil.rmtree(root)
    with pytest.raises(UserError, match=r"train/cat/004\.png: there is no such file: put it back"):
        next(batches)
