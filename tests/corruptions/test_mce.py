"""Mean accuracy and mean corruption error against hand-made tables."""

import pytest

from iaat.corruptions import CORRUPTIONS, EXTRA, STANDARD, mean_corruption_error, relative_mean_corruption_error
from iaat.corruptions.mce import corruption_mean
from iaat.errors import UserError

FLAT = {name: [0.1, 0.2, 0.3, 0.4, 0.5] for name in STANDARD}
TWICE = {name: [2 * rate for rate in rates] for name, rates in FLAT.items()}


def test_a_network_against_itself_is_1_and_half_the_errors_are_a_half():
    assert mean_corruption_error(FLAT, FLAT) == pytest.approx(1)
    assert mean_corruption_error(FLAT, TWICE) == pytest.approx(0.5)
    assert mean_corruption_error(TWICE, FLAT) == pytest.approx(2)


def test_severities_are_summed_before_they_are_divided_and_corruptions_after():
    errors = {"fog": [0.0, 0.0, 0.0, 0.0, 1.0], "snow": [0.1] * 5}
    baseline = {"fog": [0.1, 0.1, 0.1, 0.1, 0.6], "snow": [0.4] * 5}
    expected = (1.0 / 1.0 + 0.5 / 2.0) / 2
    assert mean_corruption_error(errors, baseline, names=("fog", "snow")) == pytest.approx(expected)


def test_the_relative_error_leaves_the_clean_error_out():
    errors, baseline = {"fog": [0.3] * 5}, {"fog": [0.6] * 5}
    value = relative_mean_corruption_error(errors, baseline, clean=0.2, baseline_clean=0.4, names=["fog"])
    assert value == pytest.approx((5 * 0.3 - 5 * 0.2) / (5 * 0.6 - 5 * 0.4))
    assert relative_mean_corruption_error(TWICE, FLAT, clean=0, baseline_clean=0) == pytest.approx(2)


def test_corruptions_that_are_not_asked_for_do_not_count():
    extra = {**FLAT, "spatter": [1.0] * 5}
    assert mean_corruption_error(extra, FLAT) == pytest.approx(1)


@pytest.mark.parametrize("owner", ["errors", "baseline"])
def test_missing_corruptions_are_named(owner):
    partial = {name: rates for name, rates in FLAT.items() if name not in ("fog", "pixelate")}
    tables = (partial, FLAT) if owner == "errors" else (FLAT, partial)
    with pytest.raises(UserError, match=f"{owner} lacks fog, pixelate"):
        mean_corruption_error(*tables)


@pytest.mark.parametrize("rates", [[0.1] * 4, [0.1] * 6, [0.1, 0.1, 0.1, 0.1, 12.0], [float("nan")] * 5, [-0.1] * 5])
def test_what_is_no_row_of_five_error_rates_is_refused(rates):
    with pytest.raises(UserError, match=r"errors\['snow'\] = .*5 error rates"):
        mean_corruption_error({**FLAT, "snow": rates}, FLAT)


def test_a_baseline_that_loses_nothing_is_refused():
    with pytest.raises(UserError, match="loses nothing on 'fog'"):
        mean_corruption_error(FLAT, {**FLAT, "fog": [0.0] * 5})
    with pytest.raises(UserError, match="loses nothing on 'gaussian_noise'"):
        relative_mean_corruption_error(FLAT, FLAT, clean=0.1, baseline_clean=0.3)


@pytest.mark.parametrize("clean", [-0.1, 12.5, float("nan")])
def test_a_clean_error_is_a_rate(clean):
    with pytest.raises(UserError, match=r"clean = .*error rate"):
        relative_mean_corruption_error(FLAT, FLAT, clean=clean, baseline_clean=0.1)
    with pytest.raises(UserError, match="baseline_clean = "):
        relative_mean_corruption_error(FLAT, FLAT, clean=0.1, baseline_clean=clean)


def test_no_corruptions_have_no_mean():
    with pytest.raises(UserError, match="names is empty"):
        mean_corruption_error(FLAT, FLAT, names=())


def test_the_mean_accuracy_is_over_the_standard_ones_where_all_are_there_and_else_over_all():
    every = {name: (0.9, 0.7) if name in EXTRA else (0.6, 0.4) for name in CORRUPTIONS}
    some = {name: every[name] for name in (*STANDARD[:2], *EXTRA[:2])}
    assert corruption_mean(every) == (pytest.approx(0.5), "the standard 15")
    assert corruption_mean(some) == (pytest.approx(0.65), "4")
