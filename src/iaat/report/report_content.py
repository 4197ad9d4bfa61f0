"""Records of a report's content: `collect` makes them, `page` and `paper_figures` show them.

All values are numbers, text and data URIs of pictures, so JSON holds all. Text is as users wrote it, and is escaped
where it is shown. Radii and norms are in the unit of their norm (`iaat.units.unit_of`): px (1/255) in L-inf, and as
they are, on the [0, 1] scale, in L2. Accuracies are fractions in [0, 1], classes are numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from iaat.corruptions import SEVERITIES
from iaat.report.image_content import Gallery, SurfacePart
from iaat.report.result_content import EvaluationRow, Opening, Pooled, RecipePart, UnderAttack
from iaat.report.run_figures import Series
from iaat.report.wall import Wall
from iaat.units import Norm


@dataclass(frozen=True, slots=True)
class RunPart:
    """One run.

    Attributes:
        name: Of its recipe, with the seed: `cifar10-small-iaat seed 0`; unlike those of the others.
        folder: Its path for commands: relative where it is below the folder in which the report was made, else its
            last part.
        method: Its method.
        seed: Its seed.
        epochs: Finished epochs.
        hardware: What it was trained on and with, by name.
        forwards, backwards: Passes a sample and step, mean over epochs; None where the log has no such value.
        seconds: Wall time of training; None likewise.
        curves: Series over all finished epochs by the names of `metrics.jsonl`, such as `loss`, `validation_clean`,
            `radius_mean`, without the `_px` of that file; None for an epoch without a line in the log.
        quantiles: Of the radii over epochs by level: `5`, `25`, `50`, `75`, `95`; empty without radii.
        modules: Modules of the user's that it needs and that were trusted, for commands.
        norm: Norm of its radii, `linf` or `l2`: of its curves and quantiles here, its `Radii`, gallery and wall.
        of_objects: Whether its model or data was passed as an object, so that no command of the shell can make it.
        given_radii: Whether a table gives each sample its radius, `method.radii`.
        softens_by_radius: Whether its labels are softened by the radius, `method.soft_by_radius`.
        weighs_classes: Whether its loss weighs classes, `method.class_weights`.
        evaluated_at: Radius and norm that its recipe is evaluated at, where its method has no radius.
    """

    name: str
    folder: str
    method: str
    seed: int
    epochs: int
    hardware: dict[str, str]
    forwards: float | None
    backwards: float | None
    seconds: float | None
    curves: dict[str, Series]
    quantiles: dict[str, Series] = field(default_factory=dict)
    modules: list[str] = field(default_factory=list)
    of_objects: bool = False
    norm: Norm = "linf"
    given_radii: bool = False
    softens_by_radius: bool = False
    weighs_classes: bool = False
    evaluated_at: tuple[str, Norm] | None = None


@dataclass(frozen=True, slots=True)
class Accuracies:
    """Accuracy of an evaluated run against the radius.

    Attributes:
        run, checkpoint, weights, suite, n: As of `EvaluationRow`.
        radius: Radii from 0 upwards.
        accuracy: Accuracy at each.
        expected: Expected robustness, the mean of the curve.
        norm: Of the radii.
    """

    run: int
    checkpoint: str
    radius: list[float]
    accuracy: list[float]
    expected: float
    weights: str | None = None
    suite: str = ""
    n: int = 0
    norm: Norm = "linf"


@dataclass(frozen=True, slots=True)
class Corruptions:
    """Accuracy on corrupted images, by their `source`: one value for each of the `severities` of each corruption."""

    run: int
    checkpoint: str
    accuracy: dict[str, list[float]]
    weights: str | None = None
    suite: str = ""
    n: int = 0
    source: str = ""
    severities: list[int] = field(default_factory=lambda: list(SEVERITIES))


@dataclass(frozen=True, slots=True)
class Radii:
    """The radii of one run.

    Attributes:
        run: Place of the run.
        epochs: Epochs with kept radii.
        edges: Edges of the bins, one more than there are.
        counts: For each of these epochs how many samples are in each bin.
        by_class: For each class the quantiles 5, 25, 50, 75 and 95 % of its last radii; None for one without samples.
        norms: Of test or training samples: pairs of `radius` and `smallest` measured adversarial norm, which is of the
            evaluation's `norm`, and their rank correlation; None where nothing was measured.
    """

    run: int
    epochs: list[int]
    edges: list[float]
    counts: list[list[int]]
    by_class: list[dict[str, float] | None]
    norms: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Stability:
    """Spearman's rank correlation of the last radii of two runs over the n samples of both."""

    first: int
    second: int
    correlation: float
    n: int


@dataclass(frozen=True, slots=True)
class ReportContent:
    """Content of a report; a section without content is left out.

    Attributes:
        title: Of the page.
        made: Date, and version of iaat.
        classes: Names of the classes.
        runs: The runs.
        evaluations: Their evaluations.
        differences: Settings in which the runs differ: key, and its value in each run as text.
        curves: Accuracy against the radius.
        corruptions: Accuracy on corruptions.
        radii: Of runs that have them.
        stability: Of pairs of runs with radii.
        gallery: Images, of the first run with radii.
        wall: All images of that run, without pictures.
        surfaces: Loss surfaces.
        notes: What could not be shown and why, for people.
        dataset: Name of the data.
        recipes: The runs by recipe.
        pooled: Evaluations pooled over seeds; by suite, that of most recipes first.
        opening: What the page says first.
        under_attack: Classes and test images under attack.
        overrides: Where the data lies now, as recipe keys, for commands.
    """

    title: str
    made: str
    classes: list[str]
    runs: list[RunPart]
    evaluations: list[EvaluationRow]
    differences: list[tuple[str, list[str]]] = field(default_factory=list)
    curves: list[Accuracies] = field(default_factory=list)
    corruptions: list[Corruptions] = field(default_factory=list)
    radii: list[Radii] = field(default_factory=list)
    stability: list[Stability] = field(default_factory=list)
    gallery: Gallery | None = None
    wall: Wall | None = None
    surfaces: list[SurfacePart] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dataset: str = ""
    recipes: list[RecipePart] = field(default_factory=list)
    pooled: list[Pooled] = field(default_factory=list)
    opening: Opening | None = None
    under_attack: UnderAttack | None = None
    overrides: list[str] = field(default_factory=list)
