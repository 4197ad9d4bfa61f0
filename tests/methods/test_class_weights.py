"""Weights of classes: their scale, and the loss of every method against a mean that is written out."""

import pytest
import torch

from helpers.training import QUIET, assert_resumes_bitwise, tiny
from iaat import UserError
from iaat.experiments.cost import total_passes
from iaat.methods import METHODS, PGDATConfig
from iaat.methods.method_config import MethodConfig
from iaat.methods.registry import make_method
from iaat.runs.run_folder import RunFolder
from iaat.train import train
from methods.settings import EPOCHS, SETTINGS, SIZE, context, digits, network, one_each

COUNTS = torch.tensor([10, 30, 60])


@pytest.mark.parametrize("given", ["balanced", [1.0, 1.0, 5.0], [0.0, 2.0, 1.0]])
def test_weights_have_a_mean_of_1_over_the_training_samples(given):
    weights = PGDATConfig(class_weights=given).for_classes(COUNTS).weights
    assert float((weights * COUNTS).sum() / COUNTS.sum()) == pytest.approx(1)
    ratios = 1 / COUNTS if given == "balanced" else torch.tensor(given)
    torch.testing.assert_close(weights / weights[1], ratios / ratios[1])


def test_classes_are_alike_by_default_and_one_without_samples_is_no_division_by_0():
    assert PGDATConfig().for_classes(COUNTS).weights is None
    assert bool(PGDATConfig(class_weights="balanced").for_classes(torch.tensor([0, 5])).weights.isfinite().all())


@pytest.mark.parametrize("name", one_each())
def test_every_method_weighs_the_loss_of_each_sample(name):
    case, batch = SETTINGS[name], digits()
    weights = torch.tensor([1.0, 2, 3, 1, 2, 3, 1, 2, 3, 1])

    def loss(per_class):
        cls = METHODS[case.method]
        config = cls.Config(**case.options, **({} if per_class is None else {"class_weights": per_class})).over(EPOCHS)
        method = cls(config.for_classes(torch.ones(10)), size=SIZE, device="cpu")
        if method.radii is not None:
            method.radii[:] = torch.arange(SIZE) / 5 / 255
        return method.prepare(model, batch, context())(model).loss

    model = network().eval()
    # A weight on one class alone is the sum over its samples.
    alone = torch.stack([loss([float(number == one) for number in range(10)]) / 10 for one in range(10)])
    torch.testing.assert_close(alone.sum(), loss(None))
    torch.testing.assert_close((alone * weights).sum() * 10 / weights.sum(), loss(weights.tolist()))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("balance", r"method\.class_weights 'balance' is not known \(did you mean 'balanced'"),
        ([1.0, -1.0], "not negative"),
        ([0.0, 0.0], "not all 0"),
        ([1.0, float("nan")], "finite"),
    ],
)
def test_wrong_weights_are_named(given, message):
    with pytest.raises(UserError, match=message):
        MethodConfig(class_weights=given)


@pytest.mark.parametrize("given", ["balanced", [1.0, 5.0]])
def test_weights_that_nobody_has_worked_out_are_refused(given):
    """In a loop of one's own: without them all classes would count alike."""
    labels = torch.tensor([0, 0, 0, 1])
    config = METHODS["iaat"].Config(class_weights=given).over(epochs=30)
    with pytest.raises(UserError, match=r"config\.for_classes\(torch\.bincount\(labels\)\)"):
        METHODS["iaat"](config, size=4, device="cpu")
    with pytest.raises(UserError, match="for_classes"):
        make_method("iaat", config, size=4, device="cpu")
    assert METHODS["iaat"](config.for_classes(torch.bincount(labels)), size=4, device="cpu").config.weights is not None


def test_the_cost_of_a_recipe_with_weights_needs_no_data():
    assert total_passes(tiny("iaat", "--method.class_weights", "balanced")).forward > 1


def test_another_number_of_weights_than_classes_is_refused_before_training(tmp_path):
    recipe = tiny("natural", "--method.class_weights", "[1,2]")
    with pytest.raises(UserError, match="has 2 numbers for 10 classes"):
        train(recipe, RunFolder(tmp_path / "run"), QUIET)


def test_a_run_with_weights_resumes_bit_for_bit_and_differs_from_one_without(tmp_path):
    words = ("iaat", "--method.steps", "1", "--method.class_weights")
    whole, _ = assert_resumes_bitwise(tiny(*words, "[1,1,1,1,1,1,1,1,1,9]"), tmp_path, 5)
    train(tiny(*words, "none"), RunFolder(tmp_path / "plain"), QUIET)
    assert whole.metrics()[0].loss != RunFolder(tmp_path / "plain").metrics()[0].loss
    assert whole.recipe().method.class_weights == [*[1.0] * 9, 9.0]


def test_weights_follow_the_samples_that_are_trained_on():
    counts = torch.tensor([1, 3])
    method = make_method("natural", MethodConfig(class_weights="balanced"), size=4, device="cpu", class_counts=counts)
    assert method.config.weights.tolist() == pytest.approx([2, 2 / 3])
