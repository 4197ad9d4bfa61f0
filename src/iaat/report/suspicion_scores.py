"""Scores of how suspect a training sample is, by its radii and by the probabilities of the trained model."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from iaat.analysis.array_checks import as_integers
from iaat.errors import UserError

RADIUS_WEIGHT = 0.2
"""Weight of the radius in the combined score. Chosen on one draw of errors each of digits and CIFAR-10, where 0 to 0.2
were within 0.001 of AUROC of one another, and 0.5 was 0.01 below (docs/experiments.md)."""

_SUM_TOLERANCE = 1e-3


def radius_score(history: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Return the fraction of the class that had a larger radius over the training, `[n]` in [0, 1].

    A sample's radii are averaged over the epochs and the averages ranked within each class, so that a class is not
    suspect for being hard as a whole, and the scale does not matter. Equal averages have the mean of their ranks; a
    sample that is alone in its class has 0.5.

    Args:
        history: Radii `[E, n]` after each epoch, on any one scale.
        labels: Class numbers `[n]`.

    Raises:
        UserError: as `find_suspects`.
    """
    radii = checked_history(history)
    label = checked_labels(labels, radii.shape[1])
    mean = radii.mean(axis=0, dtype=np.float64)
    score = np.empty(len(mean))
    order = np.argsort(label, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(label[order])) + 1):
        score[members] = 1 - _ranks(mean[members])
    return score


def wavering(history: ArrayLike) -> NDArray[np.float64]:
    """Return the fraction of epochs in which a radius began or stopped to grow, `[n]` in [0, 1]; 0 below 3 epochs.

    Where a staircase moves the radii these are the epochs in which the prediction under attack became correct or
    misclassified: the forgetting events of Toneva et al. 2019 (arXiv 1812.05159), counted both ways and under attack.

    Args:
        history: Radii `[E, n]` after each epoch, on any one scale.

    Raises:
        UserError: as `find_suspects`.
    """
    radii = checked_history(history)
    grew = radii[1:] > radii[:-1]
    if len(grew) < 2:
        return np.zeros(radii.shape[1])
    return np.asarray((grew[1:] != grew[:-1]).mean(axis=0))


def self_confidence_score(probabilities: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Return 1 less the probability of the label, `[n]` in [0, 1].

    Args:
        probabilities: Class probabilities `[n, C]`.
        labels: Class numbers `[n]`.

    Raises:
        UserError: as `find_suspects`.

    Source: 1 less what cleanlab calls `self_confidence` (`cleanlab.rank.get_label_quality_scores`).
    """
    mine, _ = mine_and_others(probabilities, labels)
    return 1 - mine


def normalized_margin_score(probabilities: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Return the margin of the most probable other class over the label, `[n]` in [0, 1]: 0.5 where they are equal.

    Args:
        probabilities: Class probabilities `[n, C]`.
        labels: Class numbers `[n]`.

    Raises:
        UserError: as `find_suspects`.

    Source: 1 less what cleanlab calls `normalized_margin` (`cleanlab.rank.get_label_quality_scores`).
    """
    mine, other = mine_and_others(probabilities, labels)
    score: NDArray[np.float64] = (1 - mine + other.max(axis=1, initial=0)) / 2
    return score


def combined_score(
    by_radius: NDArray[np.float64], self_confidence: NDArray[np.float64], weight: float = RADIUS_WEIGHT
) -> NDArray[np.float64]:
    """Return the weighted mean of the radius score and of the self-confidence score's rank, `[n]` in [0, 1].

    Args:
        by_radius: `[n]`, see `radius_score`.
        self_confidence: `[n]`, see `self_confidence_score`.
        weight: Weight of the radius score.
    """
    return weight * by_radius + (1 - weight) * _ranks(self_confidence)


def mine_and_others(probabilities: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the probability of the label, `[n]`, and all with that of the label below any other, `[n, C]`; checked."""
    given = _checked_probabilities(probabilities)
    label = checked_labels(labels, len(given), given.shape[1])
    rows, other = np.arange(len(label)), given.copy()
    other[rows, label] = -1
    return given[rows, label], other


def checked_history(history: ArrayLike) -> NDArray[np.floating]:
    """Return radii `[E, n]` after each epoch.

    Raises:
        UserError: there is no epoch, or a radius is negative or not finite.
    """
    radii = np.asarray(history)
    if radii.ndim != 2 or not len(radii):
        raise UserError(f"history: expected radii [epochs, samples], one epoch or more; got shape {list(radii.shape)}")
    if radii.dtype.kind not in "fiu" or not np.isfinite(radii).all() or (radii < 0).any():
        raise UserError("history: every radius must be a finite number of at least 0")
    return radii


def checked_labels(labels: ArrayLike, count: int, classes: int | None = None) -> NDArray[np.int64]:
    """Return `count` class numbers, `[n]` int64, below `classes` where that is known.

    Raises:
        UserError: there are not as many, or one is no class.
    """
    label = as_integers(labels, "labels", count)
    if count and label.min() < 0:
        raise UserError(f"labels: {label.min()} is no class: numbers run from 0")
    if count and classes is not None and label.max() >= classes:
        raise UserError(f"labels: {label.max()} is out of range: the probabilities are of {classes} classes")
    return label


def _checked_probabilities(probabilities: ArrayLike) -> NDArray[np.float64]:
    given = np.asarray(probabilities, dtype=np.float64)
    if given.ndim != 2:
        raise UserError(f"probabilities: expected [samples, classes], got shape {list(given.shape)}")
    if not (given >= 0).all() or not (abs(given.sum(axis=1) - 1) <= _SUM_TOLERANCE).all():
        raise UserError("probabilities: every row must be of numbers of at least 0 that sum to 1: give a softmax")
    return given


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fraction of values that are lower, equal ones counted half: in (0, 1), with mean 0.5."""
    return np.asarray((rankdata(values) - 0.5) / max(len(values), 1))
