"""Cost of checking inputs, labels, radii and indices in a training step.

    python benchmarks/checks.py [--model small-cnn resnet18] [--method pgd_at iaat] [--batch-size 128] [--repeats 7]

Steps on made-up 32 x 32 images, with the checks of values and without them, in turns; then the checks alone. Writes
`checks-<hardware>-<date>.json`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from _measure import CONSOLE, Report, compare, parser, start, write_results
from _workload import IMAGES

from iaat.attacks.inputs import check_inputs
from iaat.config.load_recipe import load_recipe
from iaat.methods import StepContext
from iaat.radius import RadiusMemory
from iaat.train.build_state import build_state
from iaat.train.state import TrainState
from iaat.types import Batch

SAMPLES = 100
"""Radii in memory."""
CALLS = 200
"""Times the checks run in a row, which alone are too short for a clock."""
COLUMNS = ["model", "method", "ms a step", "with checks, times as long", "checks alone, ms", "of a step"]


def main() -> None:
    """Measure every model and method."""
    made = parser(__doc__, repeats=7)
    made.add_argument("--model", nargs="+", default=["small-cnn", "resnet18"], help="models (default %(default)s)")
    made.add_argument("--method", nargs="+", default=["pgd_at", "iaat"], help="methods (default %(default)s)")
    made.add_argument("--batch-size", type=int, default=128, help="samples in a step (default %(default)s)")
    options = made.parse_args()
    device = start(options)
    rows = [_row(model, method, options, device) for model in options.model for method in options.method]
    Report("what checks cost", COLUMNS, ("model", "method"), [_cells(row) for row in rows]).show()
    config = {"batch_size": options.batch_size, "repeats": options.repeats, "steps": 10}
    CONSOLE.print(write_results("checks", config, rows, folder=options.out), highlight=False)


def _row(model: str, method: str, options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    recipe = load_recipe("cifar10-small-pgd-at", ["--model.name", model, "--model.width", "null", "--method", method])
    state = build_state(recipe, IMAGES, SAMPLES, device)
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(options.batch_size, *IMAGES.shape, generator=draw).to(device)
    y = torch.randint(10, (options.batch_size,), generator=draw).to(device)
    index = torch.arange(options.batch_size, device=device) % SAMPLES
    batch = state.to_memory_format(Batch(x, y, index))
    step = partial(_step, state, batch)
    radii = RadiusMemory(SAMPLES, initial="8px", device=device)
    unchecked, checked, alone, without = compare(
        {
            "unchecked": partial(_unchecked, step),
            "checked": step,
            "alone": partial(_repeat, partial(_checks, batch, radii)),
            "radii without checks": partial(_unchecked, partial(_repeat, partial(_radii, batch, radii))),
        },
        rounds=options.repeats,
        device=device,
    )
    own = [(with_ - bare) / CALLS for with_, bare in zip(alone.seconds, without.seconds, strict=True)]
    return {
        "model": model,
        "method": method,
        "step": unchecked.seconds,
        "step with checks": checked.seconds,
        "ratio": str(checked.ratio(unchecked)),
        "checks alone": own,
    }


def _cells(row: dict[str, Any]) -> list[str]:
    step, alone = median(row["step"]), median(row["checks alone"])
    return [
        row["model"],
        row["method"],
        f"{1000 * step:.0f}",
        row["ratio"],
        f"{1000 * alone:.2f}",
        f"{100 * alone / step:.3f} %",
    ]


def _step(state: TrainState, batch: Batch) -> None:
    state.optimizer.zero_grad(set_to_none=True)
    state.model.train()
    output = state.method.step(state.model, batch, StepContext(0, state.generator))
    output.loss.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()


def _checks(batch: Batch, radii: RadiusMemory) -> None:
    """All that a step of a method with a memory checks, and what it reads and writes there."""
    radius = _radii(batch, radii)
    check_inputs(batch.x, batch.y, radius, step_size=radius, steps=10, norm="linf", bounds=(0.0, 1.0))


def _repeat(run: Callable[[], object]) -> None:
    for _ in range(CALLS):
        run()


def _radii(batch: Batch, radii: RadiusMemory) -> torch.Tensor:
    radius = radii[batch.index]
    radii[batch.index] = radii[batch.index]
    return radius


def _unchecked(run: Callable[[], object]) -> None:
    with _without_checks():
        run()


@contextmanager
def _without_checks() -> Iterator[None]:
    nothing = {"return_value": None}
    with (
        patch("iaat.attacks.inputs._check_values", **nothing),
        patch("iaat.radius.storage.check_async", **nothing),
        patch("iaat.radius.radius_memory.check_async", **nothing),
    ):
        yield


if __name__ == "__main__":
    main()
