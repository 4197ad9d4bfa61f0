"""Nearest training samples of a sample, class by class."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from iaat.data import Source, sequential_order
from iaat.report.representation import on_model_device, represent
from iaat.runtime import rng


class Nearest(NamedTuple):
    """Nearest samples of one class for each of N: distances `[N, k]` ascending, inf for none, and indices `[N, k]`."""

    distance: Tensor
    places: Tensor

    def row(self, number: int) -> list[tuple[int, float]]:
        """Return index and distance of the neighbours of one sample."""
        pairs = zip(self.places[number].tolist(), self.distance[number].tolist(), strict=True)
        return [(place, distance) for place, distance in pairs if math.isfinite(distance)]


def nearest(
    model: nn.Module,
    head: nn.Module | None,
    features: Tensor,
    wanted: tuple[Tensor, Tensor],
    train: Source,
    pool: Tensor,
    *,
    alike: Tensor,
    count: int,
    batch_size: int,
) -> tuple[Nearest, Nearest]:
    """Find the nearest training samples of two classes for each of N samples.

    Args:
        model: The model.
        head: Its inputs are the representation; None: inputs of the model are compared.
        features: Representations `[N, D]` of the samples.
        wanted: Two classes for each sample, `[N]` each.
        train: Training data.
        pool: `[P]` int64, the training samples to search.
        alike: `[N]` int64, a training sample that is left out of each sample's own; -1 for none.
        count: Neighbours of each class.
        batch_size: Samples of the pool at once.
    """
    device = features.device
    alike = alike.to(device)
    shape = (len(features), count)
    nothing = Nearest(torch.full(shape, torch.inf, device=device), torch.full(shape, -1, device=device))
    sides = [nothing, nothing]
    for batch in train.batches(sequential_order(pool, batch_size)):
        x, y = on_model_device(batch, model)
        place = batch.index.to(device)
        _, theirs = represent(model, x, head)
        # By differences: |a|^2 + |b|^2 - 2ab gives near duplicates a distance of rounding errors.
        far = torch.cdist(features, theirs, compute_mode="donot_use_mm_for_euclid_dist")
        far = far.nan_to_num(nan=torch.inf).masked_fill(alike[:, None] == place, torch.inf)
        for number, classes in enumerate(wanted):
            found = far.masked_fill(classes[:, None] != y, torch.inf)
            sides[number] = _closer(sides[number], found, place.expand_as(found))
    return sides[0], sides[1]


def _closer(held: Nearest, distance: Tensor, place: Tensor) -> Nearest:
    """Return the nearest of those held and of `[N, b]` more; of equally near ones those held, then the first."""
    distance, place = torch.cat([held.distance, distance], dim=1), torch.cat([held.places, place], dim=1)
    kept = distance.argsort(dim=1, stable=True)[:, : held.distance.shape[1]]
    return Nearest(distance.gather(1, kept), place.gather(1, kept))


def neighbour_pool(labels: Tensor, among: Tensor, classes: Tensor, most: int, least: int, seed: int) -> Tensor:
    """Draw the training samples that may be neighbours: of each class as many, at random, in ascending order.

    Args:
        labels: `[N]`, of all training samples.
        among: `[M]`, samples to draw from.
        classes: Classes needed, each any number of times.
        most: Samples in all.
        least: Of each class, even where that makes more in all.
        seed: Of the draw.
    """
    among = among.to("cpu", torch.int64)
    drawn = among[rng.permutation(len(among), rng.derive_seed(seed, "neighbours"), 0)]
    needed = sorted(set(classes.tolist()))
    each = max(least, most // max(1, len(needed)))
    parts = [drawn[labels[drawn] == number][:each] for number in needed]
    return torch.cat(parts).sort().values if parts else drawn[:0]
