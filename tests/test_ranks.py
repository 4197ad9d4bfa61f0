"""Who trains: what launchers say, and what a process that is alone makes of it."""

import os

import pytest
import torch

from iaat import ranks
from iaat.errors import UserError
from iaat.ranks import ALONE, ElsewhereError, LostProcessError, current, first_host, launched, processes

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29400"}
SLURM = {
    "SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "123456",
    "SLURM_STEP_NODELIST": "gpu[03-04]", "SLURM_NTASKS": "8",
}  # fmt: skip


def test_a_process_of_its_own_is_alone():
    assert current() == ALONE
    assert (ALONE.main, ALONE.several) == (True, False)
    with processes({}) as found:
        assert found == ALONE


def test_torchrun_is_understood():
    assert ranks._launched(TORCHRUN) == TORCHRUN


def test_srun_is_understood_and_the_jobs_processes_meet_on_its_first_machine():
    expected = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "gpu03", "MASTER_PORT": "23456"}
    assert ranks._launched(SLURM) == expected
    assert ranks._launched(SLURM | {"MASTER_PORT": "1234"}) == expected | {"MASTER_PORT": "1234"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_JOB_ID": "1"},  # a batch script before srun: one process runs
        {"RANK": "0", "WORLD_SIZE": "1"},
        SLURM | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
        {"LOCAL_RANK": "0"},
    ],
)
def test_one_process_is_no_group(environment):
    assert ranks._launched(environment) is None


def test_a_launcher_that_says_too_little_is_told():
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
    assert [ranks._gpu_of(local, 4) for local in range(4)] == [0, 1, 2, 3]
    assert [ranks._gpu_of(local, 1) for local in range(4)] == [0, 0, 0, 0]
    with pytest.raises(UserError, match="one process a GPU"):
        ranks._gpu_of(4, 4)


def test_commands_that_train_nothing_refuse_a_launcher(monkeypatch, capsys):
    from iaat.cli import main

    for key, value in TORCHRUN.items():
        monkeypatch.setenv(key, value)
    assert launched()
    assert main(["recipes"]) == 2
    assert "runs in one process" in capsys.readouterr().err


def test_alone_everything_is_as_it_was():
    values = torch.tensor([1.0, 2.0])
    assert ALONE.sum_(values) is values
    assert ALONE.mean_(values) is values
    assert ALONE.any(True, False) == (True, False)
    assert ALONE.gather(values) == [values]
    assert ALONE.gather_states({"a": 1}) == [{"a": 1}]
    assert ALONE.merged({3: "x"}) == {3: "x"}
    assert ALONE.told("x") == "x"
    assert ALONE.main_first(lambda: 5) == 5
    ALONE.raise_together(None)
    ALONE.check_same("anything", "it")


def test_alone_an_error_is_its_own():
    error = UserError("wrong")
    with pytest.raises(UserError, match="wrong") as raised:
        ALONE.raise_together(error)
    assert raised.value is error
    assert not isinstance(raised.value, ElsewhereError)

    def fail():
        raise OSError(28, "No space left on device", "file")

    with pytest.raises(OSError, match="No space"):
        ALONE.on_main(fail)


@pytest.mark.parametrize(
    "text",
    [
        "[/build/gloo/transport/tcp/pair.cc:545] Read error [10.77.0.2]:40142: Connection reset by peer. It is typical",
        "[pair.cc:534] Connection closed by peer [127.0.0.1]:1234",
        "NCCL error in: ProcessGroupNCCL.cpp:1970, remote process exited or there was a network error",
        "Timed out waiting 1800000ms for recv operation to complete",
    ],
)
def test_the_words_of_libraries_that_lost_a_process_become_ours(text):
    with (
        pytest.raises(
            LostProcessError, match=f"process 1 of 4 on {os.uname().nodename} has lost another one"
        ) as raised,
        ranks._losses_told("1", "4"),
    ):
        raise RuntimeError(text)
    assert "typical" not in str(raised.value)
    assert "pair.cc" not in str(raised.value)


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shapes"), ranks._losses_told("1", "4"):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
