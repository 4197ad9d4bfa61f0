"""Classes and test images under attack, from records of evaluations."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers.training import tiny
from iaat.data import build_data
from iaat.evaluate.sample_records import SampleRecords, read_records
from iaat.report.under_attack import MOST_PAIRS, attacked_images, class_results, predicted_under_attack
from iaat.runtime.json_files import DamagedFileError
from iaat.statistics import wilson_interval


def records(label, clean, adversarial, by, norm=None):
    count = len(label)
    norms = np.full(count, 1 / 255) if norm is None else np.array(norm) / 255
    return SampleRecords(np.arange(count), np.array(label), np.array(clean), np.array(adversarial), np.array(by), norms)


FOUR = records([0, 0, 1, 1], [0, 1, 1, 1], [1, 1, -1, 2], ["pgd-20", "clean", "none", "autoattack/square"])


def test_accuracies_of_a_class_are_of_its_samples():
    found = class_results(5, [FOUR], classes=4)
    assert (found.recipe, found.seeds) == (5, 1)
    assert [(each.label, each.n, each.clean, each.robust) for each in found.classes] == [(0, 2, 0.5, 0), (1, 2, 1, 0.5)]
    assert found.classes[1].robust_interval == wilson_interval(0.5, 2)


def test_confusion_is_of_predictions_after_all_attacks_and_leaves_correct_ones_out():
    assert class_results(0, [FOUR], classes=4).confusion == [(0, 1, 1.0), (1, 2, 0.5)]


def test_a_class_that_is_not_known_is_not_that_without_attack():
    """As of records from before the curve kept it."""
    unknown = records([0, 0, 1, 1], [0, 0, 1, 1], [-1, -1, -1, 0], ["curve", "none", "curve", "pgd-20"])
    assert predicted_under_attack(unknown).tolist() == [-1, 0, -1, 0]
    found = class_results(0, [unknown], classes=2)
    assert found.confusion == [(0, -1, 0.5), (1, -1, 0.5), (1, 0, 0.5)]
    for each in found.classes:
        assert each.robust + sum(part for label, _, part in found.confusion if label == each.label) == 1


def test_seeds_are_pooled():
    robust = dataclasses.replace(
        FOUR, misclassified_by=np.array(["none"] * 4), adversarial=np.full(4, -1), clean=FOUR.label
    )
    found = class_results(0, [FOUR, robust], classes=3)
    assert [each.robust for each in found.classes] == [0.5, 0.75]
    assert found.confusion == [(0, 1, 0.5), (1, 2, 0.25)]


def test_of_many_classes_each_keeps_its_first_pair():
    label, step = np.repeat(np.arange(100), 20), np.tile(np.arange(1, 21), 100)
    # The classes below 50 become two others ten times each, the others ten others twice.
    other = np.where(label < 50, label + 1 + step % 2, label + 1 + step % 10) % 100
    found = class_results(0, [records(label, label, other, ["pgd-20"] * len(label))], classes=100)
    assert {own for own, _, _ in found.confusion} == set(range(100))
    fractions = [fraction for _, _, fraction in found.confusion]
    assert fractions == sorted(fractions, reverse=True)
    assert len(fractions) == MOST_PAIRS + 20


def test_images_are_of_each_class_the_smallest_norms_first_and_what_is_left_out_is_counted():
    test = build_data(tiny().data, seed=0).test
    label = test.labels.numpy()[:60]
    norm = np.random.default_rng(0).permutation(60) + 1.0
    by = np.where(np.arange(60) % 10 == 0, "clean", np.where(np.arange(60) % 10 == 1, "none", "pgd-20"))
    other = (label + 1) % 10
    made = records(label, np.where(by == "clean", other, label), np.where(by == "none", -1, other), by, norm)
    found = attacked_images(0, "best", made, test, "linf", most=20)
    wrong = by != "none"
    for number in range(10):
        places = [place for place, own in enumerate(found.label) if own == number]
        own = np.flatnonzero(wrong & (label == number))
        assert len(places) == min(2, len(own))
        assert found.left_out[number] == len(own) - len(places)
        size = np.where(by == "clean", 0, norm)
        assert [found.index[place] for place in places] == own[np.argsort(size[own], kind="stable")][:2].tolist()
    assert set(found.attack) <= {"clean", "PGD-20"}
    assert all((attack == "clean") == (not norm) for attack, norm in zip(found.attack, found.norm, strict=True))
    assert found.columns * found.rows >= len(found.index)
    assert found.sheets[0].startswith("data:image/")


def test_records_are_read_in_the_order_of_their_index_and_names_become_numbers(tmp_path):
    columns = {
        "index": [7, 2],
        "label": ["cat", "dog"],
        "clean_prediction": ["cat", "cat"],
        "adversarial_prediction": ["dog", None],
        "misclassified_by": ["pgd-20", "clean"],
        "perturbation_norm": [0.01, None],
    }
    pq.write_table(pa.table(columns), tmp_path / "records.parquet")
    found = read_records(tmp_path / "records.parquet", ["cat", "dog"])
    assert found.index.tolist() == [2, 7]
    assert (found.label.tolist(), found.clean.tolist(), found.adversarial.tolist()) == ([1, 0], [0, 0], [-1, 1])
    assert found.is_correct.tolist() == [False, True]
    assert found.is_robust.tolist() == [False, False]
    assert np.isnan(found.norm[0])


@pytest.mark.parametrize("content", [None, b"no parquet"])
def test_records_that_are_missing_or_damaged_are_named(tmp_path, content):
    file = tmp_path / "records.parquet"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DamagedFileError, match="records"):
        read_records(file, ["cat"])
