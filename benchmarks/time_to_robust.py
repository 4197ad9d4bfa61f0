"""What a robust CIFAR-10 network costs: a recipe of ours against fast adversarial training, in passes, FLOPs, seconds.

    python benchmarks/time_to_robust.py [--recipe docs/results/cifar10/testbed-iaat.yaml] [--repeats 5] [--steps 3]

Fast adversarial training (Wong, Rice, Kolter 2020, arXiv 2001.03994) is written anew from the paper: PreActResNet-18,
one step of FGSM from a random start, 15 epochs. Its published accuracy is 83.3 % clean and 43.2 % under AutoAttack at
8px (RobustBench). Steps of both on made-up images of CIFAR-10's shape take turns in one process; whole trainings follow
from their numbers of steps. Accuracy is not measured here. Writes `time-to-robust-<hardware>-<date>.json`.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _measure import CONSOLE, Report, Spread, Timing, compare, parser, passes_of, start, write_results
from _rows import FlopCounter
from _workload import CLASSES, IMAGES, SHAPE
from torch import Tensor, nn

from iaat.config.load_recipe import load_recipe
from iaat.config.recipe import Recipe
from iaat.models import ModelConfig, build_model
from iaat.runtime.device import autocast
from iaat.runtime.distributed import ALONE
from iaat.runtime.passes import Passes
from iaat.train.batch_split import split_batch
from iaat.train.build_state import build_state
from iaat.train.nonfinite import NonfiniteMonitor
from iaat.train.step import take_step
from iaat.types import Batch

ROOT = Path(__file__).resolve().parent.parent
RECIPE = ROOT / "docs/results/cifar10/testbed-iaat.yaml"
TRAINING_IMAGES = 50_000
FAST, OURS = "fast adversarial training", "recipe"
FAST_EPOCHS, FAST_BATCH = 15, 128
RADIUS, STEP_SIZE = 8 / 255, 10 / 255


@dataclass
class Candidate:
    """One way to train.

    Attributes:
        step: Trains on one batch.
        model: What passes are counted on.
        batch: Samples of a step.
        samples: Samples of the whole training.
        passes: Of a sample in a step.
        flops: Of a sample in a step.
    """

    step: Callable[[], None]
    model: nn.Module
    batch: int
    samples: int
    passes: Passes = dataclasses.field(default_factory=Passes)
    flops: float = 0.0

    def count(self) -> None:
        """Count passes and operations of a step."""
        with FlopCounter() as counter:
            self.passes = passes_of(self.model, self.step, self.batch)
        self.flops = counter.total / self.batch


def main() -> None:
    """Measure both, and print what whole trainings cost."""
    options = _parser().parse_args()
    device = start(options)
    recipe = load_recipe(str(options.recipe), ["--data.root", "."])
    precision = "bf16" if recipe.train.precision == "auto" else recipe.train.precision
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, precision=precision))
    candidates = {FAST: _fast(precision, device), OURS: _ours(recipe, device)}
    for candidate in candidates.values():
        candidate.count()
    work = {name: _times(candidate.step, options.steps) for name, candidate in candidates.items()}
    timings = {timing.name: timing for timing in compare(work, rounds=options.repeats, device=device, warmup=0)}
    rows = [_row(name, each, timings[name], options.steps) for name, each in candidates.items()]
    ratios = _ratios(candidates, timings)
    _report(rows, ratios, recipe, precision)
    config = {"recipe": recipe.name, "steps": options.steps, "repeats": options.repeats, "precision": precision}
    record = {name: dataclasses.asdict(spread) for name, spread in ratios.items()}
    written = [*rows, {"name": "recipe / fast adversarial training", **record}]
    CONSOLE.print(write_results("time-to-robust", config, written, folder=options.out), highlight=False)


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__, repeats=5)
    made.add_argument("--recipe", type=Path, default=RECIPE, help="a recipe for CIFAR-10 (default %(default)s)")
    made.add_argument("--steps", type=int, default=3, help="training steps of a round (default %(default)s)")
    return made


def _times(step: Callable[[], None], count: int) -> Callable[[], None]:
    def several() -> None:
        for _ in range(count):
            step()

    return several


def _fast(precision: str, device: torch.device) -> Candidate:
    """The procedure of the paper: attack in training mode, gradients of the weights among those of the attack."""
    data: dict[str, Any] = {"shape": SHAPE, "classes": CLASSES, "mean": torch.zeros(3), "std": torch.ones(3)}
    model = build_model(ModelConfig(name="preactresnet18"), seed=0, **data).to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9, weight_decay=5e-4)
    x, y = _images(FAST_BATCH, device)

    def gradients(delta: Tensor) -> None:
        with autocast(precision, device):
            loss = F.cross_entropy(model((x + delta).clamp(0, 1)).float(), y)
        loss.backward()  # type: ignore[no-untyped-call]

    def step() -> None:
        delta = torch.empty_like(x).uniform_(-RADIUS, RADIUS).requires_grad_()
        gradients(delta)
        assert delta.grad is not None
        attacked = (delta + STEP_SIZE * delta.grad.sign()).clamp(-RADIUS, RADIUS).detach()
        optimizer.zero_grad()
        gradients(attacked)
        optimizer.step()

    return Candidate(step, model, FAST_BATCH, FAST_EPOCHS * TRAINING_IMAGES)


def _ours(recipe: Recipe, device: torch.device) -> Candidate:
    """A step as the training loop takes it."""
    state = build_state(recipe, IMAGES, 100, device)  # type: ignore[arg-type]
    state.model.train()
    size = recipe.train.batch_size
    x, y = _images(size, device)
    batch = state.to_memory_format(Batch(x, y, torch.arange(size, device=device)))
    (micro,) = split_batch(torch.arange(size), ALONE)
    if state.method.radii is not None:  # as in the middle of a training, not all 0
        state.method.radii[:] = RADIUS
    monitor = NonfiniteMonitor(1)

    def step() -> None:
        take_step(state, [(micro, batch)], recipe.train, device, monitor)

    samples = round(recipe.train.epochs * TRAINING_IMAGES * (1 - recipe.data.validation_fraction))
    return Candidate(step, state.model, size, samples)


def _images(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    x, y = torch.rand(count, *SHAPE, generator=draw), torch.randint(CLASSES, (count,), generator=draw)
    return x.to(device), y.to(device)


def _row(name: str, candidate: Candidate, timing: Timing, steps: int) -> dict[str, Any]:
    seconds = timing.spread.median / (steps * candidate.batch)
    return {
        "name": name,
        "passes": {"forward": candidate.passes.forward, "backward": candidate.passes.backward},
        "gflops": candidate.flops / 1e9,
        "samples": candidate.samples,
        "petaflops": candidate.flops * candidate.samples / 1e15,
        "seconds_a_sample": seconds,
        "hours": seconds * candidate.samples / 3600,
        "seconds": timing.seconds,
    }


def _ratios(candidates: dict[str, Candidate], timings: dict[str, Timing]) -> dict[str, Spread]:
    """Whole training of ours over that of fast adversarial training."""
    ours, fast = candidates[OURS], candidates[FAST]
    passes = [(each.passes.forward + each.passes.backward) * each.samples for each in (ours, fast)]
    flops = [each.flops * each.samples for each in (ours, fast)]
    a_step = timings[OURS].ratio(timings[FAST])
    steps = (ours.samples / ours.batch) / (fast.samples / fast.batch)
    seconds = Spread(*(steps * each for each in (a_step.median, a_step.low, a_step.high)))
    return {"passes": Spread.of([passes[0] / passes[1]]), "flops": Spread.of([flops[0] / flops[1]]), "seconds": seconds}


def _report(rows: list[dict[str, Any]], ratios: dict[str, Spread], recipe: Recipe, precision: str) -> None:
    columns = ["training", "passes/sample", "GFLOP/sample", "samples, millions", "PFLOP", "hours here"]
    report = Report(f"a whole training in {precision}; the recipe is {recipe.name}", columns, left=["training"])
    for row in rows:
        passes = f"{row['passes']['forward']:.3g}F {row['passes']['backward']:.3g}B"
        shown = (row["gflops"], row["samples"] / 1e6, row["petaflops"], row["hours"])
        figures = (f"{figure:.2f}" for figure in shown)
        report.rows.append([row["name"], passes, *figures])
    parts = ", ".join(f"{name} {spread.median:.3f}" for name, spread in ratios.items())
    quartiles = f"[{ratios['seconds'].low:.3f}, {ratios['seconds'].high:.3f}]"
    report.lines = [f"recipe / fast adversarial training: {parts} {quartiles}"]
    report.show()


if __name__ == "__main__":
    main()
