"""Find a published corrupted test set in a folder: the files of CIFAR-C or the folders of ImageNet-C."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from iaat.corruptions.published_arrays import arrays_in, open_arrays
from iaat.corruptions.published_folders import open_folders
from iaat.corruptions.published_set import PublishedSet
from iaat.errors import UserError, did_you_mean
from iaat.runtime.text import composed, first_few

_LAYOUTS = "CIFAR-C is NAME.npy and labels.npy, ImageNet-C is NAME/SEVERITY/CLASS/*.JPEG"


def find_published(folder: Path) -> PublishedSet:
    """Open the published set in a folder; reads headers and names, no images.

    Args:
        folder: Of CIFAR-10-C or CIFAR-100-C, with `NAME.npy` (uint8 `[5 * N, H, W, 3]`, severities one after another)
            and `labels.npy`; or of ImageNet-C, with `NAME/SEVERITY/CLASS/*.JPEG`, possibly inside folders such as
            `noise`.

    Raises:
        UserError: neither format, or a file or folder that does not fit; names it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder (seen from {Path.cwd()}): {_LAYOUTS}")
    if arrays_in(folder):
        return open_arrays(folder)
    found = open_folders(folder)
    if found is None:
        raise UserError(f"{folder} holds no published corrupted images: {_LAYOUTS}")
    return found


def label_map(published: PublishedSet, classes: Sequence[str]) -> Tensor:
    """Map from the classes of a published set to those of the training data.

    Classes are matched by name, in any Unicode form, so another order of the same classes is fine.

    Args:
        published: The set.
        classes: Names of the classes of the data, in the order of its labels.

    Returns:
        `[K]` int64: `label_map(...)[published.labels(...)]` are labels in the numbering of the data.

    Raises:
        UserError: the names differ, or a set without names has more classes than the data.
    """
    place = {composed(name): number for number, name in enumerate(classes)}
    if published.classes is None:
        largest = max(int(published.labels(name, published.severities[0]).max()) for name in published.names)
        if largest >= len(classes):
            raise UserError(f"{published.folder} has labels up to {largest}, the data only {len(classes)} classes")
        return torch.arange(len(classes))
    theirs = {composed(name) for name in published.classes}
    missing = [name for name in published.classes if composed(name) not in place]
    other = [name for name in classes if composed(name) not in theirs]
    if missing or other:
        differ = "; ".join(filter(None, (_only("there", missing), _only("in the data", other))))
        hint = did_you_mean((missing or other)[0], other or missing)
        raise UserError(
            f"the classes of {published.folder} are not those of the data: {differ}{hint}; use a model trained on the "
            "same classes, or rename the class folders"
        )
    return torch.tensor([place[composed(name)] for name in published.classes])


def _only(where: str, names: Sequence[str]) -> str:
    return f"only {where} {first_few([repr(name) for name in names], 5)}" if names else ""
