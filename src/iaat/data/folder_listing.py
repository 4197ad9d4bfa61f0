"""The images of a split by path and class, as a scan has found them."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from iaat.data.image_root import where_of
from iaat.data.notices import Notices
from iaat.errors import UserError, did_you_mean
from iaat.runtime.text import composed


class FolderListing(NamedTuple):
    """List of the images of one split.

    Attributes:
        paths: Paths relative to the root, POSIX form, sorted by class and then by path; a sample's index is its place.
        labels: `[N]` int64, the place of each sample's class in `classes`.
        classes: Names of the class folders, sorted.
        notices: What was left out.
    """

    paths: list[str]
    labels: Tensor
    classes: tuple[str, ...]
    notices: Notices


def aligned(train: FolderListing, other: FolderListing, root: str | Path, split: str = "test") -> FolderListing:
    """Listing of another split with the class numbers and names of the training split.

    Names are matched by what they show: systems write `é` in two Unicode forms. The samples are sorted by class again.

    Raises:
        UserError: Classes differ; names them and the side each is missing on.
    """
    mine, theirs = ({composed(name): name for name in listing.classes} for listing in (train, other))
    for here, there, side in ((mine, theirs, split), (theirs, mine, "train")):
        missing = sorted(here.keys() - there.keys())
        if missing:
            hint = did_you_mean(missing[0], there.keys() - here.keys())
            raise UserError(
                f"data.root: {root}: the {side} folder has no class {', '.join(map(repr, missing[:10]))},"
                f" which the other has: give both the same class folders{hint}"
            )
    place = {composed(name): number for number, name in enumerate(train.classes)}
    renamed = [name for key, name in theirs.items() if name != mine[key]]
    other.notices.add(where_of(split, root), "unicode", repr(next(iter(renamed), "")), count=len(renamed))
    labels = torch.tensor([place[composed(name)] for name in other.classes])[other.labels]
    order = labels.argsort(stable=True)
    return FolderListing([other.paths[row] for row in order.tolist()], labels[order], train.classes, other.notices)


def joined(train: FolderListing, validation: FolderListing) -> FolderListing:
    """Listing of the samples of `train`, followed by those of an aligned `validation`."""
    labels = torch.cat([train.labels, validation.labels])
    return FolderListing(train.paths + validation.paths, labels, train.classes, train.notices | validation.notices)
