"""The memory of radii: reading and writing those of a batch, as a share of a training step.

    python benchmarks/memory.py [--size 50000 1280000 10000000] [--model small-cnn] [--repeats 7] [--quick]

A batch's radii are read once (`radii[index]`) and written once (`radii[index] = new`), at random indices that differ
from turn to turn, many times in a row: the caches hold the code and, of a large memory, not the entries. One pair right
after a training step, whose data have pushed everything out, is measured too. The step is that of PGD adversarial
training with K = 10 on 32 x 32 images, measured in the same rounds. Writes `memory-<hardware>-<date>.json`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from itertools import cycle

import torch
from _measure import CONSOLE, Goal, Report, Spread, Timing, compare, hardware_line, parser, start, write_results
from torch import Tensor
from torch.optim import SGD

from iaat import RadiusMemory, rng
from iaat.device import autocast
from iaat.methods import METHODS, StepContext
from iaat.models import ModelConfig, build_model
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


def main() -> None:
    """Measure the step and every size in turns."""
    options = _options()
    device = start(options)
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
    _publish(timings, options)


def _options() -> argparse.Namespace:
    made = parser(__doc__, repeats=7)
    sizes = [50_000, GOAL_SIZE, 10_000_000]
    made.add_argument("--size", type=int, nargs="+", default=sizes, help="samples of the memory (default %(default)s)")
    made.add_argument("--model", default="small-cnn", help="network of the step (default %(default)s)")
    made.add_argument("--batch-size", type=int, default=128, help="(default %(default)s)")
    made.add_argument("--steps", type=int, default=10, help="steps K of the step's attack (default %(default)s)")
    made.add_argument("--precision", default="auto", help="of the step: auto, fp32 or bf16 (default %(default)s)")
    made.add_argument("--quick", action="store_true", help="3 rounds")
    options = made.parse_args()
    if options.quick:
        options.repeats = min(options.repeats, 3)
    return options


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
    # As the recipes have it, at a rate that keeps the network of the first round to the last.
    optimizer = SGD(model.parameters(), lr=1e-5, momentum=0.9, nesterov=True, weight_decay=5e-4)
    method_class = METHODS["pgd_at"]
    method = method_class(method_class.Config(steps=options.steps), size=count, device=device)
    context = StepContext(0, rng.generator(0, "attack", device=device))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(options.precision, device):
            output = method.step(model, batch, context)
        output.loss.backward()
        optimizer.step()

    return step


def _publish(timings: dict[str, Timing], options: argparse.Namespace) -> None:
    """Print the table and write the file."""
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
    report.lines += [str(goal) for goal in goals]
    report.show()
    config = {key: value for key, value in vars(options).items() if key != "out"}
    config |= {"step_seconds": asdict(step.spread), "pairs": PAIRS}
    path = write_results("memory", config, rows, goals=goals, folder=options.out)
    CONSOLE.print(f"written: {path.name}", highlight=False)


def _shown(spread: Spread, form: str) -> str:
    return f"{spread.median:{form}} [{spread.low:{form}}, {spread.high:{form}}]"


def _scaled(spread: Spread, factor: float) -> Spread:
    return Spread(factor * spread.median, factor * spread.low, factor * spread.high)


if __name__ == "__main__":
    main()
