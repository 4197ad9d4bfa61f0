"""The memory of radii: time to read and write those of a batch, relative to a training step, and memory it takes.

    python benchmarks/memory.py [--size 1280000 100000000] [--mapped 1000000000] [--model small-cnn] [--quick]

A batch's radii are read once (`radii[index]`) and written once (`radii[index] = new`), at random indices. Two parts:

- Time beside a step, in turns: many pairs in a row, at indices that come again every 200 pairs, so that the caches hold
  the code and, of a large memory, not the entries; and one pair right after a training step, which has pushed
  everything out. The step is that of PGD adversarial training with K = 10 on 32 x 32 images.
- Random batches, none like another, on a tensor and on a mapped file: every pair is timed, and resident memory is read
  before and after them, as the kernel counts it: anonymous, which stays until it is freed, and of the mapped file,
  which the kernel takes back when it needs room. The first batches find the file empty, the last ones nearly full.

Writes `memory-<hardware>-<date>.json`.
"""

from __future__ import annotations

import argparse
import gc
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from _measure import CONSOLE, Goal, Report, Spread, Timing, compare, hardware_line, parser, start, write_results
from torch import Tensor
from torch.optim import SGD

from iaat import RadiusMemory
from iaat.methods import METHODS, StepContext
from iaat.models import ModelConfig, build_model
from iaat.runtime import rng
from iaat.runtime.device import autocast
from iaat.types import Batch

AT_MOST = 0.1
"""Per cent of a step that one read and one write are meant to take."""
GOAL_SIZE = 1_280_000
"""Size the goal is for: ImageNet's."""
CLASSES = 10
STEP = "training step"
"""Name of the reference."""
PAIRS = 200
"""Reads and writes in one run."""
MILLISECOND = 1000
"""Microseconds that a batch of the largest mapped memory is meant to take at most."""
FLAT = 1.0
"""MB by which anonymous memory may have grown after all random batches."""
END = 1000
"""Random batches at the beginning, and at the end, that are shown apart."""


def main() -> None:
    """Measure random batches on every memory, then the step and every size in turns."""
    options = _options()
    device = start(options)
    visits = [_visit(size, mapped, options, device) for size, mapped in _memories(options)]
    pairs = {size: _pair(size, options.batch_size, device) for size in options.size}
    step = _step(options, device)
    work = {STEP: step}
    for place, (size, pair) in enumerate(pairs.items()):
        work |= {_cold(size): pair} if place == 0 else {f"step before {size}": step, _cold(size): pair}
    work |= {_warm(size): _many(pair) for size, pair in pairs.items()}
    timings = {timing.name: timing for timing in compare(work, rounds=options.repeats, device=device)}
    for size in options.size:
        repeated = timings[_warm(size)]
        timings[_warm(size)] = Timing(repeated.name, tuple(seconds / PAIRS for seconds in repeated.seconds))
    _publish(timings, visits, options)


def _options() -> argparse.Namespace:
    made = parser(__doc__, repeats=7)
    tensors, files = [1_000_000, GOAL_SIZE, 10_000_000, 100_000_000], [10**6, 10**7, 10**8, 10**9]
    made.add_argument("--size", type=int, nargs="+", default=tensors, help="samples, tensor (default %(default)s)")
    made.add_argument("--mapped", type=int, nargs="*", default=files, help="samples, file (default %(default)s)")
    made.add_argument("--batches", type=int, default=40_000, help="random batches a memory (default %(default)s)")
    made.add_argument("--folder", type=Path, help="where mapped files go; a temporary one by default")
    made.add_argument("--model", default="small-cnn", help="model of the step (default %(default)s)")
    made.add_argument("--batch-size", type=int, default=128, help="(default %(default)s)")
    made.add_argument("--steps", type=int, default=10, help="steps K of the step's attack (default %(default)s)")
    made.add_argument("--precision", default="auto", help="of the step: auto, fp32 or bf16 (default %(default)s)")
    made.add_argument("--quick", action="store_true", help="3 rounds, 3,000 random batches")
    options = made.parse_args()
    if options.quick:
        options.repeats, options.batches = min(options.repeats, 3), min(options.batches, 3 * END)
    return options


def _memories(options: argparse.Namespace) -> list[tuple[int, bool]]:
    """Size of every memory that meets random batches, and whether it is mapped."""
    return [(size, False) for size in options.size] + [(size, True) for size in options.mapped]


@dataclass(frozen=True, slots=True)
class Visits:
    """Random batches on one memory: microseconds a batch, and MB; None where the system does not say.

    Attributes:
        anonymous: Growth of the process's memory that no file backs.
        cached: Growth of the mapped pages of files that are in memory.
        apparent: Size of the file.
        real: What it takes on the disk.
    """

    size: int
    mapped: bool
    every: Spread
    first: Spread
    last: Spread
    percentile_99: float
    slowest: float
    anonymous: float | None
    cached: float | None
    apparent: float | None
    real: float | None

    @property
    def name(self) -> str:
        """The memory, for people."""
        return f"{self.size:,} samples, {'mapped' if self.mapped else 'tensor'}"


def _visit(size: int, mapped: bool, options: argparse.Namespace, device: torch.device) -> Visits:
    """Random batches on a memory of its own."""
    radii = RadiusMemory(size, initial="8px", device=device)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        file = Path(folder, "radii")
        if mapped:
            radii.map_to(file)
        source = rng.generator(0, "random batches", size)
        seconds = np.zeros(options.batches)  # and no list, which would grow

        def batches(count: int) -> None:
            for turn in range(count):
                index = torch.randint(size, (options.batch_size,), generator=source).to(device)
                _wait(device)
                begun = time.perf_counter()
                radii[index] = radii[index] + 1e-4
                _wait(device)
                seconds[turn] = time.perf_counter() - begun

        radii[[0]] = 0.0
        gc.collect()
        before = _resident()
        batches(options.batches)
        after = _resident()
        state = file.stat() if mapped else None
    microseconds = 1e6 * seconds
    anonymous, cached = (None if a is None or b is None else b - a for a, b in zip(before, after, strict=True))
    return Visits(
        size=size,
        mapped=mapped,
        every=Spread.of(microseconds.tolist()),
        first=Spread.of(microseconds[:END].tolist()),
        last=Spread.of(microseconds[-END:].tolist()),
        percentile_99=float(np.quantile(microseconds, 0.99)),
        slowest=float(microseconds.max()),
        anonymous=anonymous,
        cached=cached,
        apparent=None if state is None else state.st_size / 1e6,
        real=None if state is None else state.st_blocks * 512 / 1e6,
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _resident() -> tuple[float | None, float | None]:
    """Resident memory of this process in MB, anonymous and of files; None where there is no `/proc`."""
    status = Path("/proc/self/status")
    text = status.read_text(encoding="utf-8") if status.exists() else ""
    anonymous, cached = (re.search(rf"^{key}:\s*(\d+) kB", text, re.M) for key in ("RssAnon", "RssFile"))
    return _megabytes(anonymous), _megabytes(cached)


def _megabytes(kilobytes: re.Match[str] | None) -> float | None:
    return None if kilobytes is None else int(kilobytes[1]) * 1024 / 1e6


def _cold(size: int) -> str:
    return f"{size:,} samples, right after a step"


def _warm(size: int) -> str:
    return f"{size:,} samples, one after another"


def _pair(size: int, batch_size: int, device: torch.device) -> Callable[[], None]:
    """One read and one write at the next indices."""
    radii = RadiusMemory(size, initial="8px", device=device)
    source = rng.generator(0, "indices", size)
    indices = torch.randint(size, (PAIRS, batch_size), generator=source).to(device)
    turn = cycle(indices.unbind())

    def pair() -> None:
        index: Tensor = next(turn)
        radii[index] = radii[index]

    return pair


def _many(pair: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(PAIRS):
            pair()

    return run


def _step(options: argparse.Namespace, device: torch.device) -> Callable[[], None]:
    """What the training loop does with one batch in PGD adversarial training."""
    count, order = options.batch_size, torch.channels_last
    x = torch.rand(count, 3, 32, 32, generator=rng.generator(0, "images"))
    y = torch.arange(count) % CLASSES
    batch = Batch(x.to(device, memory_format=order), y.to(device), torch.arange(count, device=device))
    half = torch.full((3,), 0.5)
    model = build_model(
        ModelConfig(name=options.model), shape=(3, 32, 32), classes=CLASSES, mean=half, std=half, seed=0
    ).to(device, memory_format=order)
    # As the recipes have it, at a rate that keeps the model of the first round to the last.
    optimizer = SGD(model.parameters(), lr=1e-5, momentum=0.9, nesterov=True, weight_decay=5e-4)
    method_class = METHODS["pgd_at"]
    method = method_class(method_class.Config(steps=options.steps).over(1), size=count, device=device)
    context = StepContext(0, rng.generator(0, "attack", device=device))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(options.precision, device):
            output = method.step(model, batch, context)
        output.loss.backward()
        optimizer.step()

    return step


def _publish(timings: dict[str, Timing], visits: list[Visits], options: argparse.Namespace) -> None:
    """Print both tables and write the file."""
    step = timings[STEP]
    rows, goals = [], []
    report = Report(
        f"radii of {options.batch_size} samples read and written once; a step is {options.model}, K = {options.steps},"
        f" {options.precision}\n{hardware_line()}",
        ("memory of", "MB", "µs", "% of a step"),
        left=("memory of",),
    )
    report.rows.append((STEP, "", _shown(_scaled(step.spread, 1e6), ".0f"), "100"))
    for size in options.size:
        megabytes = 4 * size / 1e6  # float32
        for name in (_warm(size), _cold(size)):
            percent = _scaled(timings[name].ratio(step), 100)
            microseconds = _scaled(timings[name].spread, 1e6)
            report.rows.append((name, f"{megabytes:.3g}", _shown(microseconds, ".0f"), _shown(percent, ".4f")))
            rows.append({"name": name, "size": size, "megabytes": megabytes})
            rows[-1] |= {"microseconds": asdict(microseconds), "percent_of_step": asdict(percent)}
            if size == GOAL_SIZE:
                goals.append(Goal(f"{name}: per cent of a step", percent, at_most=AT_MOST))
    report.show()
    table = _visits_report(visits, step, options)
    goals += _goals(visits)
    table.lines += [str(goal) for goal in goals]
    table.show()
    rows += [{"name": each.name, **asdict(each), "percent_of_step": _percent(each, step)} for each in visits]
    config = {key: value for key, value in vars(options).items() if key not in ("out", "folder")}
    config |= {"step_seconds": asdict(step.spread), "pairs": PAIRS}
    path = write_results("memory", config, rows, goals=goals, folder=options.out)
    CONSOLE.print(f"written: {path.name}", highlight=False)


def _visits_report(visits: list[Visits], step: Timing, options: argparse.Namespace) -> Report:
    """The table of random batches."""
    report = Report(
        f"{options.batches:,} random batches of {options.batch_size}, each read and written once; the first and last "
        f"{END:,} apart; MB by which anonymous memory and mapped pages have grown; MB of the file and on the disk",
        ("memory of", "µs", "first", "last", "99 %", "slowest", "% of a step", "anon.", "mapped", "file", "disk"),
        left=("memory of",),
    )
    for each in visits:
        percent = _percent(each, step)
        times = (_shown(each.every, ".0f"), f"{each.first.median:.0f}", f"{each.last.median:.0f}")
        tail = (f"{each.percentile_99:.0f}", f"{each.slowest:.0f}", f"{percent:.4f}")
        sizes = (each.anonymous, each.cached, each.apparent, each.real)
        report.rows.append((each.name, *times, *tail, *("" if size is None else f"{size:.4g}" for size in sizes)))
    return report


def _percent(visits: Visits, step: Timing) -> float:
    """A median batch as a fraction of a median step: they were not measured in turns."""
    return 1e-4 * visits.every.median / step.spread.median


def _goals(visits: list[Visits]) -> list[Goal]:
    """Under a millisecond in the largest mapped memory, and flat memory in all of them."""
    mapped = [each for each in visits if each.mapped]
    largest = max(mapped, key=lambda each: each.size, default=None)
    goals = [] if largest is None else [Goal(f"{largest.name}: µs a batch", largest.every, at_most=MILLISECOND)]
    grown = [(each.name, each.anonymous) for each in mapped if each.anonymous is not None]
    return goals + [
        Goal(f"{name}: growth of anonymous memory in MB", Spread.of([growth]), at_most=FLAT) for name, growth in grown
    ]


def _shown(spread: Spread, form: str) -> str:
    return f"{spread.median:{form}} [{spread.low:{form}}, {spread.high:{form}}]"


def _scaled(spread: Spread, factor: float) -> Spread:
    return Spread(factor * spread.median, factor * spread.low, factor * spread.high)


if __name__ == "__main__":
    main()
