"""A first phase of natural training: what it trains, what rests meanwhile, what it costs."""

import pytest
import torch

from helpers.training import QUIET, assert_resumes_bitwise, tiny
from iaat.config.train_config import TrainConfig
from iaat.errors import UserError
from iaat.experiments.cost import total_passes
from iaat.runs.checkpoint import load_checkpoint
from iaat.runs.run_folder import RunFolder
from iaat.train import train

FIRST = ("--train.natural_epochs", "1")


def trained(folder, method, *words):
    run = RunFolder(folder)
    train(tiny(method, *words), run, QUIET)
    return run


def test_its_epochs_are_natural_training_to_the_bit(tmp_path):
    natural = trained(tmp_path / "natural", "natural")
    first = trained(tmp_path / "first", "pgd_at", "--method.steps", "2", "--train.natural_epochs", "2")
    keys = ("loss", "train_accuracy", "validation_clean", "forwards", "backwards")
    for mine, theirs in zip(first.metrics()[:2], natural.metrics(), strict=False):
        assert [getattr(mine, key) for key in keys] == [getattr(theirs, key) for key in keys]
    assert first.metrics()[2].forwards == 3


def test_radii_rest_until_the_method_begins(tmp_path):
    run = trained(tmp_path / "run", "iaat", *FIRST, "--method.start", "20px", "--method.steps", "1")
    (_, before), (_, after) = run.radii_after(1), run.radii_after(2)
    assert torch.tensor(before).mul(255).round(decimals=3).unique().tolist() == [20]
    assert (after != before).all()


def test_the_method_counts_its_epochs_from_its_own_beginning(tmp_path):
    """A ramp over two epochs begins after the natural one: radius 0, then half."""
    run = trained(tmp_path / "run", "pgd_at", *FIRST, "--method.ramp", "2", "--method.steps", "1")
    assert [record.trained_radius_px for record in run.metrics()] == [None, 0, pytest.approx(32)]


def test_the_stated_cost_counts_the_phase(tmp_path):
    words = (*FIRST, "--method.steps", "2", "--method.full_steps_at", "0px")
    stated, records = total_passes(tiny("iaat", *words)), trained(tmp_path / "run", "iaat", *words).metrics()
    assert stated.forward == pytest.approx(sum(record.forwards for record in records) / len(records))


def test_the_guard_rests_and_then_checks(tmp_path):
    run = trained(tmp_path / "run", "nfgsm", *FIRST, "--method.guard_every", "1")
    assert [record.guard_gap is not None for record in run.metrics()] == [False, True, True]


def test_the_best_checkpoint_is_one_of_the_method(tmp_path):
    """Selected by clean accuracy, natural epochs would win; the average of the weights does not move at once."""
    words = ("--train.natural_epochs", "2", "--method.radius", "255px", "--method.steps", "1")
    run = trained(tmp_path / "run", "pgd_at", *words, "--train.select", "clean")
    assert load_checkpoint(run.checkpoint("best"))["epoch"] == 3
    records = run.metrics()
    assert records[1].validation_clean > records[2].validation_clean


@pytest.mark.parametrize("batch", [2, 5])
def test_a_run_resumes_bitwise_in_either_phase(batch, tmp_path):
    recipe = tiny("iaat", *FIRST, "--method.inner", "nfgsm", "--method.guard_every", "2", "--train.ema", "0.9")
    assert_resumes_bitwise(recipe, tmp_path, batch)


@pytest.mark.parametrize("epochs", [-1, 3, 4])
def test_a_phase_that_leaves_nothing_to_the_method_is_refused(epochs):
    with pytest.raises(UserError, match=rf"train\.natural_epochs (= {epochs}: give fewer|is {epochs}, )"):
        TrainConfig(epochs=3, natural_epochs=epochs)
