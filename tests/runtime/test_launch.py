"""What launchers say, and what becomes of the errors of those who look for each other."""

import os
import socket

import pytest

from iaat.errors import LostProcessError, UserError
from iaat.runtime import launch
from iaat.runtime.distributed import ALONE
from iaat.runtime.launch import processes
from iaat.runtime.launch_environment import first_host, launch_of, launched

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29400"}
SLURM = {
    "SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "123456",
    "SLURM_STEP_NODELIST": "gpu[03-04]", "SLURM_NTASKS": "8",
}  # fmt: skip


def test_a_process_of_its_own_is_alone():
    with processes({}) as found:
        assert found == ALONE


def test_torchrun_is_understood():
    assert launch_of(TORCHRUN) == TORCHRUN


def test_srun_is_understood_and_the_jobs_processes_meet_on_its_first_machine():
    expected = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "gpu03", "MASTER_PORT": "23456"}
    assert launch_of(SLURM) == expected
    assert launch_of(SLURM | {"MASTER_PORT": "1234"}) == expected | {"MASTER_PORT": "1234"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_JOB_ID": "1"},  # a batch script before srun: one process runs
        {"RANK": "0", "WORLD_SIZE": "1"},
        SLURM | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
        {"LOCAL_RANK": "0"},
        {"WORLD_SIZE": "8"},  # exported by a script for all its commands
    ],
)
def test_one_process_is_no_group(environment):
    assert launch_of(environment) is None


def test_two_steps_of_a_job_of_slurm_meet_at_two_ports():
    ports = {launch_of(SLURM | {"SLURM_STEP_ID": step})["MASTER_PORT"] for step in ("0", "1", "interactive")}
    assert len(ports) == 2


def test_a_launcher_that_sets_no_number_is_refused():
    with pytest.raises(UserError, match="WORLD_SIZE to 'x', which is no number"):
        launch_of(TORCHRUN | {"WORLD_SIZE": "x"})


def test_a_launcher_that_says_too_little_is_refused():
    with (
        pytest.raises(UserError, match="has not set MASTER_ADDR, MASTER_PORT"),
        processes({"RANK": "0", "WORLD_SIZE": "2"}),
    ):
        pass


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu03", "gpu03"),
        ("gpu03,gpu04", "gpu03"),
        ("gpu[03-07,12],login1", "gpu03"),
        ("rack1-[2,4]-ib", "rack1-2-ib"),
        ("login1,gpu[1-2]", "login1"),
        ("", ""),
    ],
)
def test_the_first_machine_of_a_list_of_slurms(nodes, first):
    assert first_host(nodes) == first


def test_each_process_takes_the_gpu_of_its_number_or_the_only_one_it_sees():
    assert [launch._gpu_of(local, 4) for local in range(4)] == [0, 1, 2, 3]
    assert launch._gpu_of(3, 1) == 0  # SLURM may show each task its own GPU alone
    with pytest.raises(UserError, match="one process a GPU"):
        launch._gpu_of(4, 4)


def test_two_processes_on_one_gpu_are_refused():
    launch._check_own_gpus({0: "GPU a of x", 1: "GPU b of x", 2: "GPU a of y"})
    with pytest.raises(UserError, match="processes 0 and 2 have the same GPU a of x"):
        launch._check_own_gpus({2: "GPU a of x", 1: "GPU b of x", 0: "GPU a of x"})


def test_commands_that_train_nothing_refuse_a_launcher(monkeypatch, capsys):
    from iaat.cli.main import main

    for key, value in TORCHRUN.items():
        monkeypatch.setenv(key, value)
    assert launched()
    assert main(["recipes"]) == 2
    assert "runs in one process" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "[/gloo/pair.cc:545] Read error [10.77.0.2]:4: Connection reset by peer. It is",
            "Read error [10.77.0.2]:4: Con",
        ),
        ("[pair.cc:534] Connection closed by peer [127.0.0.1]:1234", "Connection closed by peer"),
        (
            "NCCL error in: ProcessGroupNCCL.cpp:1970, unhandled system error\n"
            "Last error:\nsocketProgressOpt: Call to recv failed : Broken pipe",
            "socketProgressOpt: Call to recv failed : Broken pipe",
        ),
        ("Timed out waiting 1800000ms for recv operation to complete", "Timed out waiting 1800000ms"),
    ],
)
def test_the_words_of_libraries_that_lost_a_process_become_ours(text, reason):
    ours = f"process 1 of 4 on {os.uname().nodename} has lost another one"
    with pytest.raises(LostProcessError, match=ours) as raised, launch._explained_losses("1", "4"):
        raise RuntimeError(text)
    assert reason in str(raised.value)
    assert "pair.cc" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "mat1 and mat2 shapes cannot be multiplied",
        "DataLoader timed out after 5 seconds",
        "CUDA error: peer access is not supported between these two devices",
        "[enforce fail at gloo/context.cc:99] op.preamble.length <= op.nbytes. 8 vs 4",
        "NCCL error in: ProcessGroupNCCL.cpp:1970, invalid usage\nLast error:\nDuplicate GPU detected",
    ],
)
def test_other_errors_stay_what_they_are(text):
    with pytest.raises(RuntimeError) as raised, launch._explained_losses("1", "4"):
        raise RuntimeError(text)
    assert type(raised.value) is RuntimeError


def test_a_place_to_meet_that_cannot_be_had_is_named_with_the_reason(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(taken.getsockname()[1])}
        with (
            pytest.raises(UserError, match=f"cannot meet the others at 127.0.0.1:{place['MASTER_PORT']}"),
            processes(place),
        ):
            pass
