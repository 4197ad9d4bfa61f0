"""Environment variables of torchrun and SLURM's srun: rank, world size, where processes meet."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from iaat.errors import UserError, shown


def launched() -> bool:
    """Whether a launcher has started this process as one of several."""
    return launch_of(os.environ) is not None


_KEYS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def launch_of(environment: Mapping[str, str]) -> dict[str, str] | None:
    """The variables of torchrun, also where srun has started the process; None for a process of its own."""
    launch = {key: environment[key] for key in _KEYS if key in environment}
    if {"RANK", "WORLD_SIZE"} <= launch.keys():
        launch.setdefault("LOCAL_RANK", launch["RANK"])
    elif "SLURM_STEP_NUM_TASKS" in environment and "SLURM_PROCID" in environment:
        meeting = {key: launch[key] for key in ("MASTER_ADDR", "MASTER_PORT") if key in launch}
        launch = _of_slurm(environment) | meeting
    else:  # some scripts set WORLD_SIZE for all their commands
        return None
    for key in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        if not launch[key].isdecimal():
            raise UserError(f"the launcher has set {key} to {shown(launch[key])}, which is no number")
    if int(launch["WORLD_SIZE"]) < 2:
        return None
    if missing := [key for key in _KEYS if key not in launch]:
        raise UserError(f"the launcher has not set {', '.join(missing)}: start by torchrun or srun")
    return launch


def _of_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables for a step of SLURM: all meet on its first machine, at a port that depends on the job."""
    nodes = environment.get("SLURM_STEP_NODELIST", environment.get("SLURM_NODELIST", ""))
    job, step = (
        int(number) if number.isdecimal() else 0
        for number in (environment.get("SLURM_JOB_ID", "0"), environment.get("SLURM_STEP_ID", "0"))
    )
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": environment["SLURM_STEP_NUM_TASKS"],
        "LOCAL_RANK": environment.get("SLURM_LOCALID", "0"),
        "MASTER_ADDR": first_host(nodes) or "127.0.0.1",
        "MASTER_PORT": str(20_000 + (job + 101 * step) % 20_000),
    }


def first_host(nodes: str) -> str:
    """The first machine of a SLURM list such as `gpu[03-07,12],login1`: `gpu03`."""
    match = re.match(r"(?P<head>[^\[,]*)(?:\[(?P<first>[^\],-]*)[^\]]*\](?P<tail>[^,\[]*))?", nodes)
    assert match is not None
    return "".join(part or "" for part in match.group("head", "first", "tail"))
