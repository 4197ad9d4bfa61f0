"""Sentences on radii against histories made by hand."""

import numpy as np
import pytest

from helpers.training import tiny
from iaat.errors import UserError
from iaat.report.examined_images import _reasons
from iaat.report.radius_reasons import radius_reasons
from iaat.report.wall import pack_wall, sentence_of

CLASSES = ("cat", "dog", "bird")
SURE, TORN, REFUSED = (0.9, 0.06, 0.04), (0.48, 0.4, 0.12), (0.2, 0.3, 0.5)
UP = [1, 2, 3, 4, 5, 6]


def said(radii_px, *, chance=SURE, method="iaat", epochs=None, largest_px=None):
    """The sentence on one cat."""
    history = np.array(radii_px, np.float32)[:, None] / 255
    epochs = list(range(1, len(radii_px) + 1)) if epochs is None else epochs
    largest = None if largest_px is None else largest_px / 255
    reasons = radius_reasons(history, epochs, [0], [chance], method=method, largest=largest)
    return reasons.sentence(0, "cat", CLASSES[reasons.other[0]], f"{radii_px[-1]:.2f} px")


@pytest.mark.parametrize(
    ("radii", "sentence"),
    [
        ([1, 2, 1, 0, 0, 0], "Misclassified without attack since epoch 5: its radius is 0."),
        ([0, 0, 0, 0, 0, 0], "Misclassified without attack since epoch 2: its radius is 0."),
        ([0, 0, 1, 0, 0, 0], "Misclassified without attack since epoch 5: its radius is 0."),
        ([3, 2, 3, 2, 1, 0], "The attack of epoch 6 succeeded: its radius fell to 0."),
        (UP, "Grew in 5 of 5 epochs: easy."),
        ([1, 2, 3, 4, 5, 6, 5, 6, 7, 8, 9, 10], "Grew in 10 of 11 epochs: easy."),
        ([9, 8, 6, 6, 5, 3, 2], "Fell in 5 of 6 epochs, to 2.00 px: attacks on it succeed more often than not."),
        ([3, 3, 3, 3, 3, 3, 4, 5, 6, 7], "Grew in 4 of 9 epochs, to 7.00 px."),
        ([4, 4, 4, 4], "Grew in 0 of 3 epochs, to 4.00 px."),
        ([7], "Radii are kept of one epoch alone: 7.00 px after epoch 1."),
        ([0], "Radii are kept of one epoch alone: 0.00 px after epoch 1."),
    ],
)  # fmt: skip
def test_histories_of_a_staircase(radii, sentence):
    assert said(radii) == sentence


def test_a_radius_that_goes_up_and_down_names_both_classes():
    radii = [1, 2, 1, 2, 1, 2, 3, 2]  # up and down: six changes, of which five are turns after the first
    turns = sum((b > a) != (c > b) for a, b, c in zip(radii, radii[1:], radii[2:], strict=False))
    expected = f"Goes up and down, {turns} turns in 7 epochs: the trained model gives cat (48.0 %) and dog (40.0 %)."
    assert said(radii, chance=TORN) == expected
    refused = f"Goes up and down, {turns} turns in 7 epochs: the trained model gives cat (20.0 %) and bird (50.0 %)."
    assert said(radii, chance=REFUSED) == refused


def test_another_prediction_is_said_once():
    more = " The trained model predicts bird (50.0 %; cat: 20.0 %)."
    assert said([1, 0, 0], chance=REFUSED) == f"Misclassified without attack since epoch 3: its radius is 0.{more}"
    assert said(UP, chance=REFUSED) == f"Grew in 5 of 5 epochs: easy.{more}"
    assert "predicts" not in said(UP, chance=(0.5, 0.5, 0.0))


@pytest.mark.parametrize(
    ("radii", "sentence"),
    [
        ([1, 2, 1, 0, 0, 0], "Its radius is 0 since epoch 5."),
        ([3, 2, 3, 2, 1, 0], "Its radius fell to 0 in epoch 6."),
        ([9, 8, 7, 6, 6, 6, 5, 4, 3, 2], "Fell in 7 of 9 epochs, to 2.00 px."),
    ],
)
@pytest.mark.parametrize("method", ["iaat_paper", "cat", "mma", "module:Class"])
def test_nothing_is_said_of_attacks_where_radii_follow_another_rule(radii, sentence, method):
    assert said(radii, method=method) == sentence


def test_a_radius_at_the_largest_allowed():
    assert said([2, 4, 6, 8, 8, 8], largest_px=8) == "At the largest radius allowed since epoch 4: easy."
    assert said([8, 8, 8], largest_px=8) == "At the largest radius allowed since epoch 1: easy."
    assert said([2, 4, 6, 8, 7, 8, 7], largest_px=8).startswith("Goes up and down")


def test_epochs_are_those_kept():
    assert said([1, 0, 0], epochs=[28, 29, 30]) == "Misclassified without attack since epoch 30: its radius is 0."
    assert said([1, 0, 0], epochs=[10, 20, 30]) == "Its radius is 0 since epoch 30."  # it may have risen in between
    assert said(UP, epochs=[5, 10, 15, 20, 25, 30]) == "Grew in 5 of 5 kept epochs: easy."
    assert said([1, 2], epochs=[3, 4]) == "Grew in 1 of 1 epoch, to 2.00 px."
    assert said([2, 1]) == "Grew in 0 of 1 epoch, to 1.00 px."


def test_names_are_put_in_as_they_are():
    reasons = radius_reasons(np.array([[1.0], [0.0], [0.0]]), [1, 2, 3], [0], [REFUSED], method="iaat")
    assert "predicts {epoch} {" in reasons.sentence(0, "{0}", "{epoch} {", 0.0)


@pytest.mark.parametrize(
    ("epochs", "labels", "chance"),
    [([1], [0], [SURE]), ([1, 2], [0, 1], [SURE]), ([1, 2], [0], [SURE, SURE]), ([1, 2], [0], [[1.0]])],
)
def test_shapes_that_do_not_fit_are_refused(epochs, labels, chance):
    with pytest.raises(UserError, match=r"shape|pass"):
        radius_reasons(np.ones((2, 1)), epochs, labels, chance)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_packed_wall_says_the_same(bits):
    draw = np.random.default_rng(0)
    n, epochs = 50, list(range(1, 9))
    history = (draw.integers(0, 4, (8, n)) / 255).astype(np.float32)
    label, chance = draw.integers(0, 3, n), draw.dirichlet(np.ones(3), n)
    reasons = radius_reasons(history, epochs, label, chance, method="iaat")
    order = draw.permutation(n)
    kind = np.full(n, "clear")
    budget = 2 * history.size if bits == 16 else history.size
    wall = pack_wall(
        0, epochs, history[:, order], order, label[order], label[order], kind, reasons=reasons.in_order(order),
        budget=budget,
    )  # fmt: skip
    assert wall.bits == bits
    found = [sentence_of(wall, place, CLASSES) for place in range(n)]
    assert found == [
        reasons.sentence(k, CLASSES[label[k]], CLASSES[reasons.other[k]], f"{255 * history[-1, k]:.2f} px")
        for k in order
    ]
    assert len(set(found)) > 10
    in_l2 = pack_wall(0, epochs, history, order, label, label, kind, reasons=reasons, norm="l2")
    place = next(k for k in range(n) if reasons.templates[reasons.template[k]].startswith("Grew in {count} of 7"))
    assert f" to {history[-1, place]:.3f}." in sentence_of(in_l2, place, CLASSES)
    assert sentence_of(pack_wall(0, epochs, history, order, label, label, kind), 0, CLASSES) == ""


@pytest.mark.parametrize("words", [(), ("--method.spread", "0.5")])
def test_a_learned_radius_of_0_says_nothing_of_a_sample_that_is_attacked_all_the_same(words):
    history = np.array([[1.0], [0.0], [0.0]]) / 255
    reasons = _reasons(tiny("iaat", *words), [1, 2, 3], history, np.array([0]), np.array([[0.6, 0.4]]))
    assert ("without attack" in reasons.sentence(0, "cat", "dog", 0.0)) == (not words)
