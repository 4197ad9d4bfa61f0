"""Figures over seeds against tables and formulas."""

import numpy as np
import pytest
from scipy import stats

from iaat.statistics import spread


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
