"""Figures over seeds against tables and formulas."""

import numpy as np
import pytest
from scipy import stats

from iaat.statistics import (
    accuracy_spread,
    means_difference,
    paired_difference,
    seed_difference,
    spread,
    unpaired_difference,
    wilson_interval,
)


def test_one_seed_has_no_spread():
    over = spread([41.5])
    assert (over.mean, over.sd, over.interval, over.n) == (41.5, None, None, 1)


def test_three_seeds_by_hand_with_the_tabulated_quantile():
    # mean 2, squared deviations 1 + 0 + 1 over 2, t(0.975, 2) = 4.303 in every table
    over = spread([1.0, 2.0, 3.0])
    assert (over.mean, over.sd, over.n) == (2.0, 1.0, 3)
    assert over.interval == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5), abs=1e-3)


@pytest.mark.parametrize("n", [2, 5, 9])
def test_the_interval_holds_the_means_a_t_test_does_not_reject(n):
    values = np.random.default_rng(n).normal(3, 2, n)
    low, high = spread(values.tolist()).interval
    for edge in (low, high):
        assert stats.ttest_1samp(values, edge).pvalue == pytest.approx(0.05, abs=1e-9)


def test_a_paired_difference_is_that_of_published_tables():
    # Agresti and Min 2005: approval ratings, 150 of 1,600 lost and 86 gained; Wald's interval is -0.0588 to -0.0212
    found = paired_difference(86, 150, 1600)
    assert found.mean == pytest.approx(-0.04)
    assert found.interval == pytest.approx((-0.0588, -0.0211), abs=2e-4)
    assert found.holds


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (5, 5), (5, 0), (6, 0), (9, 1), (8, 2)])
def test_a_paired_difference_holds_where_mcnemars_exact_test_does(gained, lost):
    p_value = stats.binomtest(gained, max(gained + lost, 1), 0.5).pvalue if gained + lost else 1.0
    found = paired_difference(gained, lost, 100)
    assert found.holds == (p_value < 0.05)
    assert found.interval[0] <= found.mean <= found.interval[1]


def test_no_difference_at_all_is_a_tie_that_has_room_on_both_sides():
    found = paired_difference(0, 0, 10)
    assert not found.holds
    assert found.interval[0] < 0 < found.interval[1]


def test_an_unpaired_difference_is_newcombes():
    # Newcombe 1998, method 10, 56/70 against 48/80: 0.0524 to 0.3339
    found = unpaired_difference(56 / 70, 48 / 80, 70, 80)
    assert found.interval == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert found.holds


def test_over_seeds_both_their_spread_and_the_luck_of_the_samples_count():
    sure, unsure = paired_difference(300, 100, 1000), paired_difference(5, 4, 1000)
    assert seed_difference([sure, sure, sure]).interval == pytest.approx(sure.interval)
    assert not seed_difference([unsure, unsure]).holds
    assert not seed_difference([sure, paired_difference(120, 100, 1000)]).holds
    with pytest.raises(ValueError, match="two pairs"):
        seed_difference([sure])


def test_an_accuracy_of_one_seed_has_wilsons_interval_and_none_leaves_the_unit_interval():
    assert accuracy_spread([0.9], 50).interval == wilson_interval(0.9, 50)
    low, high = accuracy_spread([0.9, 1.0], 50).interval
    assert (low > 0, high) == (True, 1.0)


def test_intervals_of_several_classes_hold_together():
    """Ten classes, all alike: one interval misses the truth in some 5 % of the draws, else in far more."""
    draw = np.random.default_rng(0)
    rates = draw.binomial(100, 0.45, size=(2000, 10)) / 100

    def fails(row, tests):
        bounds = [wilson_interval(rate, 100, tests=tests) for rate in row]
        return any(not low <= 0.45 <= high for low, high in bounds)

    missed = {tests: np.mean([fails(row, tests) for row in rates]) for tests in (1, 10)}
    assert missed[10] < 0.08 < 0.3 < missed[1]


def test_means_of_other_seeds_are_compared_by_students_test():
    """The two-sample t-test of scipy is the oracle; with few test samples their own uncertainty is wider."""
    first, second = [0.40, 0.44, 0.52], [0.45, 0.47]
    found = means_difference(first, second, 10**9, 10**9)
    oracle = stats.ttest_ind(first, second).confidence_interval(0.95)
    assert found.interval == pytest.approx((oracle.low, oracle.high))
    few = means_difference(first, second, 20, 20)
    assert few.interval == pytest.approx(unpaired_difference(np.mean(first), np.mean(second), 20, 20).interval)
    assert means_difference([0.4], [0.5], 1000, 900) == unpaired_difference(0.4, 0.5, 1000, 900)
    assert means_difference([0.40, 0.41], [0.60], 1000, 1000).holds
