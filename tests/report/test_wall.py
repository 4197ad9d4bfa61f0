"""Images packed for the wall: what a reader of the columns finds again."""

import base64

import numpy as np
import pytest

from iaat.report.suspects import SUSPECT_KINDS
from iaat.report.wall import pack_wall

N = 7


def packed(history, budget=10**6):
    n = np.shape(history)[1]
    label = np.arange(n) % 3
    kind = np.array([SUSPECT_KINDS[k % 3] for k in range(n)])
    epochs = list(range(1, len(history) + 1))
    return pack_wall(
        2, epochs, np.asarray(history, np.float32), 70000 + np.arange(n), label, label[::-1], kind, budget=budget
    )


def column(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype)


@pytest.fixture
def history():
    return np.random.default_rng(0).uniform(0, 32 / 255, (5, N)).astype(np.float32)


@pytest.mark.parametrize(("budget", "bits", "dtype"), [(2 * 5 * N, 16, "<u2"), (2 * 5 * N - 1, 8, "u1")])
def test_radii_are_those_of_the_epochs_to_half_a_step(history, budget, bits, dtype):
    wall = packed(history, budget)
    assert (wall.bits, wall.n, wall.epochs, wall.left_out) == (bits, N, [1, 2, 3, 4, 5], 0)
    assert wall.step == pytest.approx(255 * history.max() / (2**bits - 1))
    for radius, text in zip(255 * history, wall.radii, strict=True):
        assert np.abs(column(text, dtype) * wall.step - radius).max() <= 0.5001 * wall.step


def test_the_other_columns_are_whole_numbers(history):
    wall = packed(history)
    assert column(wall.index, "<u4").tolist() == list(range(70000, 70000 + N))
    assert column(wall.label, "<u2").tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert column(wall.prediction, "<u2").tolist() == [0, 2, 1, 0, 2, 1, 0]
    assert column(wall.kind, "u1").tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_too_many_epochs_are_thinned_and_counted():
    wall = packed(np.tile(np.linspace(0.001, 0.1, 21)[:, None], (1, N)), budget=5 * N)
    assert (wall.bits, wall.epochs, wall.left_out) == (8, [1, 6, 11, 16, 21], 16)
    assert len(wall.radii) == 5
    assert column(wall.radii[-1], "u1").tolist() == [255] * N


def test_radii_that_are_all_zero():
    wall = packed(np.zeros((2, N)))
    assert all(not column(text, "<u2").any() for text in wall.radii)
    assert wall.step > 0
