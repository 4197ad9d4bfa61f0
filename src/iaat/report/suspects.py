"""Suspects among the training samples: likely label errors and ambiguous images, by radii and probabilities.

A radius grows while the prediction under attack is correct and shrinks while it is not. A sample with a wrong label
therefore has a small radius until the model has memorised the error. The probabilities of the trained model are the
second evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from iaat.analysis.array_checks import as_integers, as_labels
from iaat.analysis.radius_order import radius_order
from iaat.errors import UserError
from iaat.report.suspicion_scores import (
    checked_history,
    checked_labels,
    combined_score,
    mine_and_others,
    normalized_margin_score,
    radius_score,
    self_confidence_score,
    wavering,
)
from iaat.runtime.files import encodable
from iaat.units import PX_PER_UNIT

SMALL = 0.7
"""Radius score from which on a radius counts as small: 70 % of the class had a larger one over the training."""
SURE_PROBABILITY = 0.5
"""Probability from which on the model is sure of a class; less if the samples of the class have less on average."""
TIMES = 10.0
"""How many times as probable as the label another class must be, for the label to count as an error."""
DECIDED = 2.0
"""How many times as probable as any third class the suggested one must be: a model that gives 45 % to one class and
42 % to another knows at most that the image is of the two."""
MOST_ERRORS = 2 / 3
"""How many labels the model may miss on the images it was trained on, as a fraction of those that always naming the
most frequent class would miss: 0.6 of all in ten equal classes, a third in two. Beyond it nobody has measured how many
of the labels called errors are so: the weakest model of `MEASURED` missed 0.64 of them."""
MEASURED = {
    "CIFAR-10": {"symmetric 5 %": 53, "symmetric 10 %": 75, "symmetric 20 %": 92, "pairs 10 %": 64},
    "digits": {"symmetric 5 %": 98, "symmetric 10 %": 100, "symmetric 20 %": 100, "pairs 10 %": 95},
}
"""Of the samples called label errors, how many in % had a label that was made wrong, by how many were and how
(benchmarks/label_noise.py, docs/experiments.md, 2026-11-25; before `DECIDED`, which calls fewer)."""
LOOKED_AT = {"looked": 100, "doubtful": 5, "suggestion": 2}
"""CIFAR-10 with its own labels (IAAT, seed 1): how many suspects of a label error one person looked at, labels that the
picture does not plainly show, suggestions that fit better (docs/experiments.md, 2026-11-29)."""
WAVERING = 0.25
"""Fraction of epochs from which on a radius counts as wavering: that often it began to grow or stopped growing."""

SUSPECT_KINDS = ("clear", "label", "ambiguous")
"""Kinds of suspects: samples without suspicion, likely label errors, ambiguous images. Pages have their numbers."""

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Suspects:
    """Suspicion scores of samples, in the order given. Scores are in [0, 1], higher is more suspect.

    Attributes:
        index: `[n]` int64, positions in the training set.
        label: `[n]` int64, the labels as given.
        suggested: `[n]` int64, the predicted class; -1 where that is the label, or not known.
        radius: `[n]`, the last radii, on the [0, 1] image scale.
        radius_score: `[n]`, see `radius_score`.
        self_confidence_score: `[n]`, see `self_confidence_score`; None without probabilities.
        normalized_margin_score: `[n]`, see `normalized_margin_score`; None without probabilities.
        score: `[n]`, see `combined_score`; the radius score without probabilities.
        kind: `[n]`, one of `SUSPECT_KINDS`, see `find_suspects`.
        rank: `[n]` int64, 1 for the highest score; of equal scores the first in `radius_order`.
        withheld: Samples of a small radius that the model predicts as another class, and that are no `label`.
        accuracy: Fraction of the labels that the model predicts; None without probabilities.
        needed: The least accuracy at which a label is called an error, see `MOST_ERRORS`.
    """

    index: NDArray[np.int64]
    label: NDArray[np.int64]
    suggested: NDArray[np.int64]
    radius: NDArray[np.float64]
    radius_score: NDArray[np.float64]
    self_confidence_score: NDArray[np.float64] | None
    normalized_margin_score: NDArray[np.float64] | None
    score: NDArray[np.float64]
    kind: NDArray[np.str_]
    rank: NDArray[np.int64]
    withheld: int = 0
    accuracy: float | None = None
    needed: float = 0.0

    def notes(self) -> list[str]:
        """Sentences for people on what is called a label error, what is not, and how often such calls were correct."""
        called, total = int((self.kind == "label").sum()), f"{len(self.index):,}"
        verb = "is" if self.withheld == 1 else "are"
        withheld = f"{self.withheld:,} with a small radius and another prediction {verb} withheld"
        if self.accuracy is not None and self.accuracy < self.needed:
            return [
                f"No label is called an error: the model predicts the labels of {100 * self.accuracy:.0f} % of these"
                f" images, and such calls were tried at {100 * self.needed:.0f} % and more. {withheld}."
            ]
        unsure = [f"{withheld}: the model is not sure enough of the other class."] if self.withheld else []
        if not called:
            return unsure
        return [
            f"{called:,} of {total} images are suspected of a label error. The rank is an order to look at images in,"
            " not a probability.",
            *unsure,
            measured_note(),
        ]

    def table(self, classes: Sequence[str], paths: Sequence[str] | None = None) -> pa.Table:
        """Return the suspects as a table, the most suspect first; `iaat.analysis.tables.write_table` writes it.

        Columns: `rank` int64, `index` int64, `kind` string, `label` string, `suggested` string, null where it is the
        label or not known, `radius_px` (255 times `radius` in any norm), `radius`, `score`, `radius_score`,
        `self_confidence_score`, `normalized_margin_score` float32, the last two null without probabilities, and `path`
        string if there are any.

        Args:
            classes: Class names by number.
            paths: File of each sample of the training set, by index.

        Raises:
            UserError: fewer names than classes, or fewer paths than indices.
        """
        count = len(self.index)
        as_labels(self.label, "label", count, classes)
        as_labels(self.suggested, "suggested", count, classes, lowest=-1)
        order = np.argsort(self.rank)
        names = pa.array([encodable(name) for name in classes], pa.string())
        columns = {
            "rank": pa.array(self.rank[order]),
            "index": pa.array(self.index[order]),
            "kind": pa.array(self.kind[order].tolist(), pa.string()),
            "label": names.take(pa.array(self.label[order])),
            "suggested": names.take(pa.array(self.suggested[order], mask=self.suggested[order] < 0)),
            "radius_px": pa.array((self.radius[order] * PX_PER_UNIT).astype(np.float32)),
            "radius": pa.array(self.radius[order].astype(np.float32)),
        }
        for name in ("score", "radius_score", "self_confidence_score", "normalized_margin_score"):
            values = getattr(self, name)
            unknown = pa.nulls(count, pa.float32())
            columns[name] = unknown if values is None else pa.array(values[order].astype(np.float32))
        if paths is not None:
            if count and len(paths) <= self.index.max():
                raise UserError(f"paths: there are {len(paths)}, but samples with index up to {self.index.max()}")
            columns["path"] = pa.array([encodable(str(paths[number])) for number in self.index[order]], pa.string())
        return pa.table(columns)


def find_suspects(
    history: ArrayLike, labels: ArrayLike, probabilities: ArrayLike | None = None, *, index: ArrayLike | None = None
) -> Suspects:
    """Score samples by their radii over the training and by the probabilities of the trained model.

    The kind of a sample is

    - `label` if its radius score is at least `SMALL` and the model predicts another class, which it is sure of (a
      probability of at least `SURE_PROBABILITY`, or of the mean probability of that class among the samples labelled
      so), which is at least `TIMES` as probable as the label and `DECIDED` times as probable as any third class; and
      only if the model is accurate enough to know (`MOST_ERRORS`);
    - `ambiguous` if its radius score is at least `SMALL` and it is no `label`, but the model is not sure of its label
      either (a probability below the average of its class), or its radius goes up and down (`wavering` of at least
      `WAVERING`);
    - `clear` else.

    Without probabilities, one of a small radius is `ambiguous` if that goes up and down and `label` if not: a weaker
    hint. Kinds are meant for looking at images: in every data set some radii are the smallest of their class.

    Args:
        history: Radii `[E, n]` after each epoch, in their order, on the [0, 1] image scale (only the column `radius_px`
            minds which); a single epoch will do.
        labels: Class numbers `[n]`.
        probabilities: Class probabilities `[n, C]` of the trained model on the clean training images.
        index: `[n]`, distinct positions in the training set; 0 to n - 1 by default.

    Raises:
        UserError: shapes that do not fit, radii that are negative or not finite, labels that are no class, or
            probabilities that are none.

    Source: the averages that decide what the model is sure of are the thresholds of confident learning (Northcutt,
    Jiang, Chuang 2021, arXiv 1911.00068, equation 2); kinds and radius score are this project's.
    """
    radii = checked_history(history)
    count = radii.shape[1]
    label = checked_labels(labels, count)
    number = np.arange(count) if index is None else as_integers(index, "index", count)
    if len(np.unique(number)) != count:
        raise UserError("index: some positions are there twice: give every sample once")
    by_radius = radius_score(radii, label)
    small, wavers = by_radius >= SMALL, wavering(radii) >= WAVERING
    suggested, self_confidence, margin = np.full(count, -1), None, None
    score, error, unsure = by_radius, small & ~wavers, wavers
    withheld, accuracy, needed = 0, None, 0.0
    if probabilities is not None:
        self_confidence = self_confidence_score(probabilities, label)
        margin = normalized_margin_score(probabilities, label)
        score = combined_score(by_radius, self_confidence)
        suggested, refused, unsure_of_label = _opinion(probabilities, label)
        accuracy, needed = float((suggested < 0).mean()) if count else 1.0, _needed_accuracy(label)
        error = small & refused & (accuracy >= needed)
        withheld = int((small & (suggested >= 0) & ~error).sum())
        unsure = wavers | unsure_of_label
    kind = np.where(error, "label", np.where(small & unsure, "ambiguous", "clear"))
    rank = np.empty(count, dtype=np.int64)
    by_order = np.empty(count, dtype=np.int64)
    by_order[radius_order(radii, number)] = np.arange(count)
    rank[np.lexsort((by_order, -score))] = np.arange(1, count + 1)
    last = radii[-1].astype(np.float64)
    scores = (by_radius, self_confidence, margin, score)
    return Suspects(number, label, suggested, last, *scores, kind, rank, withheld, accuracy, needed)


def measured_note() -> str:
    """Return sentences on how many of the labels called errors were so, made wrong and in real data."""
    cifar, digits = MEASURED["CIFAR-10"], MEASURED["digits"]
    rates = ", ".join(f"{value} % ({name})" for name, value in cifar.items())
    made = (
        f"Where labels were made wrong on purpose, so many of the labels called errors were wrong: on CIFAR-10 {rates},"
        f" on digits {min(digits.values())} to {max(digits.values())} %."
    )
    real = (
        "In data with few errors most are correct labels of rare views: of the first {looked} on CIFAR-10 as it is,"
        " {doubtful} labels were doubtful to a person, and {suggestion} suggestions fitted better."
    )
    return f"{made} {real.format(**LOOKED_AT)}"


def _opinion(
    probabilities: ArrayLike, label: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the predicted class, -1 where that is the label; whether it is sure; whether the label is unsure."""
    mine, other = mine_and_others(probabilities, label)
    usual = np.ones(other.shape[1])
    for present in np.unique(label):
        usual[present] = mine[label == present].mean()
    rival, highest = other.argmax(axis=1), other.max(axis=1, initial=0)
    preferred = highest > mine
    rest = other.copy()
    rest[np.arange(len(rest)), rival] = 0
    sure = (highest >= np.minimum(usual, SURE_PROBABILITY)[rival]) & (highest >= TIMES * mine)
    sure &= highest >= DECIDED * rest.max(axis=1, initial=0)
    return np.where(preferred, rival, -1), preferred & sure, mine < usual[label] - _ROUNDING


def _needed_accuracy(label: NDArray[np.int64]) -> float:
    """Return the least accuracy at which labels are called errors."""
    others = 1 - np.bincount(label).max() / len(label) if len(label) else 0.0
    return float(1 - MOST_ERRORS * others)
