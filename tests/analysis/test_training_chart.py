import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from iaat.analysis import SCREEN
from iaat.analysis.charts import draw_training
from iaat.errors import UserError
from iaat.report.run_figures import training_run
from iaat.runs.epoch_record import EpochRecord


def training_curves(*runs, **options):
    records = [[EpochRecord(forwards=1.0, backwards=1.0, **record) for record in metrics] for metrics in runs]
    shown = [
        replace(training_run(metrics), name=f"run {number}", number=number) for number, metrics in enumerate(records)
    ]
    return draw_training(shown, style=SCREEN, **options)


def full(epochs):
    rng = np.random.default_rng(3)
    return [
        {
            "epoch": epoch,
            "loss": float(rng.uniform(0.5, 2)),
            "train_accuracy": float(rng.uniform()),
            "validation_clean": float(rng.uniform()),
            "validation_robust": float(rng.uniform()),
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
    figure = training_curves(metrics, title="a $run$")
    keys = {
        ("training loss", ""): ("loss", 1),
        ("accuracy (%)", "training inputs"): ("train_accuracy", 100),
        ("accuracy (%)", "validation, clean"): ("validation_clean", 100),
        ("accuracy (%)", "validation, robust"): ("validation_robust", 100),
        ("radius (px); shaded: 5\N{EN DASH}95 % of the samples", "mean radius"): ("radius_mean_px", 1),
        ("learning rate", ""): ("lr", 1),
    }
    for (title, name), (key, scale) in keys.items():
        axis = panel(figure, title)
        line = lines(axis)[name] if name else axis.lines[0]
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4, 5, 6])
        np.testing.assert_allclose(line.get_ydata(), [record[key] * scale for record in metrics])
    assert figure.get_suptitle() == "a $run$"
    SCREEN.save(figure, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as image:
        image.verify()
        assert image.width == 1200


def test_the_band_runs_from_the_5th_to_the_95th_percentile():
    metrics = full(4)
    del metrics[1]["radius_quantiles_px"]
    (band,) = [each for axis in training_curves(metrics).axes for each in axis.collections]
    corners = {tuple(corner) for path in band.get_paths() for corner in path.vertices.tolist()}
    assert corners == {(epoch, epoch + q) for epoch in (1, 3, 4) for q in (0.5, 9.5)}


def test_panels_without_data_are_left_out():
    metrics = [{"epoch": 1, "loss": 2.0, "lr": None, "validation_clean": math.nan}, {"epoch": 2, "radius_mean_px": 3.0}]
    figure = training_curves(metrics)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["training loss", "radius (px)"]


def test_missing_values_and_not_finite_ones_leave_a_gap():
    metrics = [{"epoch": 3, "loss": math.inf}, {"epoch": 1, "loss": 2.0}, {"epoch": 2}, {"epoch": 4, "loss": 1.0}]
    (line,) = training_curves(metrics).axes[0].lines
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_array_equal(line.get_ydata(), [2.0, math.nan, math.nan, 1.0])


def test_several_runs_have_a_panel_for_each_quantity_and_a_line_a_run():
    figure = training_curves(full(3), [{"epoch": 1, "loss": 1.0}])
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles[:3] == ["training loss", "accuracy on training inputs (%)", "validation, clean (%)"]
    assert [len(axis.lines) for axis in figure.axes] == [2, 1, 1, 1, 1, 1]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["run 0", "run 1"]


@pytest.mark.parametrize("epochs", [1, 2, 200])
def test_epochs_are_whole_numbers_on_the_axis(epochs):
    figure = training_curves(full(epochs))
    low, high = figure.axes[0].get_xlim()
    ticks = [tick for tick in figure.axes[0].get_xticks() if low <= tick <= high]
    assert ticks
    assert all(tick == round(tick) for tick in ticks)


@pytest.mark.parametrize("metrics", [[], [{"epoch": 1}], [{"epoch": 1, "loss": math.nan}]])
def test_nothing_to_draw_is_refused_with_the_keys_there_may_be(metrics):
    with pytest.raises(UserError, match="validation_robust"):
        training_curves(metrics)


def of_norm(norm, number=0):
    records = [EpochRecord(forwards=1.0, backwards=1.0, **record) for record in full(3)]
    return replace(training_run(records, norm=norm), name=f"run {number}", number=number)


def test_the_radii_of_a_run_in_l2_are_those_of_its_log_by_255():
    run = of_norm("l2")
    axis = panel(draw_training([run], style=SCREEN), "radius (L2); shaded: 5\N{EN DASH}95 % of the samples")
    in_log = [record["radius_mean_px"] for record in full(3)]
    np.testing.assert_allclose(axis.lines[0].get_ydata(), np.array(in_log) / 255)
    assert run.quantiles["50"][0] == pytest.approx((5 + 1) / 255)
    assert run.curves["loss"] == [record["loss"] for record in full(3)]


def test_runs_of_two_norms_have_a_panel_of_radii_each():
    figure = draw_training([of_norm("linf"), of_norm("l2", 1)], style=SCREEN)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert [title for title in titles if "radius" in title] == ["mean radius (px)", "mean radius (L2)"]
    assert len(panel(figure, "mean radius (L2)").lines) == len(panel(figure, "mean radius (px)").lines) == 1
    assert len(panel(figure, "training loss").lines) == 2
