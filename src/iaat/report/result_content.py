"""Records of a report's results: evaluations, pooled by recipe, what the page says first, and classes under attack.

Their values are as `ReportContent` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from iaat.evaluate.findings import DISTRUSTED
from iaat.evaluate.mean_accuracy import MeanAccuracy
from iaat.report.image_content import AttackedImages
from iaat.statistics import Difference
from iaat.units import Norm


@dataclass(frozen=True, slots=True)
class EvaluationRow:
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
        radius, norm: Of its attacks, the radius as it was written.
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
    radius: str = ""
    norm: Norm = "linf"

    @property
    def robust(self) -> float:
        """Accuracy after all attacks."""
        return list(self.attacks.values())[-1] if self.attacks else self.clean

    @property
    def is_serious(self) -> bool:
        """Whether attacks do not measure the model, so that its figures are not to be quoted."""
        return self.verdict.startswith(DISTRUSTED) or any(finding.get("serious") for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Pooled:
    """Evaluations of one recipe by one suite, pooled over its seeds.

    Attributes:
        recipe: Place of the recipe in `ReportContent.recipes`.
        suite: Attacks and radius.
        checkpoint, weights: As of `EvaluationRow`.
        n: Test samples of each seed.
        evaluations: Places in `ReportContent.evaluations`, one a seed.
        clean: Clean accuracy.
        attacks: Accuracy after each attack, as of `EvaluationRow`.
        gap: Mean of the gaps; None where one is missing.
        worst_case: As of `EvaluationRow`.
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
    evaluations: list[int]
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
        uniform: Whether it trains with one radius for all images: PGD-AT, unless a table gives the radii.
        series: Number of its series style: the same for a method in every picture.
        runs: Places of its runs.
        forwards, backwards, seconds: As of `RunPart`, mean over the seeds; None where one is missing.
    """

    name: str
    title: str
    method: str
    uniform: bool
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
