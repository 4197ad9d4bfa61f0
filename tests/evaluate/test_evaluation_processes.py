"""Several processes that evaluate a model find what one process finds, and share its work."""

import json
from pathlib import Path

import pandas as pd
import pytest

from helpers.evaluation_process import CONFIG, evaluate
from helpers.killing import timeless
from helpers.processes import finish, start

WORKER = Path(__file__).parents[1] / "helpers" / "evaluation_process.py"
SUITE = "pgd+autoattack+transfer-3+curve+corruptions+masking"
BRIEF = "pgd+pgd-5+transfer-3"
PRELIMINARIES = CONFIG.samples + 2
"""Samples that every process sends forward for itself: those that identify the model, and two for its gradient."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Folder of a brief evaluation by this process, and the samples that went forward."""
    folder = tmp_path_factory.mktemp("alone")
    return folder, evaluate(folder, BRIEF)


def two_processes(folder, suite, *more):
    """Evaluate by two processes; returns their exit codes and outputs."""
    folder.mkdir(exist_ok=True)
    return finish(start(2, WORKER, folder, suite, *more))


def passes(folder):
    """Samples that went forward in each of two processes."""
    return [json.loads((folder / f"passes-{rank}.json").read_text()) for rank in range(2)]


def only(folder, name):
    (file,) = folder.rglob(name)
    return file


def journal(folder):
    """Values of all units but the wall times, by name."""
    lines = map(json.loads, only(folder, "journal.jsonl").read_text().splitlines())
    return {line["unit"]: timeless(line["value"]) for line in lines if line["unit"] != "date"}


def assert_equal_evaluations(one, other):
    """Results but the wall times, records and journal are the same, to the last bit."""
    ours, theirs = (timeless(json.loads(only(folder, "results.json").read_text())) for folder in (one, other))
    assert ours == theirs
    pd.testing.assert_frame_equal(*(pd.read_parquet(only(each, "records.parquet")) for each in (one, other)))
    assert journal(one) == journal(other)


def test_two_processes_find_what_one_finds_and_share_the_forwards(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    forwards = evaluate(one, SUITE)
    codes, outputs = two_processes(two, SUITE)
    assert codes == [0, 0], "\n".join(outputs)
    assert_equal_evaluations(one, two)
    assert not list(two.rglob("journal-*.jsonl"))
    assert sum(passes(two)) == forwards + PRELIMINARIES
    misclassified = set(pd.read_parquet(only(two, "records.parquet"))["misclassified_by"])
    assert {"clean", "pgd-3", "none"} <= misclassified


def test_an_evaluation_that_one_process_has_begun_is_finished_by_two(alone, tmp_path):
    folder, forwards = alone
    before = evaluate(tmp_path, BRIEF, stop_after="pgd-3")
    assert 0 < before < forwards
    codes, outputs = two_processes(tmp_path, BRIEF)
    assert codes == [0, 0], "\n".join(outputs)
    assert_equal_evaluations(folder, tmp_path)
    assert before + sum(passes(tmp_path)) == forwards + 2 * PRELIMINARIES


def test_what_each_of_two_processes_had_finished_when_they_failed_is_kept(alone, tmp_path):
    folder, _ = alone
    codes, outputs = two_processes(tmp_path, BRIEF, "--fail")
    assert codes == [1, 1]
    assert "error: sample 17 cannot be read" in outputs[1]
    assert "error: process 1 of 2 on" in outputs[0]
    assert "sample 17 cannot be read" in outputs[0]
    (part,) = tmp_path.rglob("journal-1.jsonl")
    finished = [json.loads(line)["unit"] for line in part.read_text().splitlines()[1:]]
    assert finished
    assert not set(finished) & {"clean#0", "clean#2"}
    evaluate(tmp_path, BRIEF)
    assert_equal_evaluations(folder, tmp_path)
    assert not list(tmp_path.rglob("journal-*.jsonl"))
