"""What an attack does to the model while it runs, and that nothing of it stays."""

from copy import deepcopy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from iaat.attacks import attack_mode, mixes_samples, nfgsm, pgd, pgd_early_stop
from iaat.errors import UserError

every_mode = pytest.mark.parametrize("mode", ["eval", "train", "batch"])
STEPS = 3


def network(dropout=0.0):
    """Convolutions with two BatchNorm layers with running statistics that are off, so that their use shows."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(4 * 4 * 4, 6),
            nn.BatchNorm1d(6),
            nn.Linear(6, 3),
        )
        for norm in (model[1], model[6]):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    return model


def batch(size=6):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(size, 1, 4, 4, generator=generator), torch.arange(size) % 3


def attack(model, mode, **options):
    x, y = batch()
    return pgd(model, x, y, radius=0.1, steps=STEPS, mode=mode, generator=torch.Generator().manual_seed(1), **options)


def buffers(model):
    return {name: value.clone() for name, value in model.named_buffers()}


def flags(model):
    return (
        [module.training for module in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [norm.track_running_stats for norm in model.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)],
    )


def record(module):
    """Pairs (input, output) of every later call of `module`."""
    calls = []
    module.register_forward_hook(
        lambda _module, inputs, output: calls.append((inputs[0].detach().clone(), output.detach().clone()))
    )
    return calls


@every_mode
@pytest.mark.parametrize("training", [True, False])
def test_running_statistics_move_in_train_mode_only(mode, training):
    model = network().train(training)
    before = buffers(model)
    attack(model, mode)
    after = buffers(model)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == (set(before) if mode == "train" else set())
    assert after["1.num_batches_tracked"] == (STEPS if mode == "train" else 0)


@every_mode
def test_forwards_normalise_as_the_mode_says(mode):
    model = network().train()
    twin = deepcopy(model).train(mode != "eval")
    calls = record(model)
    attack(model, mode)
    assert len(calls) == STEPS
    for x, logits in calls:
        assert torch.equal(logits, twin(x))


def test_eval_and_batch_mode_give_different_logits_here():
    """Otherwise the test above could not tell the modes apart."""
    model, (x, _) = network(), batch()
    assert (model.eval()(x) - model.train()(x)).abs().max() > 0.1


def test_batch_statistics_work_for_a_model_left_in_eval_mode():
    model = network().eval()
    twin = deepcopy(model).train()
    calls = record(model)
    attack(model, "batch")
    assert all(torch.equal(logits, twin(x)) for x, logits in calls)


@every_mode
@pytest.mark.parametrize("training", [True, False])
def test_dropout_acts_in_train_mode_only(mode, training):
    model = network(dropout=0.5).train(training)
    calls = record(model[3])
    attack(model, mode)
    unchanged = [torch.equal(before, after) for before, after in calls]
    assert unchanged == [mode != "train"] * STEPS


@every_mode
def test_a_batchnorm_its_owner_froze_stays_on_running_statistics(mode):
    model = network().train()
    frozen = model[1].eval()
    calls, before = record(frozen), buffers(model)
    attack(model, mode)
    for x, out in calls:
        expected = F.batch_norm(x, frozen.running_mean, frozen.running_var, frozen.weight, frozen.bias, eps=frozen.eps)
        assert torch.equal(out, expected)
    after = buffers(model)
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("1."))
    assert after["6.num_batches_tracked"] == (STEPS if mode == "train" else 0)
    assert not frozen.training
    assert model[6].training


@every_mode
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("interrupt", [False, True])
def test_every_flag_is_given_back(mode, training, interrupt):
    model = network(dropout=0.1).train(training)
    model[3].train(not training)
    model[6].train(not training)
    model[5].weight.requires_grad_(False)
    model[6].track_running_stats = False
    before, calls = flags(model), record(model)

    def stop(_module, _inputs, _output):
        if len(calls) == 2:
            raise InterruptedError

    if interrupt:
        model.register_forward_hook(stop)
        with pytest.raises(InterruptedError):
            attack(model, mode)
    else:
        attack(model, mode)
    assert flags(model) == before


@every_mode
def test_weights_and_their_gradients_are_left_alone(mode):
    model = network().train()
    x, y = batch()
    F.cross_entropy(model(x), y).backward()
    model[0].weight.requires_grad_(False)
    model[7].weight.grad = None
    weights = [(p, p.detach().clone(), p.grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()]
    asked_for = []
    model.register_forward_pre_hook(lambda *_: asked_for.extend(p.requires_grad for p in model.parameters()))

    attack(model, mode, loss="kl")

    assert not any(asked_for)
    for p, value, grad, grad_value in weights:
        assert torch.equal(p, value)
        assert p.grad is grad
        assert grad is None or torch.equal(grad, grad_value)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"0.weight"}


def test_the_input_gets_no_gradient_and_the_result_no_graph():
    model, (x, y) = network(), batch()
    x.requires_grad_()
    original = x.detach().clone()
    x_adv = pgd(model, x, y, radius=0.1)
    assert x.grad is None
    assert torch.equal(x, original)
    assert not x_adv.requires_grad
    assert x_adv.data_ptr() != x.data_ptr()


@pytest.mark.parametrize("attack", [pgd, pgd_early_stop, partial(pgd_early_stop, restarts=2), nfgsm])
def test_without_random_start_and_movement_the_result_is_still_a_copy(attack):
    model, (x, y) = network(), batch()
    x_adv = attack(model, x, y, radius=0.0, x_init=x)
    assert torch.equal(x_adv, x)
    assert x_adv.data_ptr() != x.data_ptr()


@every_mode
def test_a_caller_without_gradients_gets_the_same_attack(mode):
    model = network().train()
    twin = deepcopy(model)
    expected = attack(model, mode)
    with torch.no_grad():
        assert torch.equal(attack(twin, mode), expected)
        assert not torch.is_grad_enabled()
    assert not torch.equal(expected, batch()[0])


@pytest.mark.parametrize("mode", ["eval", "batch"])
def test_a_graph_built_before_the_attack_still_reaches_every_weight(mode):
    model, twin, (x, y) = network().train(), network().train(), batch()
    loss = F.cross_entropy(model(x), y)
    attack(model, mode)
    loss.backward()
    F.cross_entropy(twin(x), y).backward()
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine.grad, theirs.grad)


def test_unknown_mode_is_refused_with_the_choices():
    with pytest.raises(UserError, match=r"'test'.*eval, train, batch"), attack_mode(network(), "test"):
        pass


@every_mode
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluating"])
@pytest.mark.parametrize("frozen", [True, False], ids=["frozen-norm", "own-norm"])
def test_mixing_is_what_a_smaller_batch_changes(mode, training, frozen):
    """Found without running the model; here it is run, on the whole batch and on half of it."""
    model = network().train(training)
    if frozen:
        for norm in (model[1], model[6]):
            norm.eval()
    x, _ = batch()
    with attack_mode(model, mode):
        differs = not torch.allclose(model(x)[:3], model(x[:3]))
    assert not (differs and not mixes_samples(model, mode))
    if mode != "train":  # where dropout may be at work, it is never trusted
        assert differs == mixes_samples(model, mode)
