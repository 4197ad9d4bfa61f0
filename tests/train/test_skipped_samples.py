"""Samples that cannot be read are left out of their batches, listed, and nothing else of the run changes."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from helpers.damaged import EVERY, FIRST, damaged_digits
from helpers.training import QUIET, Interrupting, assert_resumes_bitwise, same, tiny
from iaat.data import build_data
from iaat.errors import UserError
from iaat.evaluate.evaluate_run import evaluate_checkpoint
from iaat.runs.checkpoint import load_checkpoint
from iaat.runs.run_folder import RunFolder
from iaat.runtime.distributed import Ranks
from iaat.train import train
from iaat.train.batch_split import drop_unreadable, split_batch
from iaat.types import Batch


class Several(Ranks):
    """One of several processes, which are played one after another: it gets what the others would send."""

    def all_gather(self, values):
        return [torch.tensor([[row]]) if values.shape[1] == 1 else torch.tensor([row]) for row in SAID]


SAID = []


@given(st.integers(1, 30), st.integers(1, 4), st.integers(1, 3), st.data())
def test_the_weights_of_a_batch_are_those_of_the_mean_over_what_can_be_read(size, world, parts, data):
    index = torch.arange(100, 100 + size)
    unreadable = set(data.draw(st.lists(st.sampled_from(index.tolist()), unique=True)))
    values = torch.from_numpy(np.random.default_rng(size).random(size))
    held = [split_batch(index, Ranks(rank, world), parts) for rank in range(world)]
    batches = [[(micro, Batch(values[micro.index - 100], micro.index, micro.index)) for micro in own] for own in held]
    SAID[:] = [
        [
            sum(int(i) not in unreadable for micro, _ in own for i in micro.index[: micro.own]),
            sum(micro.own for micro, _ in own),
        ]
        for own in batches
    ]
    loss, seen = 0.0, []
    for rank, own in enumerate(batches):
        left = drop_unreadable(own, unreadable, Several(rank, world))
        for micro, batch in left:
            assert torch.equal(batch.index, micro.index)
            assert len(batch.x) >= min(2, len(own[0][0].index)) or not world > 1
            loss += micro.weight * float(batch.x.mean()) / world
            seen += batch.index[: micro.own].tolist()
    wanted = [i for i in index.tolist() if i not in unreadable]
    assert sorted(seen) == wanted
    if wanted:
        assert loss == pytest.approx(float(values[torch.tensor(wanted) - 100].mean()), abs=1e-12)


def test_nothing_changes_where_all_can_be_read():
    parts = [(micro, None) for micro in split_batch(torch.arange(10), Ranks())]
    assert drop_unreadable(parts, {99}, Ranks()) is parts


def test_what_is_skipped_resumes_bit_for_bit_and_is_listed(tmp_path):
    whole, within = assert_resumes_bitwise(tiny("iaat", *damaged_digits()), tmp_path, 2)
    recipe = tiny("iaat", *damaged_digits())
    data = build_data(recipe.data, seed=0)
    used = sorted([*data.train_index.tolist(), *data.validation_index.tolist()])
    expected = [position for position in used if position % EVERY == FIRST]
    for run in (whole, within):
        records = [json.loads(line) for line in (run.path / "skipped.jsonl").read_text().splitlines()]
        assert [record["index"] for record in records] == expected
        assert all(record["split"] == "train" for record in records)
        assert f"OSError: digit {expected[0]} is damaged" in records[0]["reason"]
    radii = load_checkpoint(whole.checkpoint("last"))["method"]["radii"]["values"]
    assert len(radii[torch.tensor(expected)].unique()) == 1
    assert len(radii[data.train_index].unique()) > 5


def write_images(root, damaged=()):
    """Two classes of small images; those with a name in `broken` hold no image."""
    for split, count in (("train", 40), ("test", 10)):
        for label, name in enumerate(("cat", "dog")):
            (root / split / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                path = root / split / name / f"{number:02}.png"
                noise = np.random.default_rng([label, number, count]).integers(0, 200, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(noise + np.uint8(40 * label)).save(path)
    for name in damaged:
        (root / name).write_bytes(b"no image")
    return root


DAMAGED = ("train/cat/00.png", "train/dog/13.png", "train/dog/14.png", "test/cat/03.png")


def folder_recipe(root, *more):
    return tiny("iaat", "--data.name", "folder", "--data.root", str(root), "--data.skip_damaged", "5", *more)


@pytest.fixture(scope="module")
def skipping(tmp_path_factory):
    folder = tmp_path_factory.mktemp("skipping")
    root = write_images(folder / "images", DAMAGED)
    runs = {}
    for name, more in {
        "memory": (),
        "streamed": ("--data.stream", "true"),
        "workers": ("--data.stream", "true", "--data.workers", "2"),
    }.items():
        recipe = folder_recipe(root, *more)
        runs[name] = (recipe, RunFolder(folder / name))
        with warnings.catch_warnings(record=True) as messages:
            warnings.simplefilter("always")
            data = train(recipe, runs[name][1], QUIET)
        runs[name] += (data, [str(each.message) for each in messages])
    return runs


@pytest.mark.parametrize("name", ["streamed", "workers"])
def test_however_samples_are_read_the_run_is_the_same(skipping, name):
    ours, theirs = (load_checkpoint(skipping[each][1].checkpoint("last")) for each in ("memory", name))
    for part in ("model", "method", "optimizer", "records"):
        assert same(ours[part], theirs[part]), part
    listed = [
        [record["name"] for record in skipping[each][1].skipped_samples() if record["split"] == "train"]
        for each in ("memory", name)
    ]
    assert listed[0] == listed[1] == sorted(DAMAGED[:3])


@pytest.mark.parametrize("name", ["memory", "streamed"])
def test_it_is_reported_once_with_the_count_and_kept_in_the_run_folder(skipping, name):
    _, run, _, messages = skipping[name]
    (line,) = [text for text in messages if "cannot be read" in text and text.startswith("training images")]
    assert "3 of 80 samples cannot be read, and are skipped as far as data.skip_damaged allows, such as" in line
    notices = json.loads((run.path / "run.json").read_text())["notices"]
    assert [(each["kind"], each["count"]) for each in notices if each["where"].startswith("training")] == [
        ("damaged", 3)
    ]


@pytest.mark.parametrize("name", ["memory", "streamed"])
def test_the_test_set_is_evaluated_without_them(skipping, name):
    recipe, run, data, _ = skipping[name]
    results = evaluate_checkpoint(run, recipe, "last", data, QUIET)
    assert results.n == 19
    assert results.stages[0].samples == 19
    left = 19
    for stage in results.stages:  # what the table derives from them
        left -= stage.adversarial
    assert left / 19 == pytest.approx(results.accuracy["worst"])


def test_training_samples_are_evaluated_by_their_radii_without_them(skipping, monkeypatch):
    recipe, run, data, _ = skipping["memory"]
    monkeypatch.setattr("iaat.runtime.rng.permutation", lambda n, **_: torch.arange(n))
    recipe = replace(recipe, evaluate=replace(recipe.evaluate, suite="pgd-1+radii"))
    results = evaluate_checkpoint(run, recipe, "last", data, QUIET)
    assert sum(part.n for part in results.radii) == results.n
    index, _ = run.radii_after(recipe.train.epochs)
    unreadable = data.train.sample_log.unreadable.keys() & set(data.train_index.tolist())
    assert len(index) == len(data.train_index) - len(unreadable) < len(data.train_index)


def test_a_repaired_sample_stays_skipped_in_a_run_that_goes_on(tmp_path):
    root = write_images(tmp_path / "images", DAMAGED)
    whole, begun = (RunFolder(tmp_path / name) for name in ("whole", "begun"))
    recipe = folder_recipe(root, "--data.stream", "true")
    train(recipe, whole, QUIET)
    short = folder_recipe(root, "--data.stream", "true", "--train.save_steps", "1")
    with pytest.raises(KeyboardInterrupt):
        train(short, begun, Interrupting(3))
    assert len(begun.skipped_samples()) == 3
    write_images(root)
    with pytest.warns(UserWarning, match="as if they had been repaired"):
        train(short, begun, QUIET, resume=True)
    ours, theirs = (load_checkpoint(run.checkpoint("last")) for run in (whole, begun))
    assert same(ours["model"], theirs["model"])


@pytest.mark.parametrize("more", [(), ("--data.stream", "true"), ("--data.stream", "true", "--data.workers", "1")])
def test_one_more_than_may_be_ends_training_and_names_them(tmp_path, more):
    root = write_images(tmp_path / "images", DAMAGED)
    recipe = folder_recipe(root, "--data.skip_damaged", "2", *more)
    message = r"3 samples cannot be read, and data\.skip_damaged is 2: .*train/.*png: cannot be read as an image"
    with pytest.raises(UserError, match=message):
        train(recipe, RunFolder(tmp_path / "run"), QUIET)
    with pytest.raises(UserError, match=r"png: cannot be read as an image.*data\.skip_damaged N.*check RECIPE --data"):
        train(folder_recipe(root, "--data.skip_damaged", "0", *more), RunFolder(tmp_path / "other"), QUIET)


def test_a_batch_of_which_nothing_can_be_read_is_no_step(tmp_path):
    root = write_images(tmp_path / "images", [f"train/cat/{number:02}.png" for number in range(40)])
    recipe = folder_recipe(root, "--data.skip_damaged", "40", "--train.batch_size", "2", "--train.epochs", "1")
    run = RunFolder(tmp_path / "run")
    train(recipe, run, QUIET)
    saved = load_checkpoint(run.checkpoint("last"))
    assert saved["records"][0]["train_accuracy"] >= 0
    assert all(bool(torch.isfinite(value).all()) for value in saved["model"].values() if value.is_floating_point())
