"""Real launchers start the real command; a process, or a machine, that is lost stops all, and nothing else is lost."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from helpers.hosts import refusal, two_hosts
from helpers.killing import command
from helpers.processes import environment, finish, start
from iaat.runs.run_folder import RunFolder

LOST = "has lost another one, which has ended or cannot be reached"


def of_slurm(rank, world, port):
    """What srun sets for a process of a step, in place of torchrun's words."""
    settings = {
        "SLURM_STEP_NUM_TASKS": world,
        "SLURM_PROCID": rank,
        "SLURM_LOCALID": rank,
        "SLURM_JOB_ID": port - 20_000,
    }
    settings |= {"SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": world}
    of_torchrun = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"}
    kept = {key: value for key, value in environment(rank, world, port).items() if key not in of_torchrun}
    return kept | {key: str(value) for key, value in settings.items()}


def words(folder, *more):
    """The command without the interpreter, a second long at least after its first checkpoint."""
    return command(folder, "quickstart", "--train.epochs", "12", "--train.batch_size", "16", *more)[1:]


def wait_for(condition, processes, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        assert [process.poll() for process in processes] == [None] * len(processes), processes[0].communicate()[0]
        time.sleep(0.02)


def moments(run):
    return len(list(run.path.glob("checkpoints/*-*.pt")))


TORCHRUN = (sys.executable, "-m", "torch.distributed.run")
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}


def test_a_run_goes_on_however_its_processes_are_started_stopped_or_killed(tmp_path):
    run = RunFolder(tmp_path / "run")
    by_torchrun = subprocess.Popen([*TORCHRUN, "--standalone", "--nproc-per-node", "2", *words(run.path)], **PIPES)
    wait_for(lambda: moments(run), [by_torchrun])
    by_torchrun.send_signal(signal.SIGTERM)
    _, (output,) = finish([by_torchrun])
    assert output.count("stopped by SIGTERM: training is kept up to the last checkpoint") == 2
    assert output.count("by the same launcher") == 2
    done = len(run.metrics())

    by_slurm = start(2, *words(run.path), environment_of=of_slurm)
    wait_for(lambda: len(run.metrics()) > done, by_slurm)
    by_slurm[0].kill()
    codes, outputs = finish(by_slurm)
    assert codes == [-signal.SIGKILL, 1]
    assert f"error: process 1 of 2 on {os.uname().nodename} {LOST}" in outputs[1]
    assert "Traceback" not in outputs[1]

    by_hand = subprocess.run([sys.executable, *words(run.path)], capture_output=True, text=True, timeout=240)
    assert by_hand.returncode == 0, by_hand.stderr
    assert [record.epoch for record in run.metrics()] == list(range(1, 13))
    assert len(list(run.path.glob("evaluations/*/results.json"))) == 2


@pytest.mark.slow
@pytest.mark.skipif(refusal() != "", reason=refusal())
def test_a_machine_that_is_lost_stops_the_others_and_both_go_on(tmp_path):
    run = RunFolder(tmp_path / "run")

    def train_on(host):
        torchrun = [*TORCHRUN, "--nnodes", "2", "--nproc-per-node", "1"]
        meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "host1:29400", "--rdzv-id", "iaat"]
        return subprocess.Popen(host.command(*torchrun, *meeting, *words(run.path)), env=host.environment, **PIPES)

    with two_hosts(tmp_path) as hosts:
        first = [train_on(host) for host in hosts]
        wait_for(lambda: len(run.metrics()) > 1, first)
        hosts[1].kill()
        codes, outputs = finish(first)
        assert codes[0] != 0
        assert re.search(f"error: process [01] of 2 on host1 {LOST}", outputs[0])
        assert len(run.metrics()) < 12
        codes, outputs = finish([train_on(host) for host in hosts])
        assert codes == [0, 0], outputs
    assert [record.epoch for record in run.metrics()] == list(range(1, 13))
