"""Cost of steps that can be undone, and of checkpoints.

    python benchmarks/survival.py [--model small-cnn resnet18] [--batch-size 128] [--repeats 7]

Steps on made-up 32 x 32 images, with and without the copy of the state before and the check for numbers that are not
finite after them, in turns; then one checkpoint, written whole and loaded again. Writes
`survival-<hardware>-<date>.json`.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from _measure import CONSOLE, Report, Spread, compare, parser, start, write_results
from _workload import IMAGES

from iaat.config.load_recipe import load_recipe
from iaat.methods import StepContext
from iaat.runs.checkpoint import load_checkpoint, save_checkpoint
from iaat.train.build_state import build_state
from iaat.train.nonfinite import NonfiniteMonitor
from iaat.train.state import TrainState
from iaat.train.step_snapshot import StepSnapshot
from iaat.types import Batch

METHODS = ("natural", "pgd_at")
COLUMNS = ["model", "method", "ms a step", "that can be undone", "checkpoint", "written, ms", "read, ms"]


def main() -> None:
    """Measure every model and method."""
    made = parser(__doc__, repeats=7)
    made.add_argument("--model", nargs="+", default=["small-cnn", "resnet18"], help="models (default %(default)s)")
    made.add_argument("--batch-size", type=int, default=128, help="samples in a step (default %(default)s)")
    options = made.parse_args()
    device = start(options)
    rows = [_row(model, method, options, device) for model in options.model for method in METHODS]
    Report("what it costs to survive", COLUMNS, ("model", "method"), [_cells(row) for row in rows]).show()
    config = {"batch_size": options.batch_size, "repeats": options.repeats, "steps": 10, "momentum": 0.9}
    CONSOLE.print(write_results("survival", config, rows, folder=options.out), highlight=False)


def _row(model: str, method: str, options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    recipe = load_recipe("cifar10-small-pgd-at", ["--model.name", model, "--model.width", "null", "--method", method])
    state = build_state(recipe, IMAGES, 100, device)  # type: ignore[arg-type]
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(options.batch_size, *IMAGES.shape, generator=draw).to(device)
    y = torch.randint(10, (options.batch_size,), generator=draw).to(device)
    batch = state.to_memory_format(Batch(x, y, torch.arange(options.batch_size, device=device)))
    work = {name: partial(_step, state, batch, undone=undone) for name, undone in (("bare", False), ("undone", True))}
    bare, undone = compare(work, rounds=options.repeats, device=device)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "last.pt"
        disk = {"written": partial(save_checkpoint, file, state.state_dict()), "read": partial(load_checkpoint, file)}
        written, read = compare(disk, rounds=options.repeats)
        size = file.stat().st_size
    ratio = Spread.of([after / before for before, after in zip(bare.seconds, undone.seconds, strict=True)])
    return {
        "model": model,
        "method": method,
        "step": bare.seconds,
        "step that can be undone": undone.seconds,
        "ratio": asdict(ratio),
        "checkpoint bytes": size,
        "written": written.seconds,
        "read": read.seconds,
    }


def _cells(row: dict[str, Any]) -> list[str]:
    ms = {key: f"{1000 * median(row[key]):.0f}" for key in ("step", "written", "read")}
    ratio, size = f"x {row['ratio']['median']:.3f}", f"{row['checkpoint bytes'] / 1e6:.1f} MB"
    return [row["model"], row["method"], ms["step"], ratio, size, ms["written"], ms["read"]]


def _step(state: TrainState, batch: Batch, *, undone: bool) -> None:
    """A step as the loop takes it."""
    undo, faults = (StepSnapshot(state, batch.index), NonfiniteMonitor(1)) if undone else (None, None)
    state.optimizer.zero_grad(set_to_none=True)
    state.model.train()
    output = state.method.step(state.model, batch, StepContext(0, state.generator))
    output.loss.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()
    if undo is not None and faults is not None:
        undo.restore_unless(faults.check(0, state.model, output.loss))
        faults.read()


if __name__ == "__main__":
    main()
