"""Records of the images on a page: gallery, neighbours, attacked test images, loss surfaces. See `report_content`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from iaat.report.thumbnails import Sprites
from iaat.units import Norm


@dataclass(frozen=True, slots=True)
class Neighbours(Sprites):
    """Nearest training images of both classes for images of a gallery, with thumbnails of their own.

    Attributes:
        of: Places in the gallery.
        own: For each, its neighbours of its label, the nearest first, by their places in `index`.
        other: Likewise those of the class it may be instead.
        index: Of the neighbours in the training data, each once.
    """

    of: list[int]
    own: list[list[int]]
    other: list[list[int]]
    index: list[int]


@dataclass(frozen=True, slots=True)
class Gallery(Sprites):
    """Images of one run with radii; all lists have one entry an image.

    Attributes:
        run: Place of the run.
        total: Trained samples, of which these are some.
        chosen: How they were chosen, for people.
        pictured: Images on the sheets: those of the gallery, and after them neighbours of images in detail, which are
            the next ones of `Wall`.
        index: Of the samples in the training data.
        label, prediction: Class numbers; a prediction is -1 where it is not known.
        radius: Last radii, in ascending `radius_order`; those of all epochs are in `Wall`.
        path: Files of the images, "" where samples are none.
        rank: Of the suspect it is among `total`, 1 for the most suspect; see `find_suspects`.
        kind: `label`, `ambiguous`, or "" for neither.
        suggested: The class it may be instead.
        notes: Sentences on what is called a label error and what is withheld, see `Suspects.notes`.
        neighbours: Of the images that are most suspected of a label error; None where there are none.
        details: By the place of an image in these lists, as text: what its view shows more, see `drawn_detail`.
        no_pictures: Why there are no thumbnails.
        compute: Command that computes the details of the image `{index}`; "" for none.
        compute_more: What to give that command for more details.
        extra_from: First index of the extra images, which `data.relabel` has no rows for; None where there are none.
        relabel: File of corrected labels that the run was trained on, as commands take it; "" for none.
    """

    run: int
    total: int
    chosen: str
    pictured: int
    index: list[int]
    label: list[int]
    prediction: list[int]
    radius: list[float]
    path: list[str]
    rank: list[int]
    kind: list[str]
    suggested: list[int]
    notes: list[str] = field(default_factory=list)
    neighbours: Neighbours | None = None
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    no_pictures: str | None = None
    compute: str = ""
    compute_more: str = ""
    extra_from: int | None = None
    relabel: str = ""


@dataclass(frozen=True, slots=True)
class AttackedImages(Sprites):
    """Test images that one evaluation misclassified; all lists have one entry an image.

    Attributes:
        run: Place of the run.
        checkpoint: Its checkpoint.
        chosen: How they were chosen, for people.
        left_out: By class, how many misclassified test samples are not among them.
        index: In the test data.
        label: Class numbers.
        clean: Predicted without attack.
        adversarial: Predicted under the attack, -1 if not known; that without attack where none was needed.
        attack: The attack that succeeded; `clean` where none was needed.
        norm: Norm of the perturbation, with its unit; "" where none was needed.
        no_pictures: Why there are no thumbnails.
    """

    run: int
    checkpoint: str
    chosen: str
    left_out: list[int]
    index: list[int]
    label: list[int]
    clean: list[int]
    adversarial: list[int]
    attack: list[str]
    norm: list[str]
    no_pictures: str | None = None


@dataclass(frozen=True, slots=True)
class SurfacePart:
    """Loss surfaces around one image, one a run.

    Attributes:
        index: Of the sample.
        label: Its class.
        image: The image as a data URI; None where it is none.
        offsets: Of the grid along both directions.
        losses: By run, by place as text: cross-entropy `[n][n]`, first along the random direction, then the gradient's.
        predictions: By run: predicted class at each point.
        radius: Radius that the window is a multiple of.
        norm: Of the offsets and the radius.
    """

    index: int
    label: int
    image: str | None
    offsets: list[float]
    losses: dict[str, list[list[float]]]
    predictions: dict[str, list[list[int]]]
    radius: float
    norm: Norm = "linf"
