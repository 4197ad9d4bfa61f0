"""A first phase of natural training: what it trains, what rests meanwhile, what it costs."""

import pytest
import torch
from torch import nn

from helpers.training import QUIET, assert_resumes_bitwise, tiny
from iaat.config.train_config import TrainConfig
from iaat.errors import UserError
from iaat.experiments.cost import total_passes
from iaat.methods.base import StepContext
from iaat.methods.registry import make_method
from iaat.runs.checkpoint import load_checkpoint
from iaat.runs.run_folder import RunFolder
from iaat.train import train
from iaat.types import Batch

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


def test_the_stated_cost_counts_the_perturbation_of_weights_in_each_phase(tmp_path):
    """In the natural epoch its loss takes a forward and a backward more, then those of TRADES' loss."""
    words = (*FIRST, "--method.steps", "1", "--train.awp", "0.01")
    stated, records = total_passes(tiny("trades", *words)), trained(tmp_path / "run", "trades", *words).metrics()
    assert (records[0].forwards, records[0].backwards) == (2, 2)
    assert stated.forward == pytest.approx(sum(record.forwards for record in records) / len(records))
    assert stated.backward == pytest.approx(sum(record.backwards for record in records) / len(records))


def test_a_method_that_has_begun_has_its_guard_as_soon_as_it_is_restored():
    """A run that stopped between the last step of an epoch and its validation takes no step before the epoch ends."""
    recipe = tiny("nfgsm", *FIRST, "--method.guard_every", "1")

    def made():
        method = make_method(recipe.method_name, recipe.run_method, size=4, device="cpu", natural_epochs=1)
        return method, nn.Sequential(nn.Flatten(), nn.Linear(4, 2))

    batch = Batch(torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 0, 1]), torch.arange(4))
    for epoch, has_guard in ((0, False), (1, True)):
        method, model = made()
        method.prepare(model, batch, StepContext(epoch=epoch, generator=torch.Generator()))
        restored, _ = made()
        restored.load_state_dict(method.state_dict())
        assert (restored.guard is not None) == has_guard


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
