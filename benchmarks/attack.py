"""One PGD attack: ours against the bare floor and against peers.

    python benchmarks/attack.py [--model small-cnn resnet18] [--steps 10] [--precision fp32 bf16] [--repeats 5]
                                [--only REGEX]

The floor is K times (forward, backward to the inputs alone) on the same model in the same mode, precision and memory
format. Peers attack as their documentation has it: float32, PyTorch's default memory format, model in eval. The
column "correct" is the accuracy under each attack in eval mode: equal work has equal effect. All
candidates take turns in one process. Writes `attack-<model>-<hardware>-<date>.json`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator

import torch
from _measure import CONSOLE, Report, Spread, hardware_line, start, write_results
from _rows import Row, cells, fastest, key_of, measure, notes, ratio, record
from _workload import MIN_STEP, RADIUS, Workload, bare_gradients, build_workload, workload_parser
from torch import Tensor, nn

import peers
from iaat import pgd
from iaat.attacks import attack_mode
from iaat.runtime import rng
from iaat.runtime.device import autocast

MODES = ("batch", "eval")
ONE, EACH, FEWER = "one radius", "radius per sample", "radius and steps per sample"


def main() -> None:
    """Measure every model of the options."""
    options = workload_parser(__doc__).parse_args()
    device = start(options)
    for name in options.model:
        _measure_model(name, options, device)


def _measure_model(name: str, options: argparse.Namespace, device: torch.device) -> None:
    CONSOLE.print(f"{name}: preparing the model and counting passes", highlight=False)
    plain = build_workload(name, options, device)
    size = len(plain.batch.y)
    ours = plain.laid_out()
    rows = [
        *(row for precision in options.precision for row in _ours(ours, precision)),
        *(row for precision in options.precision for row in _graphs(ours, precision)),
        *_peers(plain, ours),
    ]
    keep = [row.key for row in rows if row.name.startswith("floor")]
    rows = measure(rows, rounds=options.repeats, device=device, only=options.only, keep=keep)
    ratios = {row.key: _ratios(rows, row) for row in rows}
    title = (
        f"PGD attack, {name}, batch {size}, K = {options.steps}; median and quartiles of {options.repeats} rounds\n"
        f"{hardware_line()}"
    )
    report = Report(
        title, ["attack", "", "passes/sample", "ms", "x floor", "x ours, eval", "correct"], left=["attack", ""]
    )
    report.rows = [[*cells(row, ratios[row.key]), _accuracy_of(row)] for row in rows]
    report.lines = [*notes(rows), *_best_peer(rows)]
    report.show()
    config = {key: value for key, value in vars(options).items() if key != "out"}
    config |= {"model": name, "batch_size": size, "workload": plain.describe()}
    records = [record(row, ratios[row.key]) for row in rows]
    path = write_results(f"attack-{name}", config, records, packages=peers.PACKAGES, folder=options.out)
    CONSOLE.print(f"written: {path}", highlight=False, soft_wrap=True)


def _ours(work: Workload, precision: str) -> Iterator[Row]:
    for mode in MODES:
        yield _row(work, _floor_name(mode), precision, lambda mode=mode: _floor(work, precision, mode))
    for mode in MODES:
        for radius in (ONE, EACH):
            attack = _attack(work, precision, mode, radius)
            yield _attack_row(work, f"ours, mode {mode}, {radius}", precision, lambda attack=attack: attack, mode)
    fewer = _attack(work, precision, "eval", FEWER)  # in another mode a smaller batch would have other statistics
    yield _attack_row(work, f"ours, mode eval, {FEWER}", precision, lambda: fewer, "eval")


def _floor_name(mode: str) -> str:
    return f"floor, mode {mode}"


def _floor(work: Workload, precision: str, mode: str) -> Callable[[], None]:
    def passes() -> None:
        with autocast(precision, work.device), attack_mode(work.model, mode):
            bare_gradients(work, work.steps)

    return passes


def _attack(work: Workload, precision: str, mode: str, radius: str) -> Callable[[], Tensor]:
    size: Tensor | float = RADIUS
    step: Tensor | float = work.step_size
    steps: Tensor | int = work.steps
    if radius != ONE:
        size = work.spread_radii()
        step = (2 * size / work.steps).clamp_min(MIN_STEP)
    if radius == FEWER:
        steps = (work.steps * (size / RADIUS).clamp(max=1)).ceil().long()
    source = rng.generator(0, "attack", device=work.device)

    def attack() -> Tensor:
        with autocast(precision, work.device):
            return pgd(
                work.model,
                work.batch.x,
                work.batch.y,
                radius=size,
                steps=steps,
                step_size=step,
                mode=mode,
                generator=source,
            )

    return attack


def _graphs(work: Workload, precision: str) -> Iterator[Row]:
    """The attack recorded once as a CUDA graph and replayed: what the launches of its kernels cost."""
    if work.device.type == "cuda":
        row = _row(work, "ours, mode eval, CUDA graph", precision, lambda: _replayed(work, precision))
        row.floor, row.countable = _floor_name("eval"), False
        yield row


def _replayed(work: Workload, precision: str) -> Callable[[], None]:
    def attack() -> Tensor:
        # Without a random start: a generator of its own cannot be recorded. No weight cache, as graphs need it.
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=precision == "bf16", cache_enabled=False):
            return pgd(
                work.model,
                work.batch.x,
                work.batch.y,
                radius=RADIUS,
                steps=work.steps,
                step_size=work.step_size,
                x_init=work.batch.x,
            )

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            attack()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        attack()
    return graph.replay


def _peers(plain: Workload, ours: Workload) -> Iterator[Row]:
    for name, build in peers.ATTACKS.items():
        work = plain.copied() if name in peers.OWN_MODEL else plain
        yield _attack_row(work, name, "fp32", lambda build=build, work=work: build(work))
    for name in peers.CHANNELS_LAST:
        build = peers.ATTACKS[name]
        yield _attack_row(ours, f"{name}, channels_last", "fp32", lambda build=build: build(ours))


def _row(work: Workload, name: str, precision: str, make: Callable[[], Callable[[], object]]) -> Row:
    return Row(name, precision, make, work.model, len(work.batch.y), facts={"memory_format": work.layout})


def _attack_row(
    work: Workload, name: str, precision: str, build: Callable[[], Callable[[], Tensor]], mode: str | None = None
) -> Row:
    """Row of an attack, with the accuracy under it, which is measured before the time."""
    row = _row(work, name, precision, build)
    row.floor = mode and _floor_name(mode)

    def make() -> Callable[[], Tensor]:
        attack = build()
        x_adv = attack()
        row.facts["correct"] = _accuracy(work.model, x_adv, work.batch.y)
        row.facts["largest_px"] = float((x_adv - work.batch.x).abs().max()) * 255
        return attack

    row.make = make
    return row


def _accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    with attack_mode(model, "eval"), torch.no_grad():
        return float((model(x).argmax(dim=1) == y).float().mean())


def _accuracy_of(row: Row) -> str:
    return f"{row.facts['correct']:.1%}" if "correct" in row.facts else ""


def _ratios(rows: list[Row], row: Row) -> dict[str, Spread | None]:
    floor = row.name if row.name.startswith("floor") else row.floor
    return {
        "of_floor": floor and ratio(rows, row.key, key_of(floor, row.precision)),
        "of_ours_eval": ratio(rows, row.key, key_of(f"ours, mode eval, {ONE}", row.precision)),
    }


def _best_peer(rows: list[Row]) -> Iterator[str]:
    """The fastest peer over ours, for both memory formats of the peers."""
    groups: dict[str, list[str]] = {
        "best peer as documented": list(peers.ATTACKS),
        "best peer given channels_last": [f"{name}, channels_last" for name in peers.CHANNELS_LAST],
    }
    for what, names in groups.items():
        best = fastest(rows, [key_of(name, "fp32") for name in names])
        for mode in MODES:
            measured = best and ratio(rows, best, key_of(f"ours, mode {mode}, {ONE}", "fp32"))
            if measured:
                yield f"{what}, {best} / ours, mode {mode}, fp32: {measured}"


if __name__ == "__main__":
    sys.exit(main())
