"""CIFAR-10-C and CIFAR-100-C: one array of uint8 images a corruption, and one of labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from iaat.corruptions.cifar_classes import CIFAR10, CIFAR100
from iaat.corruptions.constants import SEVERITIES
from iaat.corruptions.published_set import PublishedSet, check_index, usual_order
from iaat.data.image_root import visible
from iaat.errors import UserError
from iaat.runtime.text import cut

_LABELS = "labels.npy"


@dataclass(frozen=True)
class PublishedArrays(PublishedSet):
    """Set of arrays, every one of all severities; samples in the order of CIFAR's test set."""

    kind = "cifar"
    arrays: dict[str, NDArray[np.uint8]]
    all_labels: Tensor

    def images(self, name: str, severity: int, index: Tensor) -> Tensor:
        """Images `[B, C, H, W]` float32 in [0, 1] of the samples `index` `[B]`."""
        size = self.size(name, severity)
        rows = check_index(index, size).numpy() + (severity - 1) * size
        levels = np.ascontiguousarray(self.arrays[name][rows])
        return torch.from_numpy(levels).permute(0, 3, 1, 2).to(torch.float32).contiguous() / 255

    def labels(self, name: str, severity: int) -> Tensor:
        """Labels `[N]` int64 of `labels.npy`."""
        self.check_condition(name, severity)
        size = len(self.all_labels) // len(SEVERITIES)
        return self.all_labels[(severity - 1) * size : severity * size].clone()


def arrays_in(folder: Path) -> list[Path]:
    """The `.npy` files in a folder, without hidden ones and what a system has put there, such as `._fog.npy`."""
    return [path for path in visible(folder, files=True) if path.suffix == ".npy"]


def open_arrays(folder: Path) -> PublishedArrays:
    """Open all arrays of a folder without reading their images.

    Raises:
        UserError: a file does not fit; names it and says what was expected.
    """
    labels = _read_labels(folder / _LABELS)
    files = [path for path in arrays_in(folder) if path.name != _LABELS]
    if not files:
        raise UserError(f"{folder} holds {_LABELS} and no images: put the NAME.npy of CIFAR-C beside it")
    names = usual_order(path.stem for path in files)
    arrays = {name: _open_images(folder / f"{name}.npy", len(labels)) for name in names}
    shapes = {array.shape[1:] for array in arrays.values()}
    if len(shapes) > 1:
        raise UserError(f"{folder}: the files hold images of different shapes, {sorted(shapes)}: keep one set a folder")
    return PublishedArrays(folder, names, SEVERITIES, _classes(labels), arrays, labels)


def _classes(labels: Tensor) -> tuple[str, ...] | None:
    count = int(labels.max()) + 1
    return {len(CIFAR10): CIFAR10, len(CIFAR100): CIFAR100}.get(count)


def _load(path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # the parser of a damaged header gives up in any way, as if memory had run out, too
        reason = cut(str(error), 200) or type(error).__name__
        raise UserError(
            f"{path} is no plain .npy array ({reason}): files that hold Python objects are refused, because reading"
            " them could run code; download the file again"
        ) from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise UserError(f"{path} is an archive of arrays, not one .npy array: download the file again")
    return array


def _read_labels(path: Path) -> Tensor:
    if not path.is_file():
        raise UserError(f"{path} is missing: the labels of CIFAR-C are in it; copy it beside the images")
    labels = _load(path)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        raise UserError(f"{path} has shape {list(labels.shape)} and type {labels.dtype}: labels are integers [5 * N]")
    if len(labels) % len(SEVERITIES):
        raise UserError(f"{path} holds {len(labels)} labels, which is no multiple of 5 severities: download it again")
    if labels.min() < 0:
        raise UserError(f"{path} holds negative labels: download it again")
    return torch.from_numpy(labels.astype(np.int64))


def _open_images(path: Path, count: int) -> NDArray[np.uint8]:
    array = _load(path)
    if array.dtype != np.uint8:
        raise UserError(f"{path} has type {array.dtype}: images of CIFAR-C are uint8 [5 * N, H, W, 3]")
    if array.ndim != 4 or array.shape[3] not in (1, 3):
        raise UserError(f"{path} has shape {list(array.shape)}: images of CIFAR-C are uint8 [5 * N, H, W, 3]")
    if len(array) % len(SEVERITIES):
        raise UserError(f"{path} holds {len(array)} images, which is no multiple of 5 severities: download it again")
    if len(array) != count:
        raise UserError(f"{path} holds {len(array)} images, {_LABELS} {count} labels: the files are not of one set")
    return array
