"""Means over seeds of curves and corruptions: only of what was measured alike, and of each run once."""

from dataclasses import replace

import numpy as np
import pytest

from helpers.report_content import minimal
from iaat.report.evaluation_groups import curves_by_axis, evaluation_groups, names_that_differ
from iaat.report.paper_figures import draw_figures
from iaat.report.pooled_results import with_pooled_results
from iaat.report.report_content import Accuracies, Corruptions, RunPart


def curve(run, most, accuracy, **more):
    radius = [0.0, most / 2, most]
    facts = {"suite": f"quick+curve {most}px linf", "n": 100, **more}
    return Accuracies(run, "best", radius, accuracy, float(np.mean(accuracy)), **facts)


def corrupted(run, value, source="published", **more):
    facts = {"suite": "full 8px linf", "n": 100, "source": source, "severities": [3], **more}
    return Corruptions(run, "best", {"fog": [value]}, **facts)


def seeds(**parts):
    runs = [RunPart(f"one seed {seed}", "one", "iaat", seed, 1, {}, 1.0, 1.0, 1.0, {}) for seed in (0, 1)]
    return with_pooled_results(replace(minimal(), runs=runs, **parts))


def members(content, parts):
    return [[part.run for part in group.members] for group in evaluation_groups(content, parts)]


def test_seeds_of_one_evaluation_are_together():
    assert members(seeds(), [curve(0, 8, [1, 0.5, 0.2]), curve(1, 8, [1, 0.4, 0.1])]) == [[0, 1]]
    assert members(seeds(), [corrupted(0, 0.5), corrupted(1, 0.4)]) == [[0, 1]]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"n": 50}, ["n = 100", "n = 50"]),
        ({"suite": "full 8px linf"}, ["quick+curve 8px linf", "full 8px linf"]),
        ({"weights": "raw"}, ["", "raw weights"]),
        ({"checkpoint": "last"}, ["best", "last"]),
        ({"radius": [0.0, 1.0, 8.0]}, ["", ""]),
        ({"norm": "l2"}, ["", ""]),
    ],
)
def test_what_was_measured_otherwise_is_apart_and_named(change, names):
    first = curve(0, 8, [1, 0.5, 0.2])
    parts = [first, replace(first, run=1, **change)]
    assert members(seeds(), parts) == [[0], [1]]
    assert [group.names for group in evaluation_groups(seeds(), parts)] == names


def test_corruptions_of_another_source_are_apart():
    parts = [corrupted(0, 0.5), corrupted(1, 0.4, source="synthetic")]
    assert members(seeds(), parts) == [[0], [1]]
    assert names_that_differ(parts) == ["published", "synthetic"]


def test_corruptions_of_other_severities_are_apart_and_named():
    parts = [corrupted(0, 0.5, severities=[3]), corrupted(1, 0.4, severities=[5])]
    assert members(seeds(), parts) == [[0], [1]]
    assert names_that_differ(parts) == ["severities 3", "severities 5"]


def test_of_one_run_only_one_is_in_a_group():
    parts = [curve(0, 8, [1, 0.5, 0.2]), curve(0, 8, [1, 0.6, 0.2]), curve(1, 8, [1, 0.4, 0.1])]
    assert members(seeds(), parts) == [[0, 1], [0]]


def test_curves_of_other_radii_are_on_other_axes():
    parts = [curve(0, 8, [1, 0.5, 0.2]), curve(0, 4, [1, 0.7, 0.5]), curve(1, 8, [1, 0.4, 0.1])]
    assert curves_by_axis(parts) == [[parts[0], parts[2]], [parts[1]]]


def test_figures_of_one_run_evaluated_twice_are_no_means_over_seeds():
    curves = [curve(0, 8, [1, 0.5, 0.3]), curve(0, 4, [1, 0.7, 0.5])]
    corruptions = [corrupted(0, 0.5), corrupted(0, 0.9, source="synthetic")]
    figures = draw_figures(seeds(curves=curves, corruptions=corruptions))
    lines = [figures[name].axes[0].lines for name in ("accuracy-by-radius", "accuracy-by-radius-2")]
    assert [[line.get_xdata()[-1] for line in found] for found in lines] == [[8], [4]]
    assert [found[0].get_label() for found in lines] == ["one (60.0 %)", "one (73.3 %)"]
    titles = [axis.get_title("left") for axis in figures["corruptions"].axes[:2]]
    assert titles == ["one, published\nmean 50.0 %", "one, synthetic\nmean 90.0 %"]
