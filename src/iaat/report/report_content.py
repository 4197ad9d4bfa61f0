"""Records of a report's content: `collect` makes them, `page` and `paper_figures` show them.

All values are numbers, text and data URIs of pictures, so `content_json` holds all. Text is as users wrote it, and is
escaped where it is shown. Radii and norms are in the unit of their norm (`iaat.units.unit_of`): px (1/255) in L-inf,
and as they are, on the [0, 1] scale, in L2. Accuracies are fractions in [0, 1], classes are numbers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from iaat.corruptions import SEVERITIES
from iaat.evaluate.mean_accuracy import MeanAccuracy
from iaat.report.image_content import AttackedImages, Gallery, SurfacePart
from iaat.report.run_figures import Series
from iaat.report.wall import Wall
from iaat.statistics import Difference
from iaat.units import Norm


@dataclass(frozen=True, slots=True)
class Verdict:
    """One evaluation of one checkpoint: a row of the table of verdicts.

    Attributes:
        run: Place of its run in `ReportContent.runs`.
        checkpoint: `best` or `last`.
        weights: `ema` or `raw`, of a run with EMA.
        suite: Attacks and radius, such as `standard 8px linf`.
        verdict: One line about masking.
        findings: Name, evidence, advice and whether it is serious, of each finding.
        n: Test samples.
        clean: Clean accuracy.
        attacks: Accuracy after each attack, the worst case over it and those before, by name: `pgd-20`, `autoattack`.
        interval95: Low and high, by `clean` and the same names.
        gap: PGD's accuracy minus the worst case; None where either is missing.
        seconds: Wall time of the evaluation.
        worst_case: What the worst case is over, for axes and titles: attacks, radius and norm.
    """

    run: int
    checkpoint: str
    weights: str | None
    suite: str
    verdict: str
    findings: list[dict[str, Any]]
    n: int
    clean: float
    attacks: dict[str, float]
    interval95: dict[str, tuple[float, float]]
    gap: float | None
    seconds: float
    worst_case: str = "worst case"

    @property
    def robust(self) -> float:
        """Accuracy after all attacks."""
        return list(self.attacks.values())[-1] if self.attacks else self.clean


@dataclass(frozen=True, slots=True)
class Pooled:
    """Evaluations of one recipe by one suite, pooled over its seeds.

    Attributes:
        recipe: Place of the recipe in `ReportContent.recipes`.
        suite: Attacks and radius.
        checkpoint, weights: As of `Verdict`.
        n: Test samples of each seed.
        verdicts: Places in `ReportContent.verdicts`, one a seed.
        clean: Clean accuracy.
        attacks: Accuracy after each attack, as of `Verdict`.
        gap: Mean of the gaps; None where one is missing.
        worst_case: As of `Verdict`.
        against: Place of the recipe it is compared with; None where there is none.
        clean_against, robust_against: This one minus that one; None likewise.
        natural_against: Clean accuracy minus that of natural training; None where that is not among the recipes.
        on_frontier: Whether it is a corner of the frontier, which is drawn through differences that hold.
    """

    recipe: int
    suite: str
    checkpoint: str
    weights: str | None
    n: int
    verdicts: list[int]
    clean: MeanAccuracy
    attacks: dict[str, MeanAccuracy]
    gap: float | None
    worst_case: str
    against: int | None = None
    clean_against: Difference | None = None
    robust_against: Difference | None = None
    natural_against: Difference | None = None
    on_frontier: bool = False

    @property
    def robust(self) -> MeanAccuracy:
        """Accuracy after all attacks."""
        return list(self.attacks.values())[-1] if self.attacks else self.clean


@dataclass(frozen=True, slots=True)
class RecipePart:
    """Runs that differ in their seeds alone.

    Attributes:
        name: Name of the recipe, unlike those of the others.
        title: What sentences call it: its method where that is enough.
        method: Its method.
        series: Number of its series style: the same for a method in every picture.
        runs: Places of its runs.
        forwards, backwards, seconds: As of `RunPart`, mean over the seeds; None where one is missing.
    """

    name: str
    title: str
    method: str
    series: int
    runs: list[int]
    forwards: float | None
    backwards: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """One sentence of the opening.

    Attributes:
        question: What it answers: `price`, `gain` or `quote`.
        outcome: `better`, `worse`, `tie`, `open` or `serious`.
        sentence: The answer in one sentence.
        detail: The figures it rests on.
        command: The command that would settle it; None where none is needed.
    """

    question: str
    outcome: str
    sentence: str
    detail: str
    command: str | None = None


@dataclass(frozen=True, slots=True)
class NextStep:
    """What to do next: a finding in one sentence, and the command."""

    sentence: str
    command: str


@dataclass(frozen=True, slots=True)
class Opening:
    """What the page says first.

    Attributes:
        focus: Place of the recipe that the sentences are about.
        against: Place of the recipe it is compared with; None where there is none.
        answers: Sentences, the most important first.
        steps: Up to three next steps.
    """

    focus: int
    against: int | None
    answers: list[Answer]
    steps: list[NextStep]


@dataclass(frozen=True, slots=True)
class ClassAccuracy:
    """Accuracies on the n test samples of one class, means over the seeds of a recipe, with Wilson intervals."""

    label: int
    n: int
    clean: float
    clean_interval: tuple[float, float]
    robust: float
    robust_interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class ClassResults:
    """Accuracies of one recipe by class, and what its predictions become under attack.

    Attributes:
        recipe: Place of the recipe.
        seeds: Evaluations that are pooled.
        classes: One entry a class with test samples.
        confusion: `[label, predicted under attack, fraction of the label's samples]` of the pairs that occur, the most
            frequent first, the label itself left out; of more than 400 the first ones, and the first of each label.
            -1 is a class that is not known.
    """

    recipe: int
    seeds: int
    classes: list[ClassAccuracy]
    confusion: list[tuple[int, int, float]]


@dataclass(frozen=True, slots=True)
class UnderAttack:
    """What attacks do to classes and test images.

    Attributes:
        suite: Attacks and radius.
        worst_case: What the robust accuracy is over.
        results: By recipe, that in focus first.
        images: None where no test data were read.
    """

    suite: str
    worst_case: str
    results: list[ClassResults]
    images: AttackedImages | None = None


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


@dataclass(frozen=True, slots=True)
class Accuracies:
    """Accuracy of an evaluated run against the radius.

    Attributes:
        run, checkpoint, weights, suite, n: As of `Verdict`.
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
        verdicts: Their evaluations.
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
    verdicts: list[Verdict]
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


def content_json(content: ReportContent) -> str:
    """Return the content as JSON for use inside a page: numbers that are not finite are null, and no tag can begin.

    The sheets of attacked test images are left out: the page has them once, in its styles.
    """
    plain = _plain(asdict(content))
    if plain["under_attack"] and plain["under_attack"]["images"]:
        plain["under_attack"]["images"]["sheets"] = []
    text = json.dumps(plain, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
