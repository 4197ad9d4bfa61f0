"""Robust accuracy: samples evaluated clean and under one attack after another, worst case per sample."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict

import torch
from torch import Tensor, nn

from iaat.attacks import attack_mode, geometry, predict_classes
from iaat.data import Source
from iaat.data.sample_log import gather_sample_log
from iaat.errors import UserError
from iaat.evaluate.arithmetic import InArithmetic
from iaat.evaluate.autoattack import logged
from iaat.evaluate.journal import Journal
from iaat.evaluate.outcome import Outcome
from iaat.evaluate.results import CLEAN, ROBUST, StageResult
from iaat.evaluate.stages import Stage
from iaat.runtime import rng
from iaat.runtime.device import device_of
from iaat.runtime.distributed import ALONE, Ranks
from iaat.runtime.passes import Passes, count_passes
from iaat.runtime.progress import Reporter
from iaat.runtime.signals import Stop
from iaat.types import Batch


class _Batch(TypedDict):
    """What a stage did to a batch, as the journal keeps it."""

    prediction: list[int]
    broken: list[bool]
    size: list[float]
    outside: int
    forward: float
    backward: float
    seconds: float
    warnings: list[str]
    unreadable: NotRequired[list[int]]
    flips: NotRequired[int]


@dataclass(slots=True)
class _SampleState:
    """State of the samples while the stages run; `stage` is -1 where none has got them misclassified."""

    clean: Tensor
    adversarial: Tensor
    norm: Tensor
    stage: Tensor
    unreadable: Tensor
    results: list[StageResult] = field(default_factory=list)

    @classmethod
    def empty(cls, n: int) -> _SampleState:
        classes, unreadable = torch.zeros(n).long(), torch.zeros(n, dtype=torch.bool)
        return cls(classes, classes.clone(), torch.full((n,), torch.nan), torch.full((n,), -1), unreadable)

    def add(self, stage: Stage, parts: Sequence[Tensor], batches: Sequence[_Batch]) -> None:
        """Add what a stage did to the samples of its batches."""
        number, adversarials, blanks = len(self.results), 0, 0
        for rows, batch in zip(parts, batches, strict=True):
            prediction, adversarial = torch.tensor(batch["prediction"]), torch.tensor(batch["broken"])
            if number == 0:
                self.clean[rows] = prediction
            self.adversarial[rows] = prediction
            self.stage[rows[adversarial]] = number
            self.norm[rows[adversarial]] = torch.tensor(batch["size"], dtype=torch.float32)[adversarial]
            blank = batch.get("unreadable", [])
            self.unreadable[rows[blank]], self.stage[rows[blank]] = True, number  # no attack is to be run on them
            blanks += len(blank)
            adversarials += int(adversarial.sum()) - int(adversarial[blank].sum())
        self.results.append(
            StageResult(
                name=stage.name,
                samples=sum(len(rows) for rows in parts) - blanks,
                adversarial=adversarials,
                passes=Passes(sum(batch["forward"] for batch in batches), sum(batch["backward"] for batch in batches)),
                seconds=sum(batch["seconds"] for batch in batches),
                outside=sum(batch["outside"] for batch in batches),
                warnings=tuple(dict.fromkeys(text for batch in batches for text in batch["warnings"])),
                flips=sum(batch.get("flips", 0) for batch in batches),
            )
        )


def attack_samples(
    model: nn.Module,
    source: Source,
    index: Tensor,
    stages: Sequence[Stage],
    *,
    radius: float,
    norm: str,
    batch_size: int,
    seed: int,
    journal: Journal | None = None,
    reporter: Reporter | None = None,
    ranks: Ranks = ALONE,
    stop: Stop | None = None,
) -> Outcome:
    """Evaluate the samples `index` `[n]` of `source` clean and under each attack, on the samples still correct.

    The model is in eval mode throughout and gets its own flags back. What an attack returns is checked here: it counts
    as adversarial if it is inside the ball and the image range and the model misclassifies it in the number format it
    is evaluated in. Samples that cannot be read, where the data's settings allow some, are left out.

    Args:
        model: Maps inputs in [0, 1] to logits.
        source: Where the samples come from, unaugmented.
        index: Which of them, at least one.
        stages: The attacks, in order; none for clean accuracy only.
        radius: Radius of the ball on the [0, 1] scale.
        norm: `linf` or `l2`.
        batch_size: Samples attacked at once.
        seed: Seed of the random draws; each batch of each stage has its own.
        journal: Remembers finished batches; none by default.
        reporter: Shows progress, if given.
        ranks: Where there is no journal, which has its own: the processes that share out the batches. All of them get
            the whole outcome, that of one process.
        stop: Asked after every batch where processes share them out; they then stop together.

    Raises:
        UserError: a sample cannot be read, also by another process; or none can.
        Stopped: a stop was asked for, in whichever process.
    """
    index = index.cpu()
    journal = Journal(None, {}, ranks=ranks) if journal is None else journal
    evaluator = _BatchEvaluator(model, radius, norm, seed, reporter)
    state = _SampleState.empty(len(index))
    with attack_mode(model, "eval"):
        for stage in (Stage(CLEAN, lambda _model, batch, _generator: batch.x), *stages):
            rows = (state.stage < 0).nonzero()[:, 0]  # still classified correctly
            parts = torch.split(rows, batch_size) if len(rows) else ()
            batches = _run_stage(evaluator, source, [index[part] for part in parts], stage, journal, stop)
            state.add(stage, parts, batches)
    names = [*(result.name for result in state.results), ROBUST]
    kept = (~state.unreadable).nonzero()[:, 0]
    if not len(kept):
        raise UserError("none of the samples to evaluate can be read: repair them, or give other data")
    return Outcome(
        index=index[kept],
        label=source.labels[index[kept]],
        clean=state.clean[kept],
        adversarial=state.adversarial[kept],
        misclassified_by=[names[number] for number in state.stage[kept].tolist()],
        perturbation_norm=state.norm[kept],
        stages=tuple(state.results),
    )


def _run_stage(
    evaluator: _BatchEvaluator,
    source: Source,
    parts: Sequence[Tensor],
    stage: Stage,
    journal: Journal,
    stop: Stop | None,
) -> list[_Batch]:
    """Run a stage on each batch of samples; batches in the journal are not read again."""

    def run(numbers: Sequence[int]) -> Iterator[_Batch]:
        batches = source.batches([parts[number] for number in numbers])
        tracked: Iterable[int] = numbers
        if evaluator.reporter is not None:
            total = sum(len(parts[number]) for number in numbers)
            tracked = evaluator.reporter.track(numbers, total=total, what=stage.name, size=lambda n: len(parts[n]))
        for number in tracked:
            yield evaluator(stage, next(batches), number, _unreadable(source, parts[number]))

    keys = [f"{stage.name}#{number}" for number in range(len(parts))]
    if stage.prepare is not None and journal.missing(keys):
        stage.prepare()
    values = journal.units(keys, run, stop)
    gather_sample_log(source.sample_log, journal.ranks)
    return values


def _unreadable(source: Source, index: Tensor) -> list[int]:
    """Rows of the blank samples in a batch that was read just now: those that cannot be read."""
    known = source.sample_log.unreadable
    return [row for row, position in enumerate(index.tolist()) if position in known] if known else []


@dataclass(frozen=True, slots=True)
class _BatchEvaluator:
    """Runs one stage on one batch and evaluates what it returns."""

    model: nn.Module
    radius: float
    norm: str
    seed: int
    reporter: Reporter | None

    def __call__(self, stage: Stage, batch: Batch, number: int, unreadable: list[int]) -> _Batch:
        generator = rng.generator(self.seed, "evaluate", stage.name, number, device=device_of(self.model))
        begun = time.perf_counter()
        each = None if self.reporter is None else self.reporter.counter(stage.unit, stage.most)
        with count_passes(self.model, each=each) as passes, logged() as warnings:
            x_adv = stage.run(self.model, batch, generator)
            prediction = predict_classes(self.model, x_adv)
        flips = 0
        if stage.arithmetic != "reference":
            flips = int((predict_classes(InArithmetic(self.model, stage.arithmetic), x_adv) != prediction).sum())
        norms = geometry(self.norm).norm(x_adv - batch.x)
        inside = is_inside(x_adv, norms, self.radius)
        return {
            "prediction": prediction.tolist(),
            "broken": (inside & (prediction != batch.y)).tolist(),
            "size": norms.tolist(),
            "outside": int((~inside).sum()),
            "forward": passes.forward,
            "backward": passes.backward,
            "seconds": time.perf_counter() - begun,
            "warnings": warnings,
            "unreadable": unreadable,
            "flips": flips,
        }


def is_inside(x_adv: Tensor, norms: Tensor, radius: float) -> Tensor:
    """`[B]` bool: within the radius, up to the rounding of float32 pixels, and in [0, 1]; False where NaN."""
    pixels = x_adv.flatten(1)
    in_range = ((pixels >= 0) & (pixels <= 1)).all(dim=1)
    return in_range & within_radius(norms, radius)


def within_radius(norms: Tensor, radius: float) -> Tensor:
    """Bool, shaped as `norms`: at most the radius, up to the rounding of float32 pixels; False where NaN."""
    return norms <= radius * (1 + 1e-5) + 1e-6
