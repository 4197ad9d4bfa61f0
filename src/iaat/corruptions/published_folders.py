"""ImageNet-C: image files in folders NAME/SEVERITY/CLASS."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from iaat.corruptions.constants import CORRUPTIONS, SEVERITIES
from iaat.corruptions.published_set import PublishedSet, check_index, usual_order
from iaat.data.image import decode
from iaat.data.image_root import visible
from iaat.data.notices import Notices
from iaat.errors import UserError

_SUFFIXES = (".jpeg", ".jpg", ".png")
Listing = tuple[tuple[str, str], ...]
"""Class and file name of each sample, sorted by class and then by name."""


@dataclass(frozen=True)
class PublishedFolders(PublishedSet):
    """Set of folders; samples by class, then by file name."""

    kind = "imagenet"
    classes: tuple[str, ...]
    places: dict[str, Path]
    _listed: dict[tuple[str, int], Listing] = field(default_factory=dict, repr=False)

    def paths(self, name: str, severity: int) -> list[Path]:
        """Files of one corruption at one severity, in the order of the samples."""
        listing, folder = self._listing(name, severity), self.places[name] / str(severity)
        return [folder / label / file for label, file in listing]

    def images(self, name: str, severity: int, index: Tensor) -> Tensor:
        """Images `[B, 3, H, W]` float32 in [0, 1] of the samples `index` `[B]`."""
        every = self.paths(name, severity)
        paths = [every[row] for row in check_index(index, len(every)).tolist()]
        if not paths:
            return torch.empty(0, 3, 0, 0)
        images = [decode(path) for path in paths]
        for path, image in zip(paths, images, strict=True):
            if image.shape != images[0].shape:
                raise UserError(
                    f"{path} has {_pixels(image)} pixels, {paths[0]} {_pixels(images[0])}: one batch needs one size"
                )
        return torch.stack(images).to(torch.float32) / 255

    def labels(self, name: str, severity: int) -> Tensor:
        """Labels `[N]` int64: the place of each sample's class folder among all, sorted."""
        place = {label: number for number, label in enumerate(self.classes)}
        return torch.tensor([place[label] for label, _ in self._listing(name, severity)])

    def _listing(self, name: str, severity: int) -> Listing:
        self.check_condition(name, severity)
        if (name, severity) not in self._listed:
            found = _list_files(self.places[name] / str(severity), self.classes, self.folder, self.notices)
            self._check_same(found, name, severity)
            self._listed[name, severity] = found
        return self._listed[name, severity]

    def _check_same(self, found: Listing, name: str, severity: int) -> None:
        """Check that all conditions have the same images, so that their errors can be compared."""
        if not self._listed:
            return
        (other, other_severity), known = next(iter(self._listed.items()))
        if found != known:
            odd = "/".join(min(set(found) ^ set(known)))
            raise UserError(
                f"{self.folder}: {name}/{severity} and {other}/{other_severity} do not hold the same"
                f" {len(known)} images; {odd} is in one of them only: unpack both again"
            )


def open_folders(folder: Path) -> PublishedFolders | None:
    """Open the corruptions in a folder, or one level below; None where there are none.

    Raises:
        UserError: a severity other than 1 to 5, severities or classes that differ between corruptions.
    """
    places = _find_names(folder)
    if not places:
        return None
    severities = {name: _severities(place) for name, place in places.items()}
    first = next(iter(places))
    for name, found in severities.items():
        if found != severities[first]:
            raise UserError(
                f"{folder}: {name} has severities {list(found)}, {first} has {list(severities[first])}: all"
                " corruptions need the same; unpack what is missing"
            )
    classes = _same_classes(places, severities[first], folder)
    return PublishedFolders(folder, tuple(places), severities[first], classes, places)


def _find_names(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    outer = visible(folder, files=False)
    for path in [*outer, *(inner for each in outer for inner in visible(each, files=False))]:
        # A folder of any other name may be anything; one with the name of a corruption must be one.
        if path.name in CORRUPTIONS or (path.parent == folder and (path / "1").is_dir()):
            if path.name in found:
                raise UserError(f"{path} and {found[path.name]} hold the same corruption: keep one of them")
            found[path.name] = path
    return {name: found[name] for name in usual_order(found)}


def _severities(place: Path) -> tuple[int, ...]:
    names = [path.name for path in visible(place, files=False)]
    allowed = {str(severity): severity for severity in SEVERITIES}
    odd = [name for name in names if name not in allowed]
    if odd or not names:
        raise UserError(
            f"{place} holds {f'the folder {odd[0]!r}' if odd else 'no folders'}: it must hold folders of severities,"
            " 1 to 5"
        )
    return tuple(sorted(allowed[name] for name in names))


def _same_classes(places: dict[str, Path], severities: tuple[int, ...], folder: Path) -> tuple[str, ...]:
    conditions = [place / str(severity) for place in places.values() for severity in severities]
    classes = tuple(path.name for path in visible(conditions[0], files=False))
    if not classes:
        raise UserError(f"{conditions[0]} holds no folders of classes")
    for condition in conditions[1:]:
        if different := {path.name for path in visible(condition, files=False)} ^ set(classes):
            raise UserError(
                f"{folder}: {condition} and {conditions[0]} differ in the class {min(different)!r}: unpack both again"
            )
    return classes


def _list_files(folder: Path, classes: tuple[str, ...], root: Path, notices: Notices) -> Listing:
    """List the images of one corruption at one severity; counts what is left out."""
    listing: list[tuple[str, str]] = []
    for label in classes:
        with os.scandir(folder / label) as entries:
            files = sorted(each.name for each in entries)
        for file in files:
            if file.startswith("."):
                notices.add(f"corrupted images of {root}", "hidden", str(folder / label / file))
            elif file.lower().endswith(_SUFFIXES):
                listing.append((label, file))
            else:
                suffix = Path(file).suffix.lower() or "no suffix"
                notices.add(f"corrupted images of {root}", "other", str(folder / label / file), detail=suffix)
    if not listing:
        raise UserError(f"{folder} holds no images ({', '.join(_SUFFIXES)})")
    return tuple(listing)


def _pixels(image: Tensor) -> str:
    return f"{image.shape[1]} x {image.shape[2]}"
