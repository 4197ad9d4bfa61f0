"""A compiled forward: for whole batches, in training alone, and gone where the model is copied."""

import shutil
from copy import deepcopy

import pytest
import torch
from torch import nn

from helpers.training import QUIET, assert_resumes_bitwise, tiny
from iaat.errors import UserError
from iaat.runs.checkpoint import load_checkpoint
from iaat.runs.run_folder import RunFolder
from iaat.train import compiled_forward, train
from iaat.train.compiled_forward import CompiledForward

NEEDS_COMPILER = pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch compiles for CPUs by g++")


@pytest.fixture
def compiled_sizes(monkeypatch):
    """Sizes of the batches that what stands in for the compiled forward has computed."""
    sizes = []

    def stand_in(forward, **_):
        def compiled(x):
            sizes.append(len(x))
            return forward(x)

        return compiled

    monkeypatch.setattr(compiled_forward.torch, "compile", stand_in)
    return sizes


def test_batches_of_other_sizes_are_computed_by_the_model_itself(compiled_sizes):
    model = nn.Linear(3, 2)
    x = torch.rand(8, 3)
    expected = model(x)
    with CompiledForward(model, frozenset({8, 5})).active():
        for size in (8, 5, 3):
            assert torch.equal(model(x[:size]), expected[:size])
    assert compiled_sizes == [8, 5]
    assert torch.equal(model(x), expected)
    assert compiled_sizes == [8, 5]


def test_a_copy_of_the_model_has_its_own_weights_and_forward(compiled_sizes):
    model, x = nn.Linear(3, 2), torch.rand(8, 3)
    with CompiledForward(model, frozenset({8})).active():
        copy = deepcopy(model)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
    assert not torch.equal(copy(x), model(x))
    assert compiled_sizes == []


@pytest.mark.parametrize(
    ("more", "sizes"),
    [([], {64}), (["--train.accumulate", "3"], {21, 22}), (["--train.batch_size", "50"], {50})],
    ids=str,
)
def test_sizes_are_those_of_the_micro_batches_of_a_whole_batch(compiled_sizes, tmp_path, more, sizes):
    recipe = tiny("pgd_at", "--method.steps", "1", "--train.epochs", "1", "--train.compile", "true", *more)
    train(recipe, RunFolder(tmp_path / "run"), QUIET)
    assert set(compiled_sizes) == sizes


@pytest.mark.parametrize("compiled", [True, False])
def test_training_computes_by_it_where_the_recipe_asks_for_it(compiled_sizes, tmp_path, compiled):
    recipe = tiny("natural", "--train.epochs", "1", "--train.compile", str(compiled).lower())
    run = RunFolder(tmp_path / "run")
    train(recipe, run, QUIET)
    assert bool(compiled_sizes) is compiled
    assert not any("forward" in name for name in load_checkpoint(run.checkpoint("last"))["model"])


def test_a_model_that_cannot_be_compiled_ends_in_a_message(monkeypatch):
    def failing(_, **__):
        def compiled(_):
            raise torch._dynamo.exc.TorchDynamoException("\nno compiler\nfurther lines")

        return compiled

    monkeypatch.setattr(compiled_forward.torch, "compile", failing)
    model = nn.Linear(3, 2)
    with (
        CompiledForward(model, frozenset({4})).active(),
        pytest.raises(UserError, match=r"train\.compile: .* \(no compiler\): set train\.compile false"),
    ):
        model(torch.rand(4, 3))


@NEEDS_COMPILER
def test_a_compiled_run_is_about_the_run_and_resumes_bit_for_bit(tmp_path):
    words = ["iaat", "--method.steps", "2", "--train.precision", "fp32"]
    whole, _ = assert_resumes_bitwise(tiny(*words, "--train.compile", "true"), tmp_path, 5)
    plain = RunFolder(tmp_path / "plain")
    train(tiny(*words), plain, QUIET)
    states = [load_checkpoint(run.checkpoint("last"))["model"] for run in (whole, plain)]
    assert any(not torch.equal(first, states[1][name]) for name, first in states[0].items())  # it was compiled
    for name, compiled in states[0].items():
        torch.testing.assert_close(compiled, states[1][name], rtol=2e-2, atol=2e-3)
