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
from helpers.sending import sending

EPOCHS = "100000"
"""More than any machine trains while a test looks on."""


@pytest.fixture
def training(tmp_path):
    """A process that trains, with its folder, after its first epoch."""
    run = tmp_path / "run"
    process = start(command(run, "quickstart", "--train.epochs", EPOCHS))
    while not (begun(run, process.pid) and (run / "best.pt").exists()):
        assert process.poll() is None
        time.sleep(0.01)
    yield process, run
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def iaat(*words):
    return subprocess.run(
        [sys.executable, "-m", "iaat.cli.main", *map(str, words)], capture_output=True, text=True, env=ENVIRONMENT
    )


def wait_for_an_epoch(run, process, after):
    """Wait until an epoch later than `after` is in the log."""
    while len((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) <= after + 1:
        assert process.poll() is None
        time.sleep(0.01)


@pytest.mark.parametrize("more", [["--resume"], ["--overwrite"]], ids=str)
def test_a_second_training_is_refused_with_pid_and_host(training, more):
    process, run = training
    words = [word for word in command(run, "quickstart", "--train.epochs", EPOCHS) if word != "--resume"]
    ended = subprocess.run([*words, *more], capture_output=True, text=True, env=ENVIRONMENT)
    assert ended.returncode == 2
    assert re.search(rf"run is in use: process {process.pid} on \S+ trains there", ended.stderr)
    assert process.poll() is None


def test_evaluation_beside_training_reads_consistent_checkpoints(training):
    process, run = training
    seen = set()
    for _ in range(2):
        wait_for_an_epoch(run, process, max(seen, default=0))
        ended = iaat("evaluate", run, "--suite", "pgd-2", "--evaluate.n", 40, "--checkpoint", "last", "--quiet")
        assert ended.returncode == 0, ended.stderr
        results = json.loads((run / "evaluations" / "last-pgd-2-64px-linf-n40" / "results.json").read_text())
        records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()[: results["epoch"]]]
        assert results["radius_mean_px"] == records[-1]["radius_mean_px"]
        assert results["train_forwards"] == pytest.approx(sum(each["forwards"] for each in records) / len(records))
        seen.add(results["epoch"])
    assert len(seen) == 2  # training went on in between
    assert process.poll() is None


@pytest.mark.slow
def test_two_evaluations_of_the_same_kind_do_not_mix(tmp_path):
    run = tmp_path / "run"
    process = start(command(run))
    process.communicate()
    words = ["evaluate", str(run), "--suite", "pgd-2", "--evaluate.n", "100", "--checkpoint", "best", "--quiet"]
    # Stands still in the middle of its work, so that it cannot be done before the second begins.
    first = start(sending([signal.SIGSTOP], "iaat.evaluate.journal:append_json_line", 1, words))
    _, status = os.waitpid(first.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    second = iaat(*words)
    assert second.returncode == 2
    assert f"process {first.pid} on" in second.stderr
    assert "evaluates there" in second.stderr
    os.kill(first.pid, signal.SIGCONT)
    _, text = first.communicate()
    assert first.returncode == 0, text
    assert iaat(*words).returncode == 0
