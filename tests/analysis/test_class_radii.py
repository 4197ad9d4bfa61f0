import numpy as np
import pytest

from iaat.analysis import SCREEN, quantiles_by_class
from iaat.analysis.charts import draw_class_radii
from iaat.errors import UserError


def chart(radii, labels, names, **options):
    return draw_class_radii({"": quantiles_by_class(radii, labels, names)}, names, style=SCREEN, **options)


def sample(classes, count=2000, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    return (rng.gamma(3, 2, count) + rng.permutation(classes)[labels] / 5) / 255, labels


def rows(axis):
    return [text.get_text() for text in axis.get_yticklabels()]


def test_bars_are_the_quantiles_of_each_class_lowest_median_on_top():
    radii, labels = sample(6)
    names = [f"class {number}" for number in range(6)]
    (axis,) = chart(radii, labels, names, title="classes").axes
    quantiles = {name: np.percentile(radii[labels == k] * 255, [5, 25, 50, 75, 95]) for k, name in enumerate(names)}
    order = sorted(names, key=lambda name: quantiles[name][2])
    expected = np.stack([quantiles[name] for name in order])
    assert rows(axis) == order
    np.testing.assert_allclose([[b.get_x(), b.get_x() + b.get_width()] for b in axis.patches], expected[:, [1, 3]])
    np.testing.assert_allclose([s[:, 0] for s in axis.collections[0].get_segments()], expected[:, [0, 4]])
    np.testing.assert_allclose(axis.lines[0].get_xdata(), expected[:, 2])
    assert axis.get_ylim()[0] > axis.get_ylim()[1]


def test_names_stay_text_and_long_ones_are_cut():
    names = ["$x_1$ _a", r"$\frac{1}{2$", "na\u00efve \u03b5 " + "long " * 30]
    (axis,) = chart([0.1, 0.2, 0.3], [0, 1, 2], names).axes
    assert rows(axis)[:2] == names[:2]
    assert rows(axis)[2].startswith("na\u00efve \u03b5 l")
    assert rows(axis)[2].endswith("\u2026")
    assert not any(text.get_parse_math() for text in axis.get_yticklabels())


def test_classes_without_samples_are_left_out():
    (axis,) = chart([0.1, 0.2], [2, 0], ["a", "b", "c"]).axes
    assert rows(axis) == ["c", "a"]


def test_of_many_classes_both_ends_are_drawn():
    radii = np.arange(100) / 1000
    labels = (np.arange(100) * 37) % 100
    names = [str(number) for number in range(100)]
    figure = chart(radii, labels, names)
    (axis,) = figure.axes
    order = [names[label] for label in labels]
    assert rows(axis) == order[:20] + order[-20:]
    assert figure.legends[0].get_title().get_text() == "20 lowest and 20 highest medians of 100 classes"


@pytest.mark.parametrize(
    ("radii", "labels"),
    [([], []), ([0.1], [0, 1]), ([0.1], [3]), ([0.1], [-1]), ([-0.1], [0]), ([0.1], [0.5]), ([[0.1]], [[0]])],
)
def test_arrays_that_cannot_be_are_refused(radii, labels):
    with pytest.raises(UserError):
        chart(radii, labels, ["a", "b", "c"])


def test_radii_in_l2_are_drawn_as_they_are():
    names = ["cat", "dog"]
    radii = {"": quantiles_by_class([0.5, 0.25, 0.75], [0, 1, 1], names, norm="l2")}
    (axis,) = draw_class_radii(radii, names, style=SCREEN, norm="l2").axes
    assert axis.get_xlabel() == "radius (L2)"
    assert labelled_medians(axis) == [0.5, 0.5]


def labelled_medians(axis):
    return next(line.get_xdata().tolist() for line in axis.lines if line.get_label() == "median")
