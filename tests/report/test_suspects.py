import json
from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.training import QUIET, tiny
from iaat.analysis.tables import write_table
from iaat.errors import UserError
from iaat.evaluate.training_predictions import class_probabilities, last_model
from iaat.report.suspects import MEASURED, SUSPECT_KINDS, find_suspects
from iaat.report.suspicion_scores import (
    combined_score,
    normalized_margin_score,
    radius_score,
    self_confidence_score,
    wavering,
)
from iaat.runs.run_folder import RunFolder
from iaat.train import train

CLASSES = 4
ROOT = Path(__file__).parents[2]
EPOCHS = 12


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def drawn(seed=0, count=40, epochs=5):
    draw = np.random.default_rng(seed)
    labels = draw.integers(CLASSES, size=count)
    return draw.uniform(0, 0.1, (epochs, count)), labels, softmax(3 * draw.normal(size=(count, CLASSES)))


def planted():
    """100 samples a class: the first 5 mislabelled, the next 10 ambiguous, the next 5 small but sure, the rest clear.

    Radii of half of the classes are ten times those of the other: such a class is not suspect as a whole.
    """
    draw = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), 100)
    kind = np.tile(np.repeat(["label", "ambiguous", "sure", "clear"], [5, 10, 5, 80]), CLASSES)
    scale = np.where(labels % 2, 0.1, 0.01)
    history = np.zeros((EPOCHS, len(labels)))
    clear = kind == "clear"
    history[:, clear] = np.linspace(0.1, 1, EPOCHS)[:, None] * draw.uniform(0.8, 1.2, clear.sum())
    history[1::2, kind == "ambiguous"] = 0.05
    history[-1, kind == "sure"] = 0.05
    truth = np.where(kind == "label", (labels + 1) % CLASSES, labels)
    probabilities = np.full((len(labels), CLASSES), 0.02)
    probabilities[np.arange(len(labels)), truth] = 0.94
    torn = kind == "ambiguous"
    probabilities[torn] = 0.04
    probabilities[torn, labels[torn]], probabilities[torn, (labels[torn] + 1) % CLASSES] = 0.48, 0.44
    return history * scale, labels, probabilities, kind, truth


def test_planted_errors_come_first_and_have_their_kind_and_class():
    history, labels, probabilities, kind, truth = planted()
    found = find_suspects(history, labels, probabilities)
    errors = kind == "label"
    assert sorted(found.rank[errors]) == list(range(1, errors.sum() + 1))
    assert (found.kind == np.where(kind == "sure", "clear", kind)).all()
    assert (found.suggested == np.where(errors, truth, -1)).all()
    assert set(found.kind) == set(SUSPECT_KINDS)


def test_planted_errors_are_found_without_probabilities():
    history, labels, _, kind, _ = planted()
    found = find_suspects(history, labels)
    assert set(kind[found.kind == "ambiguous"]) == {"ambiguous"}
    assert set(found.kind[kind == "ambiguous"]) == {"ambiguous"}
    assert set(found.kind[kind == "label"]) == {"label"}
    assert found.rank[kind == "label"].max() <= (kind == "label").sum()
    assert (found.score == found.radius_score).all()
    assert (found.suggested == -1).all()
    assert found.self_confidence_score is found.normalized_margin_score is None


def test_an_image_of_a_large_radius_is_no_suspect_whatever_the_network_says():
    history, labels, probabilities, kind, _ = planted()
    odd = np.flatnonzero(kind == "clear")[0]
    history[:, odd] *= 3
    probabilities[odd] = np.roll(probabilities[odd], 1)
    assert find_suspects(history, labels, probabilities).kind[odd] == "clear"


@pytest.mark.parametrize(
    ("own", "other", "usual", "kind"),
    [
        (0.04, 0.9, 0.4, "label"),  # sure of another class
        (0.04, 0.45, 0.4, "label"),  # as sure as it usually is of that class
        (0.02, 0.35, 0.4, "ambiguous"),  # less sure
        (0.04, 0.6, 0.8, "label"),  # less sure than usual, but sure
        (0.06, 0.55, 0.4, "ambiguous"),  # the label is not improbable enough
        (0.35, 0.3, 0.4, "ambiguous"),  # less sure of the label than usual
        (0.45, 0.3, 0.4, "clear"),
    ],
)
def test_kinds_of_a_sample_with_a_radius_that_is_always_small(own, other, usual, kind):
    labels = np.array([0, *[0] * 999, *[1] * 1000])
    probabilities = np.full((2000, 20), (1 - usual) / 19)
    probabilities[np.arange(2000), labels] = usual
    probabilities[0] = [own, other, *[(1 - own - other) / 18] * 18]
    history = np.full((5, 2000), 0.1)
    history[:, 0] = 0
    assert find_suspects(history, labels, probabilities).kind[0] == kind


def test_radius_score_against_a_count_by_hand():
    history, labels, _ = drawn(1)
    mean = history.mean(axis=0)
    for number, score in enumerate(radius_score(history, labels)):
        peers = mean[labels == labels[number]]
        larger, equal = (peers > mean[number]).sum(), (peers == mean[number]).sum()
        assert score == pytest.approx((larger + equal / 2) / len(peers))


def test_early_epochs_count_for_the_radius_score():
    late = np.array([[0.0, 1, 2], [0, 1, 2], [9, 3, 3]])  # the first learned by heart at the end
    assert radius_score(late[:2], [0, 0, 0])[0] == radius_score(late[:2], [0, 0, 0]).max()
    assert radius_score([*late, *[[3, 3, 3]] * 2], [0] * 3)[0] < radius_score(late[:2], [0] * 3)[0]


def test_wavering_counts_starts_and_ends_of_growth():
    history = np.array([[0, 1, 2, 3, 4], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 1]]).T
    assert wavering(history) == pytest.approx([0, 1, 0, 2 / 3])
    assert (wavering(history[:2]) == 0).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_the_order_of_the_samples_means_nothing(seed, tied):
    history, labels, probabilities = drawn(seed)
    if tied:
        history, probabilities = np.round(history, 1), np.round(probabilities)
        probabilities[probabilities.sum(axis=1) != 1] = 1 / CLASSES
    order = np.random.default_rng(seed).permutation(len(labels))
    straight = find_suspects(history, labels, probabilities)
    shuffled = find_suspects(history[:, order], labels[order], probabilities[order], index=order)
    facts = ("withheld", "accuracy", "needed")
    for name in set(straight.__slots__) - set(facts):
        assert (getattr(straight, name)[order] == getattr(shuffled, name)).all(), name
    assert [getattr(straight, name) for name in facts] == [getattr(shuffled, name) for name in facts]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2.0**-20, 0.5, 255.0, 1e6]))
def test_the_scale_of_the_radii_means_nothing(seed, factor):
    history, labels, probabilities = drawn(seed)
    plain, scaled = (find_suspects(times * history, labels, probabilities) for times in (1, factor))
    assert (plain.score == scaled.score).all()
    assert (plain.kind == scaled.kind).all()
    assert (plain.rank == scaled.rank).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 4))
def test_scores_are_fractions_and_ranks_are_each_there_once(seed, count, epochs):
    found = find_suspects(*drawn(seed, count, epochs))
    for scores in (found.score, found.radius_score, found.self_confidence_score, found.normalized_margin_score):
        assert (scores >= 0).all()
        assert (scores <= 1).all()
    assert sorted(found.rank) == list(range(1, count + 1))
    assert (np.diff(found.score[np.argsort(found.rank)]) <= 0).all()


def test_equal_samples_share_a_score_and_are_ranked_by_a_draw_of_their_index():
    history, labels, probabilities = np.zeros((3, 6)), [0] * 3 + [1] * 3, np.full((6, 2), 0.5)
    found = find_suspects(history, labels, probabilities, index=[5, 4, 3, 2, 1, 0])
    assert (found.score == 0.5).all()
    assert sorted(found.rank) == [1, 2, 3, 4, 5, 6]
    assert found.rank.tolist() not in ([6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6])
    again = find_suspects(history, labels, probabilities, index=[0, 1, 2, 3, 4, 5])
    assert again.rank.tolist() == found.rank[::-1].tolist()
    assert (found.suggested == -1).all()
    assert set(found.kind) == {"clear"}


def test_a_class_of_one_sample_and_a_data_set_of_one_class():
    assert radius_score([[0.0, 1, 2]], [0, 1, 1])[0] == 0.5
    found = find_suspects([[0.1, 0.2]], [0, 0], [[1.0], [1.0]])
    assert found.suggested.tolist() == [-1, -1]
    assert found.self_confidence_score.tolist() == found.normalized_margin_score.tolist() == [0, 0]


def test_no_samples():
    for probabilities in (None, np.empty((0, 3))):
        found = find_suspects(np.empty((2, 0)), np.empty(0, dtype=int), probabilities)
        assert len(found.rank) == found.table(["a", "b", "c"]).num_rows == 0


def test_nothing_given_is_changed():
    history, labels, probabilities = drawn()
    copies = history.copy(), labels.copy(), probabilities.copy()
    find_suspects(history, labels, probabilities)
    assert all((left == right).all() for left, right in zip(copies, (history, labels, probabilities), strict=True))


def test_combined_score_at_its_ends():
    history, labels, probabilities = drawn()
    by_radius, confidence = radius_score(history, labels), self_confidence_score(probabilities, labels)
    assert (combined_score(by_radius, confidence, weight=1) == by_radius).all()
    assert (np.argsort(combined_score(by_radius, confidence, weight=0)) == np.argsort(confidence)).all()


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_cleanlab(seed):
    rank = pytest.importorskip("cleanlab.rank", reason="the bench extra is not installed")
    _, labels, probabilities = drawn(seed, 200)
    for method, mine in (("self_confidence", self_confidence_score), ("normalized_margin", normalized_margin_score)):
        theirs = rank.get_label_quality_scores(labels, probabilities, method=method, adjust_pred_probs=False)
        assert mine(probabilities, labels) == pytest.approx(1 - theirs, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"history": np.zeros(3)}, r"history: expected radii \[epochs, samples\], one epoch or more; got shape \[3\]"),
        ({"history": np.zeros((0, 3))}, "one epoch or more"),
        ({"history": [[0.1, np.nan, 0]]}, "history: every radius must be a finite number"),
        ({"history": [[0.1, -0.1, 0]]}, "history: every radius must be a finite number"),
        ({"history": [["a", "b", "c"]]}, "history: every radius must be a finite number"),
        ({"labels": [0, 1]}, r"labels: expected shape \[3\]"),
        ({"labels": [0, 1, -1]}, "labels: -1 is no class"),
        ({"labels": [0, 1, 2]}, "labels: 2 is out of range: the probabilities are of 2 classes"),
        ({"labels": [0.0, 1.0, 1.0]}, "labels: expected integers"),
        ({"probabilities": [[0.5, 0.5]] * 2}, r"labels: expected shape \[2\]|probabilities: there are 2"),
        ({"probabilities": [0.5, 0.5, 0.5]}, r"probabilities: expected \[samples, classes\]"),
        ({"probabilities": [[2.0, -1.0]] * 3}, "probabilities: every row must be"),
        ({"probabilities": [[0.5, 0.6]] * 3}, "probabilities: every row must be"),
        ({"probabilities": [[np.nan, 0.6]] * 3}, "probabilities: every row must be"),
        ({"index": [0, 1]}, r"index: expected shape \[3\]"),
        ({"index": [0, 1, 1]}, "index: some positions are there twice"),
    ],
)
def test_wrong_input_is_named(change, words):
    given = {"history": np.zeros((1, 3)), "labels": [0, 1, 1], "probabilities": [[0.5, 0.5]] * 3, "index": None}
    given |= change
    with pytest.raises(UserError, match=words):
        find_suspects(given["history"], given["labels"], given["probabilities"], index=given["index"])


def test_the_table_is_sorted_and_its_hostile_names_are_text(tmp_path):
    history, labels, probabilities, kind, _ = planted()
    found = find_suspects(history, labels, probabilities, index=np.arange(len(labels))[::-1])
    classes = ["=1+1", "@cmd", "ca\x1b[31mt", 'a,"b"\n\udcff']
    paths = [f"-dir/{number}\u202e.png" for number in range(len(labels))]
    table = found.table(classes, paths)
    assert table["rank"].to_pylist() == list(range(1, len(labels) + 1))
    first = table.slice(0, (kind == "label").sum()).to_pylist()
    assert {row["kind"] for row in first} == {"label"}
    assert all(row["suggested"] is not None and row["suggested"] != row["label"] for row in first)
    write_table(table, tmp_path / "suspects.csv")
    text = (tmp_path / "suspects.csv").read_text(encoding="utf-8")
    assert "\x1b" not in text
    back = pyarrow.csv.read_csv(
        tmp_path / "suspects.csv", parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True)
    )
    assert back.num_rows == len(labels)
    for name in ("label", "path"):
        assert not any(value.startswith(("=", "@", "-", "+")) for value in back[name].to_pylist())
    assert back["score"].to_pylist() == pytest.approx(table["score"].to_pylist(), rel=1e-5)


def test_the_table_says_null_for_what_is_not_known():
    row = find_suspects([[0.1, 8 / 255]], [0, 0]).table(["a"]).to_pylist()[0]
    assert row["suggested"] is row["self_confidence_score"] is row["normalized_margin_score"] is None
    assert (row["radius_px"], row["radius"]) == (pytest.approx(8), pytest.approx(8 / 255))


def test_the_table_wants_a_name_for_every_class_and_a_path_for_every_sample():
    found = find_suspects([[0.1, 0.2]], [0, 1], index=[3, 7])
    with pytest.raises(UserError, match=r"label: .* is out of range"):
        found.table(["a"])
    with pytest.raises(UserError, match="paths: there are 7, but samples with index up to 7"):
        found.table(["a", "b"], ["x"] * 7)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    recipe, run = tiny(), RunFolder(tmp_path_factory.mktemp("suspects") / "run")
    return run, recipe, train(recipe, run, QUIET)


def test_suspects_of_a_run(trained):
    run, recipe, data = trained
    index, history = run.radius_history()
    probabilities = class_probabilities(last_model(run, recipe, data), data.train, index, 64, QUIET)
    found = find_suspects(history, data.train.labels.numpy()[index], probabilities, index=index)
    assert found.index.tolist() == data.train_index.tolist()
    assert found.label.tolist() == data.train.labels[data.train_index].tolist()
    assert found.radius == pytest.approx(run.radii_after(3)[1])
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(len(found.index)))
    assert found.self_confidence_score == pytest.approx(self_confidence_score(probabilities, found.label))


def small_radii(count, classes=CLASSES):
    """Radii of which those of the first sample are the smallest of its class."""
    history = np.tile(np.linspace(0.01, 0.1, count), (4, 1))
    return history, np.arange(count) % classes


def confident(labels, classes=CLASSES, sure=0.94):
    chances = np.full((len(labels), classes), (1 - sure) / (classes - 1))
    chances[np.arange(len(labels)), labels] = sure
    return chances


def test_an_image_between_two_other_classes_is_not_called_a_label_error():
    history, labels = small_radii(80)
    chances = confident(labels)
    assert labels[0] == 0
    kinds = {}
    for row in ([0.02, 0.90, 0.05, 0.03], [0.03, 0.45, 0.42, 0.10], [0.02, 0.62, 0.33, 0.03], [0.02, 0.66, 0.29, 0.03]):
        chances[0] = row
        found = find_suspects(history, labels, chances)
        kinds[row[1]] = str(found.kind[0])
        assert found.withheld == (found.kind[0] != "label")
        assert found.suggested[0] == 1
    # The suggestion has to be twice as probable as any third class.
    assert kinds == {0.90: "label", 0.45: "ambiguous", 0.62: "ambiguous", 0.66: "label"}


@pytest.mark.parametrize(("classes", "needed"), [(2, 1 - 2 / 3 * 0.5), (4, 0.5), (10, 0.4)])
def test_a_model_that_is_not_accurate_calls_no_label_an_error(classes, needed):
    count = 100 * classes
    history, labels = small_radii(count, classes)
    for correct in (needed + 0.02, needed - 0.02):
        # Wrong predictions on the samples of the largest radii, and one sure one on the smallest.
        predicted = labels.copy()
        missed = np.arange(count)[round(correct * count) :]
        predicted[missed] = (labels[missed] + 1) % classes
        predicted[0] = (labels[0] + 1) % classes
        found = find_suspects(history, labels, confident(predicted, classes))
        assert found.accuracy == pytest.approx(correct, abs=2 / count)
        assert found.needed == pytest.approx(needed)
        called = {str(found.kind[0])}
        assert called == ({"label"} if correct > needed else {"ambiguous"})
        notes = " ".join(found.notes())
        if correct > needed:
            assert f"of {count:,} images are suspected of a label error" in notes
            assert "53 % (symmetric 5 %)" in notes
        else:
            assert "label" not in set(found.kind)
            assert f"predicts the labels of {100 * found.accuracy:.0f} % of these images" in notes
            assert notes.endswith("1 with a small radius and another prediction is withheld.")


def test_precision_on_the_page_is_that_of_the_result_files():
    """The percentages are means over seeds of the runs that were not used to choose the scores."""
    for name, data in (("CIFAR-10", "cifar10"), ("digits", "digits")):
        file = ROOT / f"benchmarks/results/label-noise-{data}-amd-epyc-1t-2026-11-25.json"
        rows = [row for row in json.loads(file.read_text())["rows"] if not row["chosen on"]]
        for noise, percent in MEASURED[name].items():
            kind, rate = noise.replace("pairs", "pair").removesuffix(" %").split(" ")
            found = [row["kinds"]["label"] for row in rows if row["noise"] == f"{kind}-{rate}"]
            wrong, samples = (np.mean([each[key] for each in found]) for key in ("wrong", "samples"))
            assert percent == round(100 * wrong / samples)


def test_equal_scores_are_ranked_by_the_history_of_the_radius():
    # All have the mean radius 1 and so one score: rows are samples, columns epochs.
    history = np.array([[1, 1, 1], [2, 1, 0], [0, 3, 0], [3, 0, 0]]).T
    found = find_suspects(history, [0] * 4, np.full((4, 2), 0.5))
    assert (found.score == 0.5).all()
    assert found.rank.tolist() == [4, 3, 2, 1]
