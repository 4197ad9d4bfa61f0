"""The lines that training prints of epochs."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from helpers.training import QUIET, tiny
from iaat.config.load_recipe import load_recipe
from iaat.runs.epoch_record import EpochRecord
from iaat.runs.run_folder import RunFolder
from iaat.runtime.progress import Reporter
from iaat.train import train
from iaat.train.epoch_summary import epoch_heading, epoch_legend, epoch_line

RECORD = EpochRecord(
    epoch=3,
    forwards=1,
    backwards=1,
    loss=1.0,
    train_accuracy=0.5,
    validation_clean=0.5,
    validation_robust=0.5,
    radius_mean_px=179.17,
)
EXTREME = replace(RECORD, loss=1234.5678, train_accuracy=1.0, validation_clean=1.0, validation_robust=1.0)


@pytest.mark.parametrize(("norm", "radius"), [("linf", " 179.17px  "), ("l2", " 0.703  ")])
def test_radii_are_in_px_in_linf_alone(norm, radius):
    line = epoch_line(RECORD, 5, norm, 1.0, best=False)
    assert radius in line


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("epoch", "epochs"), [(1, 1), (3, 20), (1234, 9999)])
@pytest.mark.parametrize("seconds", [0.04, 119.9, 7199.0, 300_000.0])
def test_figures_stand_below_their_names_in_80_columns(epoch, epochs, norm, seconds):
    heading = epoch_heading(epochs, radii=True)
    line = epoch_line(replace(EXTREME, epoch=epoch), epochs, norm, seconds, best=True)
    assert len(line) <= 80
    assert heading.split() == ["epoch", "loss", "train", "clean", "robust", "radius", "time"]
    figures = line.removesuffix("  best")
    ends = [heading.index(name) + len(name) for name in heading.split()[:-1]]
    assert all(figures[end - 1] != " " and figures[end] == " " for end in ends)


def test_long_epochs_are_in_the_unit_that_fits():
    assert epoch_line(RECORD, 5, "linf", 139.04, best=False).endswith("  2.32 min")
    assert epoch_line(RECORD, 5, "linf", 9000.0, best=False).endswith("  2.5 h")


def test_a_method_without_radii_has_no_column_of_them():
    line = epoch_line(replace(RECORD, radius_mean_px=None), 5, "linf", 1.0, best=False)
    assert len(epoch_heading(5, radii=False)) == len(line)
    assert "radius" not in epoch_heading(5, radii=False)
    assert not any("radius" in each for each in epoch_legend(tiny(), 20, radii=False))


def prose(lines):
    return " ".join(line.removeprefix("# ") for line in lines)


@pytest.mark.parametrize(("select", "best"), [("mean", "mean of the two"), ("robust", "robust"), ("clean", "clean")])
def test_what_columns_mean_is_said_with_counts_and_keys(select, best):
    settings = ["--train.validation_n", "1000", "--train.validation_steps", "7", "--train.select", select]
    for more in ([], ["--evaluate.target", "random"]):
        found = epoch_legend(load_recipe("quickstart", [*settings, *more]), 50_000, radii=True)
        assert max(map(len, found)) <= 80
        text = prose(found)
        assert "clean: on 50,000 validation samples" in text
        assert "PGD-7 (train.validation_steps) on 1,000 of them (train.validation_n)" in text
        assert f"best: {best} (train.select {select})" in text
        assert "train: accuracy under the training attack" in text
    assert "on 20 of them" in prose(epoch_legend(load_recipe("quickstart", settings), 20, radii=True))


def shown_lines(recipe, run, reporter=None, **more):
    reporter = reporter or Reporter(console=Console(file=io.StringIO(), width=80))
    before = len(reporter.console.file.getvalue())
    train(recipe, run, reporter, **more)
    return reporter.console.file.getvalue()[before:].splitlines()


def test_the_heading_comes_before_the_first_epoch_line_of_a_run_and_of_one_that_goes_on(tmp_path):
    recipe, run = tiny("iaat", "--method.steps", "1", "--train.schedule", "constant"), RunFolder(tmp_path / "run")
    shorter = replace(recipe, train=replace(recipe.train, epochs=2))
    legend, heading = epoch_legend(recipe, 20, radii=True), epoch_heading(3, radii=True)
    first = shown_lines(shorter, run)
    start = first.index(heading)
    assert first[start - len(legend) : start] == legend
    assert first[start + 1].split()[0] == "1/2"
    assert first[start + 2].split()[0] == "2/2"
    again = shown_lines(recipe, run, resume=True)
    assert again[-2:][0] == heading
    assert again[-1].split()[0] == "3/3"
    assert legend[0] in again
    assert heading not in shown_lines(recipe, run, resume=True)  # nothing is left to train


def test_runs_of_one_command_say_what_columns_mean_once(tmp_path):
    reporter = Reporter(console=Console(file=io.StringIO(), width=80))
    for name in ("a", "b"):
        recipe = tiny("iaat", "--method.steps", "1", "--train.epochs", "1")
        lines = shown_lines(recipe, RunFolder(tmp_path / name), reporter)
        assert epoch_heading(1, radii=True) in lines
        assert (epoch_legend(recipe, 20, radii=True)[0] in lines) is (name == "a")


def test_a_quiet_run_has_no_lines(tmp_path, capsys):
    train(tiny("natural", "--train.epochs", "1"), RunFolder(tmp_path / "run"), QUIET)
    assert capsys.readouterr().out == ""
