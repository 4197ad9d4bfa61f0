"""The gallery of a report and its wall: which images, in which order, with which thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import torch
from numpy.typing import NDArray

from iaat.analysis.radius_order import radius_order
from iaat.data import DataSplits, Source
from iaat.report.image_content import Gallery
from iaat.report.radius_reasons import RadiusReasons
from iaat.report.suspects import Suspects
from iaat.report.thumbnails import source_sprites, why_no_picture
from iaat.report.wall import Wall, pack_wall
from iaat.runtime import rng
from iaat.units import Norm, significant, unit_of


def choose(by_radius: NDArray[np.int64], rank: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Choose the images of a gallery; return their positions, in the order of their radii.

    A quarter each of the smallest radii, the largest, the most suspect, and of all at random.

    Args:
        by_radius: `[n]` positions in the order of their radii, as `radius_order` gives them.
        rank: `[n]` of suspects, 1 for the most suspect.
        count: How many at most.
    """
    if len(by_radius) <= count:
        return by_radius
    quarter = count // 4
    orders = [by_radius[:quarter], by_radius[::-1][:quarter], np.argsort(rank)[:quarter]]
    wanted = np.concatenate([*orders, rng.permutation(len(by_radius), seed=0, epoch=0).numpy()])
    _, first = np.unique(wanted, return_index=True)
    chosen = wanted[np.sort(first)][:count]
    return by_radius[np.isin(by_radius, chosen)]


def make_gallery(
    number: int,
    train: Source,
    index: NDArray[np.int64],
    history: NDArray[np.float32],
    suspects: Suspects,
    images: int,
    asked: NDArray[np.int64],
    norm: Norm,
) -> Gallery:
    """Return the gallery of at most `images` images and those `asked` for, without thumbnails and details.

    `norm` is that of the radii.
    """
    by_radius = radius_order(history, index)
    chosen = np.union1d(choose(by_radius, suspects.rank, images), asked).astype(np.int64)
    chosen = by_radius[np.isin(by_radius, chosen)]
    samples = index[chosen]
    of_all = len(chosen) == len(index)
    return Gallery(
        run=number,
        total=len(index),
        chosen="all images trained on"
        if of_all
        else "a quarter each: the smallest radii, the largest, the most suspect, and any",
        pictured=0,
        index=samples.tolist(),
        label=suspects.label[chosen].tolist(),
        prediction=_predicted(suspects)[chosen].tolist(),
        radius=in_unit(history[-1, chosen], norm),
        path=["" if train.paths is None else train.paths[sample] for sample in samples],
        rank=suspects.rank[chosen].tolist(),
        kind=["" if kind == "clear" else str(kind) for kind in suspects.kind[chosen]],
        suggested=suspects.suggested[chosen].tolist(),
        notes=suspects.notes(),
        no_pictures=why_no_picture(train.shape),
    )


def first_extra(data: DataSplits) -> int | None:
    """Return the index of the first extra image that is trained on; None where there are none."""
    return int(data.extra_index[0]) if len(data.extra_index) else None


def with_sheets(gallery: Gallery, near: NDArray[np.int64], train: Source) -> Gallery:
    """Add thumbnails of the gallery's images, then of samples `near`."""
    packed = source_sprites(train, torch.from_numpy(np.concatenate([gallery.index, near]).astype(np.int64)))
    return replace(
        gallery,
        pictured=len(gallery.index) + len(near) if packed.sheets else 0,
        **asdict(packed),
    )


def neighbours_elsewhere(gallery: Gallery, index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the neighbours of images in detail that have radii and are not in the gallery, in ascending order."""
    sides = [detail[side] for detail in gallery.details.values() for side in ("near_own", "near_confused")]
    found = np.array([each["index"] for side in sides for each in side], dtype=np.int64)
    return np.setdiff1d(np.intersect1d(found, index), gallery.index)


def make_wall(
    gallery: Gallery,
    near: NDArray[np.int64],
    epochs: Sequence[int],
    history: NDArray[np.float32],
    suspects: Suspects,
    reasons: RadiusReasons | None,
    norm: Norm,
) -> Wall:
    """Pack all images: those of the gallery first, then samples `near`; `norm` is that of the radii."""
    index = suspects.index
    places = np.searchsorted(index, np.concatenate([gallery.index, near]).astype(np.int64))
    order = np.concatenate([places, np.setdiff1d(np.arange(len(index)), places)])
    columns = (index, suspects.label, _predicted(suspects), suspects.kind)
    return pack_wall(
        gallery.run,
        epochs,
        history[:, order],
        *(column[order] for column in columns),
        reasons=None if reasons is None else reasons.in_order(order),
        norm=norm,
    )


def in_detail(gallery: Gallery, count: int, asked: Sequence[int] = ()) -> list[int]:
    """Return the positions of images that get details: those asked for, and up to `count` others.

    The others are the suspects first, the most suspect of them first, then images from both ends of the radii.

    Args:
        gallery: The images.
        count: Of the others.
        asked: Positions in the training data.
    """
    wanted = [gallery.index.index(number) for number in asked]
    places = range(len(gallery.index))
    suspects = [place for place in by_suspicion(gallery) if gallery.kind[place]]
    ends = [place for pair in zip(places, reversed(places), strict=True) for place in pair]
    others = [place for place in dict.fromkeys([*suspects, *ends]) if place not in set(wanted)]
    return [*dict.fromkeys(wanted), *others[:count]]


def by_suspicion(gallery: Gallery) -> list[int]:
    """Return the places of all images, the most suspect first."""
    return sorted(range(len(gallery.index)), key=gallery.rank.__getitem__)


def _predicted(suspects: Suspects) -> NDArray[np.int64]:
    return np.where(suspects.suggested < 0, suspects.label, suspects.suggested)


def in_unit(values: NDArray[np.float32], norm: Norm) -> list[float]:
    """Return radii on the [0, 1] scale in the unit of their norm, to five significant digits."""
    return [significant(unit_of(norm).scale * float(value)) for value in values]
