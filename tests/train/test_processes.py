"""Several processes that train one model learn what one process learns from the same batches."""

import json

import pytest
import torch

from helpers.processes import WORKER, finish, start
from helpers.training_process import RUNS, SPOILT, train_watched
from iaat.runs.checkpoint import load_checkpoint

EQUAL = [name for name in RUNS if name not in ("batchnorm", "unreadable")]
BY_FOUR = ["pgd_at", "in-parts", "sharded", "skipping"]
CHANGING = ["iaat", "cat", "recurring"]
CLOSE = 1e-12
"""Of float64: a sum over processes has another order than the sum over a batch."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Every run trained by this process."""
    folder = tmp_path_factory.mktemp("alone")
    for name in EQUAL:
        train_watched(name, folder)
    return folder


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Folder `two` has every run trained by two processes, the last of which fails, with what they had to say.

    Folder `four` has runs by four, which have parts of different sizes, and some of which have a single sample of a
    last batch or none; and runs that four have begun, one goes on with alone, in the middle of an epoch, and two bring
    to an end.
    """
    folder = tmp_path_factory.mktemp("together")
    two, four = folder / "two", folder / "four"
    whole = (four / name for name in BY_FOUR)
    begun = (f"{four / 'iaat'}@1", f"{four / 'cat'}@3", f"{four / 'recurring'}@4")
    codes, outputs = finish(start(4, WORKER, *whole, *begun))
    assert codes == [0] * 4, "\n".join(outputs)
    train_watched("iaat", four, 4)
    words = [*(two / name for name in EQUAL), f"{two / 'batchnorm'}@1", *(four / name for name in CHANGING)]
    codes, outputs = finish(start(2, WORKER, *words, two / "unreadable"))
    (folder / "outcome.json").write_text(json.dumps([codes, outputs]))
    return folder


def losses(folder, name):
    return json.loads((folder / f"{name}.losses.json").read_text())


def apart(left, right):
    """The largest difference between the numbers of two nested states, which must be alike in all else."""
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        return max((apart(left[key], right[key]) for key in left), default=0.0)
    if isinstance(left, list | tuple):
        assert len(left) == len(right)
        return max(map(apart, left, right), default=0.0)
    if isinstance(left, torch.Tensor):
        return float((left.double() - right.double()).abs().max()) if left.numel() else 0.0
    if isinstance(left, float):
        return 0.0 if left == right else abs(left - right)
    assert left == right
    return 0.0


def assert_equal_runs(one, several, name):
    """Losses of all steps, weights, average, momentum, radii and validation accuracies are the same."""
    assert losses(several, name) == pytest.approx(losses(one, name), abs=CLOSE, nan_ok=True)
    ours, theirs = (load_checkpoint(folder / name / "last.pt") for folder in (one, several))
    for part in ("model", "averaged", "method", "optimizer", "schedule", "faults", "epoch", "best"):
        assert apart(ours[part], theirs[part]) < CLOSE, part
    assert torch.equal(ours["generator"], theirs["generator"])
    for mine, other in zip(ours["records"], theirs["records"], strict=True):
        # Copies that fill up small batches cost passes, and every process checks held-out samples for itself.
        cost = {key for key in mine if key.endswith("wards")}
        assert apart(*({key: record[key] for key in record.keys() - cost} for record in (mine, other))) < CLOSE


@pytest.mark.parametrize("name", EQUAL)
def test_two_processes_learn_what_one_learns(alone, together, name):
    assert_equal_runs(alone, together / "two", name)


@pytest.mark.parametrize("name", BY_FOUR)
def test_four_processes_with_parts_of_different_sizes_learn_the_same(alone, together, name):
    assert_equal_runs(alone, together / "four", name)


@pytest.mark.parametrize("name", CHANGING)
def test_the_number_of_processes_may_change_within_an_epoch(alone, together, name):
    assert_equal_runs(alone, together / "four", name)


def test_samples_that_only_some_processes_have_found_unreadable_are_listed_once(alone, together):
    files = [folder / "skipping" / "skipped.jsonl" for folder in (alone, together / "two", together / "four")]
    lists = [file.read_text().splitlines() for file in files]
    assert lists[0] == lists[1] == lists[2]
    assert len(lists[0]) == len(set(lists[0])) > 3


def test_a_step_that_is_not_finite_in_one_process_is_not_taken_in_any(together):
    saved = load_checkpoint(together / "two" / "faulty" / "last.pt")
    assert [fault["step"] for fault in saved["faults"]] == [SPOILT["faulty"] + 1]
    assert len(saved["faults"][0]["index"]) == 59
    assert saved["records"][0]["skipped_steps"] == 1


def test_batchnorms_running_statistics_are_those_of_all_samples(together, tmp_path):
    train_watched("batchnorm", tmp_path, 1)
    folders = (folder / "batchnorm" / "checkpoints" for folder in (tmp_path, together / "two"))
    one, two = (load_checkpoint(next(folder.glob("*.pt"))) for folder in folders)
    means = [key for key in one["model"] if key.endswith("running_mean")]
    # Of equal parts the mean of means is the mean; later layers see inputs normalised by each.
    assert apart(one["model"][means[0]], two["model"][means[0]]) < CLOSE


def test_data_that_one_process_cannot_read_stops_all_where_nothing_is_lost(together):
    codes, outputs = json.loads((together / "outcome.json").read_text())
    assert codes == [1, 1]
    assert "error: image 17 cannot be read" in outputs[1]
    assert "error: process 1 of 2 on" in outputs[0]
    assert "image 17 cannot be read" in outputs[0]
    saved = load_checkpoint(next((together / "two" / "unreadable" / "checkpoints").glob("*.pt")))
    assert saved["tally"]["steps"] == SPOILT["unreadable"]
