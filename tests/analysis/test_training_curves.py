import math

import numpy as np
import pytest
from PIL import Image

from iaat.analysis import training_curves
from iaat.errors import UserError


def full(epochs):
    rng = np.random.default_rng(3)
    return [
        {
            "epoch": epoch,
            "loss": float(rng.uniform(0.5, 2)),
            "train_accuracy": float(rng.uniform()),
            "holdout_clean": float(rng.uniform()),
            "holdout_robust": float(rng.uniform()),
            "lr": float(rng.uniform(0.01, 0.1)),
            "radius_mean_px": float(rng.uniform(4, 8)),
            "radius_quantiles_px": {str(q): q / 10 + epoch for q in (5, 25, 50, 75, 95)},
        }
        for epoch in range(1, epochs + 1)
    ]


def panel(figure, title):
    return next(axis for axis in figure.axes if axis.get_title(loc="left") == title)


def lines(axis):
    return {line.get_label(): line for line in axis.lines}


def test_every_line_is_its_key_and_accuracies_are_in_percent(tmp_path):
    metrics = full(6)
    figure = training_curves(metrics, tmp_path / "curves.png", title="a $run$")
    keys = {
        ("loss", "loss"): ("loss", 1),
        ("accuracy (%)", "training inputs"): ("train_accuracy", 100),
        ("accuracy (%)", "hold-out, clean"): ("holdout_clean", 100),
        ("accuracy (%)", "hold-out, robust"): ("holdout_robust", 100),
        ("radius (px)", "mean"): ("radius_mean_px", 1),
        ("learning rate", "learning rate"): ("lr", 1),
    }
    for (title, name), (key, scale) in keys.items():
        line = lines(panel(figure, title))[name]
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4, 5, 6])
        np.testing.assert_allclose(line.get_ydata(), [record[key] * scale for record in metrics])
    assert figure.get_suptitle() == "a $run$"
    with Image.open(tmp_path / "curves.png") as image:
        image.verify()
        assert image.size == (1200, 825)


def test_the_band_runs_from_the_5th_to_the_95th_percentile(tmp_path):
    metrics = full(4)
    del metrics[1]["radius_quantiles_px"]
    (band,) = panel(training_curves(metrics, tmp_path / "curves.png"), "radius (px)").collections
    corners = {tuple(corner) for path in band.get_paths() for corner in path.vertices.tolist()}
    assert corners == {(epoch, epoch + q) for epoch in (1, 3, 4) for q in (0.5, 9.5)}


def test_panels_without_data_are_left_out(tmp_path):
    metrics = [{"epoch": 1, "loss": 2.0, "lr": None, "holdout_clean": math.nan}, {"epoch": 2, "radius_mean_px": 3.0}]
    figure = training_curves(metrics, tmp_path / "curves.png")
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["loss", "radius (px)"]


def test_missing_values_are_skipped_and_not_finite_ones_leave_a_gap(tmp_path):
    metrics = [{"epoch": 3, "loss": math.inf}, {"epoch": 1, "loss": 2.0}, {"epoch": 2}, {"epoch": 4, "loss": 1.0}]
    line = lines(panel(training_curves(metrics, tmp_path / "curves.png"), "loss"))["loss"]
    np.testing.assert_array_equal(line.get_xdata(), [1, 3, 4])
    np.testing.assert_array_equal(line.get_ydata(), [2.0, math.nan, 1.0])


def test_records_without_an_epoch_count_from_zero(tmp_path):
    line = lines(panel(training_curves([{"loss": 2.0}, {"loss": 1.0}], tmp_path / "curves.png"), "loss"))["loss"]
    np.testing.assert_array_equal(line.get_xdata(), [0, 1])


@pytest.mark.parametrize("epochs", [1, 2, 200])
def test_epochs_are_whole_numbers_on_the_axis(tmp_path, epochs):
    figure = training_curves(full(epochs), tmp_path / "curves.png")
    low, high = figure.axes[0].get_xlim()
    ticks = [tick for tick in figure.axes[0].get_xticks() if low <= tick <= high]
    assert ticks
    assert all(tick == round(tick) for tick in ticks)


@pytest.mark.parametrize("metrics", [[], [{"epoch": 1}], [{"epoch": 1, "loss": math.nan}]])
def test_nothing_to_draw_is_the_users_to_know(tmp_path, metrics):
    with pytest.raises(UserError, match="holdout_robust"):
        training_curves(metrics, tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())
