"""Timing of training steps on this machine, and the time and memory of a whole training that follow from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from iaat.attacks import predict_classes
from iaat.config.recipe import Recipe
from iaat.data import DatasetInfo, DataSplits, InMemorySource
from iaat.errors import UserError
from iaat.experiments.cost import number_format, step_bytes
from iaat.methods import MethodConfig
from iaat.runtime import rng
from iaat.runtime.device import autocast, compute_deterministically, pick_device
from iaat.runtime.distributed import ALONE, Ranks
from iaat.runtime.lack_of_memory import is_lack_of_memory
from iaat.runtime.passes import Passes
from iaat.train.batch_split import AT_LEAST, MicroBatch, Parts, split_batch
from iaat.train.build_state import build_state
from iaat.train.nonfinite import LAG, NonfiniteMonitor
from iaat.train.state import TrainState
from iaat.train.step import take_step
from iaat.types import Batch

SECONDS = 20.0
"""About how long the timing takes; on other devices than the CPU longer where two steps are."""

_FEWEST = AT_LEAST
"""Samples of the first step on the CPU, of which one may take seconds."""

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
        timed: As many of them as were in each timed step: all, or fewer where all would have taken too long.
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
    timed: int
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
        """Mean seconds of a step of `samples`, in proportion to what was timed."""
        return sum(self.times) / len(self.times) * self.samples / self.timed

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

    It takes about `seconds`. On the CPU steps begin with few samples and grow while a larger one fits, at most to all;
    elsewhere a step has all, because small ones do not fill a GPU, and one warms up and one counts in any case, but
    only the first if it alone is longer.

    Args:
        recipe: What would be trained.
        facts: Shape and number of its data.
        processes: Processes that divide each batch.
        seconds: Time to spend.
        clock: Seconds since any moment.

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
            return _run(_Stepper(recipe, facts, micro_batches, device, clock), recipe, processes, seconds)
    except (RuntimeError, MemoryError) as error:
        if not is_lack_of_memory(error):
            raise
        own = sum(micro.own for micro in micro_batches)
        raise UserError(
            f"--probe: {device} has too little memory for a step on {own} samples: give more --processes, raise "
            f"train.accumulate ({recipe.train.accumulate}) to take them in parts, or lower train.batch_size ({batch})"
        ) from error


class _Stepper:
    """Takes and times training steps of any part of a batch, at the beginning of the last epoch."""

    def __init__(
        self,
        recipe: Recipe,
        facts: DatasetInfo,
        micro_batches: list[MicroBatch],
        device: torch.device,
        clock: Callable[[], float],
    ) -> None:
        generator = rng.generator(recipe.seed, "probe", device=device)
        rows = sum(len(micro.rows) for micro in micro_batches)
        self.x = torch.rand((rows, *facts.shape), generator=generator, device=device)
        self.state = _state(recipe, facts, self.x, device)
        self.state.epoch = recipe.train.epochs - 1
        self.radius = None if self.state.method.radii is None else getattr(recipe.method, "radius", None)
        self.micro_batches, self.device, self.clock = micro_batches, device, clock
        self._train, self._monitor = recipe.train, NonfiniteMonitor(LAG, unchecked=self.state.unbounded)

    @property
    def samples(self) -> int:
        """Samples of a whole step."""
        return _samples(self.micro_batches)

    def step(self, parts: Parts) -> float:
        """Seconds of one step, at full radii."""
        radii = self.state.method.radii
        if radii is not None and self.radius is not None:
            radii[:] = torch.full((len(radii),), float(self.radius), device=self.device)
        begun = self.clock()
        take_step(self.state, parts, self._train, self.device, self._monitor)
        next(self.state.model.parameters()).flatten()[0].item()  # waits for the device
        return self.clock() - begun

    def parts(self, samples: int) -> Parts:
        """As many whole micro-batches as have at most so many samples; where none has, one of so many."""
        chosen = [
            micro
            for number, micro in enumerate(self.micro_batches, 1)
            if _samples(self.micro_batches[:number]) <= samples
        ] or split_batch(torch.arange(samples), ALONE)
        rows = [len(micro.rows) for micro in chosen]
        places = torch.split(torch.arange(sum(rows), device=self.device), rows)
        return [(micro, self._batch(place)) for micro, place in zip(chosen, places, strict=True)]

    def bytes(self) -> int:
        """Bytes that a whole step takes, by counting."""
        half = number_format(self._train.precision, self.device) != "float32"
        most = max(len(micro.rows) for micro in self.micro_batches)
        return step_bytes(self.state.model, tuple(self.x.shape[1:]), most, 2 if half else 4)

    def _batch(self, place: Tensor) -> Batch:
        batch = self.state.to_memory_format(Batch(self.x[place], torch.zeros_like(place), place))
        with autocast(self._train.precision, self.device):
            return replace(batch, y=predict_classes(self.state.model, batch.x))


def _samples(micro_batches: Iterable[MicroBatch]) -> int:
    return sum(micro.own for micro in micro_batches)


def _state(recipe: Recipe, facts: DatasetInfo, x: Tensor, device: torch.device) -> TrainState:
    """A training state for a data set of the inputs `x`; its weights are fresh, its radii on the device."""
    source = InMemorySource(
        x, torch.zeros(len(x), dtype=torch.int64), tuple(map(str, range(facts.classes))), device=device, complete=False
    )
    rows, channels = torch.arange(len(x)), facts.shape[0]
    data = DataSplits(source, source, rows, rows, rows, torch.zeros(channels), torch.ones(channels))
    recipe = replace(
        recipe,
        method=recipe.method.without_files() if isinstance(recipe.method, MethodConfig) else recipe.method,
        model=replace(recipe.model, weights=None, pretrained=False),
        train=replace(recipe.train, radii="replicated", radii_folder=None),
    )
    return build_state(recipe, data, _STEPS_AN_EPOCH, device)


def _run(stepper: _Stepper, recipe: Recipe, processes: int, limit: float) -> StepTiming:
    device, begun, warmed = stepper.device, stepper.clock(), False
    on_cpu, on_gpu = device.type == "cpu", device.type == "cuda"

    def left() -> float:
        return limit - (stepper.clock() - begun)

    larger: int | None = min(_FEWEST, stepper.samples) if on_cpu else stepper.samples
    while larger is not None:
        parts = stepper.parts(larger)
        size = _samples(micro for micro, _ in parts)
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(device)
        with stepper.state.count_passes() as passes:
            first = stepper.step(parts)
        larger = larger_size(size, stepper.samples, first, left())
        warmed = warmed or larger is not None
    times = timed(lambda: stepper.step(parts), first, first + left(), least=0 if on_cpu else 1)
    return StepTiming(
        device=device,
        processes=processes,
        batch_size=recipe.train.batch_size,
        samples=stepper.samples,
        timed=size,
        times=tuple(times or [first]),
        warmed=warmed or bool(times),
        passes=Passes(passes.forward / size, passes.backward / size),
        radius=stepper.radius,
        memory=torch.cuda.max_memory_allocated(device) if on_gpu else stepper.bytes(),
    )


def larger_size(size: int, samples: int, seconds: float, left: float) -> int | None:
    """The next number of samples to time, of at most `samples`; None where time is short.

    It is four times `size`, or twice, if a step of it fits into the time that is left. Samples are taken to cost alike;
    in larger steps they cost less, if anything.
    """
    for larger in (min(4 * size, samples), min(2 * size, samples)):
        if larger > size and seconds * larger / size <= left:
            return larger
    return None


def timed(step: Callable[[], float], first: float, limit: float, least: int = 1) -> list[float]:
    """Seconds of as many steps as fit into `limit` beside a first one; `least` or more, unless the first was longer.

    The first had to warm up, and does not count.
    """
    times: list[float] = []
    while first <= limit and (len(times) < least or first + sum(times) + max(times or [first]) <= limit):
        times.append(step())
    return times
