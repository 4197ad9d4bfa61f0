"""The moving average of the weights: its numbers, BatchNorm, and its place in a run."""

import pytest
import torch
from torch import nn

from helpers.training import QUIET, same, tiny
from iaat.data import sequential_order
from iaat.runs.checkpoint import has_average, load_checkpoint, restore_model
from iaat.runs.run_folder import RunFolder
from iaat.train import train
from iaat.train.ema import ModelEMA


def network():
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def walked(averaged, model, steps):
    """Move weights and statistics at random and take each in; the states on the way."""
    generator, states = torch.Generator().manual_seed(1), []
    for _ in range(steps):
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn(weight.shape, generator=generator))
        model(torch.rand(16, 4, generator=generator))
        states.append({name: value.clone() for name, value in model.state_dict().items()})
        averaged.update(model)
    return states


@pytest.mark.parametrize(("decay", "steps"), [(0.5, 12), (0.999, 30)])
def test_weights_and_statistics_are_the_average_written_out(decay, steps):
    model = network().train()
    averaged = ModelEMA(model, decay)
    states = walked(averaged, model, steps)
    for name, value in averaged.model.state_dict().items():
        if not value.is_floating_point():
            assert value == states[-1][name]
            continue
        expected = states[0][name].double()
        for step, state in enumerate(states[1:], start=1):
            keep = min(decay, (1 + step) / (10 + step))
            expected = keep * expected + (1 - keep) * state[name].double()
        torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=1e-5)


def test_the_first_weights_are_soon_forgotten():
    """A constant decay of 0.999 would keep 74 % of them after 300 steps."""
    model = nn.Linear(1, 1, bias=False)
    averaged = ModelEMA(model, 0.999)
    with torch.no_grad():
        model.weight.fill_(1.0)
        averaged.update(model)
        model.weight.fill_(0.0)
        for _ in range(300):
            averaged.update(model)
    assert averaged.model.weight.item() < 1e-6


def test_the_trained_model_is_left_alone_and_the_average_is_ready_to_evaluate():
    model = network().train()
    averaged = ModelEMA(model, 0.9)
    walked(averaged, model, 3)
    assert model.training
    assert all(weight.requires_grad for weight in model.parameters())
    assert not any(module.training for module in averaged.model.modules())
    assert not any(weight.requires_grad for weight in averaged.model.parameters())


def test_a_restored_average_goes_on_identically():
    model = network().train()
    averaged = ModelEMA(model, 0.99)
    walked(averaged, model, 5)
    other = ModelEMA(network(), 0.99)
    other.load_state_dict(averaged.state_dict())
    for each in (averaged, other):
        each.update(model)
    assert same(averaged.state_dict(), other.state_dict())


def test_buffers_that_have_no_average_are_copied():
    model = network()
    model.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))
    averaged = ModelEMA(model, 0.5, ["mask"])
    walked(averaged, model.train(), 3)
    assert torch.equal(averaged.model.mask, model.mask)
    assert not torch.equal(averaged.model[1].running_mean, model[1].running_mean)


def run_of(folder, *more):
    run = RunFolder(folder)
    recipe = tiny("natural", "--train.epochs", "6", *more)
    return recipe, run, train(recipe, run, QUIET)


def accuracy(model, source, index):
    (batch,) = source.batches(sequential_order(index, len(index)))
    with torch.no_grad():
        return float((model(batch.x).argmax(dim=1) == batch.y).double().mean())


def test_a_run_keeps_both_and_selects_by_the_ema(tmp_path):
    recipe, run, data = run_of(tmp_path / "run", "--train.ema", "0.9")
    state = load_checkpoint(run.checkpoint("last"))
    assert has_average(state)
    ema, raw = restore_model(recipe, state), restore_model(recipe, state, raw=True)
    weight = next(raw.parameters())
    assert torch.equal(weight, next(iter(state["model"][name] for name, _ in raw.named_parameters())))
    assert not torch.equal(weight, next(ema.parameters()))
    validated = run.metrics()[-1].validation_clean
    assert validated == pytest.approx(accuracy(ema, data.train, data.validation_index))


def test_averaging_changes_nothing_of_the_training(tmp_path):
    _, plain, _ = run_of(tmp_path / "plain")
    _, averaged, _ = run_of(tmp_path / "averaged", "--train.ema", "0.9")
    without, with_average = (load_checkpoint(run.checkpoint("last")) for run in (plain, averaged))
    assert not has_average(without)
    assert same(without["model"], with_average["model"])
    assert same(without["optimizer"], with_average["optimizer"])


def test_averaged_statistics_serve_the_averaged_weights(tmp_path):
    """Re-estimated on the training data they give the same predictions but for a few samples."""
    recipe, run, data = run_of(tmp_path / "run", "--train.ema", "0.9", "--train.epochs", "40")
    state = load_checkpoint(run.checkpoint("last"))
    averaged, estimated = restore_model(recipe, state), restore_model(recipe, state)
    norms = [module for module in estimated.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert norms
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
    estimated.train()
    for batch in data.train.batches(sequential_order(data.train_index, 64)):
        estimated(batch.x)
    (batch,) = data.test.batches([data.test_index])
    with torch.no_grad():
        agree = averaged(batch.x).argmax(dim=1) == estimated.eval()(batch.x).argmax(dim=1)
    assert agree.double().mean() > 0.97
