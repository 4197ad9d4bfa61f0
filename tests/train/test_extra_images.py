"""Training with extra images: what is counted, recorded and resumed, and how such a run is evaluated without them."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from helpers.training import QUIET, assert_resumes_bitwise, tiny
from iaat import UserError
from iaat.data import build_data
from iaat.evaluate.evaluate_run import load_evaluated
from iaat.evaluate.training_predictions import training_predictions
from iaat.methods import METHODS, Natural
from iaat.report.run_figures import write_radii
from iaat.runs.checkpoint import load_checkpoint
from iaat.runs.run_folder import RunFolder
from iaat.runtime.progress import Reporter
from iaat.train import train
from iaat.train.build_state import build_state
from iaat.types import Batch, StepOutput

N, M = 1438, 300


@pytest.fixture
def file(tmp_path):
    """Shifted training digits."""
    data = build_data(tiny("natural").data, seed=0)
    index = data.train_index.repeat(2)[:M]
    (batch,) = data.train.batches([index])
    image = (batch.x.roll(1, 3) * 255).round().to(torch.uint8)[:, 0]
    np.savez(tmp_path / "more.npz", image=image.numpy(), label=batch.y.numpy())
    return str(tmp_path / "more.npz")


def with_extra(file, method="iaat", *more):
    return tiny(method, "--data.extra", file, "--data.extra_ratio", "0.5", "--train.batch_size", "50", *more)


def test_interrupted_and_resumed_run_is_bitwise_the_uninterrupted_one(tmp_path, file):
    strong = ("--data.cutout", "2", "--data.color", "0.4", "--data.rotate", "5", "--data.zoom", "0.1")
    assert_resumes_bitwise(with_extra(file, "iaat", "--method.steps", "2", *strong), tmp_path / "runs", batch=12)


def test_radii_of_extra_images_are_learned_recorded_and_tabled(tmp_path, file):
    recipe, run = with_extra(file, "iaat", "--method.steps", "2", "--train.epochs", "2"), RunFolder(tmp_path / "run")
    data = train(recipe, run, QUIET)
    assert len(data.train_index) == 180
    assert len(load_checkpoint(run.checkpoint("last"))["method"]["radii"]["values"]) == N + M
    for epoch, extra in ((1, 180), (2, M)):
        index, radius = run.radii_after(epoch)
        assert index[:180].tolist() == data.train_index.tolist()
        assert len(set(index[180:].tolist())) == extra
        assert index[180:].min() >= N
        record = run.metrics()[epoch - 1]
        assert record.radius_mean_px == pytest.approx(radius.mean() * 255, rel=1e-5)
        assert record.radius_quantiles_px["50"] == pytest.approx(np.median(radius) * 255, rel=1e-5)
    moved = run.radii_after(2)[1][180:] != recipe.method.initial
    assert moved.mean() > 0.5
    table, _ = write_radii(run, data.train, training_predictions(run, recipe, data, QUIET))
    assert table["path"].to_pylist()[180:] == [f"more.npz#{position}" for position in range(M)]
    assert table["label_id"].to_pylist() == data.train.labels[table["index"].to_pylist()].tolist()


@pytest.mark.parametrize("weights", ["balanced", "[1, 5, 1, 1, 1, 1, 1, 1, 1, 1]"])
def test_weights_of_classes_have_a_mean_of_1_with_extra_images_of_few_classes(tmp_path, file, weights):
    with np.load(file) as arrays:
        few = arrays["label"] < 3
        np.savez(file, image=arrays["image"][few], label=arrays["label"][few])
    recipe = with_extra(file, "natural", "--method.class_weights", weights)
    data = build_data(recipe.data, seed=0)
    state = build_state(recipe, data, 8, torch.device("cpu"))
    drawn = torch.cat([torch.cat(data.order(50, seed=0, epoch=epoch)) for epoch in range(30)])
    each = state.method.config.weights[data.train.labels[drawn]]
    assert float(each.mean()) == pytest.approx(1, abs=0.02)
    if weights == "balanced":  # all classes have the same part in the loss
        parts = torch.bincount(data.train.labels[drawn], weights=each)
        assert float(parts.max() / parts.min()) == pytest.approx(1, abs=0.1)


class Totals(Reporter):
    """Keeps the totals that progress bars were given, and how much came."""

    def __init__(self):
        super().__init__(quiet=True)
        self.seen = []

    def track(self, items, *, total, size, what="", whole=False):
        came = 0
        for item in items:
            came += size(item)
            yield item
        self.seen.append((whole, total, came))


def test_samples_of_an_epoch_are_counted_with_the_extra_ones(tmp_path, file, monkeypatch):
    came = []

    class Recording(Natural):
        def prepare(self, model, batch, context):
            came.append(batch)
            return super().prepare(model, batch, context)

    monkeypatch.setitem(METHODS, "recording", Recording)
    recipe, run, reporter = with_extra(file, "recording", "--train.epochs", "1"), RunFolder(tmp_path / "run"), Totals()
    data = train(recipe, run, reporter)
    # Batches of 25 and 25; 5 training samples are left for the last.
    assert [len(batch.y) for batch in came] == [50] * 7 + [10]
    assert all(int((batch.index >= N).sum()) * 2 == len(batch.y) for batch in came)
    assert (True, 360, 360) in reporter.seen
    assert (run.metrics()[0].forwards, run.metrics()[0].backwards) == (1, 1)
    timing = json.loads(run.timings_file.read_text())
    assert timing["samples_per_second"] > 360 / timing["seconds"]
    assert (
        data.train.labels[torch.cat([batch.index for batch in came])].tolist()
        == torch.cat([batch.y for batch in came]).tolist()
    )


def crowded(file, method="iaat", *more):
    """30 training samples and 29 extra images a batch, of 100: each of these comes 1.74 times an epoch."""
    sizes = ("--data.extra_limit", "100", "--train.batch_size", "59")
    return with_extra(file, method, "--method.steps", "1", *sizes, *more)


def test_an_extra_image_that_recurs_in_an_epoch_is_augmented_anew(tmp_path, file, monkeypatch):
    seen = {}
    for crop, recur in (("2", True), ("0", False)):
        seen.clear()

        class Recording(METHODS["pgd_at"]):
            def prepare(self, model, batch, context):
                for x, index in zip(batch.x, batch.index.tolist(), strict=True):
                    seen.setdefault((context.epoch, index), []).append(x.clone())
                return super().prepare(model, batch, context)

        monkeypatch.setitem(METHODS, "recording", Recording)
        recipe = crowded(file, "recording", "--data.crop", crop, "--train.epochs", "2")
        data = train(recipe, RunFolder(tmp_path / crop), QUIET)
        pairs = [views for views in seen.values() if len(views) == 2]
        assert len(pairs) > 100
        assert (sum(not torch.equal(*pair) for pair in pairs) > 0.8 * len(pairs)) == recur
        assert all(len(views) == 1 for (_, index), views in seen.items() if index < N)
        if recur:  # the first visit is as it was where none recurs
            index = torch.tensor([number for epoch, number in seen if epoch == 1])
            (batch,) = data.train.batches([index], augment=(recipe.seed, 1))
            assert torch.equal(batch.x, torch.stack([seen[1, number][0] for number in index.tolist()]))


def test_the_views_of_a_resumed_epoch_are_those_of_the_whole(tmp_path, file):
    assert_resumes_bitwise(crowded(file, "iaat", "--data.crop", "2"), tmp_path / "runs", batch=10)


@pytest.mark.parametrize(("limit", "visits"), [("100", 174 / 100), ("300", 1.0)])
def test_the_reach_of_extra_images_is_shared_out_over_their_visits(file, limit, visits):
    recipe = crowded(file, "iaat", "--data.extra_limit", limit)
    data = build_data(recipe.data, seed=0)
    state = build_state(recipe, data, 6, torch.device("cpu"))
    index = torch.stack([data.train_index[0], data.extra_index[0]])
    before, y = state.method.radii[index], data.train.labels[index]
    batch = Batch(torch.zeros(2, *data.shape), y, index)
    state.method.update(batch, StepOutput(torch.zeros(()), torch.nn.functional.one_hot(y, 10).float(), before))
    moved = state.method.radii[index] - before
    step = float(state.method.config.per_visit)
    torch.testing.assert_close(moved, torch.tensor([step, step / visits]), rtol=1e-4, atol=0)


def test_a_run_is_evaluated_by_the_radii_of_the_images_at_hand(tmp_path, file):
    recipe, run = with_extra(file, "iaat", "--method.steps", "1", "--train.epochs", "1"), RunFolder(tmp_path / "run")
    data = train(recipe, run, QUIET)
    index, radius = load_evaluated(run, recipe, "last", data).radii
    assert index.tolist() == run.radii_after(1)[0].tolist()
    plain = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, extra=None, extra_ratio=0.7))
    index, radius = load_evaluated(run, plain, "last", build_data(plain.data, seed=0)).radii
    assert index.tolist() == data.train_index.tolist()
    assert radius.tolist() == run.radii_after(1)[1][:180].tolist()


def test_a_run_is_not_resumed_with_other_extra_images(tmp_path, file):
    run = RunFolder(tmp_path / "run")
    train(with_extra(file, "natural", "--train.epochs", "1"), run, QUIET)
    other = dict(np.load(file))
    other["image"] = other["image"][::-1].copy()
    np.savez(tmp_path / "other.npz", **other)
    with pytest.raises(UserError, match="other labels, classes or files"):
        train(with_extra(str(tmp_path / "other.npz"), "natural"), run, QUIET, resume=True)


def test_a_file_of_too_few_images_is_refused_before_a_run_is_touched(tmp_path, file):
    run = RunFolder(tmp_path / "run")
    with pytest.raises(UserError, match=r"data\.extra gives 60 images, too few for 25 of them in a batch"):
        train(with_extra(file, "natural", "--data.extra_limit", "60"), run, QUIET)
    assert not run.exists()
