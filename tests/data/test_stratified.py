"""Stratified splits and subsets: shares, sides, and what a seed decides."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iaat.data import stratified_split, stratified_subset
from iaat.errors import UserError

several = st.lists(st.integers(2, 30), min_size=1, max_size=6)


def shuffled_labels(sizes: list[int]) -> torch.Tensor:
    labels = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]


@given(sizes=several, fraction=st.floats(0.01, 0.99), seed=st.integers(0, 100))
def test_split_is_a_partition_with_every_class_on_both_sides(sizes: list[int], fraction: float, seed: int) -> None:
    labels = shuffled_labels(sizes)
    kept, held = stratified_split(labels, fraction, seed)
    assert torch.cat([kept, held]).sort().values.tolist() == list(range(len(labels)))
    for part in (kept, held):
        assert torch.equal(part, part.sort().values)
    counts = torch.bincount(labels[held], minlength=len(sizes)).tolist()
    for size, count in zip(sizes, counts, strict=True):
        assert 1 <= count <= size - 1
        assert abs(count - fraction * size) <= 1


def test_split_depends_on_its_seed_only() -> None:
    labels = shuffled_labels([40, 40])
    first = stratified_split(labels, 0.25, 0)[1]
    assert len(first) == 20
    assert torch.equal(stratified_split(labels, 0.25, 0)[1], first)
    assert not torch.equal(stratified_split(labels, 0.25, 1)[1], first)


def test_split_among_some_stays_among_them() -> None:
    labels = shuffled_labels([40, 40])
    among = torch.arange(79, -1, -2)
    kept, held = stratified_split(labels, 0.25, 0, among)
    assert torch.cat([kept, held]).sort().values.tolist() == sorted(among.tolist())


def test_a_class_of_one_sample_is_trained_on() -> None:
    labels = torch.tensor([0, 0, 1, 2, 2])
    kept, held = stratified_split(labels, 0.5, 0)
    assert 2 in kept
    assert labels[held].tolist() == [0, 2]
    with pytest.raises(UserError, match=r"every class has a single training sample, .*data\.limit.*data\.validation"):
        stratified_split(torch.arange(3), 0.5, 0)


@given(sizes=several, data=st.data(), at_least=st.integers(0, 2))
def test_subset_has_the_size_and_the_class_fractions(sizes: list[int], data: st.DataObject, at_least: int) -> None:
    labels = shuffled_labels(sizes)
    n = data.draw(st.integers(at_least * len(sizes), len(labels)))
    subset = stratified_subset(labels, n, 0, at_least=at_least)
    assert len(subset) == len(subset.unique()) == n
    assert torch.equal(subset, subset.sort().values)
    counts = torch.bincount(labels[subset], minlength=len(sizes)).tolist()
    for size, count in zip(sizes, counts, strict=True):
        assert min(at_least, size) <= count <= size
        # Small classes keep their minimum at the expense of the others, at most `at_least` for each.
        slack = 1 + at_least * len(sizes)
        assert abs(count - n * size / len(labels)) <= slack


def test_subset_class_fractions_are_exact_where_they_can_be() -> None:
    labels = shuffled_labels([10, 20, 30])
    assert torch.bincount(labels[stratified_subset(labels, 12, 0)]).tolist() == [2, 4, 6]
    assert torch.bincount(labels[stratified_subset(labels, 13, 0)]).tolist() == [2, 4, 7]


def test_larger_subset_holds_the_smaller() -> None:
    labels = shuffled_labels([50, 50])
    small, large = stratified_subset(labels, 20, 3), stratified_subset(labels, 40, 3)
    assert set(small.tolist()) < set(large.tolist())
    assert not torch.equal(stratified_subset(labels, 20, 4), small)


def test_subset_of_everything_or_more_is_everything() -> None:
    labels = torch.tensor([0, 1, 1])
    assert stratified_subset(labels, 3, 0).tolist() == [0, 1, 2]
    assert stratified_subset(labels, 99, 0).tolist() == [0, 1, 2]


def test_subset_too_small_for_its_classes_is_refused() -> None:
    labels = shuffled_labels([5, 5, 1])
    with pytest.raises(UserError, match=r"a subset of 4 samples is too small for 2 of each of 3 classes.*at least 5"):
        stratified_subset(labels, 4, 0, at_least=2)


@pytest.mark.parametrize("fraction", [20, -1, 0, 1, float("nan"), "0.2"])
def test_what_is_no_fraction_is_refused(fraction):
    with pytest.raises(UserError, match=r"fraction = .*: give the part of each class, between 0 and 1"):
        stratified_split(torch.arange(40) % 2, fraction, 0)


@pytest.mark.parametrize("n", [12.5, -1, "12"])
def test_what_is_no_number_of_samples_is_refused(n):
    with pytest.raises(UserError, match=r"n = .*: give a whole number of samples"):
        stratified_subset(torch.arange(40) % 2, n, 0)
