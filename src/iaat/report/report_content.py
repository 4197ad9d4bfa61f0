"""Records of a report's content: `collect` makes them, `page` and `paper_figures` show them.

All values are numbers, text and data URIs of pictures, so `content_json` holds all. Text is as users wrote it, and is
escaped where it is shown. Radii and norms are in px (1/255), accuracies are fractions in [0, 1], classes are numbers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from iaat.analysis.run_figures import Series


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
class RunPart:
    """One run.

    Attributes:
        name: Of its recipe, with the seed: `cifar10-small-iaat seed 0`; unlike those of the others.
        folder: Last part of its path.
        method: Its method.
        seed: Its seed.
        epochs: Finished epochs.
        hardware: What it was trained on and with, by name.
        forwards, backwards: Passes a sample and step, mean over epochs; None where the log has no such value.
        seconds: Wall time of training; None likewise.
        curves: Series over all finished epochs by the names of `metrics.jsonl`, such as `loss`, `validation_clean`,
            `radius_mean_px`; None for an epoch without a line in the log.
        quantiles: Of the radii over epochs, in px, by level: `5`, `25`, `50`, `75`, `95`; empty without radii.
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


@dataclass(frozen=True, slots=True)
class Accuracies:
    """Accuracy of an evaluated run against the radius.

    Attributes:
        run: Place of the run.
        checkpoint: Which checkpoint.
        radius_px: Radii from 0 upwards.
        accuracy: Accuracy at each.
        expected: Expected robustness, the mean of the curve.
    """

    run: int
    checkpoint: str
    radius_px: list[float]
    accuracy: list[float]
    expected: float


@dataclass(frozen=True, slots=True)
class Corruptions:
    """Accuracy on corrupted images: one value a severity for each corruption."""

    run: int
    checkpoint: str
    accuracy: dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Radii:
    """The radii of one run.

    Attributes:
        run: Place of the run.
        epochs: Epochs with kept radii.
        edges_px: Edges of the bins, one more than there are.
        counts: For each of these epochs how many samples are in each bin.
        by_class: For each class the quantiles 5, 25, 50, 75 and 95 % of its last radii, in px; None for a class without
            samples.
        norms: Of test or training samples: pairs of radius and smallest measured adversarial norm, in px, and
            their rank correlation; None where nothing was measured.
    """

    run: int
    epochs: list[int]
    edges_px: list[float]
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
class Gallery:
    """Images of one run with radii; all lists have one entry an image.

    Attributes:
        run: Place of the run.
        total: Trained samples, of which these are some.
        chosen: How they were chosen, for people.
        sheets: Sprite sheets as data URIs; empty where inputs are no pictures, with the reason in `no_pictures`.
        columns, rows: Thumbnails a row, rows a sheet; image k is on sheet k // (columns * rows), in reading order.
        width, height: Of a thumbnail in pixels.
        index: Of the samples in the training data.
        label, prediction: Class numbers; a prediction is -1 where it is not known.
        radius_px: Last radii.
        history_px: Radii after each of `epochs`.
        epochs: Of the history.
        path: Files of the images, "" where samples are none.
        suspicion: Score in [0, 1] of the suspect it is; None where there are none.
        kind: `label`, `ambiguous`, or "" for neither.
        suggested: The class it may be instead.
        details: By the place of an image in these lists, as text: what its view shows more, see `SampleDetail` in
            `iaat.report.sample_details`; pictures are data URIs.
        no_pictures: Why there are no thumbnails.
    """

    run: int
    total: int
    chosen: str
    sheets: list[str]
    columns: int
    rows: int
    width: int
    height: int
    index: list[int]
    label: list[int]
    prediction: list[int]
    radius_px: list[float]
    history_px: list[list[float]]
    epochs: list[int]
    path: list[str]
    suspicion: list[float | None]
    kind: list[str]
    suggested: list[int]
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    no_pictures: str | None = None


@dataclass(frozen=True, slots=True)
class SurfacePart:
    """Loss surfaces around one image, one a run.

    Attributes:
        index: Of the sample.
        label: Its class.
        image: The image as a data URI; None where it is none.
        offsets_px: Of the grid along both directions.
        losses: By run, by place as text: cross-entropy `[n][n]`, first along the random direction, then the gradient's.
        predictions: By run: predicted class at each point.
        radius_px: Radius that the window is a multiple of.
    """

    index: int
    label: int
    image: str | None
    offsets_px: list[float]
    losses: dict[str, list[list[float]]]
    predictions: dict[str, list[list[int]]]
    radius_px: float


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
        surfaces: Loss surfaces.
        notes: What could not be shown and why, for people.
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
    surfaces: list[SurfacePart] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def content_json(content: ReportContent) -> str:
    """Return the content as JSON for use inside a page: numbers that are not finite are null, and no tag can begin."""
    text = json.dumps(_plain(asdict(content)), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
