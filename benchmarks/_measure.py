"""Tools of all benchmarks: interleaved timings, ratios per round, counted passes, result files, tables, goals.

Machines drift and are shared, so a time means little by itself. Every comparison runs its candidates in turns
(A B C A B C ...) in one process; what is reported are ratios within a round, their median and their quartiles.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import platform
import re
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from iaat.runtime.console_table import PlainTable
from iaat.runtime.device import keep_freed_memory, pick_device
from iaat.runtime.passes import Passes, count_passes

RESULTS = Path(__file__).parent / "results"
NO_GPU = "no GPU: the GPU part (AMP, torch.compile modes, CUDA graphs) is skipped"
NOT_INSTALLED = "not installed: pip install '.[bench]'"
CONSOLE = Console(width=None if sys.stdout.isatty() else 170)


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and quartiles of one quantity over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of one value a round."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def __str__(self) -> str:
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one candidate, one value a round; `seconds[i]` of all candidates of a comparison are neighbours."""

    name: str
    seconds: tuple[float, ...]

    @property
    def spread(self) -> Spread:
        """Median and quartiles of the seconds."""
        return Spread.of(self.seconds)

    def ratio(self, reference: Timing) -> Spread:
        """How many times as long as `reference`, computed round by round."""
        return Spread.of([mine / its for mine, its in zip(self.seconds, reference.seconds, strict=True)])


def compare(
    work: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    device: torch.device | str = "cpu",
    warmup: int = 1,
) -> list[Timing]:
    """Time candidates in turns, all of them once a round.

    Args:
        work: What to run, by name.
        rounds: How many times each is timed.
        device: Where the work runs: on a GPU CUDA events are the clock, elsewhere `perf_counter`.
        warmup: How many times each runs before the first round, not timed.

    Returns:
        One timing a candidate, in the order of `work`.
    """
    clock = _cuda_seconds if torch.device(device).type == "cuda" else _cpu_seconds
    for run in work.values():
        for _ in range(warmup):
            run()
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        gc.collect()  # not in the middle of somebody's turn
        for name, run in work.items():
            seconds[name].append(clock(run))
    return [Timing(name, tuple(values)) for name, values in seconds.items()]


def _cpu_seconds(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def _cuda_seconds(run: Callable[[], object]) -> float:
    begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begun.record()
    run()
    ended.record()
    torch.cuda.synchronize()
    return begun.elapsed_time(ended) / 1000


def passes_of(model: nn.Module, run: Callable[[], object], samples: int) -> Passes:
    """Passes a sample through `model` in one call of `run`; not for use while timing, because hooks cost time."""
    with count_passes(model) as passes:
        run()
    return Passes(passes.forward / samples, passes.backward / samples)


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio and what it is meant to be; reached if its median is."""

    name: str
    measured: Spread
    at_most: float | None = None
    at_least: float | None = None

    @property
    def reached(self) -> bool:
        """Whether the median is within the bound."""
        above = self.at_least is None or self.measured.median >= self.at_least
        return above and (self.at_most is None or self.measured.median <= self.at_most)

    @property
    def clear(self) -> bool:
        """Whether both quartiles are on the same side of the bound as the median."""
        ends = (Goal(self.name, Spread.of([end]), self.at_most, self.at_least).reached for end in self._ends)
        return all(end == self.reached for end in ends)

    @property
    def _ends(self) -> tuple[float, float]:
        return self.measured.low, self.measured.high

    def __str__(self) -> str:
        bound = f"<= {self.at_most:g}" if self.at_most is not None else f">= {self.at_least:g}"
        verdict = ("reached" if self.reached else "not reached") + ("" if self.clear else ", within the spread")
        return f"{self.name}: {self.measured} (goal {bound}): {verdict}"

    def record(self) -> dict[str, Any]:
        """The goal as plain values."""
        return {**asdict(self), "reached": self.reached, "clear": self.clear}


def hardware() -> dict[str, Any]:
    """The machine: names of processor and GPU, threads, operating system."""
    return {
        "cpu": _cpu_name(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(encoding="utf-8", errors="replace"), re.M)
        if found:
            return " ".join(found[1].split())
    return platform.processor() or platform.machine()


def hardware_line() -> str:
    """The machine in a line, for titles."""
    machine = hardware()
    threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    return f"{machine['gpu'] or machine['cpu']}, {threads}, torch {torch.__version__}, {date.today().isoformat()}"


def versions(*packages: str) -> dict[str, str | None]:
    """Versions of Python, torch, torchvision, this package and `packages`; None for what is not installed."""
    installed = {name: _version(name) for name in ("iaat", "torchvision", *packages)}
    return {"python": platform.python_version(), "torch": torch.__version__, **installed}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def command_line() -> str:
    """The command as someone in the repository's root would type it."""
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])


def write_results(
    what: str,
    config: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    *,
    goals: Iterable[Goal] = (),
    packages: Sequence[str] = (),
    folder: Path = RESULTS,
) -> Path:
    """Write `<what>-<hardware>-<date>.json`: command, machine, versions, configuration, rows, goals.

    Args:
        what: Name of what was measured, such as `step-resnet18`.
        config: All that decides the numbers.
        rows: One a candidate, of plain values.
        goals: What the ratios were meant to be.
        packages: Distributions with versions to record, besides torch and this one.
        folder: Where the file goes.

    Returns:
        The file written; one of the same day, machine and name is replaced.
    """
    machine = hardware()
    threads = f"{machine['threads']}t"
    slug = re.sub(r"[^a-z0-9]+", "-", f"{machine['gpu'] or machine['cpu']} {threads}".lower().replace("(r)", ""))
    today = date.today().isoformat()
    path = folder / f"{what}-{slug.strip('-')}-{today}.json"
    record = {
        "what": what,
        "date": today,
        "command": command_line(),
        "hardware": machine,
        "versions": versions(*packages),
        "config": dict(config),
        "rows": [dict(row) for row in rows],
        "goals": [goal.record() for goal in goals],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")
    return path


@dataclass(slots=True)
class Report:
    """One printed table; cells are text, and a row may be shorter than the header."""

    title: str
    columns: Sequence[str]
    left: Sequence[str] = ()
    rows: list[Sequence[str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def show(self) -> None:
        """Print the table, then the lines below it."""
        table = PlainTable(self.title)
        for column in self.columns:
            table.add_column(column, justify="left" if column in self.left else "right", no_wrap=bool(column))
        for row in self.rows:
            table.add_row(*row)
        CONSOLE.print(table)
        for line in self.lines:
            CONSOLE.print(line, highlight=False, markup=False, soft_wrap=True)


def parser(description: str | None, *, repeats: int) -> argparse.ArgumentParser:
    """A parser with the options all benchmarks have: `--repeats`, `--threads`, `--device`, `--out`."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--repeats", type=int, default=repeats, help="timed rounds (default %(default)s)")
    made.add_argument("--threads", type=int, help="threads of PyTorch; its own choice by default")
    made.add_argument("--device", default="auto", help="auto, cpu or cuda (default %(default)s)")
    made.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON files (default benchmarks/results)")
    return made


def start(options: argparse.Namespace) -> torch.device:
    """Apply the options of `parser`: set the threads, say what is skipped, give the device.

    Freed memory is kept as the command line of iaat keeps it, for all candidates alike, the peers included.
    """
    keep_freed_memory()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    if device.type != "cuda":
        CONSOLE.print(NO_GPU, highlight=False)
    return device
