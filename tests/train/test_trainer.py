"""The loop on real digits: it learns, keeps what it should, and an interrupted run ends as the uninterrupted one."""

import dataclasses
import json

import pytest
import torch
import torch.nn.functional as F

from helpers.training import QUIET, assert_resumes_bitwise, same, tiny
from iaat import UserError
from iaat.config.load_recipe import load_recipe
from iaat.data import build_data
from iaat.methods import METHODS, Natural
from iaat.runs.checkpoint import load_checkpoint, save_checkpoint
from iaat.runs.run_folder import RunFolder
from iaat.train import train
from iaat.types import StepOutput

SETTINGS = {
    "natural": ["natural"],
    "pgd_at": ["pgd_at", "--method.steps", "2"],
    "iaat_paper": ["iaat_paper", "--method.steps", "2", "--method.warmup", "1"],
    "iaat in bfloat16": ["iaat", "--method.steps", "2", "--train.precision", "bf16"],
    "iaat": ["iaat", "--method.steps", "2"],
    "single step": ["pgd_at", "--method.inner", "nfgsm", "--method.guard_every", "2"],
    "single-step iaat": ["iaat", "--method.inner", "nfgsm", "--method.guard_every", "2"],
    "train mode": ["iaat", "--method.steps", "2", "--method.mode", "train"],
    "multistep": ["pgd_at", "--method.steps", "1", "--train.schedule", "multistep", "--train.milestones", "[1,2]"],
}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("batch", [3, 5], ids=["between epochs", "within an epoch"])
def test_interrupted_and_resumed_run_is_bitwise_the_uninterrupted_one(tmp_path, setting, batch):
    recipe = tiny(*setting)
    whole, broken = assert_resumes_bitwise(recipe, tmp_path, batch)
    snapshots = sorted(path.name for path in (whole.path / "radii").glob("*"))
    assert len(snapshots) == (3 if recipe.method_name.startswith("iaat") else 0)
    for name in snapshots:
        assert (whole.path / "radii" / name).read_bytes() == (broken.path / "radii" / name).read_bytes()


class Viewing(torch.nn.Module):
    """A network that only takes contiguous inputs."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Linear(256, 10)

    def forward(self, x):
        return self.head(self.conv(x).view(len(x), -1))


def test_a_network_that_fails_in_channels_last_is_trained_without_it(tmp_path, monkeypatch):
    monkeypatch.setattr("iaat.train.build_state.build_model", lambda *_args, **_kwargs: Viewing())
    recipe, run = tiny("pgd_at", "--method.steps", "1", "--train.epochs", "1"), RunFolder(tmp_path / "run")
    with pytest.warns(UserWarning, match="channels_last"):
        train(recipe, run, QUIET)
    assert run.metrics()[0].trained_radius_px == pytest.approx(64)


def test_equal_seeds_give_equal_runs_and_other_seeds_others(tmp_path):
    runs = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        recipe = dataclasses.replace(tiny("pgd_at", "--method.steps", "1"), seed=seed)
        runs.append(RunFolder(tmp_path / name))
        train(recipe, runs[-1], QUIET)
    a, b, c = (load_checkpoint(run.checkpoint("last"))["model"] for run in runs)
    assert same(a, b)
    assert not same(a, c)


def test_training_learns_digits_and_radii_spread(tmp_path):
    changes = {"--model.width": "8", "--train.epochs": "8", "--method.steps": "2"}
    recipe = load_recipe("quickstart", [word for pair in changes.items() for word in pair])
    run = RunFolder(tmp_path / "run")
    data = train(recipe, run, QUIET)
    first, last = run.metrics()[0], run.metrics()[-1]
    assert last.loss < first.loss
    assert last.validation_clean > 0.8
    assert last.radius_quantiles_px["95"] - last.radius_quantiles_px["5"] > 3
    index, radius = run.radii_after(8)
    assert index.tolist() == data.train_index.tolist()
    assert radius.mean() * 255 == pytest.approx(last.radius_mean_px, rel=1e-5)


def test_passes_counted_while_training_are_those_the_method_states(tmp_path):
    paper = ("--method.mode", "batch", "--method.warmup", "1")
    recipe = tiny("iaat_paper", "--method.steps", "2", *paper)
    run = RunFolder(tmp_path / "run")
    train(recipe, run, QUIET)
    counted = [(record.forwards, record.backwards) for record in run.metrics()]
    assert counted == [(4, 3), (10, 7), (10, 7)]


def test_radii_that_start_at_zero_cost_one_pass_and_the_price_follows_them(tmp_path):
    run = RunFolder(tmp_path / "run")
    settings = ("--method.start", "0px", "--method.reach", "0.3", "--method.steps", "4", "--train.epochs", "5")
    train(tiny("iaat", *settings), run, QUIET)
    forwards = [record.forwards for record in run.metrics()]
    assert forwards == [record.backwards for record in run.metrics()]
    assert forwards[0] == 1
    assert 1 < forwards[-1] <= 5


def test_best_checkpoint_is_the_epoch_of_the_highest_validation_accuracy(tmp_path):
    recipe = tiny("natural", "--train.select", "clean", "--train.epochs", "5")
    run = RunFolder(tmp_path / "run")
    train(recipe, run, QUIET)
    accuracies = [record.validation_clean for record in run.metrics()]
    best = load_checkpoint(run.checkpoint("best"))
    assert best["epoch"] == accuracies.index(max(accuracies)) + 1
    assert best["best"] == max(accuracies)


def test_the_test_set_is_not_touched_by_training(tmp_path, monkeypatch):
    def guarded(*args, **kwargs):
        data = build_data(*args, **kwargs)

        def refuse(*_args, **_kwargs):
            raise AssertionError("the test set was read")

        data.test.batches = refuse
        return data

    monkeypatch.setattr("iaat.train.train_recipe.build_data", guarded)
    recipe = tiny("natural")
    train(recipe, RunFolder(tmp_path / "run"), QUIET)


class Toy(Natural):
    """A method the loop has never heard of, with a metric of its own."""

    def prepare(self, model, batch, context):
        def objective(network):
            logits = network(batch.x)
            loss = F.cross_entropy(logits, batch.y)
            return StepOutput(loss, logits.detach(), metrics={"brightness": batch.x.flatten(1).mean(dim=1)})

        return objective


def test_the_loop_trains_any_method_of_the_protocol_and_logs_its_metrics(tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "toy", Toy)
    recipe = tiny("toy")
    run = RunFolder(tmp_path / "run")
    data = train(recipe, run, QUIET)
    (batch,) = data.train.batches([data.train_index])
    assert run.metrics()[0].metrics["brightness"] == pytest.approx(float(batch.x.mean()), rel=1e-4)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    class Exploding(Natural):
        def prepare(self, model, batch, context):
            objective, bad = super().prepare(model, batch, context), context.epoch >= 2

            def exploding(network):
                output = objective(network)
                return dataclasses.replace(output, loss=output.loss * float("nan")) if bad else output

            return exploding

    monkeypatch.setitem(METHODS, "exploding", Exploding)
    recipe = tiny("exploding")
    run = RunFolder(tmp_path / "run")
    with pytest.raises(
        UserError, match=r"epoch 3, step 1: the loss is nan.*start again with a lower train\.lr \(0\.1\)"
    ):
        train(recipe, run, QUIET)
    state = load_checkpoint(run.checkpoint("last"))
    assert state["epoch"] == 2
    assert all(value.isfinite().all() for value in state["model"].values())


def test_resume_refuses_other_data(tmp_path):
    recipe = tiny("natural", "--train.epochs", "1")
    run = RunFolder(tmp_path / "run")
    train(recipe, run, QUIET)
    state = load_checkpoint(run.checkpoint("last"))
    state["data"]["train_size"] = 1400
    save_checkpoint(run.checkpoint("last"), state)
    with pytest.raises(UserError, match=r"1438 samples, the checkpoint was made with 1400.*data\.root"):
        train(recipe, run, QUIET, resume=True)
    state["data"] |= {"train_size": 1438, "train_fingerprint": "0" * 64}
    save_checkpoint(run.checkpoint("last"), state)
    with pytest.raises(UserError, match=r"other labels, classes or files"):
        train(recipe, run, QUIET, resume=True)


def test_metrics_are_means_over_samples_not_the_last_batch(tmp_path, monkeypatch):
    seen = []

    class Recording(Natural):
        def update(self, batch, output):
            seen.append((float(output.loss.detach()), len(batch.y)))

    monkeypatch.setitem(METHODS, "recording", Recording)
    recipe = tiny("recording", "--train.epochs", "1")
    run = RunFolder(tmp_path / "run")
    train(recipe, run, QUIET)
    assert len({size for _, size in seen}) == 2  # the last batch is smaller, so weighting matters
    expected = sum(loss * size for loss, size in seen) / sum(size for _, size in seen)
    record = json.loads(run.metrics_file.read_text())
    assert record["loss"] == pytest.approx(expected, rel=1e-6)
