"""Accuracy on clean and attacked samples, sample by sample."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from iaat.attacks import attack_mode, geometry, predict
from iaat.data import Source
from iaat.errors import UserError
from iaat.evaluate.autoattack import logged
from iaat.evaluate.resume import Journal
from iaat.runtime import rng
from iaat.runtime.device import device_of
from iaat.runtime.distributed import ALONE, Ranks
from iaat.runtime.passes import Passes, count_passes
from iaat.runtime.progress import Reporter
from iaat.runtime.signals import ELSEWHERE, Stop, Stopped
from iaat.types import Batch

STANDING = "none"
"""`broken_by` of a sample that no attack has broken."""

CLEAN = "clean"
"""`broken_by` of a sample that is misclassified untouched."""

WORST = "worst"
"""Key of the accuracy under all attacks together, and of what else broke samples."""

Run = Callable[[nn.Module, Batch, torch.Generator], Tensor]
"""`(model, batch, generator) -> x_adv [B, ...]`: one attack on one batch, the model in eval mode."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One attack of an evaluation.

    Attributes:
        name: What it is called in records, such as `pgd-20` or `autoattack/square`.
        run: The attack.
        most: About how many forwards it takes for a batch at most, for the progress shown; None: not known.
        unit: What a forward of it is called there.
    """

    name: str
    run: Run
    most: int | None = None
    unit: str = "forward"

    @property
    def group(self) -> str:
        """The attack it is a part of: `autoattack` for `autoattack/square`."""
        return self.name.partition("/")[0]


@dataclass(frozen=True, slots=True)
class StageRecord:
    """What one stage did: samples it met, broke, and took out of their ball, its passes, wall time and warnings."""

    name: str
    met: int
    broken: int
    outside: int
    passes: Passes
    seconds: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of each of n samples; tensors `[n]` on the CPU, in the order of `index`.

    Attributes:
        index: Position of the sample in its data set.
        label: Its class.
        clean: Predicted class of the clean sample.
        adversarial: Predicted class where it was broken, else under the last attack that met it; -1 if not known.
        broken_by: What broke it first: `clean` (misclassified untouched), the name of a stage, or `none`.
        size: Norm of the smallest perturbation found that breaks it, 0 where `clean`; NaN where none was found.
        stages: What each stage did, the clean one first.
    """

    index: Tensor
    label: Tensor
    clean: Tensor
    adversarial: Tensor
    broken_by: list[str]
    size: Tensor
    stages: tuple[StageRecord, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        """The attacks in their order, the stages of one counted as one."""
        return tuple(dict.fromkeys(record.name.partition("/")[0] for record in self.stages[1:]))

    @property
    def passes(self) -> Passes:
        """Forwards and backwards per sample that the evaluation took."""
        n = len(self.broken_by)
        return Passes(
            sum(record.passes.forward for record in self.stages) / n,
            sum(record.passes.backward for record in self.stages) / n,
        )

    def standing(self, after: str) -> Tensor:
        """`[n]` bool: right after `clean`, or after the attack or stage of that name and all before it."""
        names = [record.name for record in self.stages]
        last = max(number for number, name in enumerate(names) if after in (name, name.partition("/")[0]))
        broken = set(names[: last + 1])
        return torch.tensor([name not in broken for name in self.broken_by])

    def accuracy(self, after: str) -> float:
        """Share of samples still right after `clean`, or after the attack or stage named and all before it."""
        return float(self.standing(after).double().mean())


def with_breaks(
    outcome: Outcome, name: str, size: Tensor, prediction: Tensor, *, met: int, passes: Passes, seconds: float
) -> Outcome:
    """The outcome with what a section found beside the attacks, as one more stage: the worst case is never above it.

    Args:
        outcome: After the attacks.
        name: Of the stage.
        size: `[n]` norm of the smallest break within the radius that the section found; NaN where none.
        prediction: `[n]` class predicted there; -1 if not known.
        met: How many samples it looked at.
        passes: What it took.
        seconds: Likewise.
    """
    standing = outcome.standing(outcome.stages[-1].name)
    broken = standing & ~size.isnan()
    record = StageRecord(name, met, int(broken.sum()), 0, passes, seconds)
    return replace(
        outcome,
        size=torch.fmin(outcome.size, size),
        adversarial=torch.where(broken, prediction, outcome.adversarial),
        broken_by=[name if new else old for new, old in zip(broken.tolist(), outcome.broken_by, strict=True)],
        stages=(*outcome.stages, record),
    )


@dataclass(slots=True)
class _Board:
    """The samples' fates while the stages run."""

    clean: Tensor
    adversarial: Tensor
    size: Tensor
    stage: Tensor
    unreadable: Tensor
    records: list[StageRecord] = field(default_factory=list)

    @classmethod
    def empty(cls, n: int) -> _Board:
        classes, known = torch.zeros(n).long(), torch.zeros(n, dtype=torch.bool)
        return cls(classes, classes.clone(), torch.full((n,), torch.nan), torch.full((n,), -1), known)

    def rows(self) -> Tensor:
        """Samples that stand."""
        return (self.stage < 0).nonzero()[:, 0]

    def enter(self, stage: Stage, parts: Sequence[Tensor], values: Sequence[dict[str, Any]]) -> None:
        """Take in what a stage has done to the samples it met."""
        number = len(self.records)
        for rows, value in zip(parts, values, strict=True):
            prediction, broken = torch.tensor(value["prediction"]), torch.tensor(value["broken"])
            if number == 0:
                self.clean[rows] = prediction
            self.adversarial[rows] = prediction
            self.stage[rows[broken]] = number
            self.size[rows[broken]] = torch.tensor(value["size"], dtype=torch.float32)[broken]
            blank = rows[value.get("unreadable", [])]
            self.unreadable[blank], self.stage[blank] = True, number  # no attack is to meet them
        self.records.append(
            StageRecord(
                name=stage.name,
                met=sum(len(rows) for rows in parts),
                broken=sum(sum(value["broken"]) for value in values),
                outside=sum(value["outside"] for value in values),
                passes=Passes(*(sum(value[key] for value in values) for key in ("forward", "backward"))),
                seconds=sum(value["seconds"] for value in values),
                warnings=tuple(dict.fromkeys(text for value in values for text in value["warnings"])),
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
    """Judge the samples `index` `[n]` of `source` clean and under each attack in turn; attacks meet survivors only.

    The model is in eval mode throughout, and gets its own flags back. Results are the worst case per sample over the
    clean sample and all attacks. What an attack returns is judged again here: it breaks a sample if it is inside the
    ball and the image range and the model misclassifies it in the number format it is evaluated in.

    Args:
        model: Maps inputs in [0, 1] to logits.
        source: Where the samples come from, unaugmented.
        index: Which of them, at least one.
        stages: The attacks, in order; none for clean accuracy only.
        radius: Radius of the ball on the [0, 1] scale.
        norm: `linf` or `l2`.
        batch_size: Samples attacked at once.
        seed: Of the random draws; each batch of each stage has its own.
        journal: Remembers finished batches; none by default.
        reporter: Shows progress, if given.
        ranks: The processes that share the batches out among them, all of which get the whole outcome.
        stop: Asked after every batch where processes share them, who then stop together.

    Samples that cannot be read, where the data's settings let some be so, are left out.

    Raises:
        UserError: a sample cannot be read, also by another process; or none can.
        Stopped: a stop was asked for, of whichever process.
    """
    index = index.cpu()
    journal = Journal(None, {}) if journal is None else journal
    judge = _Judge(model, radius, norm, seed, reporter)
    board = _Board.empty(len(index))
    with attack_mode(model, "eval"):
        for stage in (Stage(CLEAN, _untouched), *stages):
            parts = torch.split(board.rows(), batch_size) if len(board.rows()) else ()
            values = _run_stage(judge, source, [index[rows] for rows in parts], stage, journal, reporter, ranks, stop)
            board.enter(stage, parts, values)
    names = [*(record.name for record in board.records), STANDING]
    kept = (~board.unreadable).nonzero()[:, 0]
    if not len(kept):
        raise UserError("none of the samples to evaluate can be read: repair them, or give other data")
    return Outcome(
        index=index[kept],
        label=source.labels[index[kept]],
        clean=board.clean[kept],
        adversarial=board.adversarial[kept],
        broken_by=[names[number] for number in board.stage[kept].tolist()],
        size=board.size[kept],
        stages=tuple(board.records),
    )


def _run_stage(
    judge: _Judge,
    source: Source,
    parts: Sequence[Tensor],
    stage: Stage,
    journal: Journal,
    reporter: Reporter | None,
    ranks: Ranks,
    stop: Stop | None,
) -> list[dict[str, Any]]:
    """What each batch of samples came to; batches in the journal are not read again."""
    keys = [f"{stage.name}#{number}" for number in range(len(parts))]
    numbers = range(ranks.rank, len(parts), ranks.world)
    todo = [parts[number] for number in numbers if keys[number] not in journal]
    batches = source.batches(todo) if todo else iter(())
    if reporter is not None:
        total = sum(len(parts[number]) for number in numbers)
        tracked = reporter.track(numbers, total=total, what=stage.name, size=lambda number: len(parts[number]))
    else:
        tracked = iter(numbers)
    found, error = {}, None
    try:
        for number in tracked:
            found[number] = journal.unit(
                keys[number],
                lambda: judge(stage, next(batches), number) | _unreadable(source, parts[number]),  # noqa: B023
            )
            if ranks.several and stop is not None and stop.requested:
                break
    except UserError as failed:
        error = failed
    ranks.raise_together(error)
    if stop is not None and ranks.several and ranks.any(stop.requested is not None)[0]:
        raise Stopped(stop.requested or ELSEWHERE)
    merged = ranks.merged(found)
    return [merged[number] for number in range(len(parts))]


def _unreadable(source: Source, index: Tensor) -> dict[str, list[int]]:
    """The rows of a batch that just was read whose samples are blank, because they cannot be; nothing if none is."""
    known = source.sample_log.unreadable
    rows = [row for row, position in enumerate(index.tolist()) if position in known] if known else []
    return {"unreadable": rows} if rows else {}


def _untouched(_model: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
    return batch.x


@dataclass(frozen=True, slots=True)
class _Judge:
    """Runs one stage on one batch and says what came of it."""

    model: nn.Module
    radius: float
    norm: str
    seed: int
    reporter: Reporter | None

    def __call__(self, stage: Stage, batch: Batch, number: int) -> dict[str, Any]:
        generator = rng.generator(self.seed, "evaluate", stage.name, number, device=device_of(self.model))
        begun = time.perf_counter()
        each = None if self.reporter is None else self.reporter.counter(stage.unit, stage.most)
        with count_passes(self.model, each=each) as passes, logged() as warnings:
            x_adv = stage.run(self.model, batch, generator)
            prediction = predict(self.model, x_adv)
        size = geometry(self.norm).norm(x_adv - batch.x)
        inside = is_inside(x_adv, size, self.radius)
        return {
            "prediction": prediction.tolist(),
            "broken": (inside & (prediction != batch.y)).tolist(),
            "size": size.tolist(),
            "outside": int((~inside).sum()),
            "forward": passes.forward,
            "backward": passes.backward,
            "seconds": time.perf_counter() - begun,
            "warnings": warnings,
        }


def is_inside(x_adv: Tensor, size: Tensor, radius: float) -> Tensor:
    """`[B]` bool: within the radius, up to the rounding of float32 pixels, and in [0, 1]; False where NaN."""
    pixels = x_adv.flatten(1)
    in_range = ((pixels >= 0) & (pixels <= 1)).all(dim=1)
    return in_range & (size <= radius * (1 + 1e-5) + 1e-6)
