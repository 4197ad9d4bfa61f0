import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from iaat.analysis import radius_histogram
from iaat.analysis.pictures.histogram import bin_edges
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


def test_the_last_epochs_bars_count_every_sample_in_its_bin(tmp_path):
    snapshots = {20: drawn(2, 321), 1: drawn(0), 5: drawn(1)}
    figure = radius_histogram(snapshots, tmp_path / "radii.png", reference_px=8, title="radii")
    side = figure.axes[1]
    counts = [bar.get_width() for bar in side.patches]
    assert sum(counts) == 321
    assert side.get_title(loc="left") == "epoch 20"
    for bar, count in zip(side.patches, counts, strict=True):
        low, high = bar.get_y(), bar.get_y() + bar.get_height()
        assert count == ((snapshots[20] * 255 >= low) & (snapshots[20] * 255 < high)).sum()
    with Image.open(tmp_path / "radii.png") as image:
        image.verify()
        assert image.size == (1200, 540)


def test_the_map_has_a_column_per_epoch_that_sums_to_all_samples(tmp_path):
    snapshots = {epoch: drawn(epoch) for epoch in (1, 2, 5, 10)}
    axis = radius_histogram(snapshots, tmp_path / "radii.png").axes[0]
    (mesh,) = axis.collections
    shares = mesh.get_array().filled(0).reshape(-1, 4)
    np.testing.assert_allclose(shares.sum(axis=0), 100)
    np.testing.assert_allclose(mesh.get_coordinates()[0, :, 0], [0.5, 1.5, 3.5, 7.5, 10.5])
    edges = mesh.get_coordinates()[:, 0, 1]
    np.testing.assert_allclose(shares[:, 2], np.histogram(snapshots[5] * 255, edges)[0] / 5)
    median = next(line for line in axis.lines if line.get_label() == "median")
    np.testing.assert_allclose(median.get_ydata(), [np.median(values) * 255 for values in snapshots.values()])


def test_the_reference_is_drawn_in_both_panels_and_inside_them(tmp_path):
    figure = radius_histogram({1: drawn(1), 2: drawn(2)}, tmp_path / "radii.png", reference_px=64)
    for axis in figure.axes[:2]:
        (line,) = [line for line in axis.lines if line.get_label() == "uniform 64 px"]
        np.testing.assert_array_equal(line.get_ydata(), [64, 64])
        assert axis.get_ylim()[1] > 64


def test_a_single_snapshot_is_one_histogram(tmp_path):
    (axis,) = radius_histogram({7: drawn(7)}, tmp_path / "radii.png", reference_px=8).axes
    assert sum(bar.get_height() for bar in axis.patches) == 500
    assert {line.get_label(): line.get_xdata()[0] for line in axis.lines} == {
        "median": pytest.approx(np.median(drawn(7)) * 255),
        "uniform 8 px": 8,
    }


@pytest.mark.parametrize("value", [0.0, 8 / 255, 3.0])
@pytest.mark.parametrize("epochs", [[0], [0, 5]])
def test_equal_radii_fill_one_bin(tmp_path, value, epochs):
    figure = radius_histogram({e: np.full(50, value, np.float32) for e in epochs}, tmp_path / "radii.png")
    bars = figure.axes[len(epochs) - 1].patches
    sizes = [bar.get_width() if len(epochs) > 1 else bar.get_height() for bar in bars]
    assert sorted(sizes)[-2:] == [0, 50]


@pytest.mark.parametrize(
    "snapshots",
    [{}, {1: np.array([])}, {1: np.array([-0.1])}, {1: np.array([np.nan])}, {1: np.ones(3), 2: np.ones((3, 1))}],
)
def test_impossible_radii_are_refused(tmp_path, snapshots):
    with pytest.raises(UserError, match="radii"):
        radius_histogram(snapshots, tmp_path / "radii.png")
