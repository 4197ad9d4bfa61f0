"""Steps that are not finite: not taken, named by epoch, step and samples, and answered as the recipe says."""

import dataclasses
import json

import pytest
import torch

import iaat
from helpers.training import QUIET, Interrupting, same, tiny
from iaat import UserError
from iaat.data import build_data
from iaat.methods import METHODS, StepContext
from iaat.methods.iaat import IAAT
from iaat.runs.checkpoint import load_checkpoint
from iaat.runs.run_folder import RunFolder
from iaat.train import train
from iaat.train.build_state import build_state
from iaat.train.nonfinite import NonfiniteError, NonfiniteMonitor, unbounded_buffers
from iaat.train.step_snapshot import StepSnapshot

# 180 samples in batches of 64: 3 steps an epoch, 9 in all; step 5 is the second of the second epoch.
FAULTY = 5
POISONS = ("loss", "gradient", "statistics", "overflow")


def poisonous(kind, steps, method=IAAT):
    """A method with steps of these numbers, counted from 1 over all calls, that have something that is not finite."""

    class Poisonous(method):
        calls = 0

        def prepare(self, model, batch, context):
            type(self).calls += 1
            objective = super().prepare(model, batch, context)
            return objective if type(self).calls not in steps else lambda network: poisoned(objective, network, kind)

    return Poisonous


def poisoned(objective, network, kind):
    if kind == "statistics":
        norm = next(module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d))
        norm.running_var.fill_(torch.inf)  # in training mode nothing else shows it
        return objective(network)
    output = objective(network)
    if kind == "loss":
        return dataclasses.replace(output, loss=output.loss * float("nan"), logits=output.logits * float("nan"))
    if kind == "gradient":  # the root of 0 has none
        return dataclasses.replace(output, loss=output.loss + (next(network.parameters()).sum() * 0).abs().sqrt())
    return dataclasses.replace(output, loss=output.loss + 1e30 * next(network.parameters()).sum())


def recipe(*more):
    return tiny("iaat", "--method.steps", "2", "--train.ema", "0.9", *more)


def run_with(monkeypatch, folder, kind, steps, *more, reporter=QUIET, resume=False):
    method = poisonous(kind, steps)
    monkeypatch.setitem(METHODS, "iaat", method)
    run = RunFolder(folder)
    train(recipe(*more), run, reporter, resume=resume)
    return run


@pytest.mark.parametrize("kind", POISONS)
def test_a_step_is_named_and_not_taken_and_training_stops(monkeypatch, tmp_path, kind):
    run = RunFolder(tmp_path / "run")
    cause = {
        "loss": "the loss is nan", "gradient": "the norm of the gradient is nan",
        "statistics": "the norm of BatchNorm's statistics is inf", "overflow": "the norm of the gradient is inf",
    }[kind]  # fmt: skip
    with pytest.raises(
        NonfiniteError, match=rf"epoch 2, step 2: .*{cause}.*not taken.*go on with --train\.nonfinite skip"
    ):
        run_with(monkeypatch, run.path, kind, {FAULTY})
    (record,) = [json.loads(line) for line in (run.path / "faults.jsonl").read_text().splitlines()]
    data = build_data(recipe().data, seed=0)
    assert record["index"] == data.order(64, seed=0, epoch=1)[1].tolist()
    state = load_checkpoint(run.checkpoint("last"))
    assert state["epoch"] == 1
    assert not state["faults"]


@pytest.mark.parametrize("kind", POISONS)
def test_skipping_leaves_every_number_finite_and_radii_in_their_bounds(monkeypatch, tmp_path, kind):
    run = run_with(
        monkeypatch, tmp_path / "run", kind, {1, FAULTY}, "--train.nonfinite", "skip", "--method.cap", "70px"
    )
    state = load_checkpoint(run.checkpoint("last"))
    tensors = [*state["model"].values(), *state["averaged"]["model"].values(), state["method"]["radii"]["values"]]
    tensors += [slot["momentum_buffer"] for slot in state["optimizer"]["state"].values()]
    assert len(tensors) > 10
    assert all(bool(tensor.isfinite().all()) for tensor in tensors)
    radii = state["method"]["radii"]["values"] * 255
    assert float(radii.min()) >= 0
    assert float(radii.max()) <= 70.001
    assert [record.skipped_steps or 0 for record in run.metrics()] == [1, 1, 0]
    assert all(record.loss < float("inf") for record in run.metrics())
    assert len((run.path / "faults.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("name", ["iaat", "iaat_trades", "cat", "mma"])
def test_a_failed_step_moves_no_radius_of_any_method_that_has_them(monkeypatch, tmp_path, name):
    method, seen = poisonous("loss", {3}, METHODS[name]), []
    update = METHODS[name].update

    def updating(self, batch, output):
        seen.append(batch.index)
        update(self, batch, output)

    monkeypatch.setattr(method, "update", updating)
    monkeypatch.setitem(METHODS, name, method)
    run = RunFolder(tmp_path / "run")
    own = ("--method.c", "1") if name == "cat" else ()
    settings = tiny(name, "--method.steps", "2", "--train.nonfinite", "skip", "--train.epochs", "1", *own)
    train(settings, run, QUIET)
    radii = load_checkpoint(run.checkpoint("last"))["method"]["radii"]["values"]
    _, moved, kept = seen
    assert len(radii[kept].unique()) == 1  # all are where they began
    assert not bool((radii[moved] == radii[kept][0]).all())
    assert bool(radii.isfinite().all())
    assert float(radii.min()) >= 0


@pytest.mark.parametrize("kind", POISONS)
def test_a_step_undone_leaves_the_state_bit_for_bit(kind):
    config = recipe()
    data = build_data(config.data, seed=0)
    state = build_state(config, data, 3, torch.device("cpu"))
    order, faults = data.order(64, seed=0, epoch=0), NonfiniteMonitor(1)
    monkey = poisonous(kind, {2})
    state.method = monkey(config.method.over(3), size=len(data.train), device="cpu")
    state.model.train()
    for number, batch in enumerate(data.train.batches(order[:2], augment=(0, 0))):
        before = snapshot(state)
        undo = StepSnapshot(state, batch.index)
        state.optimizer.zero_grad()
        output = state.method.prepare(state.model, batch, StepContext(0, state.generator))(state.model)
        output.loss.backward()
        state.method.update(batch, output)
        state.step()
        finite = faults.check(number, state.model, output.loss)
        undo.restore_unless(finite)
        assert bool(finite) == (number == 0)
        assert same(snapshot(state), before) == (number == 1)


def snapshot(state):
    """Copies of all that a step changes but counters of steps."""
    saved = state.state_dict()
    keys = ("model", "method")
    picked = {key: saved[key] for key in keys} | {"averaged": saved["averaged"]["model"]}
    picked["momentum"] = [slot["momentum_buffer"] for slot in saved["optimizer"]["state"].values()]
    return copied(picked)


def copied(value):
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value


def test_a_first_step_undone_is_as_if_it_had_never_been(monkeypatch, tmp_path):
    """Momentum that a step has made is taken back with it: SGD from 0 and SGD from nothing take the same next step."""
    weight = torch.nn.Parameter(torch.ones(3))
    for undone in (False, True):
        model = torch.nn.Linear(3, 1, bias=False)
        torch.nn.init.ones_(model.weight)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        state = type("State", (), {"model": model, "optimizer": optimizer, "ema": None})()
        state.method = type("Method", (), {"radii": None})()
        batch = type("Batch", (), {"index": torch.arange(1)})()
        if undone:
            undo = StepSnapshot(state, batch.index)
            model.weight.grad = torch.full((1, 3), torch.nan)
            optimizer.step()
            undo.restore_unless(torch.tensor(False))
        model.weight.grad = torch.full((1, 3), 2.0)
        optimizer.step()
        assert torch.equal(model.weight.detach()[0], weight.detach() * 0.8)


def test_going_back_is_to_the_last_epoch_at_a_lower_rate_and_the_same_every_time(monkeypatch, tmp_path):
    words = ("--train.nonfinite", "rollback", "--train.save_steps", "1")
    run = run_with(monkeypatch, tmp_path / "a", "loss", {FAULTY}, *words)
    rates = [record.lr for record in run.metrics()]
    plain = run_with(monkeypatch, tmp_path / "plain", "loss", set(), *words)
    usual = [record.lr for record in plain.metrics()]
    assert rates == [usual[0], usual[1] / 2, usual[2] / 2]
    assert plain.metrics()[0] == run.metrics()[0]
    assert not (plain.path / "faults.jsonl").exists()
    assert len((run.path / "faults.jsonl").read_text().splitlines()) == 1
    state = load_checkpoint(run.checkpoint("last"))
    assert state["lr_share"] == 0.5
    assert [record["epoch"] for record in state["faults"]] == [2]
    again = run_with(monkeypatch, tmp_path / "b", "loss", {FAULTY}, *words)
    assert same(load_checkpoint(again.checkpoint("last"))["model"], state["model"])


def test_a_fault_in_the_first_epoch_goes_back_to_the_beginning(monkeypatch, tmp_path):
    run = run_with(monkeypatch, tmp_path / "run", "loss", {2}, "--train.nonfinite", "rollback")
    assert [record.epoch for record in run.metrics()] == [1, 2, 3]
    assert load_checkpoint(run.checkpoint("last"))["lr_share"] == 0.5


def test_a_run_interrupted_after_a_return_ends_as_one_that_was_not(monkeypatch, tmp_path):
    settings, states = recipe("--train.nonfinite", "rollback", "--train.save_steps", "1"), []
    marked = build_data(settings.data, seed=0).order(64, seed=0, epoch=1)[1][0]

    class Poisonous(IAAT):
        """A fault that lies in data and rate: at the full rate the second step of the second epoch fails."""

        def prepare(self, model, batch, context):
            objective = super().prepare(model, batch, context)
            bad = context.epoch == 1 and states[-1].lr_factor == 1 and bool((batch.index == marked).any())
            return (lambda network: poisoned(objective, network, "loss")) if bad else objective

    def building(*args, **kwargs):
        states.append(build_state(*args, **kwargs))
        return states[-1]

    monkeypatch.setattr("iaat.train.trainer.build_state", building)
    monkeypatch.setitem(METHODS, "iaat", Poisonous)
    whole, broken = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "broken")
    train(settings, whole, QUIET)
    for number in (5, 2, 3):
        with pytest.raises(KeyboardInterrupt):
            train(settings, broken, Interrupting(number), resume=True)
    train(settings, broken, QUIET, resume=True)
    assert load_checkpoint(whole.checkpoint("last"))["lr_share"] == 0.5
    assert same(load_checkpoint(whole.checkpoint("last")), load_checkpoint(broken.checkpoint("last")))
    assert (whole.path / "faults.jsonl").read_bytes() == (broken.path / "faults.jsonl").read_bytes()


def test_weights_that_a_step_has_made_infinite_are_seen():
    faults, model = NonfiniteMonitor(1), torch.nn.Linear(2, 2)
    model.weight.grad = torch.ones(2, 2)
    assert bool(faults.check(0, model, torch.tensor(1.0)))
    model.weight.data.mul_(3e38).mul_(1e5)
    assert not bool(faults.check(1, model, torch.tensor(1.0)))
    assert faults.read() == [(1, "the norm of the new weights is inf")]


class Masked(torch.nn.Module):
    """A network with a causal mask, as attention has, and BatchNorm."""

    def __init__(self, masked):
        super().__init__()
        self.norm, self.head = torch.nn.BatchNorm1d(16), torch.nn.Linear(4, 3)
        self.register_buffer("mask", torch.full((4, 4), masked).triu(1))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x):
        rows = self.norm(x.flatten(1)).view(-1, 4, 4)
        weights = (rows @ rows.mT + self.mask).softmax(dim=-1)
        return self.head((self.scale * weights @ rows).mean(1))


@pytest.mark.parametrize("masked", [-torch.inf, torch.finfo(torch.float32).min])
def test_a_model_with_an_infinite_or_very_large_buffer_is_trained(masked):
    torch.manual_seed(0)
    net, y = Masked(masked), torch.arange(60) % 3
    x = torch.rand(60, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    run = iaat.fit(net, (x, y), epochs=2, batch_size=20, ema=0.5, steps=1, lr=0.1, device="cpu", quiet=True)
    assert len(run.history) == 2
    state = net.state_dict()
    assert torch.equal(state.pop("mask"), Masked(masked).mask)
    assert all(bool(value.isfinite().all()) for value in state.values())
    assert bool(run.model(x).isfinite().all())


def test_running_statistics_and_buffers_that_were_finite_are_checked_whatever_else_is_infinite():
    for name in ("norm.running_var", "scale"):
        model = Masked(-torch.inf)
        assert unbounded_buffers(model) == {"mask"}
        faults = NonfiniteMonitor(1, unchecked=unbounded_buffers(model))
        assert bool(faults.check(0, model, torch.tensor(1.0)))
        model.get_buffer(name).fill_(torch.inf)
        assert not bool(faults.check(1, model, torch.tensor(1.0)))
    assert unbounded_buffers(model) == {"mask", "scale"}
    model = Masked(0.0)
    model.norm.running_var.fill_(torch.inf)
    assert unbounded_buffers(model) == frozenset()


@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_too_many_faults_end_the_run(monkeypatch, tmp_path, policy):
    words = ("--train.nonfinite", policy, "--train.nonfinite_limit", "3")
    with pytest.raises(UserError, match=r"one too many, train\.nonfinite_limit is 3"):
        run_with(monkeypatch, tmp_path / "run", "loss", set(range(2, 99)), *words)


def test_an_epoch_without_a_step_taken_ends_the_run(monkeypatch, tmp_path):
    with pytest.raises(UserError, match="no step of epoch 2 was finite"):
        run_with(monkeypatch, tmp_path / "run", "loss", {4, 5, 6}, "--train.nonfinite", "skip")


def test_a_fault_that_nobody_has_read_is_read_before_failing_data_has_the_moment_saved(monkeypatch, tmp_path):
    class Vanishing(type(QUIET)):
        def track(self, items, **_):
            for number, item in enumerate(items):
                if number == 2:
                    raise UserError("the data is gone")
                yield item

    monkeypatch.setattr("iaat.train.trainer.NonfiniteMonitor", lambda *_: NonfiniteMonitor(99))  # as on an accelerator
    run = RunFolder(tmp_path / "run")
    with pytest.raises(NonfiniteError, match="epoch 1, step 2"):
        run_with(monkeypatch, run.path, "loss", {2}, reporter=Vanishing(quiet=True))
    assert not list(run.path.rglob("*.pt"))
    with pytest.raises(UserError, match="the data is gone"):
        run_with(monkeypatch, tmp_path / "whole", "loss", set(), reporter=Vanishing(quiet=True))
    assert [file.name for file in (tmp_path / "whole").rglob("*.pt")] == ["0000-000002.pt"]


def test_an_accelerator_is_asked_once_in_several_steps():
    faults, model = NonfiniteMonitor(3), torch.nn.Linear(2, 2)
    for step, value in enumerate((1.0, torch.nan, 2.0)):
        assert not faults.due()
        assert bool(faults.check(step, model, torch.tensor(value))) == (value == value)
    assert faults.due()
    assert faults.read() == [(1, "the loss is nan")]
    assert faults.read() == []
