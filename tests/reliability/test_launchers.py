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
from iaat.run import RunFolder
from iaat.stopping import STOPPED

LOST = "has lost another one, which has ended or cannot be reached"


def of_slurm(rank, world, port):
    """What srun tells a process of a step, in place of torchrun's words."""
    told = {"SLURM_STEP_NUM_TASKS": world, "SLURM_PROCID": rank, "SLURM_LOCALID": rank, "SLURM_JOB_ID": port - 20_000}
    told |= {"SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": world}
    of_torchrun = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"}
    kept = {key: value for key, value in environment(rank, world, port).items() if key not in of_torchrun}
    return kept | {key: str(value) for key, value in told.items()}


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


def test_a_run_goes_on_under_another_launcher_wherever_a_process_was_stopped_or_killed(tmp_path):
    run = RunFolder(tmp_path / "run")
    stopped = start(2, *words(run.path))
    wait_for(lambda: moments(run), stopped)
    stopped[1].send_signal(signal.SIGTERM)
    codes, outputs = finish(stopped)
    assert codes == [STOPPED, STOPPED], outputs
    assert "stopped by another process" in outputs[0]
    assert "stopped by SIGTERM" in outputs[1]
    assert all("by the same launcher" in text for text in outputs)
    done = len(run.metrics())

    killed = start(2, *words(run.path), environment_of=of_slurm)
    wait_for(lambda: len(run.metrics()) > done, killed)
    killed[0].kill()
    codes, outputs = finish(killed)
    assert codes == [-signal.SIGKILL, 1]
    assert f"error: process 1 of 2 on {os.uname().nodename} {LOST}" in outputs[1]
    assert "Traceback" not in outputs[1]

    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run([*torchrun, *words(run.path)], capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [record["epoch"] for record in run.metrics()] == list(range(1, 13))
    assert len(list(run.path.glob("evaluations/*/results.json"))) == 2


@pytest.mark.skipif(refusal() != "", reason=refusal())
def test_a_machine_that_is_lost_stops_the_others_and_both_go_on(tmp_path):
    run = RunFolder(tmp_path / "run")

    def train_on(host):
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
        meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "host1:29400", "--rdzv-id", "iaat"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(host.command(*torchrun, *meeting, *words(run.path)), env=host.environment, **pipes)

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
    assert [record["epoch"] for record in run.metrics()] == list(range(1, 13))
