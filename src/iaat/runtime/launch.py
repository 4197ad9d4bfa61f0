"""Joining the processes that torchrun or SLURM's srun has started: rendezvous and process group."""

from __future__ import annotations

import os
import platform
import re
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import pairwise

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from iaat.errors import LostProcessError, UserError
from iaat.runtime.distributed import TIMEOUT, Ranks, create_groups, current
from iaat.runtime.launch_environment import launch_of
from iaat.runtime.stragglers import REPORT_AFTER, RollCall, call_roll, print_line
from iaat.runtime.text import first_few

_LOST = re.compile(
    r"(closed|reset) by (remote )?peer|broken pipe|remote process exited|timed out waiting \d+ ?ms"
    r"|connection was likely closed|watchdog caught collective operation timeout",
    re.IGNORECASE,
)


@contextmanager
def processes(environment: Mapping[str, str] | None = None) -> Iterator[Ranks]:
    """Join the processes that a launcher has started beside this one, for as long as the context is open.

    Launchers are `torchrun` and SLURM's `srun`; without one, or where PyTorch's default group is set up already, there
    is nothing to do. Only the main process warns. `environment` is that of this process by default.

    Raises:
        UserError: the processes that run are not those that the launcher has announced.
        LostProcessError: a process has ended or cannot be reached.
    """
    if current().several or (launch := launch_of(os.environ if environment is None else environment)) is None:
        yield current()
        return
    ranks = _join(launch)
    with _explained_losses(launch["RANK"], launch["WORLD_SIZE"]), warnings.catch_warnings():
        if not ranks.main:
            warnings.simplefilter("ignore")
        yield ranks
        # Not after an error: on GPUs it waits for exchanges that a process that is gone will never finish.
        with suppress(RuntimeError):
            dist.destroy_process_group()
            call_roll(None)


@contextmanager
def _explained_losses(rank: str, world: str) -> Iterator[None]:
    """Raise which process lost the others, in place of the error of the library that noticed."""
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
    """Set up PyTorch's default group, and check it against what the launcher has set."""
    gpus = torch.cuda.device_count()
    if gpus:
        launch = {**launch, "LOCAL_RANK": str(_gpu_of(int(launch["LOCAL_RANK"]), gpus))}
        torch.cuda.set_device(int(launch["LOCAL_RANK"]))
    os.environ["LOCAL_RANK"] = launch["LOCAL_RANK"]
    try:
        store = _rendezvous(launch)
        backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
        rank, world = int(launch["RANK"]), int(launch["WORLD_SIZE"])
        dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=TIMEOUT)
        create_groups()
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
        own = f"GPU {torch.cuda.get_device_properties(torch.cuda.current_device()).uuid} of {platform.node()}"
        _check_own_gpus(ranks.all_gather_dict({ranks.rank: own}))
    return ranks


def _reason(error: Exception) -> str:
    """The reason in an error of a communication library, on one line, without the place in its source."""
    lines = str(error).splitlines() or [type(error).__name__]
    last = next((after for line, after in pairwise(lines) if line.startswith("Last error")), lines[0])
    return re.sub(r"^\[[^\]]*\]\s*", "", last).partition(". ")[0]


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


_PAUSE, _TRY = 0.2, 2.0
_MOST_NAMED = 8


def _rendezvous(launch: Mapping[str, str]) -> Store:
    """Wait until all processes have come to the store that the launcher, or the main process, keeps for them.

    PyTorch's own call for it answers no signal and reports nothing while it waits.

    Raises:
        RuntimeError, OSError: there is no store, or others have not come within `TIMEOUT`.
    """
    rank, world, port = (int(launch[key]) for key in ("RANK", "WORLD_SIZE", "MASTER_PORT"))
    host = launch["MASTER_ADDR"]
    kept_by_launcher = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    hosts = rank == 0 and not kept_by_launcher
    waiting = _RendezvousWait(f"process {rank} of {world} on {platform.node()}", f"{host}:{port}")
    if not hosts:
        _await_store(host, port, waiting)
    store = TCPStore(host, port, world, hosts, timeout=TIMEOUT, wait_for_workers=False)
    # torchrun keeps one store for all attempts to start the processes.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    own = PrefixStore(f"iaat/{attempt}", store)
    own.set(f"there/{rank}", platform.node())
    keys = [f"there/{number}" for number in range(world)]
    while not own.check(keys):
        waiting.turn(lambda: _absent(own, keys, rank))
    names = [own.get(key).decode() for key in keys]
    call_roll(RollCall(rank, world, f"{host}:{port}", PrefixStore(f"iaat/{attempt}", store.clone()), names))
    return PrefixStore(f"torch/{attempt}", store)


def _await_store(host: str, port: int, waiting: _RendezvousWait) -> None:
    while True:
        try:
            socket.create_connection((host, port), timeout=_TRY).close()
        except OSError as error:
            reason = f"the main process, which does not answer there ({error.strerror or error})"
            waiting.turn(partial(str, reason))
        else:
            return


def _absent(store: Store, keys: Sequence[str], rank: int) -> str | None:
    """The ranks that have not come, for a message; None where another process reports them."""
    there = [number for number, key in enumerate(keys) if store.check([key])]
    absent = [str(number) for number in range(len(keys)) if number not in there]
    some = first_few(absent, _MOST_NAMED, how_many=False)
    return f"{len(absent)} more: process {some}" if rank == min(there) else None


class _RendezvousWait:
    """Waiting at the rendezvous, with a report now and then."""

    def __init__(self, me: str, place: str) -> None:
        self._me, self._place = me, place
        self._begun, self._report_at = time.monotonic(), REPORT_AFTER

    def turn(self, missing: Callable[[], str | None]) -> None:
        """Wait a little, so that signals are answered.

        Raises:
            RuntimeError: it has taken too long.
        """
        time.sleep(_PAUSE)
        waited = time.monotonic() - self._begun
        if waited > TIMEOUT.total_seconds():
            raise RuntimeError(f"waited {waited:.0f} s, still waiting for {missing() or 'others'}")
        if waited > self._report_at:
            self._report_at *= 2
            if text := missing():
                print_line(f"{self._me} waits at {self._place} for {text}")
