"""Records of `sample_details`: its settings, and one sample in detail with attacks and neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from iaat.errors import UserError
from iaat.report.thumbnails import Picture
from iaat.units import PIXEL, Norm, check_radius

Space = Literal["penultimate", "input"]
"""Where distances between samples are taken: between inputs of the last linear layer, or of the model."""


@dataclass(frozen=True, slots=True)
class DetailSettings:
    """Settings of `sample_details`.

    Attributes:
        radius: Of the evaluation, on the [0, 1] scale.
        norm: `linf` or `l2`.
        steps: Of every PGD.
        sweep: Radii of the frames, in radii of the evaluation; 0, the evaluation's and the sample's own come to them.
        growth: Radii of the targeted attacks, in radii of the evaluation.
        reach: Largest radius of the search for the smallest adversarial norm, in radii of the evaluation.
        levels: Evenly spaced radii of that search.
        top: Most likely classes that are named.
        neighbours: Near training samples of each of the two classes.
        pool: Training samples that may be neighbours, at most; but at least `neighbours` of each class needed.
        batch_size: Samples that are worked on at once.
        seed: Of the random starts and of the pool.
    """

    radius: float = 8 * PIXEL
    norm: Norm = "linf"
    steps: int = 20
    sweep: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    growth: tuple[float, ...] = (1.0, 2.0, 4.0)
    reach: float = 4.0
    levels: int = 127
    top: int = 5
    neighbours: int = 4
    pool: int = 5000
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        check_radius(self.radius, self.norm, name="radius")
        radii = [("radius", self.radius), ("reach", self.reach), *(("growth", each) for each in self.growth)]
        radii += [("sweep", each) for each in self.sweep]
        for name, value in radii:
            if not 0 < value < math.inf:
                raise UserError(f"{name} = {value:g}: must be above 0 and finite")
        for name in ("steps", "levels", "top", "neighbours", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)}: must be at least 1")


@dataclass(frozen=True, slots=True)
class Reading:
    """Predicted classes of one input with their probabilities.

    Attributes:
        prediction: The likeliest class.
        classes: The likeliest classes, first the likeliest; of equal ones the first.
        probabilities: Theirs.
        label: Probability of the sample's label.
        confused: Probability of the class it is confused with.
    """

    prediction: int
    classes: tuple[int, ...]
    probabilities: tuple[float, ...]
    label: float
    confused: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attack on one sample, with lengths in the unit of its norm; one of radius 0 leaves it as it is.

    Attributes:
        target: The class of a targeted attack; None: away from the label.
        radius: Radius of the attack.
        size: Norm of its perturbation.
        succeeded: Whether the prediction is the target, or is not the label.
        reading: Of the attacked input in float32, which its picture is rounded from.
        image: The attacked input, bytes `[C, H, W]`; None where inputs are no images.
        perturbation: What was added, around mid-grey; see `perturbation_picture`. None where inputs are no images.
        factor: By how much the perturbation is amplified in its picture.
    """

    target: int | None
    radius: float
    size: float
    succeeded: bool
    reading: Reading
    image: Picture | None
    perturbation: Picture | None
    factor: float


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A training sample near another sample.

    Attributes:
        index: Its position in the training data.
        label: Its class.
        distance: Euclidean, in the space of the detail.
        image: Bytes `[C, H, W]`; None where inputs are no images.
    """

    index: int
    label: int
    distance: float
    image: Picture | None


@dataclass(frozen=True, slots=True)
class SampleDetail:
    """One sample in detail; radii and norms are in the unit of `norm`: px in L-inf, in L2 as they are.

    Attributes:
        index: Its position in its data set.
        label: Its class.
        confused: The likeliest class that is not the label: what it is confused with, if it is.
        frames: PGD at growing radii, from 0, which is the clean input.
        own_at: Place of the frame at the sample's own radius; None where it has none.
        uniform_at: Place of the frame at the radius of the evaluation.
        smallest: Smallest adversarial norm found, an upper bound of the true one; 0 where the clean
            input is misclassified, None where none was found.
        searched: Largest radius of the search.
        strip: PGD towards the class it is confused with, at growing radii.
        space: Where distances to neighbours are taken.
        near_own: Nearest training samples of the label, the nearest first.
        near_confused: Nearest training samples of the class it is confused with.
        norm: Of all attacks, `linf` or `l2`.
    """

    index: int
    label: int
    confused: int
    frames: tuple[Attempt, ...]
    own_at: int | None
    uniform_at: int
    smallest: float | None
    searched: float
    strip: tuple[Attempt, ...]
    space: Space
    near_own: tuple[Neighbour, ...]
    near_confused: tuple[Neighbour, ...]
    norm: Norm = "linf"

    @property
    def clean(self) -> Reading:
        """The model's reading of the clean input."""
        return self.frames[0].reading

    @property
    def image(self) -> Picture | None:
        """The clean input, bytes `[C, H, W]`; None where inputs are no images."""
        return self.frames[0].image

    @property
    def own(self) -> Attempt | None:
        """PGD at the sample's own radius; None where it has none."""
        return None if self.own_at is None else self.frames[self.own_at]

    @property
    def uniform(self) -> Attempt:
        """PGD at the radius of the evaluation."""
        return self.frames[self.uniform_at]
