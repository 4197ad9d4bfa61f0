"""Built-in data sets: digits of scikit-learn, and CIFAR-10, CIFAR-100, SVHN and MNIST of torchvision."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from iaat.data.data_config import DEFAULT_ROOT, DataConfig
from iaat.data.raw_split import RawSplit, TensorSplit
from iaat.data.stratified import stratified_split
from iaat.errors import UserError

# scikit-learn's digits come without a test set; this draw of one must never change, or results stop comparing.
_DIGITS_SEED = 1797
_DIGITS_TEST = 0.2


@dataclass(frozen=True)
class _Torchvision:
    """How to construct and read one torchvision data set.

    Attributes:
        attribute: Its class in `torchvision.datasets`.
        by_split: Whether the split is chosen by `split="train"` and not by `train=True`.
        files: What the user has to put where, relative to the root, if the download fails.
        unpacked: The folder that torchvision unpacks them into.
    """

    attribute: str
    by_split: bool
    files: tuple[str, ...]
    unpacked: str = ""


_MNIST_FILES = tuple(
    f"MNIST/raw/{part}-ubyte.gz"
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
)
_TORCHVISION = {
    "cifar10": _Torchvision("CIFAR10", False, ("cifar-10-python.tar.gz",), "cifar-10-batches-py"),
    "cifar100": _Torchvision("CIFAR100", False, ("cifar-100-python.tar.gz",), "cifar-100-python"),
    "svhn": _Torchvision("SVHN", True, ("train_32x32.mat", "test_32x32.mat")),
    "mnist": _Torchvision("MNIST", False, _MNIST_FILES, "MNIST/raw"),
}


def digits_splits() -> tuple[TensorSplit, TensorSplit]:
    """scikit-learn's 1,797 grey 8 x 8 digits: `[N, 1, 8, 8]` float32, multiples of 1/16 in [0, 1].

    Returns:
        The training split (80 %) and the test split (20 %), stratified, always the same.
    """
    # Imported here: scikit-learn takes a second to import, and only this data set needs it.
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = torch.from_numpy(digits.images).to(torch.float32)[:, None] / 16
    labels = torch.from_numpy(digits.target).to(torch.int64)
    classes = tuple(map(str, digits.target_names))
    parts = zip(stratified_split(labels, _DIGITS_TEST, _DIGITS_SEED), ("training", "test"), strict=True)
    train, test = (TensorSplit(x[part], labels[part], classes, where=f"digits {name} set") for part, name in parts)
    return train, test


def holds_files_of(name: str, root: str | Path) -> bool:
    """Whether a folder has files of CIFAR-10, CIFAR-100, SVHN or MNIST, packed or unpacked."""
    entry = _TORCHVISION[name]
    unpacked = (entry.unpacked,) if entry.unpacked else ()
    return any((Path(root) / file).exists() for file in (*entry.files, *unpacked))


def torchvision_splits(config: DataConfig) -> tuple[RawSplit, RawSplit]:
    """CIFAR-10, CIFAR-100, SVHN or MNIST, downloaded on first use.

    Of several processes, one should run this before the others: a download is not safe against a second one.

    Args:
        config: Uses `name`, `root` and `download`.

    Returns:
        The training and the test split.

    Raises:
        UserError: The files are missing and cannot be downloaded; names the files and their place.
    """
    root = Path(config.root or DEFAULT_ROOT)
    entry = _TORCHVISION[config.name]
    train, test = (_read(entry, config, root, train=train) for train in (True, False))
    return train, test


def _read(entry: _Torchvision, config: DataConfig, root: Path, *, train: bool) -> TensorSplit:
    # Imported here: torchvision takes a second to import.
    from torchvision import datasets

    choice = {"split": "train" if train else "test"} if entry.by_split else {"train": train}
    make: Callable[..., Any] = getattr(datasets, entry.attribute)
    try:
        dataset = make(str(root), download=config.download, **choice)
    except (OSError, RuntimeError) as error:
        raise UserError(_missing(entry, config, root, error)) from error
    labels = torch.as_tensor(dataset.labels if entry.by_split else dataset.targets).to(torch.int64)
    classes = tuple(dataset.classes) if config.name.startswith("cifar") else tuple(map(str, range(10)))
    return TensorSplit(_channels_first(dataset.data), labels, classes, where=f"{config.name} {_split_name(train)} set")


def _channels_first(data: Tensor | np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
    """`[N, C, H, W]` uint8 of torchvision's arrays: CIFAR has channels last, SVHN first, MNIST none."""
    pixels = torch.from_numpy(np.ascontiguousarray(data)) if isinstance(data, np.ndarray) else data
    if pixels.ndim == 3:
        return pixels[:, None]
    return pixels if pixels.shape[1] == 3 else pixels.permute(0, 3, 1, 2).contiguous()


def _split_name(train: bool) -> str:
    return "training" if train else "test"


def _missing(entry: _Torchvision, config: DataConfig, root: Path, error: Exception) -> str:
    tried = (
        "could not be downloaded"
        if config.download
        else "is not there, and data.download is false, as always where a file names data.root: type --data.download"
        " true"
    )
    files = ", ".join(str(root / file) for file in entry.files)
    return (
        f"data.name={config.name}: the data set {tried} ({error}). Put {files} there yourself and keep"
        " data.download=true, which unpacks what is found; or set data.root to a folder with train/<class>/<image>"
        " and test/<class>/<image>"
    )
