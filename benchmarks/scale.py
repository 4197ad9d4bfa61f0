"""Several processes on this machine against the cost model of docs/scale.md: steps, bytes, exchanges of radii.

    python benchmarks/scale.py [--processes 2] [--model small-cnn] [--batch-size 128] [--size 100000 1000000 10000000]

The processes meet over the loopback device, and its counters say how many bytes they move; nothing else should use it
meanwhile. A training step of all together and one of the main process alone, on the same global batch, take turns
while the others wait. Each process has the threads that --threads says, one by default. Writes
`scale-<hardware>-<date>.json`.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from _measure import CONSOLE, Report, Spread, parser, start, write_results
from _workload import IMAGES

from iaat import RadiusMemory
from iaat.config.load_recipe import load_recipe
from iaat.models import count_parameters
from iaat.runs.checkpoint import save_checkpoint
from iaat.runtime import rng
from iaat.runtime.distributed import ALONE, Ranks
from iaat.runtime.launch import processes
from iaat.train.batch_split import split_batch
from iaat.train.build_state import build_state
from iaat.train.nonfinite import NonfiniteMonitor
from iaat.train.state import TrainState
from iaat.train.step import take_step
from iaat.types import Batch

CALLS = 200
"""Agreements in one measurement."""


def main() -> None:
    """Start the processes, or be one of them."""
    made = parser(__doc__, repeats=5)
    made.add_argument("--processes", type=int, default=2, help="(default %(default)s)")
    made.add_argument("--model", default="small-cnn", help="model of the step (default %(default)s)")
    made.add_argument("--method", default="iaat", help="method of the step (default %(default)s)")
    made.add_argument("--batch-size", type=int, default=128, help="of all processes (default %(default)s)")
    sizes = [100_000, 1_000_000, 10_000_000]
    made.add_argument("--size", type=int, nargs="+", default=sizes, help="samples of the radii (default %(default)s)")
    options = made.parse_args()
    options.threads = options.threads or 1
    if "RANK" in os.environ:
        with processes() as ranks:
            _measure(options, ranks)
    else:
        _start(options.processes)


def _start(count: int) -> None:
    """The same command in every process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    meeting = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, *sys.argv],
            env={**os.environ, **meeting, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=None if rank == 0 else subprocess.DEVNULL,
        )
        for rank in range(count)
    ]
    sys.exit(max(process.wait() for process in started))


def _measure(options: argparse.Namespace, ranks: Ranks) -> None:
    device = start(options)
    rows = [*_steps(options, ranks, device), _agreement(ranks)]
    rows += [row for size in options.size for row in _radii(size, options.batch_size, ranks)]
    if not ranks.main:
        return
    report = Report(
        f"{ranks.world} processes, {options.threads} thread each, on one machine of {os.cpu_count()} cores",
        ("what", "ms", "MB moved", "of them predicted"),
        left=("what",),
    )
    report.rows += [_cells(row) for row in rows]
    report.lines.append("bytes are those of all processes together, with the headers of TCP and IP")
    report.show()
    config = {key: value for key, value in vars(options).items() if key != "out"}
    CONSOLE.print(write_results("scale", config, rows, folder=options.out).name, highlight=False)


def _cells(row: dict[str, Any]) -> list[str]:
    shown = [row["what"] + (f" (x {row['speedup']['median']:.2f})" if "speedup" in row else "")]
    shown.append(f"{1000 * median(row['seconds']):.3g}" if "seconds" in row else "")
    shown.append(f"{row['bytes'] / 1e6:.4g}" if "bytes" in row else "")
    return [*shown, f"{row['predicted'] / 1e6:.4g}" if "predicted" in row else ""]


def _steps(options: argparse.Namespace, ranks: Ranks, device: torch.device) -> list[dict[str, Any]]:
    """A step by all processes, and the same by one while the others wait."""
    recipe = load_recipe("cifar10-small-iaat", ["--model.name", options.model, "--method", options.method])
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(options.batch_size, *IMAGES.shape, generator=draw).to(device)
    y = torch.randint(10, (options.batch_size,), generator=draw).to(device)
    states = {who: build_state(recipe, IMAGES, 100, device, ranks=who) for who in (ranks, ALONE)}
    if states[ranks].method.radii is not None:
        for state in states.values():
            assert state.method.radii is not None
            state.method.radii[:] = recipe.method.radius  # where attacks take all their steps

    def step(who: Ranks) -> None:
        if who is ALONE and not ranks.main:
            return
        state: TrainState = states[who]
        state.model.train()
        parts = split_batch(torch.arange(options.batch_size), who)
        batches = [state.to_memory_format(Batch(x[part.rows], y[part.rows], part.index)) for part in parts]
        take_step(state, list(zip(parts, batches, strict=True)), recipe.train, device, NonfiniteMonitor(1, who))

    (together, moved), (alone, _) = (_timed(lambda who=who: step(who), options.repeats) for who in (ranks, ALONE))
    parameters = count_parameters(states[ranks].model)
    speedup = Spread.of([one / all_ for one, all_ in zip(alone, together, strict=True)])
    saved = states[ranks].state_dict()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "last.pt"
        save_checkpoint(file, saved)
        size = file.stat().st_size
    gradients = 2 * (ranks.world - 1) * 4 * parameters
    return [
        {"what": f"step of {options.batch_size}, one process", "seconds": alone},
        {"what": f"step of {options.batch_size}, all", "seconds": together, "speedup": asdict(speedup), "bytes": moved,
         "predicted": gradients, "parameters": parameters},
        {"what": "checkpoint", "bytes": size, "predicted": 8 * parameters + 4 * len(IMAGES.train)},
    ]  # fmt: skip


def _agreement(ranks: Ranks) -> dict[str, Any]:
    """What all processes agree on at every step: whether to stop, to save, and whether all could read their data."""

    def agree() -> None:
        for _ in range(CALLS):
            ranks.any(False, False)

    seconds, moved = _timed(agree, 5)
    return {"what": "one agreement", "seconds": [each / CALLS for each in seconds], "bytes": moved / CALLS}


def _radii(size: int, batch: int, ranks: Ranks) -> list[dict[str, Any]]:
    """An epoch's radii exchanged at once, each process having written its own; and a batch of radii in parts."""
    whole, parts = RadiusMemory(size), RadiusMemory(size)
    parts.shard()
    order = rng.permutation(size, 0, 0)
    own = torch.tensor_split(order, ranks.world)[ranks.rank]

    def exchange() -> None:
        whole[own] = torch.full((len(own),), 0.01)
        dist.barrier()
        begun.append(time.perf_counter())
        whole.synchronize()
        dist.barrier()
        ended.append(time.perf_counter())

    def look_up() -> None:
        index = own[: batch // ranks.world]
        for _ in range(CALLS):
            parts[index] = parts[index]

    begun: list[float] = []
    ended: list[float] = []
    _, moved = _timed(exchange, 3)
    seconds = [after - before for before, after in zip(begun[1:], ended[1:], strict=True)]
    others = ranks.world - 1
    looked_up, asked = _timed(look_up, 3)
    return [
        {"what": f"radii of an epoch of {size:,}", "seconds": seconds, "bytes": moved, "predicted": 8 * size * others},
        {"what": f"sharded radii of a batch of {batch}, of {size:,}", "seconds": [each / CALLS for each in looked_up],
         "bytes": asked / CALLS, "predicted": (8 + 2 * 4 + 16) * batch * others},
    ]  # fmt: skip


def _timed(run: Callable[[], object], rounds: int) -> tuple[list[float], float]:
    """Seconds of each round after one to warm up, from all processes ready to all done, and bytes moved in the last."""
    seconds, moved = [], 0.0
    for _ in range(rounds + 1):
        dist.barrier()
        before, begun = _bytes_moved(), time.perf_counter()
        run()
        dist.barrier()
        seconds.append(time.perf_counter() - begun)
        moved = _bytes_moved() - before
    return seconds[1:], moved


def _bytes_moved() -> float:
    """Bytes that have gone through the loopback device."""
    lines: Sequence[str] = Path("/proc/net/dev").read_text(encoding="utf-8").splitlines()
    return next(
        (float(line.split(":")[1].split()[0]) for line in lines if line.strip().startswith("lo:")), float("nan")
    )


if __name__ == "__main__":
    main()
