import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib.collections import QuadMesh
from matplotlib.patches import StepPatch
from matplotlib.text import Text
from PIL import Image

from iaat.analysis import PRINT, SCREEN, radius_histograms
from iaat.analysis.charts import draw_radius_histograms
from iaat.analysis.radius_summary import bin_edges
from iaat.errors import UserError


def drawn(seed, count=500):
    return np.random.default_rng(seed).gamma(3, 2.5, count) / 255


@given(st.floats(1e-3, 1e5))
@example(8.1)  # on an edge, and the edge computed comes out below it
@example(4.25)
@example(46.5)
def test_bins_cover_all_radii_and_are_centred_on_multiples_of_a_round_width(top):
    edges = bin_edges(top)
    width = edges[1] - edges[0]
    assert len(edges) - 1 <= 48
    np.testing.assert_allclose(np.diff(edges), width, rtol=1e-9)
    assert edges[0] < 0 < edges[1]
    assert edges[0] == pytest.approx(-width / 2)
    assert edges[-1] > top
    assert edges[-1] - width <= top * (1 + 1e-8)
    mantissa = width / 10.0 ** np.floor(np.log10(width) + 1e-9)
    assert np.isclose(mantissa, [1, 2, 2.5, 5]).any()


def test_bins_of_radii_that_all_move_by_one_step_have_no_checkerboard():
    draw = np.random.default_rng(0)
    radius, snapshots = np.full(400, 12.0), {}
    for epoch in range(1, 25):
        radius = np.maximum(radius + 1.5 * draw.choice([-1, 1], 400), 0)
        snapshots[epoch] = radius / 255
    found = radius_histograms(snapshots)
    filled = np.array(found.counts)[4:] > 0
    inside = [row[np.flatnonzero(row)[0] : np.flatnonzero(row)[-1]] for row in filled]
    assert np.mean([row.mean() for row in inside]) > 0.95
    assert np.diff(found.edges) == pytest.approx(3.0)


def test_radii_that_take_no_common_step_have_round_bins():
    snapshots = {epoch: drawn(epoch) for epoch in (1, 2, 3)}
    edges = radius_histograms(snapshots).edges
    assert edges[0] == pytest.approx(-(edges[1] - edges[0]) / 2)
    assert radius_histograms({1: drawn(0)}).edges == bin_edges(drawn(0).max() * 255).tolist()


def chart(snapshots, style=SCREEN, **options):
    return draw_radius_histograms([radius_histograms(snapshots, "a run")], style=style, **options)


def labelled(axis, name):
    (line,) = [line for line in axis.lines if line.get_label() == name]
    return line


def steps(axis):
    (patch,) = [patch for patch in axis.patches if isinstance(patch, StepPatch)]
    return patch.get_data()


def mesh_of(axis):
    (mesh,) = [each for each in axis.collections if isinstance(each, QuadMesh)]
    return mesh


def test_the_histogram_of_the_last_epoch_counts_every_sample_in_its_bin(tmp_path):
    snapshots = {20: drawn(2, 321), 1: drawn(0), 5: drawn(1)}
    figure = chart(snapshots, reference=8, title="radii")
    counted = steps(figure.axes[1])
    assert sum(counted.values) == 321
    assert figure.axes[1].get_title(loc="left") == "epoch 20"
    for low, high, count in zip(counted.edges, counted.edges[1:], counted.values, strict=False):
        assert count == ((snapshots[20] * 255 >= low) & (snapshots[20] * 255 < high)).sum()
    SCREEN.save(figure, tmp_path / "radii.png")
    with Image.open(tmp_path / "radii.png") as image:
        image.verify()
        assert image.width == 1200


def test_the_map_has_a_column_an_epoch_that_sums_to_all_samples():
    snapshots = {epoch: drawn(epoch) for epoch in (1, 2, 5, 10)}
    axis = chart(snapshots).axes[0]
    mesh = mesh_of(axis)
    fractions = mesh.get_array().filled(0).reshape(-1, 4)
    np.testing.assert_allclose(fractions.sum(axis=0), 100)
    np.testing.assert_allclose(mesh.get_coordinates()[0, :, 0], [0.5, 1.5, 3.5, 7.5, 10.5])
    edges = mesh.get_coordinates()[:, 0, 1]
    np.testing.assert_allclose(fractions[:, 2], np.histogram(snapshots[5] * 255, edges)[0] / 5)
    medians = [np.median(values) * 255 for values in snapshots.values()]
    np.testing.assert_allclose(labelled(axis, "median").get_ydata(), medians)


def test_the_reference_is_drawn_in_both_panels_and_inside_them():
    figure = chart({1: drawn(1), 2: drawn(2)}, reference=64)
    for axis in figure.axes[:2]:
        np.testing.assert_array_equal(labelled(axis, "uniform 64 px").get_ydata(), [64, 64])
        assert axis.get_ylim()[1] > 64


def test_a_single_snapshot_is_one_histogram():
    (axis,) = chart({7: drawn(7)}, reference=8).axes
    assert sum(steps(axis).values) == 500
    assert {line.get_label(): line.get_xdata()[0] for line in axis.lines} == {
        "median": pytest.approx(np.median(drawn(7)) * 255),
        "uniform 8 px": 8,
    }


@pytest.mark.parametrize("style", [SCREEN, PRINT])
def test_several_runs_have_a_map_each_on_one_scale(style):
    runs = [radius_histograms({1: drawn(n), 2: drawn(n + 9) * (n + 1)}, f"run {n}") for n in range(3)]
    axes = draw_radius_histograms(runs, style=style).axes[:3]
    assert [axis.get_title(loc="left") for axis in axes] == ["run 0", "run 1", "run 2"]
    assert len({axis.get_ylim() for axis in axes}) == 1
    assert axes[0].get_ylim()[1] > max(run.edges[-1] for run in runs)
    assert len({mesh_of(axis).norm.vmax for axis in axes}) == 1


@pytest.mark.parametrize("value", [0.0, 8 / 255, 3.0])
@pytest.mark.parametrize("epochs", [[0], [0, 5]])
def test_equal_radii_fill_one_bin(value, epochs):
    figure = chart({e: np.full(50, value, np.float32) for e in epochs})
    assert sorted(steps(figure.axes[len(epochs) - 1]).values)[-2:] == [0, 50]


@pytest.mark.parametrize(
    "snapshots",
    [{}, {1: np.array([])}, {1: np.array([-0.1])}, {1: np.array([np.nan])}, {1: np.ones(3), 2: np.ones((3, 1))}],
)
def test_impossible_radii_are_refused(snapshots):
    with pytest.raises(UserError, match="radii"):
        radius_histograms(snapshots)


def stairs_in_l2():
    """Radii in L2 that all go up or down by 0.0125 in every epoch."""
    draw = np.random.default_rng(0)
    radius, snapshots = np.full(400, 0.1), {}
    for epoch in range(1, 25):
        radius = np.maximum(radius + 0.0125 * draw.choice([-1, 1], 400), 0)
        snapshots[epoch] = radius
    return snapshots


def test_radii_in_l2_are_counted_as_they_are_in_bins_of_their_own_step():
    found = radius_histograms(stairs_in_l2(), norm="l2")
    assert found.edges[-1] < 1
    assert np.diff(found.edges) == pytest.approx(0.025)
    assert found.medians[-1] == pytest.approx(np.median(stairs_in_l2()[24]))


def test_charts_of_radii_in_l2_say_so_and_nothing_of_px():
    runs = [radius_histograms(stairs_in_l2(), "a run", norm="l2"), radius_histograms({1: [0.1, 0.2]}, "b", norm="l2")]
    for shown in (runs[:1], runs[1:], runs):
        figure = draw_radius_histograms(shown, style=SCREEN, reference=0.5)
        words = [text.get_text() for text in figure.findobj(Text)]
        assert "uniform L2 0.5" in words
        assert "radius (L2)" in words
        assert not [each for each in words if "px" in each]


def test_radii_of_two_norms_are_not_drawn_on_one_axis():
    runs = [radius_histograms({1: [0.1, 0.2]}, norm=norm) for norm in ("linf", "l2")]
    with pytest.raises(UserError, match="radii of l2 and linf have no unit in common"):
        draw_radius_histograms(runs, style=SCREEN)
