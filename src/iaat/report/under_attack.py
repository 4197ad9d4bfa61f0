"""Classes and test images under attack, from the records of evaluations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray

from iaat.data import Source
from iaat.evaluate.naming import attack_title
from iaat.evaluate.results import CLEAN
from iaat.evaluate.sample_records import SampleRecords
from iaat.report.image_content import AttackedImages
from iaat.report.report_content import ReportContent
from iaat.report.result_content import ClassAccuracy, ClassResults, Pooled, UnderAttack
from iaat.report.thumbnails import source_sprites, why_no_picture
from iaat.statistics import wilson_interval
from iaat.units import Norm, unit_of

MOST_IMAGES = 240
"""Test images on the page."""

LEAST_OF_CLASS = 2
"""Images of each class, also where that makes more in all."""

MOST_PAIRS = 400
"""Pairs of classes in the confusion under attack: all of 20 classes; of more also the first pair of each class."""

_SHEET_BUDGET = 800_000


def under_attack(content: ReportContent, row: Pooled, records: Mapping[int, SampleRecords]) -> UnderAttack | None:
    """Return what attacks do to the classes: by the recipe of `row`, then by what it is compared with, then the others.

    Args:
        content: A content with pooled results.
        row: The evaluations in focus.
        records: Test samples of evaluations by the place of their evaluation; recipes without are left out.
    """
    same = [each for each in content.pooled if (each.suite, each.n) == (row.suite, row.n)]
    ordered = sorted(same, key=lambda each: (each.recipe != row.recipe, each.recipe != row.against))
    results = [
        class_results(each.recipe, [records[place] for place in each.evaluations], len(content.classes))
        for each in ordered
        if all(place in records for place in each.evaluations)
    ]
    if not results or results[0].recipe != row.recipe:
        return None
    return UnderAttack(row.suite, row.worst_case, results)


def class_results(recipe: int, records: Sequence[SampleRecords], classes: int) -> ClassResults:
    """Return accuracies by class and confusions under attack, means over evaluations of the same test samples."""
    found = []
    for label in range(classes):
        own = [each.label == label for each in records]
        count = int(own[0].sum())
        if count:
            clean = float(np.mean([each.is_correct[of].mean() for each, of in zip(records, own, strict=True)]))
            robust = float(np.mean([each.is_robust[of].mean() for each, of in zip(records, own, strict=True)]))
            bounds = (wilson_interval(value, count) for value in (clean, robust))
            found.append(ClassAccuracy(label, count, clean, next(bounds), robust, next(bounds)))
    return ClassResults(recipe, len(records), found, _confusion(records, {each.label: each.n for each in found}))


def _confusion(records: Sequence[SampleRecords], counts: Mapping[int, int]) -> list[tuple[int, int, float]]:
    pairs: Counter[tuple[int, int]] = Counter()
    for each in records:
        attacked = predicted_under_attack(each)
        wrong = (attacked != each.label) & (each.label >= 0)
        pairs.update(zip(each.label[wrong].tolist(), attacked[wrong].tolist(), strict=True))
    ordered = sorted((pair for pair in pairs.items() if pair[0][0] in counts), key=lambda pair: (-pair[1], pair[0]))
    first: dict[int, int] = {}
    for place, ((label, _), _) in enumerate(ordered):
        first.setdefault(label, place)
    kept = sorted({*range(min(MOST_PAIRS, len(ordered))), *first.values()})
    return [(a, b, count / (counts[a] * len(records))) for (a, b), count in map(ordered.__getitem__, kept)]


def predicted_under_attack(records: SampleRecords) -> NDArray[np.int64]:
    """Return the predicted class of each sample after all attacks `[n]`: without attack where none succeeded.

    It is -1 where an attack succeeded and the class is not known: records of before 0.2 have none for the curve.
    """
    attacked = records.is_correct & ~records.is_robust
    return np.where((records.adversarial < 0) & ~attacked, records.clean, records.adversarial)


def attacked_images(
    run: int, checkpoint: str, records: SampleRecords, test: Source, norm: Norm, most: int = MOST_IMAGES
) -> AttackedImages:
    """Return test images that an evaluation misclassified: of each class as many, those of the smallest norms first.

    A misclassified image that needs no attack has the norm 0.

    Args:
        run: Place of the run.
        checkpoint: Its checkpoint.
        records: What became of the test samples.
        test: The test data.
        norm: `linf` or `l2`, of the attacks.
        most: Images in all, but at least two of each class.
    """
    classes = len(test.classes)
    each = max(LEAST_OF_CLASS, most // max(1, classes))
    wrong = np.flatnonzero(~records.is_robust & (records.label >= 0))
    size = np.where(records.misclassified_by == CLEAN, 0.0, records.norm)
    ordered = wrong[np.argsort(size[wrong], kind="stable")]
    by_class = [ordered[records.label[ordered] == label] for label in range(classes)]
    chosen = np.concatenate([some[:each] for some in by_class]) if len(wrong) else wrong
    packed = source_sprites(test, torch.from_numpy(records.index[chosen]), budget=_SHEET_BUDGET)
    return AttackedImages(
        run=run,
        checkpoint=checkpoint,
        chosen=f"of each class at most {each}, the smallest perturbations first",
        left_out=[max(0, len(some) - each) for some in by_class],
        **asdict(packed),
        index=records.index[chosen].tolist(),
        label=records.label[chosen].tolist(),
        clean=records.clean[chosen].tolist(),
        adversarial=predicted_under_attack(records)[chosen].tolist(),
        attack=[_attack(str(name)) for name in records.misclassified_by[chosen]],
        norm=[_norm(value, norm) if value > 0 else "" for value in size[chosen].tolist()],
        no_pictures=why_no_picture(test.shape),
    )


def _attack(name: str) -> str:
    """Name the attack, and the member of an ensemble that succeeded: `AutoAttack, square`."""
    whole, _, part = name.partition("/")
    return f"{attack_title(whole)}, {part}" if part else attack_title(whole)


def _norm(value: float, norm: Norm) -> str:
    unit = unit_of(norm)
    return f"{unit.scale * value:.1f} px" if norm == "linf" else unit.text(value)
