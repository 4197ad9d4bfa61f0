"""Distances from the curve of uniform radii, against cases worked out by hand."""

import random

import numpy as np
import pytest

from iaat.analysis.uniform_curve import Point, above_curve, distance, mean_point

CURVE = [Point(60, 44), Point(66, 41), Point(70, 33), Point(72, 27)]


@pytest.mark.parametrize(
    ("clean", "robust", "expected"),
    [
        (60, 44, 0.0),  # a point of the curve itself
        (60, 45.5, 1.5),
        (63, 42.5, 0.0),  # half-way along the first piece
        (63, 40.0, -2.5),
        (69, 36.0, 1.0),  # the second piece is at 41 - 3 / 4 * 8 = 35
        (72, 30.0, 3.0),  # the last point belongs to the curve
        (59.999, 44.0, None),
        (72.001, 27.0, None),
    ],
)
def test_points_above_and_below_and_outside(clean, robust, expected):
    found = above_curve(CURVE, clean, robust)
    assert found is None if expected is None else found == pytest.approx(expected, abs=1e-9)


def test_the_order_of_the_points_does_not_matter_and_numpy_agrees():
    rng = random.Random(0)
    clean, robust = np.array(CURVE).T
    for x in np.linspace(60, 72, 49):
        shuffled = rng.sample(CURVE, len(CURVE))
        assert above_curve(shuffled, x, 40.0) == pytest.approx(40 - np.interp(x, clean, robust), abs=1e-9)


def test_of_points_with_the_same_clean_accuracy_the_most_robust_counts():
    curve = [Point(60, 40), Point(64, 30), Point(64, 36), Point(64, 33), Point(68, 30)]
    assert above_curve(curve, 64, 36) == 0
    assert above_curve(curve, 62, 38) == 0
    assert above_curve(curve, 66, 33) == 0


def test_a_chord_lies_below_a_concave_curve_so_distances_are_overestimated():
    def concave(x):
        return 44 - (x - 60) ** 2 / 8

    chord = [Point(60, concave(60)), Point(72, concave(72))]
    for x in (61, 66, 71):
        assert above_curve(chord, x, concave(x)) > 0.5  # on the true curve, and yet above its chord


def test_one_point_is_no_range_and_none_no_curve():
    assert above_curve([Point(60, 40)], 60, 41) == 1
    assert above_curve([Point(60, 40)], 61, 41) is None
    assert above_curve([], 60, 40) is None


def runs(*points):
    return {seed: Point(*point) for seed, point in enumerate(points)}


def test_each_seed_is_compared_with_the_curve_of_its_own_seed():
    # The curve of seed 1 is 10 points above that of seed 0; the method is 2 points above in both.
    curve = [runs((60, 40), (60, 50)), runs((70, 30), (70, 40))]
    found = distance(runs((65, 37), (65, 47)), curve)
    assert found.by_seed == {0: pytest.approx(2), 1: pytest.approx(2)}
    assert found.spread.mean == pytest.approx(2)
    assert found.spread.sd == pytest.approx(0)
    assert found.verdict == "above"


def test_a_seed_without_a_whole_curve_is_compared_with_the_mean_curve():
    curve = [runs((60, 40), (60, 50)), runs((70, 30))]  # the second radius lacks seed 1
    found = distance(runs((65, 37), (65, 47)), curve)
    # seed 0: against (60, 40), (70, 30) at 35; seed 1: against (60, 45), (70, 30) at 37.5
    assert found.by_seed == {0: pytest.approx(2), 1: pytest.approx(9.5)}
    assert mean_point(curve[0]) == (60, 45)


@pytest.mark.parametrize(
    ("distances", "verdict"),
    [
        ((1.0, 1.2, 0.8), "above"),  # 1 ± 4.303 * 0.2 / sqrt(3) = 1 ± 0.50
        ((-1.0, -1.2, -0.8), "below"),
        ((1.0, 2.0, 0.0), "tie"),  # 1 ± 4.303 * 1 / sqrt(3) = 1 ± 2.48
        ((1.0, 1.1), "above"),  # 1.05 ± 12.706 * 0.0707 / sqrt(2) = 1.05 ± 0.64
        ((1.0, 1.4), "undecided"),  # 1.2 ± 12.706 * 0.283 / sqrt(2) = 1.2 ± 2.54
        ((5.0,), "one seed"),
    ],
)
def test_verdicts_by_the_t_interval_over_seeds(distances, verdict):
    seeds = range(len(distances))
    curve = [{s: Point(60, 40) for s in seeds}, {s: Point(70, 30) for s in seeds}]
    found = distance({s: Point(65, 35 + d) for s, d in zip(seeds, distances, strict=True)}, curve)
    assert list(found.by_seed.values()) == pytest.approx(distances)
    assert found.spread.mean == pytest.approx(np.mean(distances))
    assert found.verdict == verdict


def test_seeds_outside_the_curve_have_no_distance_and_are_not_extrapolated():
    curve = [runs((60, 40), (60, 40), (60, 40)), runs((70, 30), (70, 30), (70, 30))]
    found = distance(runs((65, 36), (75, 36), (59, 50)), curve)
    assert found.by_seed == {0: pytest.approx(1), 1: None, 2: None}
    assert (found.spread.n, found.verdict) == (1, "one seed")
    found = distance(runs((75, 36), (59, 50)), curve)
    assert (found.by_seed, found.spread, found.verdict) == ({0: None, 1: None}, None, "outside")
