"""The gradient of a training step, plain and under adversarial weight perturbation."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import iaat
from helpers.training import QUIET, assert_resumes_bitwise, tiny
from iaat.config.train_config import TrainConfig
from iaat.errors import UserError
from iaat.experiments.cost import total_passes
from iaat.runs.run_folder import RunFolder
from iaat.runtime.passes import count_passes
from iaat.train import train
from iaat.train.gradient import accumulate_gradient
from iaat.types import StepOutput
from reference.awp_slow import awp_gradients


def problem(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(12, 5, dtype=dtype, generator=generator)
    return x, torch.randint(3, (12,), generator=generator)


def linear(dtype=torch.float64):
    return nn.Linear(5, 3).to(dtype)


def objective_of(x, y):
    def objective(network):
        logits = network(x)
        return StepOutput(F.cross_entropy(logits, y), logits.detach())

    return objective


def normed(dtype=torch.float32):
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).to(dtype).train()


@pytest.mark.parametrize("gamma", [0.005, 0.3])
def test_the_gradient_is_that_of_the_slow_reference(gamma):
    (x, y), model = problem(), linear()
    before = [weight.detach().clone() for weight in model.parameters()]
    accumulate_gradient(model, objective_of(x, y), awp=gamma, computing=nullcontext)
    expected = awp_gradients(model.weight.detach().numpy(), model.bias.detach().numpy(), x.numpy(), y.numpy(), gamma)
    for weight, gradient in zip((model.weight, model.bias), expected, strict=True):
        torch.testing.assert_close(weight.grad, torch.from_numpy(gradient), rtol=1e-9, atol=1e-12)
    assert all(torch.equal(weight, own) for weight, own in zip(model.parameters(), before, strict=True))


def test_without_perturbation_it_is_the_gradient_of_the_loss():
    (x, y), model, twin = problem(), linear(), linear()
    twin.load_state_dict(model.state_dict())
    accumulate_gradient(model, objective_of(x, y), computing=nullcontext)
    F.cross_entropy(twin(x), y).backward()
    assert torch.equal(model.weight.grad, twin.weight.grad)


def test_every_tensor_moves_in_proportion_to_its_norm_and_vectors_not_at_all():
    (x, y), model = problem(torch.float32), normed()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    seen = []

    def objective(network):
        seen.append({name: weight.detach().clone() for name, weight in network.named_parameters()})
        return objective_of(x, y)(network)

    accumulate_gradient(model, objective, awp=0.01, computing=nullcontext)
    assert len(seen) == 2
    for name, weight in before.items():
        moved, own = (seen[1][name] - weight).norm().item(), weight.norm()
        assert moved == pytest.approx(0.01 * own.item() if weight.ndim > 1 else 0, rel=1e-3), name
        assert torch.equal(seen[0][name], weight)


def test_the_loss_is_higher_where_the_gradient_is_taken():
    (x, y), model = problem(), linear()
    losses = []

    def objective(network):
        output = objective_of(x, y)(network)
        losses.append(output.loss.item())
        return output

    output = accumulate_gradient(model, objective, awp=0.1, computing=nullcontext)
    assert losses[1] > losses[0] == output.loss.item()


def test_running_statistics_move_once_at_the_weights_as_they_are():
    (x, y), model, twin = problem(torch.float32), normed(), normed()
    twin.load_state_dict(model.state_dict())
    accumulate_gradient(model, objective_of(x, y), awp=0.1, computing=nullcontext)
    twin(x)
    assert model[1].num_batches_tracked == 1
    assert torch.equal(model[1].running_mean, twin[1].running_mean)
    assert torch.equal(model[1].running_var, twin[1].running_var)
    assert model[1].track_running_stats


def test_weights_come_back_when_the_second_evaluation_fails():
    (x, y), model = problem(), linear()
    before, calls = model.weight.detach().clone(), []

    def objective(network):
        calls.append(None)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return objective_of(x, y)(network)

    with pytest.raises(RuntimeError, match="out of memory"):
        accumulate_gradient(model, objective, awp=0.1, computing=nullcontext)
    assert torch.equal(model.weight, before)


def test_autocast_does_not_keep_the_unperturbed_weights():
    """Its cache of bfloat16 weights lives as long as the context is open."""
    (x, y), model = problem(torch.float32), linear(torch.float32)
    logits = []

    def objective(network):
        out = network(x)
        logits.append(out.detach().clone())
        return StepOutput(F.cross_entropy(out.float(), y), out.detach())

    accumulate_gradient(model, objective, awp=0.5, computing=partial(torch.autocast, "cpu", dtype=torch.bfloat16))
    assert logits[0].dtype == torch.bfloat16
    assert not torch.equal(logits[0], logits[1])


def test_it_costs_one_more_evaluation_of_the_objective():
    (x, y), model = problem(), linear()
    with count_passes(model) as passes:
        accumulate_gradient(model, objective_of(x, y), awp=0.01, computing=nullcontext)
    assert (passes.forward, passes.backward) == (2 * len(x), 2 * len(x))


def test_a_run_perturbs_from_its_epoch_on_and_states_the_cost(tmp_path):
    recipe = tiny("pgd_at", "--method.steps", "1", "--train.awp", "0.01", "--train.awp_from", "1")
    run = RunFolder(tmp_path / "run")
    train(recipe, run, QUIET)
    assert [record.forwards for record in run.metrics()] == [2, 3, 3]
    stated = total_passes(recipe)
    assert (stated.forward, stated.backward) == pytest.approx((8 / 3, 8 / 3))


def test_a_run_with_perturbation_and_average_resumes_bitwise(tmp_path):
    recipe = tiny("iaat", "--method.steps", "1", "--train.awp", "0.01", "--train.ema", "0.9")
    assert_resumes_bitwise(recipe, tmp_path, 5)


def test_a_model_without_weights_to_perturb_is_refused_before_it_is_trained():
    model, data = nn.Sequential(nn.Flatten(), *normed()), (torch.rand(40, 1, 5, 1), torch.arange(40) % 3)
    settings = {"method": "natural", "epochs": 1, "batch_size": 20, "device": "cpu", "quiet": True, "awp": 0.01}
    for name, weight in model.named_parameters():
        weight.requires_grad_("weight" not in name or name == "2.weight")
    frozen = r"two or more dimensions, and all of these are frozen: 1\.weight, 4\.weight; set requires_grad"
    with pytest.raises(UserError, match=rf"train\.awp perturbs weights of {frozen}"):
        iaat.fit(model, data, **settings)
    iaat.fit(model, data, **settings | {"awp_from": 1})  # which never begins
    model[4].weight.requires_grad_()
    iaat.fit(model, data, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"awp": -0.1}, r"train\.awp is -0\.1, which should be"),
        ({"awp": float("nan")}, r"train\.awp = nan"),
        ({"awp": 0.01, "awp_from": -1}, r"train\.awp_from is -1"),
        ({"ema": 1.0}, r"train\.ema is 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        TrainConfig(**settings)
