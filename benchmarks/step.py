"""Whole training steps: ours against the bare floor, against peers, and against the published IAAT procedure.

    python benchmarks/step.py [--model small-cnn resnet18] [--steps 10] [--precision fp32 bf16] [--repeats 5]
                              [--compile [MODE ...]] [--only REGEX]

A step of ours is what the training loop does: zero the gradients, `method.step`, backward, the optimiser's step. The
floor is what no implementation can avoid: K times (forward, backward to the inputs alone) and once (forward, full
backward), on the same model in the same mode, precision and memory format, without optimiser. All candidates take
turns in one process. "Of peak" is a row's floating point operations a second over those of the multiplication of two
large matrices in the same precision. Writes `step-<model>-<hardware>-<date>.json`.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from _measure import CONSOLE, Goal, Report, Spread, hardware_line, start, write_results
from _rows import Row, cells, fastest, key_of, measure, notes, peak_row, ratio, record, share_of_peak
from _workload import RADIUS, SAMPLES, Workload, bare_gradients, bare_step, build_workload, workload_parser
from published import PublishedIAAT

import peers
from iaat.attacks import attack_mode
from iaat.errors import UserError
from iaat.methods import METHODS, PGDATConfig, StepContext
from iaat.runtime import rng
from iaat.runtime.device import autocast
from iaat.types import Batch

PGD_AT = "pgd_at"
PUBLISHED = "IAAT as published"
GPU_MODES = ("default", "reduce-overhead", "max-autotune")
"""Modes of torch.compile measured on a GPU; reduce-overhead and max-autotune use CUDA graphs."""


@dataclass(frozen=True)
class Variant:
    """One configuration of one of our methods.

    Attributes:
        name: What the table shows.
        method: Name in `METHODS`.
        settings: Of its config; what the config does not know makes the row say so.
        radii: `uniform`: all at 8px; `spread`: from 0 to twice of it.
    """

    name: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    radii: Literal["uniform", "spread"] = "uniform"


EPOCHS = 110
"""Of the run that a step is one of: the authors'."""


MODE = PGDATConfig().mode
STILL, STILL_PAPER = {"reach": 1e-9}, {"beta": 1e-9}
"""Radii that stay where they are put, so that every round is the same work."""

PROPORTIONAL = "iaat, spread radii"
VARIANTS: tuple[Variant, ...] = (
    Variant(PGD_AT, "pgd_at"),
    Variant("pgd_at, mode batch", "pgd_at", {"mode": "batch"}),
    Variant("iaat", "iaat", STILL),
    Variant("iaat_paper", "iaat_paper", STILL_PAPER),
    Variant(PROPORTIONAL, "iaat", STILL, radii="spread"),
    Variant("iaat_paper, spread radii", "iaat_paper", STILL_PAPER, radii="spread"),
    Variant("iaat_paper, mode train", "iaat_paper", {"mode": "train", **STILL_PAPER}),
    Variant("nfgsm, one radius", "pgd_at", {"inner": "nfgsm"}),
    Variant("iaat, inner nfgsm", "iaat", {"inner": "nfgsm", **STILL}),
)
"""Every step of ours that is measured; add a line to measure another."""

COMPILED = tuple(variant for variant in VARIANTS if variant.name in (PGD_AT, "nfgsm, one radius"))
"""Those that `--compile` measures, too."""


def main() -> None:
    """Measure every model asked for."""
    options = _parser().parse_args()
    device = start(options)
    for name in options.model:
        _measure_model(name, options, device)


def _parser() -> argparse.ArgumentParser:
    parser = workload_parser(__doc__)
    parser.add_argument(
        "--compile",
        nargs="*",
        metavar="MODE",
        help=f"also the step compiled by torch.compile, in these modes (default mode: default); always on a GPU, in "
        f"{', '.join(GPU_MODES)}",
    )
    return parser


def _measure_model(name: str, options: argparse.Namespace, device: torch.device) -> None:
    CONSOLE.print(f"{name}: preparing the model and counting passes", highlight=False)
    plain = build_workload(name, options, device)
    size = len(plain.batch.y)
    ours = plain.laid_out()
    facts = plain.describe()
    rows = [
        *(peak_row(ours.model, precision, device) for precision in options.precision),
        *(row for precision in options.precision for row in _ours(ours, precision)),
        *(row for precision in options.precision for row in _compiled(ours, precision, _modes(options, device))),
        *_default_format(plain),
        *_peers(plain, ours),
        _published(plain),
    ]
    floors = [row.key for row in rows if row.floor is None and row.name.startswith("floor")]
    keep = [*floors, *(key_of(PGD_AT, precision) for precision in options.precision)]
    keep += [row.key for row in rows if row.flops]
    rows = measure(rows, rounds=options.repeats, device=device, only=options.only, keep=keep)
    _check_published(rows, options.steps)
    goals = list(_goals(rows, options.precision))
    ratios = {row.key: _ratios(rows, row) for row in rows}
    title = (
        f"training step, {name}, batch {size}, K = {options.steps}; median and quartiles of {options.repeats} rounds\n"
        f"{hardware_line()}"
    )
    report = Report(
        title,
        ["step", "", "passes/sample", "ms", "x floor", "x pgd_at", "published / it", "of peak"],
        left=["step", ""],
    )
    report.rows = [cells(row, ratios[row.key]) for row in rows]
    clean, attacked = (f"{100 * facts[f'correct_{name}']:.0f} %" for name in ("clean", "attacked"))
    report.lines = [
        f"batch: {clean} correct, {attacked} under attack at 8px; "
        "floor and pgd_at of the same precision, floor of the same mode",
        *notes(rows),
        *(str(goal) for goal in goals),
    ]
    report.show()
    config = {**_plain(options), "model": name, "batch_size": size, "workload": facts}
    records = [record(row, ratios[row.key]) for row in rows]
    path = write_results(f"step-{name}", config, records, goals=goals, packages=peers.PACKAGES, folder=options.out)
    CONSOLE.print(f"written: {path}", highlight=False, soft_wrap=True)


def _plain(options: argparse.Namespace) -> dict[str, Any]:
    return {key: value for key, value in vars(options).items() if key != "out"}


def _modes(options: argparse.Namespace, device: torch.device) -> tuple[str, ...]:
    if options.compile is None:
        return GPU_MODES if device.type == "cuda" else ()
    return tuple(options.compile) or ("default",)


def floor_name(mode: str) -> str:
    """The row of the bare passes."""
    return f"floor, mode {mode}"


def _ours(work: Workload, precision: str) -> Iterator[Row]:
    for mode in (MODE, "batch"):
        yield Row(
            floor_name(mode), precision, lambda mode=mode: _floor(work, precision, mode), work.model, len(work.batch.y)
        )
    for variant in VARIANTS:
        yield _our_row(work, precision, variant)


def _our_row(work: Workload, precision: str, variant: Variant) -> Row:
    return Row(
        variant.name,
        precision,
        lambda: _step(work, precision, variant),
        work.model,
        len(work.batch.y),
        floor=floor_name(variant.settings.get("mode", MODE)),
        facts={"settings": dict(variant.settings), "radii": variant.radii, "memory_format": work.layout},
    )


def _default_format(work: Workload) -> Iterator[Row]:
    """Ours in the memory format of the peers, to tell apart what comes from it; bf16 is not measured so."""
    floor = f"{floor_name(MODE)}, default format"
    yield Row(floor, "fp32", lambda: _floor(work, "fp32", MODE), work.model, len(work.batch.y))
    row = _our_row(work, "fp32", VARIANTS[0])
    row.name, row.floor = f"{PGD_AT}, default format", floor
    yield row


def _floor(work: Workload, precision: str, mode: str) -> Callable[[], None]:
    def passes() -> None:
        with autocast(precision, work.device):
            with attack_mode(work.model, mode):
                bare_gradients(work, work.steps)
            bare_step(work)

    return passes


def _step(work: Workload, precision: str, variant: Variant) -> Callable[[], None]:
    """What the training loop does with one batch, past the warm-up."""
    method_class = METHODS[variant.method]
    known = {each.name for each in dataclasses.fields(method_class.Config)}
    if unknown := set(variant.settings) - known:
        raise UserError(f"{variant.method} has no setting {', '.join(sorted(unknown))}")
    config = method_class.Config(steps=work.steps, **variant.settings).over(EPOCHS)
    method = method_class(config, size=SAMPLES, device=work.device)
    if method.radii is not None:
        method.radii[:] = RADIUS
    if method.radii is not None and variant.radii == "spread":
        method.radii[work.batch.index] = work.spread_radii()
    context = StepContext(getattr(config, "warmup", 0), rng.generator(0, "attack", device=work.device))

    def step() -> None:
        work.optimizer.zero_grad(set_to_none=True)
        with autocast(precision, work.device):
            output = method.step(work.model, work.batch, context)
        output.loss.backward()
        work.optimizer.step()

    return step


def _compiled(work: Workload, precision: str, modes: tuple[str, ...]) -> Iterator[Row]:
    for variant, mode in itertools.product(COMPILED, modes):
        row = _our_row(work.copied(), precision, variant)
        row.name, row.countable = f"{variant.name}, compiled, {mode}", False
        row.make = lambda row=row, variant=variant, mode=mode: _compile(work.copied(), precision, variant, mode, row)
        yield row


def _compile(work: Workload, precision: str, variant: Variant, mode: str, row: Row) -> Callable[[], None]:
    work.model.compile(mode=mode)
    step = _step(work, precision, variant)
    seconds = []
    for _ in range(2):  # the second for what is specialised only then, such as CUDA graphs
        begun = time.perf_counter()
        step()
        if work.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    row.facts["first_steps_s"] = seconds
    row.note = f"first two steps, compiling: {seconds[0]:.1f} s, {seconds[1]:.1f} s"
    return step


def _peers(plain: Workload, ours: Workload) -> Iterator[Row]:
    for name, build in peers.STEPS.items():
        yield _peer_row(name, build, plain.copied() if name in peers.OWN_MODEL else plain)
    for name in peers.CHANNELS_LAST:
        yield _peer_row(f"{name}, channels_last", peers.STEPS[name], ours)


def _peer_row(name: str, build: Callable[[Workload], Callable[[], None]], work: Workload) -> Row:
    facts = {"memory_format": work.layout, "peer": True}
    return Row(name, "fp32", lambda: build(work), work.model, len(work.batch.y), facts=facts)


def _published(work: Workload) -> Row:
    def make() -> Callable[[], None]:
        radii = torch.full((SAMPLES,), RADIUS, device=work.device)
        procedure = PublishedIAAT(work.model, work.optimizer, radii, steps=work.steps)
        batch: Batch = work.batch
        return lambda: procedure.step(batch.x, batch.y, batch.index)

    return Row(PUBLISHED, "fp32", make, work.model, len(work.batch.y), facts={"memory_format": "default"})


def _check_published(rows: list[Row], steps: int) -> None:
    """The published cost is 34F 31B at K = 10; a number of passes that differs means that something else was timed."""
    for row in rows:
        if row.name == PUBLISHED:
            assert row.passes is not None, row.note
            counted = (row.passes.forward, row.passes.backward)
            assert counted == (3 * steps + 4, 3 * steps + 1), f"the published procedure took {row.passes}"


def _ratios(rows: list[Row], row: Row) -> dict[str, Spread | None]:
    floor = row.floor or floor_name(MODE)
    of_floor = None if row.facts.get("peer") or row.name == PUBLISHED else key_of(floor, row.precision)
    return {
        "of_floor": of_floor and ratio(rows, row.key, of_floor),
        "of_pgd_at": ratio(rows, row.key, key_of(PGD_AT, row.precision)),
        "published_over_it": ratio(rows, key_of(PUBLISHED, "fp32"), row.key),
        "share_of_peak": share_of_peak(rows, row),
    }


def _goals(rows: list[Row], precisions: list[str]) -> Iterator[Goal]:
    wanted: list[tuple[str, str | None, str, dict[str, float]]] = []
    for precision in precisions:
        at, iaat = key_of(PGD_AT, precision), key_of("iaat", precision)
        least = {"fp32": 4.0, "bf16": 8.0}[precision]
        fewer = key_of(PROPORTIONAL, precision)
        wanted += [
            (f"pgd_at / floor, {precision}", at, key_of(floor_name(MODE), precision), {"at_most": 1.05}),
            (f"iaat / pgd_at, {precision}", iaat, at, {"at_most": 1.05}),
            (f"{PROPORTIONAL} / pgd_at, {precision}", fewer, at, {"at_most": 0.75}),
            (f"published, fp32 / iaat, {precision}", key_of(PUBLISHED, "fp32"), iaat, {"at_least": least}),
        ]
        documented = fastest(rows, [key_of(name, "fp32") for name in peers.STEPS])
        given = fastest(rows, [key_of(f"{name}, channels_last", "fp32") for name in peers.CHANNELS_LAST])
        if precision == "fp32":
            wanted.append((f"best peer, {documented} / pgd_at, fp32", documented, at, {"at_least": 1.5}))
            wanted.append((f"best peer given our memory format, {given} / pgd_at, fp32", given, at, {"at_least": 1.5}))
    for name, top, bottom, bound in wanted:
        measured = ratio(rows, top, bottom) if top else None
        if measured is not None:
            yield Goal(name, measured, **bound)


if __name__ == "__main__":
    sys.exit(main())
