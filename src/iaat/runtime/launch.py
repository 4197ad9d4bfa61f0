"""The processes that a launcher, torchrun or SLURM's srun, has started beside this one: how they find each other."""

from __future__ import annotations

import os
import platform
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import pairwise

import torch
import torch.distributed as dist

from iaat.errors import LostProcessError, UserError
from iaat.runtime.distributed import PATIENCE, Ranks, current, prepare
from iaat.runtime.launcher import launch_of
from iaat.runtime.rendezvous import meet
from iaat.runtime.waiting import call_roll

_LOST = re.compile(
    r"(closed|reset) by (remote )?peer|broken pipe|remote process exited|timed out waiting \d+ ?ms"
    r"|connection was likely closed|watchdog caught collective operation timeout",
    re.IGNORECASE,
)


@contextmanager
def processes(environment: Mapping[str, str] | None = None) -> Iterator[Ranks]:
    """Join the processes that a launcher has started beside this one, for as long as the context is open.

    Launchers are `torchrun` and SLURM's `srun`; without one, or where PyTorch's default group is set up already, there
    is nothing to do. Only the main process warns.

    Args:
        environment: What the launcher has set; that of the process by default.

    Raises:
        UserError: the launcher says one thing and what runs is another.
        LostProcessError: a process has ended or cannot be reached.
    """
    if current().several or (launch := launch_of(os.environ if environment is None else environment)) is None:
        yield current()
        return
    ranks = _join(launch)
    with _losses_told(launch["RANK"], launch["WORLD_SIZE"]), warnings.catch_warnings():
        if not ranks.main:
            warnings.simplefilter("ignore")
        yield ranks
        # Not after an error: on GPUs it waits for exchanges that a process that is gone will never finish.
        with suppress(RuntimeError):
            dist.destroy_process_group()
            call_roll(None)


@contextmanager
def _losses_told(rank: str, world: str) -> Iterator[None]:
    """Say which process lost the others, in place of the words of the library that noticed."""
    try:
        yield
    except RuntimeError as error:
        network = isinstance(error, dist.DistNetworkError | dist.DistStoreError)
        if isinstance(error, LostProcessError) or not (network or _LOST.search(str(error))):
            raise
        reason = _reason(error)
        raise LostProcessError(
            f"process {rank} of {world} on {platform.node()} has lost another one, which has ended or cannot be "
            f"reached ({reason})"
        ) from error


def _join(launch: Mapping[str, str]) -> Ranks:
    """Set up PyTorch's default group, and make sure that it is what the launcher says."""
    gpus = torch.cuda.device_count()
    if gpus:
        launch = {**launch, "LOCAL_RANK": str(_gpu_of(int(launch["LOCAL_RANK"]), gpus))}
        torch.cuda.set_device(int(launch["LOCAL_RANK"]))
    os.environ["LOCAL_RANK"] = launch["LOCAL_RANK"]
    try:
        store = meet(launch)
        backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
        rank, world = int(launch["RANK"]), int(launch["WORLD_SIZE"])
        dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=PATIENCE)
        prepare()
        ranks = current()
        counted = int(ranks.sum_(torch.ones(1, dtype=torch.int64)))
    except (RuntimeError, ValueError, OSError) as error:
        place = f"{launch['MASTER_ADDR']}:{launch['MASTER_PORT']}"
        raise UserError(
            f"process {launch['RANK']} of {launch['WORLD_SIZE']} on {platform.node()} cannot meet the others at "
            f"{place}: {_reason(error)}"
        ) from error
    if not counted == ranks.world == int(launch["WORLD_SIZE"]):
        raise UserError(f"{counted} processes answered, the launcher started {launch['WORLD_SIZE']}")
    if gpus:
        _check_own_gpus(ranks.merged({ranks.rank: _gpu()}))
    return ranks


def _reason(error: Exception) -> str:
    """What a library of communication says went wrong, on one line, without the place in its source."""
    lines = str(error).splitlines() or [type(error).__name__]
    last = next((after for line, after in pairwise(lines) if line.startswith("Last error")), lines[0])
    return re.sub(r"^\[[^\]]*\]\s*", "", last).partition(". ")[0]


def _gpu() -> str:
    """The GPU of this process, by a name that no other has."""
    return f"GPU {torch.cuda.get_device_properties(torch.cuda.current_device()).uuid} of {platform.node()}"


def _check_own_gpus(gpus: Mapping[int, str]) -> None:
    """Refuse two processes on one GPU.

    Raises:
        UserError: naming them.
    """
    owners: dict[str, int] = {}
    for rank, gpu in sorted(gpus.items()):
        if gpu in owners:
            raise UserError(f"processes {owners[gpu]} and {rank} have the same {gpu}: start one process a GPU")
        owners[gpu] = rank


def _gpu_of(local: int, gpus: int) -> int:
    """Number of the GPU of the process with number `local` on its machine, among the `gpus` that it sees.

    Raises:
        UserError: there are more processes than GPUs.
    """
    if gpus == 1:  # as SLURM binds one to each of its tasks
        return 0
    if local >= gpus:
        raise UserError(
            f"process {local} of {platform.node()} finds {gpus} GPUs there: start one process a GPU, or set "
            "CUDA_VISIBLE_DEVICES= to train on CPUs"
        )
    return local
