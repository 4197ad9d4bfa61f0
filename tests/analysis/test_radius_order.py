"""The order of images by their radii, against a comparison of tuples."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from iaat.analysis.radius_order import radius_order

HISTORIES = arrays.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 12)), elements=st.integers(0, 3))


@given(HISTORIES)
def test_ties_are_broken_by_mean_then_epochs_above_0_then_the_last_of_them(history):
    order = radius_order(history, np.arange(history.shape[1])).tolist()
    assert sorted(order) == list(range(history.shape[1]))

    def key(place):
        column = history[:, place].tolist()
        above = [epoch for epoch, radius in enumerate(column) if radius > 0]
        return column[-1], sum(column), len(above), max(above, default=-1)

    keys = [key(place) for place in order]
    assert keys == sorted(keys)


@given(HISTORIES, st.randoms(use_true_random=False))
def test_the_order_is_that_of_the_samples_wherever_they_stand(history, random):
    index = np.arange(1000, 1000 + history.shape[1])
    mixed = list(range(history.shape[1]))
    random.shuffle(mixed)
    of_mixed = radius_order(history[:, mixed], index[mixed])
    assert index[mixed][of_mixed].tolist() == index[radius_order(history, index)].tolist()


def test_what_is_equal_throughout_is_not_in_the_order_of_the_index():
    # 1,000 images of each of 10 classes, one class after the other, all with radius 0 throughout.
    first = radius_order(np.zeros((3, 10_000)), np.arange(10_000))[:100] // 1000
    assert len(set(first.tolist())) == 10
    assert np.bincount(first).max() < 30
