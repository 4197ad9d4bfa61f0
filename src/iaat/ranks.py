"""Several processes that train one network: how they find each other, and what they agree on.

Everywhere else the code asks `current()` who it is among them; with one process all of this costs nothing.
"""

from __future__ import annotations

import io
import json
import os
import platform
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from iaat.errors import UserError

T = TypeVar("T")

PATIENCE = timedelta(minutes=30)
"""How long a process waits for another that is still connected: as long as the main one may take to save, or to
download. One that has ended is noticed at once."""

_LOST = re.compile(
    r"connection (was )?(closed|reset|refused)|broken pipe|socket (closed|timeout)|peer|nccl|timed out|gloo|tcpstore",
    re.IGNORECASE,
)


class LostProcessError(RuntimeError):
    """Another process has ended, or cannot be reached: the work cannot go on."""


class ElsewhereError(UserError):
    """Another process met an error that ends the work of all."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together; by default it is alone.

    Attributes:
        rank: Its number, from 0; number 0 is the main one, which writes files.
        world: Number of processes.
        local: Its number among those of its machine, which is the number of its GPU.
    """

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.world > 1

    def sum_(self, values: Tensor) -> Tensor:
        """Put the sum over all processes in place of a tensor, on whichever device it is; returns it."""
        if self.several:
            assert values.is_contiguous() or values.is_contiguous(memory_format=torch.channels_last)  # else gloo errs
            dist.all_reduce(values)
        return values

    def mean_(self, values: Tensor) -> Tensor:
        """Put the mean over all processes in place of a tensor; returns it."""
        return self.sum_(values).div_(self.world) if self.several else values

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag whether it is set in any process; asked and answered on the CPU, no GPU is waited for."""
        if not self.several:
            return flags
        votes = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(votes, op=dist.ReduceOp.MAX)
        return tuple(bool(vote) for vote in votes)

    def gather(self, values: Tensor) -> list[Tensor]:
        """The tensor `[n_r, ...]` of every process r, in their order; only the first dimension may differ."""
        if not self.several:
            return [values]
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world)]
        dist.all_gather(sizes, torch.tensor([len(values)]))
        counts = [int(size) for size in sizes]
        longest = max(counts)
        padded = values.new_zeros((longest, *values.shape[1:]))
        padded[: len(values)] = values
        found = [torch.empty_like(padded) for _ in counts]
        if longest:
            dist.all_gather(found, padded)
        return [part[:count] for part, count in zip(found, counts, strict=True)]

    def gather_states(self, state: dict[str, Any]) -> list[dict[str, Any]]:
        """The state of every process, of tensors and plain values, on the CPU."""
        if not self.several:
            return [state]
        file = io.BytesIO()
        torch.save(state, file)
        parts = self.gather(torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8))
        return [torch.load(io.BytesIO(part.numpy().tobytes()), map_location="cpu", weights_only=True) for part in parts]

    def merged(self, found: Mapping[int, Any]) -> dict[int, Any]:
        """What all processes have found, each under numbers of its own, as JSON can say it."""
        if not self.several:
            return dict(found)
        parts = self.gather(_bytes(json.dumps(list(found.items()))))
        return {number: value for part in parts for number, value in json.loads(_text(part))}

    def told(self, text: str) -> str:
        """What the main process says, in every process."""
        return _text(self.gather(_bytes(text if self.main else ""))[0]) if self.several else text

    def check_same(self, text: str, what: str) -> None:
        """Refuse to go on where processes differ in what all must share.

        Raises:
            UserError: in every process: `what` is not the same everywhere.
        """
        differs = text != self.told(text)
        self.raise_together(
            UserError(f"{what} of process {self.rank} on {platform.node()} differ from those of process 0")
            if differs
            else None
        )

    def raise_together(self, error: UserError | None) -> None:
        """Raise in every process what went wrong in any.

        Args:
            error: What went wrong in this one; None: nothing.

        Raises:
            UserError: this one's own, or what the first other process says.
        """
        if not self.any(error is not None)[0]:
            return
        place = f"process {self.rank} of {self.world} on {platform.node()}"
        said = self.merged({} if error is None else {self.rank: f"{place}: {error}"})
        if error is not None:
            raise error
        raise ElsewhereError(said[min(said)])

    def on_main(self, act: Callable[[], object]) -> None:
        """Have the main process do something while the others wait.

        Raises:
            UserError: it failed there, in every process.
        """
        if self.several:
            self.raise_together(_failure(act) if self.main else None)
        else:
            act()

    def main_first(self, act: Callable[[], T]) -> T:
        """Do something in every process, in the main one before the others, which then find done what needs doing once.

        Raises:
            UserError: it failed in one, in every process.
        """
        if not self.several:
            return act()
        found: list[T] = []
        for turn in (self.main, not self.main):
            self.raise_together(_failure(lambda: found.append(act())) if turn else None)
        return found[0]


ALONE = Ranks()


def current() -> Ranks:
    """This process among those of PyTorch's default group, whoever has set it up."""
    if not (dist.is_available() and dist.is_initialized()):
        return ALONE
    return Ranks(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", dist.get_rank())))


def _failure(act: Callable[[], object]) -> UserError | None:
    """What goes wrong in doing something, of what is for users to mend."""
    try:
        act()
    except UserError as error:
        return error
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return UserError(f"{place}{error.strerror or error}")
    return None


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
    if current().several or (launch := _launched(os.environ if environment is None else environment)) is None:
        yield current()
        return
    with _losses_told(launch["RANK"], launch["WORLD_SIZE"]):
        ranks = _join(launch)
        try:
            if ranks.main:
                yield ranks
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    yield ranks
        finally:
            with suppress(RuntimeError):
                dist.destroy_process_group()


@contextmanager
def _losses_told(rank: str, world: str) -> Iterator[None]:
    """Say which process lost the others, in place of the words of the library that noticed."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, LostProcessError) or not (isinstance(error, dist.DistError) or _LOST.search(str(error))):
            raise
        reason = re.sub(r"^\[[^\]]*\]\s*", "", (str(error).splitlines() or [""])[0]).partition(". ")[0]
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
    os.environ.update(launch)
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=PATIENCE)
    ranks = current()
    counted = int(ranks.sum_(torch.ones(1, dtype=torch.int64)))
    if not counted == ranks.world == int(launch["WORLD_SIZE"]):
        raise UserError(f"{counted} processes answered, the launcher started {launch['WORLD_SIZE']}")
    return ranks


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


def launched() -> bool:
    """Whether a launcher has started this process as one of several."""
    return _launched(os.environ) is not None


def described(ranks: Ranks, device: torch.device) -> str:
    """Who trains, for people: `4 processes on 2 machines, on cuda`."""
    hosts = {_text(part) for part in ranks.gather(_bytes(platform.node()))}
    machines = f"{len(hosts)} machine{'s' if len(hosts) > 1 else ''}"
    return f"{ranks.world} processes on {machines}, on {device.type}"


_KEYS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def _launched(environment: Mapping[str, str]) -> dict[str, str] | None:
    """What a launcher says of this process, in torchrun's words; None for a process of its own."""
    launch = {key: environment[key] for key in _KEYS if key in environment}
    if {"RANK", "WORLD_SIZE"} <= launch.keys():
        launch.setdefault("LOCAL_RANK", launch["RANK"])
    elif "SLURM_STEP_NUM_TASKS" in environment and "SLURM_PROCID" in environment:
        launch = _of_slurm(environment) | launch
    if int(launch.get("WORLD_SIZE", 1)) < 2:
        return None
    if missing := [key for key in _KEYS if key not in launch]:
        raise UserError(f"the launcher has not set {', '.join(missing)}: start by torchrun or srun")
    return launch


def _of_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """The same of a step of SLURM: the first machine of the step is where all meet, at a port that the job decides."""
    nodes = environment.get("SLURM_STEP_NODELIST", environment.get("SLURM_NODELIST", ""))
    job = int(environment.get("SLURM_JOB_ID", 0))
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": environment["SLURM_STEP_NUM_TASKS"],
        "LOCAL_RANK": environment.get("SLURM_LOCALID", "0"),
        "MASTER_ADDR": first_host(nodes) or "127.0.0.1",
        "MASTER_PORT": str(20_000 + job % 20_000),
    }


def first_host(nodes: str) -> str:
    """The first machine of a SLURM list such as `gpu[03-07,12],login1`: `gpu03`."""
    match = re.match(r"(?P<head>[^\[,]*)(?:\[(?P<first>[^\],-]*)[^\]]*\](?P<tail>[^,\[]*))?", nodes)
    assert match is not None
    return "".join(part or "" for part in match.group("head", "first", "tail"))


def _bytes(text: str) -> Tensor:
    return torch.frombuffer(bytearray(text.encode() or b" "), dtype=torch.uint8)


def _text(values: Tensor) -> str:
    text = values.cpu().numpy().tobytes().decode()
    return "" if text == " " else text
