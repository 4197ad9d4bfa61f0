"""Digits, and torchvision's data sets from files written here: never the network."""

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torchvision import datasets

from iaat.data import DataConfig
from iaat.data.builtin_datasets import digits_splits, torchvision_splits
from iaat.data.read_splits import read_splits
from iaat.errors import UserError


def test_digits_are_split_once_and_for_all() -> None:
    train, test = digits_splits()
    assert (len(train), len(test)) == (1438, 359)
    x = torch.cat([split.load(torch.arange(len(split))) for split in (train, test)])
    assert x.shape == (1797, 1, 8, 8)
    assert x.dtype == torch.float32
    assert x.unique().tolist() == [i / 16 for i in range(17)]
    ours = torch.cat([x.flatten(1) * 16, torch.cat([train.labels, test.labels])[:, None]], dim=1)
    digits = load_digits()
    theirs = np.column_stack([digits.data, digits.target])
    assert sorted(ours.tolist()) == sorted(theirs.tolist())
    assert torch.bincount(test.labels).min() >= 34
    # Results compare only as long as this split stays: the literal pins it.
    assert hashlib.sha256(test.load(torch.arange(359)).numpy().tobytes()).hexdigest()[:16] == "786c150c1a284f60"


def write_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Writes the files of CIFAR-10 with two images each; the returned training images are channels last."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    checksums = {}
    contents: dict[str, Any] = {"batches.meta": {"label_names": [f"class{i}" for i in range(10)]}}
    for number, name in enumerate(("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5")):
        rows = pixels[2 * number : 2 * number + 2].transpose(0, 3, 1, 2).reshape(2, -1)
        contents[name] = {"data": rows, "labels": [2 * number, 2 * number + 1]}
    contents["test_batch"] = {"data": pixels[10:].transpose(0, 3, 1, 2).reshape(2, -1), "labels": [3, 4]}
    for name, content in contents.items():
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        checksums[name] = hashlib.md5(data).hexdigest()
    cifar = datasets.CIFAR10
    monkeypatch.setattr(cifar, "train_list", [[name, checksums[name]] for name, _ in cifar.train_list])
    monkeypatch.setattr(cifar, "test_list", [["test_batch", checksums["test_batch"]]])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": checksums["batches.meta"]})
    return pixels


@pytest.mark.parametrize("download", [True, False])
def test_cifar10_is_read_from_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, download: bool) -> None:
    pixels = write_cifar10(tmp_path, monkeypatch)
    train, test = torchvision_splits(DataConfig(name="cifar10", root=str(tmp_path), download=download))
    assert np.array_equal(train.load(torch.arange(10)).permute(0, 2, 3, 1).numpy(), pixels[:10])
    assert np.array_equal(test.load(torch.arange(2)).permute(0, 2, 3, 1).numpy(), pixels[10:])
    assert train.labels.tolist() == list(range(10))
    assert test.labels.tolist() == [3, 4]
    assert train.classes == tuple(f"class{i}" for i in range(10))
    assert (train.sample_bytes, train.resident, train.paths) == (3072, True, None)


class FakeDataset:
    """Stands for a torchvision class: remembers its calls, holds ten samples in the layout of the real one."""

    calls: ClassVar[list[dict[str, Any]]] = []
    data: Any

    def __init__(self, root: str, **settings: Any) -> None:
        self.calls.append({"root": root, **settings})
        self.targets = list(range(10))
        self.labels = np.arange(10)
        self.classes = [f"{i} - name" for i in range(10)]


@pytest.mark.parametrize(
    ("name", "attribute", "data", "shape"),
    [
        ("cifar100", "CIFAR100", np.zeros((10, 32, 32, 3), dtype=np.uint8), (3, 32, 32)),
        ("svhn", "SVHN", np.zeros((10, 3, 32, 32), dtype=np.uint8), (3, 32, 32)),
        ("mnist", "MNIST", torch.zeros(10, 28, 28, dtype=torch.uint8), (1, 28, 28)),
    ],
)
def test_other_sets_are_called_and_read_as_they_are_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, attribute: str, data: Any, shape: tuple[int, ...]
) -> None:
    data[3] = 7
    monkeypatch.setattr(FakeDataset, "data", data, raising=False)
    monkeypatch.setattr(FakeDataset, "calls", [])
    monkeypatch.setattr(datasets, attribute, FakeDataset)
    train, test = torchvision_splits(DataConfig(name=name, root=str(tmp_path), download=False))
    x = train.load(torch.arange(10))
    assert x.dtype == torch.uint8
    assert x.shape == (10, *shape)
    assert x.flatten(1).float().mean(1).tolist() == [7.0 if i == 3 else 0.0 for i in range(10)]
    assert train.labels.tolist() == test.labels.tolist() == list(range(10))
    assert len(train.classes) == 10
    choices = [{"split": "train"}, {"split": "test"}] if name == "svhn" else [{"train": True}, {"train": False}]
    assert FakeDataset.calls == [{"root": str(tmp_path), "download": False, **choice} for choice in choices]


def test_default_root_is_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(FakeDataset, "data", torch.zeros(10, 28, 28, dtype=torch.uint8), raising=False)
    monkeypatch.setattr(FakeDataset, "calls", [])
    monkeypatch.setattr(datasets, "MNIST", FakeDataset)
    torchvision_splits(DataConfig(name="mnist"))
    assert FakeDataset.calls[0] == {"root": "data", "download": True, "train": True}


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("cifar10", "cifar-10-python.tar.gz"),
        ("cifar100", "cifar-100-python.tar.gz"),
        ("svhn", "train_32x32.mat"),
        ("mnist", "MNIST/raw/t10k-labels-idx1-ubyte.gz"),
    ],
)
def test_failed_download_says_which_files_to_put_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, file: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    for attribute in ("CIFAR10", "CIFAR100", "SVHN", "MNIST"):
        monkeypatch.setattr(getattr(datasets, attribute), "download", fail)
    message = rf"data\.name={name}: .*could not be downloaded \(no route to host\)\. Put .*{tmp_path}/.*{file}"
    with pytest.raises(UserError, match=rf"{message}.*data\.root to a folder with train/<class>"):
        torchvision_splits(DataConfig(name=name, root=str(tmp_path)))
    with pytest.raises(UserError, match=rf"data\.name={name}: the data set is not there, and data\.download is false"):
        torchvision_splits(DataConfig(name=name, root=str(tmp_path), download=False))


@pytest.mark.parametrize("name", ["cifar10", "mnist", "digits"])
def test_root_with_class_folders_is_read_as_an_image_folder(name: str, make_folder: Callable[..., Path]) -> None:
    train, test = read_splits(DataConfig(name=name, root=str(make_folder(per_class=2))))
    assert train.classes == ("cat", "dog")
    assert train.paths == [f"train/{name}/00{number}.png" for name in ("cat", "dog") for number in (0, 1)]
    assert test.load(torch.tensor([2]))[0, 0, 0, 0] == 12
