"""Timing of training steps on this machine, and the time and memory of a whole training that follow from it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from iaat.attacks import predict
from iaat.config.recipe import Recipe
from iaat.data import DatasetInfo, DataSplits, InMemorySource
from iaat.errors import UserError
from iaat.experiments.cost import MIB, number_format, step_bytes, total_passes, visits
from iaat.runtime import rng
from iaat.runtime.console_table import PlainTable, facts_table
from iaat.runtime.device import autocast, compute_deterministically, pick_device
from iaat.runtime.distributed import Ranks
from iaat.runtime.passes import Passes, count_passes
from iaat.train.batch_split import AT_LEAST, MicroBatch, Parts, split_batch
from iaat.train.nonfinite import LAG, NonfiniteMonitor
from iaat.train.state import TrainState, build_state
from iaat.train.step import take_step
from iaat.types import Batch
from iaat.units import Radius, format_duration, format_number

SECONDS = 20.0
"""About how long the timing takes, if a step is not longer."""

_STEPS_AN_EPOCH = 10_000
"""More than are ever timed: a schedule is made for so many."""


@dataclass(frozen=True, slots=True)
class StepTiming:
    """Timed steps of one process.

    Attributes:
        device: Device of the steps.
        processes: Number of processes that divide each batch.
        batch_size: Samples of a batch, all processes together.
        samples: Samples of a batch that the timed process trains on; no process has more.
        times: Seconds of each step that counts.
        warmed: Whether a warm-up step came first.
        passes: Forwards and backwards per sample of a step.
        radius: All radii during the steps, of a method with a radius memory; None elsewhere.
        memory: Bytes of tensors on a GPU at their peak; elsewhere of weights, gradients, momentum and activations.
    """

    device: torch.device
    processes: int
    batch_size: int
    samples: int
    times: tuple[float, ...]
    warmed: bool
    passes: Passes
    radius: float | None
    memory: int

    @property
    def place(self) -> str:
        """The device, a GPU with its name."""
        name = f" ({torch.cuda.get_device_name(self.device)})" if self.device.type == "cuda" else ""
        return f"{self.device}{name}"

    @property
    def step_seconds(self) -> float:
        """Mean seconds of a step."""
        return sum(self.times) / len(self.times)

    @property
    def rate(self) -> float:
        """Samples per second of one process."""
        return self.samples / self.step_seconds

    @property
    def joint_rate(self) -> float:
        """Samples per second of all processes, at perfect scaling."""
        return self.batch_size / self.step_seconds


def time_steps(
    recipe: Recipe,
    facts: DatasetInfo,
    *,
    processes: int = 1,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> StepTiming:
    """Time a few training steps of one of the processes that divide the batches of a recipe.

    The steps are those of training, of the last epoch, in the recipe's number format and memory order, on an untrained
    model. Inputs are random; their labels are what the model predicts and radii are at the full radius of the
    settings, so that methods which spare samples spare few. Nothing is read, written or downloaded.

    It takes about `seconds`: one step to warm up and one that counts in any case, but only the first if it alone is
    longer.

    Raises:
        UserError: too many processes for the batch, a device this machine lacks, or not enough memory.
    """
    batch = recipe.train.batch_size
    if processes < 1:
        raise UserError(f"--processes {processes}: give a number of at least 1")
    if batch < AT_LEAST * processes:
        raise UserError(
            f"--processes {processes}: train.batch_size = {batch} leaves some fewer than {AT_LEAST} samples, which "
            f"BatchNorm needs: give at most {batch // AT_LEAST} processes, or larger batches"
        )
    device = pick_device(recipe.train.device)
    if recipe.train.deterministic:
        compute_deterministically()
    micro_batches = split_batch(torch.arange(batch), Ranks(world=processes), recipe.train.accumulate)
    try:
        with rng.preserved_globals():
            state, parts = _prepared(recipe, facts, micro_batches, device)
            return _run(recipe, state, parts, processes, seconds, clock)
    except (RuntimeError, MemoryError) as error:
        if not _is_lack_of_memory(error):
            raise
        own = sum(micro.own for micro in micro_batches)
        raise UserError(
            f"--probe: {device} has too little memory for a step on {own} samples: give more --processes, raise "
            f"train.accumulate ({recipe.train.accumulate}) to take them in parts, or lower train.batch_size ({batch})"
        ) from error


def _prepared(
    recipe: Recipe, facts: DatasetInfo, micro_batches: list[MicroBatch], device: torch.device
) -> tuple[TrainState, Parts]:
    """A state at the beginning of the last epoch, and the micro-batches of the process in a step."""
    generator = rng.generator(recipe.seed, "probe", device=device)
    counts = [len(micro.rows) for micro in micro_batches]
    x = torch.rand((sum(counts), *facts.shape), generator=generator, device=device)
    state = _state(recipe, facts, x, device)
    state.epoch = recipe.train.epochs - 1
    parts = []
    for micro, place in zip(micro_batches, torch.split(torch.arange(len(x), device=device), counts), strict=True):
        part = state.to_memory_format(Batch(x[place], torch.zeros_like(place), place))
        with autocast(recipe.train.precision, device):
            parts.append((micro, replace(part, y=predict(state.model, part.x))))
    return state, parts


def _state(recipe: Recipe, facts: DatasetInfo, x: Tensor, device: torch.device) -> TrainState:
    """A training state for a data set of the inputs `x`; its weights are fresh, its radii on the device."""
    source = InMemorySource(
        x, torch.zeros(len(x), dtype=torch.int64), tuple(map(str, range(facts.classes))), device=device, complete=False
    )
    rows, channels = torch.arange(len(x)), facts.shape[0]
    data = DataSplits(source, source, rows, rows, rows, torch.zeros(channels), torch.ones(channels))
    recipe = replace(
        recipe,
        model=replace(recipe.model, weights=None, pretrained=False),
        train=replace(recipe.train, radii="replicated", radii_folder=None),
    )
    return build_state(recipe, data, _STEPS_AN_EPOCH, device)


def _run(
    recipe: Recipe,
    state: TrainState,
    parts: Parts,
    processes: int,
    limit: float,
    clock: Callable[[], float],
) -> StepTiming:
    x, monitor = parts[0][1].x, NonfiniteMonitor(LAG)
    on_gpu = x.device.type == "cuda"
    radius = None if state.method.radii is None else getattr(recipe.method, "radius", None)

    def step() -> float:
        """Seconds of one step, at full radii."""
        if state.method.radii is not None and radius is not None:
            state.method.radii[:] = torch.full((len(state.method.radii),), float(radius), device=x.device)
        begun = clock()
        take_step(state, parts, recipe.train, x.device, monitor)
        next(state.model.parameters()).flatten()[0].item()  # waits for the device
        return clock() - begun

    if on_gpu:
        torch.cuda.reset_peak_memory_stats(x.device)
    with count_passes(state.model) as passes:
        first = step()
    times = timed(step, first, limit)
    samples = sum(micro.own for micro, _ in parts)
    half = number_format(recipe.train.precision, x.device) != "float32"
    return StepTiming(
        device=x.device,
        processes=processes,
        batch_size=recipe.train.batch_size,
        samples=samples,
        times=tuple(times or [first]),
        warmed=bool(times),
        passes=Passes(passes.forward / samples, passes.backward / samples),
        radius=radius,
        memory=torch.cuda.max_memory_allocated(x.device)
        if on_gpu
        else step_bytes(state.model, tuple(x.shape[1:]), max(len(batch.y) for _, batch in parts), 2 if half else 4),
    )


def timed(step: Callable[[], float], first: float, limit: float) -> list[float]:
    """Seconds of as many steps as fit into `limit` beside a first one; one in any case, unless the first was longer.

    The first had to warm up, and does not count.
    """
    times: list[float] = []
    while first <= limit and (not times or first + sum(times) + max(times) <= limit):
        times.append(step())
    return times


def _is_lack_of_memory(error: BaseException) -> bool:
    """Whether there was too little memory: on the CPU only the message of PyTorch says so."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or "not enough memory" in str(error) or "can't allocate memory" in str(error)


CAPTION = (
    "At perfect scaling, processes that divide a batch take no longer for a step than one does alone, as timed here. "
    "Left out: reading data, exchanging gradients, attacks on validation and test samples. Inputs were random, "
    "the model untrained."
)
"""What a table of timed steps has to say below it."""


def timing_table(recipe: Recipe, facts: DatasetInfo, found: StepTiming) -> PlainTable:
    """Timed steps and what follows from them for the recipe, for people."""
    radii = (
        ""
        if found.radius is None
        else f" All radii were {Radius(found.radius)}; below that, as at first, steps cost less."
    )
    table = facts_table("probe", CAPTION + radii)
    for row in (*_measured(recipe, found), *_projected(recipe, facts, found)):
        table.add_row(*row)
    return table


def _measured(recipe: Recipe, found: StepTiming) -> list[tuple[str, str]]:
    on_gpu = found.device.type == "cuda"
    warm = "after one to warm up" if found.warmed else "with none to warm up"
    kind = "tensors on the GPU" if on_gpu else "not measured: weights, gradients, momentum, activations"
    count = f"{len(found.times)} step{'s' if len(found.times) > 1 else ''}"
    return [
        ("timed", f"{count} of {found.samples} samples, {warm}, on {found.place}"),
        ("passes per sample and step", f"{found.passes}, of {total_passes(recipe)} at most"),
        ("memory of a process", f"{found.memory / MIB:,.0f} MiB ({kind})"),
    ]


def _projected(recipe: Recipe, facts: DatasetInfo, found: StepTiming) -> list[tuple[str, str]]:
    whole, several = training_seconds(recipe, facts, found), found.processes > 1
    joint = f", {format_number(found.joint_rate)} in {found.processes} at perfect scaling" if several else ""
    return [
        ("samples a second", f"{format_number(found.rate)} in one process{joint}"),
        ("an epoch", format_duration(whole / recipe.train.epochs)),
        (f"all {recipe.train.epochs} epochs", format_total(whole, found)),
    ]


def training_seconds(recipe: Recipe, facts: DatasetInfo, found: StepTiming) -> float:
    """Seconds of a whole training at the speed of the timed steps."""
    return visits(recipe, facts) / found.joint_rate * recipe.train.epochs


def format_total(seconds: float, found: StepTiming) -> str:
    """A time of training, and what it is on all devices together: `2.5 days, 480 GPU-hours`."""
    if found.device.type == "cuda":
        return f"{format_duration(seconds)}, {format_number(seconds * found.processes / 3600)} GPU-hours"
    together = f", {format_duration(seconds * found.processes)} of processor time" if found.processes > 1 else ""
    return format_duration(seconds) + together
