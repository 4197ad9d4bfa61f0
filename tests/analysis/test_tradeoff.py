import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation, Text
from PIL import Image

from iaat.analysis import TradeoffPoint, tradeoff
from iaat.errors import UserError


def lines(axis, label):
    return [line for line in axis.lines if line.get_label() == label]


def test_each_run_is_a_faint_point_and_each_group_its_mean_and_sample_deviation(tmp_path):
    clean, robust = np.array([0.50, 0.52, 0.57]), np.array([0.30, 0.27, 0.28])
    points = [TradeoffPoint("ours", c, r) for c, r in zip(clean, robust, strict=True)]
    (axis,) = tradeoff(points, tmp_path / "tradeoff.png", robust_name="PGD 8 px").axes
    (runs,) = lines(axis, "_run")
    np.testing.assert_allclose(runs.get_xydata(), np.stack([clean, robust], axis=1) * 100)
    (mean,) = lines(axis, "ours")
    np.testing.assert_allclose(mean.get_xydata(), [[clean.mean() * 100, robust.mean() * 100]])
    assert runs.get_alpha() < 0.5
    assert mean.get_alpha() is None
    bars = [bar.get_segments()[0] for bar in axis.containers[0].lines[2]]
    spans = sorted(float(np.ptp(bar, axis=0).max()) / 2 for bar in bars)
    np.testing.assert_allclose(spans, sorted([clean.std(ddof=1) * 100, robust.std(ddof=1) * 100]))
    assert axis.get_xlabel() == "clean accuracy (%)"
    assert axis.get_ylabel() == "PGD 8 px (%)"
    with Image.open(tmp_path / "tradeoff.png") as image:
        image.verify()
        assert image.size == (1200, 750)


def test_a_single_run_has_no_bars_and_the_axes_still_span_some_points(tmp_path):
    (axis,) = tradeoff([TradeoffPoint("one", 0.5, 0.3)], tmp_path / "tradeoff.png").axes
    assert not axis.containers
    assert not lines(axis, "_run")
    for low, high in (axis.get_xlim(), axis.get_ylim()):
        assert high - low == pytest.approx(4)


def test_joined_groups_are_connected_through_their_means_in_order(tmp_path):
    points = [TradeoffPoint("8", 0.4, 0.3), TradeoffPoint("4", 0.6, 0.2), TradeoffPoint("8", 0.42, 0.32)]
    (axis,) = tradeoff([*points, TradeoffPoint("x", 0.5, 0.5)], tmp_path / "tradeoff.png", joined=["4", "8"]).axes
    (curve,) = lines(axis, "_joined")
    np.testing.assert_allclose(curve.get_xydata(), [[60, 20], [41, 31]])
    with pytest.raises(UserError, match="'9'"):
        tradeoff(points, tmp_path / "tradeoff.png", joined=["9"])


def test_labels_are_plain_text_that_covers_no_other_label_or_marker(tmp_path):
    rng = np.random.default_rng(5)
    names = [f"run $x_{{{number}}}$" for number in range(12)]
    points = [TradeoffPoint(name, *rng.uniform([0.4, 0.2], [0.6, 0.35])) for name in names]
    figure = tradeoff(points, tmp_path / "tradeoff.png")
    (axis,) = figure.axes
    notes = [child for child in axis.get_children() if isinstance(child, Annotation)]
    assert [note.get_text() for note in notes] == names
    assert not any(note.get_parse_math() for note in notes)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [Text.get_window_extent(note, renderer) for note in notes]
    markers = axis.transData.transform([[point.clean * 100, point.robust * 100] for point in points])
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])
        assert not any(box.contains(*marker) for marker in markers)
        assert axis.get_window_extent(renderer).padded(1).contains(box.x0, box.y0)
        assert axis.get_window_extent(renderer).padded(1).contains(box.x1, box.y1)


def test_groups_differ_in_marker_as_well_as_in_colour(tmp_path):
    names = [str(number) for number in range(14)]
    (axis,) = tradeoff([TradeoffPoint(n, 0.5, 0.3) for n in names], tmp_path / "tradeoff.png").axes
    looks = {(lines(axis, name)[0].get_color(), lines(axis, name)[0].get_marker()) for name in names}
    assert len(looks) == 14
    assert len({marker for _, marker in looks}) == 8


@pytest.mark.parametrize("point", [(85.0, 0.3), (0.8, 30.0), (-0.1, 0.3), (float("nan"), 0.3)])
def test_accuracies_that_are_no_fractions_are_refused(tmp_path, point):
    with pytest.raises(UserError, match=r"fractions in \[0, 1\]"):
        tradeoff([TradeoffPoint("a", *point)], tmp_path / "tradeoff.png")


def test_no_points_are_refused(tmp_path):
    with pytest.raises(UserError, match="no points"):
        tradeoff([], tmp_path / "tradeoff.png")
