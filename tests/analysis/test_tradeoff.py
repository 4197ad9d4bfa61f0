import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.text import Annotation, Text
from PIL import Image

from iaat.analysis import PRINT, SCREEN
from iaat.analysis.charts import TradeoffPoint
from iaat.analysis.charts.tradeoff import draw_tradeoff
from iaat.errors import UserError


def tradeoff(points, **options):
    figure = draw_tradeoff(points, style=SCREEN, **options)
    with SCREEN.context():
        figure.draw_without_rendering()  # puts the labels where they are written
    return figure


def lines(axis, label):
    return [line for line in axis.lines if line.get_label() == label]


def test_each_run_is_a_faint_point_and_each_group_its_mean_and_sample_deviation(tmp_path):
    clean, robust = np.array([0.50, 0.52, 0.57]), np.array([0.30, 0.27, 0.28])
    points = [TradeoffPoint("ours", c, r) for c, r in zip(clean, robust, strict=True)]
    figure = tradeoff(points, robust_name="PGD 8 px")
    (axis,) = figure.axes
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
    SCREEN.save(figure, tmp_path / "tradeoff.png")
    with Image.open(tmp_path / "tradeoff.png") as image:
        image.verify()
        assert image.width == round(SCREEN.column * SCREEN.dpi)


def test_a_single_run_has_no_bars_and_the_axes_still_span_some_points():
    (axis,) = tradeoff([TradeoffPoint("one", 0.5, 0.3)]).axes
    assert not axis.containers
    assert not lines(axis, "_run")
    for low, high in (axis.get_xlim(), axis.get_ylim()):
        assert high - low == pytest.approx(4)


def test_no_bar_is_cut_at_the_edge():
    points = [TradeoffPoint("a", 0.50, 0.30), TradeoffPoint("a", 0.60, 0.20), TradeoffPoint("b", 0.55, 0.25)]
    (axis,) = tradeoff(points).axes
    ends = np.concatenate([s for bar in axis.containers for each in bar.lines[2] for s in each.get_segments()])
    for values, (low, high) in zip(ends.T, (axis.get_xlim(), axis.get_ylim()), strict=True):
        assert low < values.min()
        assert values.max() < high


def test_joined_groups_are_connected_through_their_means_in_order():
    points = [TradeoffPoint("8", 0.4, 0.3), TradeoffPoint("4", 0.6, 0.2), TradeoffPoint("8", 0.42, 0.32)]
    (axis,) = tradeoff([*points, TradeoffPoint("x", 0.5, 0.5)], joined=["4", "8"]).axes
    (curve,) = lines(axis, "_joined")
    np.testing.assert_allclose(curve.get_xydata(), [[60, 20], [41, 31]])
    with pytest.raises(UserError, match="'9'"):
        tradeoff(points, joined=["9"])


def test_labels_are_plain_text_that_covers_no_other_label_or_marker():
    rng = np.random.default_rng(5)
    names = [f"run $x_{{{number}}}$" for number in range(12)]
    points = [TradeoffPoint(name, *rng.uniform([0.4, 0.2], [0.6, 0.35])) for name in names]
    figure = tradeoff(points)
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


def test_groups_differ_in_marker_as_well_as_in_colour():
    names = [str(number) for number in range(14)]
    (axis,) = tradeoff([TradeoffPoint(n, 0.5, 0.3) for n in names]).axes
    looks = {(lines(axis, name)[0].get_color(), lines(axis, name)[0].get_marker()) for name in names}
    assert len(looks) == 14
    assert len({marker for _, marker in looks}) == 8


@pytest.mark.parametrize("point", [(85.0, 0.3), (0.8, 30.0), (-0.1, 0.3), (float("nan"), 0.3)])
def test_accuracies_that_are_no_fractions_are_refused(point):
    with pytest.raises(UserError, match=r"fractions in \[0, 1\]"):
        tradeoff([TradeoffPoint("a", *point)])


def test_no_points_are_refused():
    with pytest.raises(UserError, match="no points"):
        tradeoff([])


def family(name, *values):
    return [TradeoffPoint(f"{name}-{v}", c, r, family=name) for v, c, r in values]


UNIFORM = family("uniform", ("2px", 0.72, 0.27), ("4px", 0.70, 0.37), ("8px", 0.61, 0.44))


def key(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def texts(axis):
    return [child.get_text() for child in axis.get_children() if isinstance(child, Annotation)]


def test_a_family_shares_its_look_and_only_its_first_point_has_the_whole_name():
    trades = family("trades", ("1", 0.70, 0.36), ("6", 0.62, 0.44))
    points = [*UNIFORM, *trades, TradeoffPoint("iaat", 0.71, 0.39)]
    (axis,) = tradeoff(points, joined=["uniform-8px", "uniform-4px", "uniform-2px"]).axes
    assert texts(axis) == ["uniform-2px", "4px", "8px", "trades-1", "6", "iaat"]
    looks = [{lines(axis, p.label)[0].get_color() for p in group} for group in (UNIFORM, trades, points[-1:])]
    assert [len(colors) for colors in looks] == [1, 1, 1]
    assert len(set.union(*looks)) == 3
    (line,) = lines(axis, "_family")  # of trades; the uniform one is the curve
    np.testing.assert_allclose(line.get_xydata(), [[70, 36], [62, 44]])
    assert line.get_color() in looks[1]


def test_raw_weights_are_hollow_tied_to_their_ema_and_named_once():
    points = [TradeoffPoint("iaat", 0.71, 0.39), TradeoffPoint("iaat", 0.69, 0.36, hollow=True)]
    (axis,) = tradeoff(points).axes
    solid, hollow = lines(axis, "iaat")
    assert solid.get_markerfacecolor() == solid.get_color() == hollow.get_markeredgecolor()
    assert hollow.get_markerfacecolor() == "white"
    (pair,) = lines(axis, "_pair")
    np.testing.assert_allclose(pair.get_xydata(), [[71, 39], [69, 36]])
    assert texts(axis) == ["iaat"]
    assert "hollow: raw weights, not their EMA" in key(axis.figure)


def test_the_curve_has_a_band_of_one_standard_deviation():
    more = [TradeoffPoint(p.label, p.clean, p.robust + 0.02, family=p.family) for p in UNIFORM]
    labels = [p.label for p in UNIFORM]
    (axis,) = tradeoff([*UNIFORM, *more], joined=labels).axes
    (band,) = [each for each in axis.collections if isinstance(each, FillBetweenPolyCollection)]
    (polygon,) = band.get_paths()
    sd = 2 / 2**0.5
    heights = polygon.vertices[np.isclose(polygon.vertices[:, 0], 70), 1]
    assert sorted(set(heights.round(6))) == pytest.approx([38 - sd, 38 + sd], abs=1e-5)


def test_what_is_far_from_the_curve_is_named_and_does_not_shrink_the_rest():
    labels = [p.label for p in UNIFORM]
    natural = TradeoffPoint("natural", 0.75, 0.002)
    (axis,) = tradeoff([*UNIFORM, natural], joined=labels).axes
    assert axis.get_ylim()[0] > 20
    assert not lines(axis, "natural")
    assert "off the picture: natural at 75.0, 0.2" in axis.get_title("left")
    (axis,) = tradeoff([*UNIFORM, natural]).axes  # without a curve nothing is left out
    assert lines(axis, "natural")


def test_a_crowd_of_cells_and_seeds_stays_readable():
    rng = np.random.default_rng(3)
    cells = [("uniform", r, 75 - 1.75 * r, 20 + 3.1 * r) for r in (2, 3, 4, 6, 8)]
    cells += [("trades", b, 71.5 - 1.4 * b, 36 + b) for b in (1, 2, 3, 6, 9)]
    cells += [("iaat", k, 73 - k, 33 + 2 * k) for k in (1, 2, 3)]
    points = [
        TradeoffPoint(f"{name}-{v}", *(np.array([c, r]) + rng.normal(0, 0.6, 2)) / 100, family=name)
        for name, v, c, r in cells
        for _ in range(3)
    ]
    figure = tradeoff(points, joined=[f"uniform-{r}" for r in (8, 6, 4, 3, 2)])
    (axis,) = figure.axes
    notes = [child for child in axis.get_children() if isinstance(child, Annotation)]
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [Text.get_window_extent(note, renderer) for note in notes]
    assert len(boxes) == 13
    means = np.array([note.xy for note in notes])
    markers = axis.transData.transform(means)
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])
        assert not any(box.contains(*marker) for marker in markers)


def test_intervals_are_bars_of_each_run_and_replace_those_of_the_deviation():
    ends = {"clean_interval": (0.48, 0.53), "robust_interval": (0.27, 0.31)}
    points = [TradeoffPoint("ours", 0.5, 0.3, **ends), TradeoffPoint("ours", 0.52, 0.28, **ends)]
    figure = draw_tradeoff(points, style=PRINT)
    (bars,) = figure.axes[0].containers
    np.testing.assert_allclose(bars.lines[2][0].get_segments(), [[[48, 30], [53, 30]], [[48, 28], [53, 28]]])
    assert key(figure) == ["95 % interval of a run", "mean over seeds"]


def test_the_frontier_is_drawn_where_asked_for():
    points = [TradeoffPoint("a", 0.5, 0.3), TradeoffPoint("b", 0.6, 0.2), TradeoffPoint("c", 0.5, 0.2)]
    figure = draw_tradeoff(points, style=PRINT, frontier=["b", "a"])
    np.testing.assert_allclose(lines(figure.axes[0], "_frontier")[0].get_xydata(), [[50, 30], [60, 20]])
    assert key(figure) == ["frontier of differences that hold"]
    assert not lines(draw_tradeoff(points, style=PRINT).axes[0], "_frontier")
