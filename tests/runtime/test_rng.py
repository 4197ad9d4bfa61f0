"""Stateless randomness against a slow oracle in Python's unbounded integers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iaat.runtime import rng
from iaat.runtime.rng import derive_seed, fixed_sample, generator, keyed_uniform, permutation

MASK = (1 << 64) - 1
integers = st.integers(-(2**63), 2**63 - 1)


def mix(word: int) -> int:
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    return word ^ (word >> 31)


def slow_uniform(seed: int, epoch: int, index: int, count: int) -> list[float]:
    key = derive_seed(seed, "keyed_uniform", epoch)
    gamma = 0x9E3779B97F4A7C15
    row = mix(((index + 1) * gamma + key) & MASK)
    return [(mix((row + gamma * (j + 1)) & MASK) >> 40) / 2**24 for j in range(count)]


def test_mix_oracle_is_splitmix64() -> None:
    # First outputs of the published generator for seed 1234567 (Rosetta Code's reference values).
    gamma = 0x9E3779B97F4A7C15
    outputs = [mix((1234567 + gamma * step) & MASK) for step in (1, 2)]
    assert outputs == [6457827717110365317, 3203168211198807973]


@given(seed=integers, epoch=st.integers(0, 10**6), index=st.lists(integers, min_size=1, max_size=4))
def test_keyed_uniform_equals_integer_oracle(seed: int, epoch: int, index: list[int]) -> None:
    draws = keyed_uniform(seed, epoch, torch.tensor(index), 3)
    assert draws.dtype == torch.float32
    assert draws.tolist() == [slow_uniform(seed, epoch, i, 3) for i in index]


def test_keyed_uniform_does_not_depend_on_the_batch() -> None:
    whole = keyed_uniform(7, 3, torch.arange(100), 5)
    order = permutation(100, 0, 0)
    assert torch.equal(keyed_uniform(7, 3, order, 5), whole[order])
    assert torch.equal(keyed_uniform(7, 3, torch.tensor([42]), 2)[0], whole[42, :2])


def test_keyed_uniform_leaves_its_index_alone() -> None:
    index = torch.arange(10)
    keyed_uniform(0, 0, index, 2)
    assert torch.equal(index, torch.arange(10))


def test_keyed_uniform_is_uniform() -> None:
    draws = keyed_uniform(0, 0, torch.arange(20_000), 4)
    assert draws.min() >= 0
    assert draws.max() < 1
    n = draws.numel()
    # Five standard errors of the mean and of the variance of a uniform variable.
    assert abs(draws.double().mean() - 1 / 2) < 5 * math.sqrt(1 / 12 / n)
    assert abs(draws.double().var() - 1 / 12) < 5 * math.sqrt(1 / 180 / n)
    for column in draws.T:
        counts = torch.histc(column, bins=64, min=0, max=1)
        expected = len(column) / 64
        chi_square = float(((counts - expected) ** 2 / expected).sum())
        # 63 degrees of freedom: mean 63, standard deviation 11.2.
        assert 63 - 5 * 11.2 < chi_square < 63 + 5 * 11.2


@pytest.mark.parametrize(
    ("seed", "epoch", "shift"), [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 1000)], ids=["seed", "epoch", "next", "far"]
)
def test_keyed_uniform_streams_are_uncorrelated(seed: int, epoch: int, shift: int) -> None:
    first = keyed_uniform(0, 0, torch.arange(20_000), 1)[:, 0]
    second = keyed_uniform(seed, epoch, torch.arange(20_000) + shift, 1)[:, 0]
    correlation = torch.corrcoef(torch.stack([first, second]))[0, 1]
    assert abs(correlation) < 5 / math.sqrt(20_000)


def test_keyed_uniform_columns_are_uncorrelated() -> None:
    correlation = torch.corrcoef(keyed_uniform(0, 0, torch.arange(20_000), 5).T) - torch.eye(5)
    assert correlation.abs().max() < 5 / math.sqrt(20_000)


def test_derive_seed_keeps_its_values() -> None:
    # Checkpoints and published results depend on them; Python's own hash would differ from process to process.
    assert derive_seed(5, "attack", 3) == 3894550242792424715
    assert derive_seed(-1) == 7711259265045266901


@given(st.lists(st.one_of(st.integers(-5, 5), st.text("ab1", max_size=3)), max_size=3), integers)
def test_derive_seed_is_a_63_bit_number(purpose: list[str | int], seed: int) -> None:
    assert 0 <= derive_seed(seed, *purpose) < 2**63


def test_derive_seed_differs_between_purposes() -> None:
    purposes = [(), ("",), ("a",), ("ab", "c"), ("a", "bc"), ("abc",), ("1",), (1,), (1, 1), (11,), ("a", 1), (1, "a")]
    assert len({derive_seed(0, *purpose) for purpose in purposes}) == len(purposes)
    assert derive_seed(0, 1) != derive_seed(1, 0)


def test_derive_seed_refuses_what_is_no_integer() -> None:
    with pytest.raises(TypeError):
        derive_seed(0, 1.5)  # type: ignore[arg-type]


def test_generator_repeats_and_leaves_the_global_state_alone() -> None:
    state = torch.get_rng_state()
    first = torch.rand(4, generator=generator(3, "a"))
    assert torch.equal(first, torch.rand(4, generator=generator(3, "a")))
    assert not torch.equal(first, torch.rand(4, generator=generator(3, "b")))
    permutation(10, 0, 0)
    keyed_uniform(0, 0, torch.arange(3), 2)
    assert torch.equal(torch.get_rng_state(), state)


@given(st.integers(0, 200), integers, st.integers(0, 100))
def test_permutation_visits_each_once(n: int, seed: int, epoch: int) -> None:
    order = permutation(n, seed, epoch)
    assert order.dtype == torch.int64
    assert order.sort().values.tolist() == list(range(n))


def test_permutation_differs_by_seed_and_epoch() -> None:
    orders = [permutation(100, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert torch.equal(orders[0], permutation(100, 0, 0))
    assert len({tuple(order.tolist()) for order in orders}) == 4


def test_a_fixed_sample_is_sorted_and_part_of_every_larger_one() -> None:
    small, large, whole = (fixed_sample(100, count).tolist() for count in (10, 50, None))
    assert small == sorted(permutation(100, 0, 0)[:10].tolist())
    assert set(small) < set(large)
    assert whole == fixed_sample(100, 200).tolist() == list(range(100))


def test_permutation_sends_each_sample_everywhere() -> None:
    places = torch.stack([permutation(20, 0, epoch).argsort() for epoch in range(2000)]).double()
    # The mean place of a sample is 9.5 with a standard error of sqrt((20**2 - 1) / 12 / 2000).
    assert (places.mean(0) - 9.5).abs().max() < 5 * math.sqrt(399 / 12 / 2000)


def _drawn(generator, rows, sampler=torch.rand, numbers=5):
    return rng.draw(sampler, (rows, numbers), generator=generator, device="cpu", dtype=torch.float32)


@pytest.mark.parametrize("sampler", [torch.rand, torch.randn])
def test_processes_that_share_a_batch_draw_what_one_draws(sampler):
    whole, rows = _drawn(rng.batch_generator(3, "attack"), 10, sampler), torch.tensor([3, 4, 9, 9])
    shared = rng.batch_generator(3, "attack")
    with shared.drawing_rows(rows, 10):
        own = _drawn(shared, 4, sampler)
    assert torch.equal(own, whole[rows])


def test_a_shared_generator_moves_alike_whatever_its_rows(monkeypatch):
    monkeypatch.setattr(rng, "_DRAWN_AT_ONCE", 15)  # the batch is drawn in parts
    states, whole = [], _drawn(rng.batch_generator(3, "attack"), 10)
    for rows in (torch.arange(7), torch.arange(7, 10), torch.tensor([0, 0]), torch.arange(10)):
        shared = rng.batch_generator(3, "attack")
        with shared.drawing_rows(rows, 10):
            assert torch.equal(_drawn(shared, len(rows)), whole[rows])
        states.append(shared.get_state())
    assert all(torch.equal(state, states[0]) for state in states)


def test_a_batch_of_other_rows_than_shared_is_drawn_as_it_is():
    shared = rng.batch_generator(3, "attack")
    with shared.drawing_rows(torch.arange(4), 10):
        assert torch.equal(_drawn(shared, 6), _drawn(rng.generator(3, "attack"), 6))


def test_the_global_generator_and_a_plain_one_draw_as_they_always_did():
    torch.manual_seed(5)
    drawn = _drawn(None, 3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3, 5))
    assert torch.equal(_drawn(rng.generator(1, "x"), 3), torch.rand(3, 5, generator=rng.generator(1, "x")))
