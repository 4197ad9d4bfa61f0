"""Samples that were passed to a function to be evaluated: tensors, data sets, loaders, folders."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from iaat.data.data_config import DataConfig
from iaat.data.folder_listing import FolderListing, aligned
from iaat.data.folder_scan import scan_folder
from iaat.data.given_data import user_split
from iaat.data.image_folder import FolderFiles
from iaat.data.image_root import is_image_folder
from iaat.data.image_split import ImageSplit
from iaat.data.notices import Notices
from iaat.data.raw_split import RawSplit
from iaat.errors import UserError, shown
from iaat.runtime.files import user_path

_WHERE = "data"


def given_split(data: object, config: DataConfig, classes: Sequence[str]) -> RawSplit:
    """Samples as a split.

    Args:
        data: A map-style data set of (x, y), a `DataLoader`, a pair of tensors, or a folder: with a folder for each
            class, or with test/ beside train/.
        config: How images are read.
        classes: Names of the classes, in the order of the logits; none: those of the data.

    Raises:
        UserError: it is none of these, or has other classes.
    """
    if isinstance(data, str | Path):
        return _folder_split(user_path(data), config, classes)
    if isinstance(data, DataLoader) and data.collate_fn is not torch.utils.data.default_collate:
        data = _joined(data)
    return user_split(data, config, where=_WHERE, classes=classes, complete=False)


def _folder_split(folder: Path, config: DataConfig, classes: Sequence[str]) -> ImageSplit:
    if not folder.is_dir():
        raise UserError(f"data {shown(str(folder))} is no folder (seen from {Path.cwd()}): give a folder of images")
    root, name = (folder, "test") if is_image_folder(folder) else (folder.resolve().parent, folder.resolve().name)
    listing = scan_folder(root, name)
    if classes:
        own = FolderListing([], torch.empty(0, dtype=torch.int64), tuple(classes), Notices())
        listing = aligned(own, listing, root, name)
    return ImageSplit(FolderFiles(root, name, listing), listing.classes, config)


def _joined(loader: DataLoader[object]) -> tuple[Tensor, Tensor]:
    """All batches (x, y) of a loader as two tensors."""
    batches: list[Any] = list(loader)
    parts = [[torch.as_tensor(each) for each in batch[:2]] for batch in batches if isinstance(batch, tuple | list)]
    if len(parts) < len(batches) or not all(len(part) == 2 and part[0].ndim > 1 and part[1].ndim for part in parts):
        raise UserError(f"{_WHERE}: the DataLoader does not give batches (x, y): pass tensors or a data set")
    return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])
