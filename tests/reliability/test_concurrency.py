"""Two processes on one run folder: the second is refused; an evaluation beside training reads what is consistent."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from helpers.killing import ENVIRONMENT, begun, command, start


@pytest.fixture
def training(tmp_path):
    """A process that trains, with its folder, after its first epoch."""
    run = tmp_path / "run"
    process = start(command(run, "quickstart", "--train.epochs", "2000"))
    while not (begun(run, process.pid) and (run / "best.pt").exists()):
        assert process.poll() is None
        time.sleep(0.01)
    yield process, run
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def iaat(*words):
    return subprocess.run(
        [sys.executable, "-m", "iaat.cli", *map(str, words)], capture_output=True, text=True, env=ENVIRONMENT
    )


@pytest.mark.parametrize("more", [["--resume"], ["--overwrite"]], ids=str)
def test_a_second_training_is_refused_with_pid_and_host(training, more):
    process, run = training
    words = [word for word in command(run, "quickstart", "--train.epochs", "2000") if word != "--resume"]
    ended = subprocess.run([*words, *more], capture_output=True, text=True, env=ENVIRONMENT)
    assert ended.returncode == 2
    assert re.search(rf"run is in use: process {process.pid} on \S+ trains there", ended.stderr)
    assert process.poll() is None


def test_evaluation_beside_training_reads_consistent_checkpoints(training):
    process, run = training
    seen = set()
    for _ in range(2):
        ended = iaat("evaluate", run, "--suite", "pgd-2", "--evaluate.n", 40, "--checkpoint", "last", "--quiet")
        assert ended.returncode == 0, ended.stderr
        results = json.loads((run / "evaluations" / "last-pgd-2-64px-linf-n40" / "results.json").read_text())
        records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()[: results["epoch"]]]
        assert results["radius_mean_px"] == records[-1]["radius_mean_px"]
        assert results["train_forwards"] == pytest.approx(sum(each["forwards"] for each in records) / len(records))
        seen.add(results["epoch"])
    assert len(seen) == 2  # training went on in between
    assert process.poll() is None


def test_two_evaluations_of_the_same_kind_do_not_mix(tmp_path):
    run = tmp_path / "run"
    process = start(command(run))
    process.communicate()
    words = ["evaluate", str(run), "--suite", "pgd-2000", "--evaluate.n", "100", "--quiet"]
    first = start([sys.executable, "-m", "iaat.cli", *words])
    lock = run / "evaluations" / "best-pgd-2000-64px-linf-n100" / "evaluate.lock"
    while not lock.exists():
        assert first.poll() is None
        time.sleep(0.01)
    second = iaat(*words)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert second.returncode == 2
    assert f"process {first.pid} on" in second.stderr
    assert "evaluates there" in second.stderr
