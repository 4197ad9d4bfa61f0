"""AutoAttack of this package against the reference package, stage by stage, in one process.

    python benchmarks/autoattack.py --weights FILE.safetensors --images DIR [--samples 64] [--repeats 3] [--threads 1]

Candidates take turns within a stage; all get the samples that the reference left robust. They are the reference as its
documentation has it (weights take gradients), the reference with frozen weights, ours, and ours in other arithmetics.
For each the ratio of the reference's seconds to its own is printed, and how many verdicts are not the reference's.
FAB and APGD-T run on `--targets` classes and Square takes `--queries` queries; "in all" weighs the stages as the
standard version has them: 9 classes, 5000 queries. On a CPU the clock counts the seconds of the process on its
processor, so that what else runs there matters less.

--images is a folder of folders, one a class in their order. Without --weights a half-trained network is taken,
with the made-up images of the other benchmarks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyautoattack
import torch
from _measure import Report, Spread, hardware_line, parser, start, write_results
from _workload import build_workload
from torch import Tensor, nn

import iaat
from iaat.evaluate import autoattack

STANDARD = {"apgd-t": 9, "fab-t": 9}
NORMS = {"linf": "Linf", "l2": "L2"}
CANDIDATES = ("reference", "frozen", "ours", "channels_last", "bfloat16")


@dataclass(slots=True)
class Row:
    """Seconds of a candidate in a stage, one a round, and verdicts that are not the reference's."""

    seconds: list[float] = field(default_factory=list)
    flips: int = 0


def main() -> None:
    """Print and write the ratios of both norms."""
    made = parser(__doc__, repeats=3)
    made.add_argument("--weights", type=Path, help="file that `iaat export` wrote, or a run")
    made.add_argument("--model", default="small-cnn", help="without weights: a network by name (default %(default)s)")
    made.add_argument("--images", type=Path, help="folder with a folder of images for each class")
    made.add_argument("--samples", type=int, default=64, help="samples classified correctly (default %(default)s)")
    made.add_argument("--targets", type=int, default=2, help="target classes of FAB and APGD-T (default %(default)s)")
    made.add_argument("--queries", type=int, default=500, help="queries of Square (default %(default)s)")
    made.add_argument("--norm", nargs="+", default=list(NORMS), choices=list(NORMS))
    made.add_argument("--candidates", nargs="+", default=list(CANDIDATES), choices=list(CANDIDATES))
    options = made.parse_args()
    device = start(options)
    autoattack._TARGETS = options.targets
    model, x, y = _given(options, device)
    x, y = _correct(model.eval(), x, y, options.samples, device)
    for norm in options.norm:
        _compare(model, x, y, norm, {"linf": 8 / 255, "l2": 0.5}[norm], options)


def _compare(model: nn.Module, x: Tensor, y: Tensor, norm: str, radius: float, options: argparse.Namespace) -> None:
    names = [name for name in CANDIDATES if name in {"reference", *options.candidates}]
    stages: dict[str, dict[str, Row]] = {}
    given: dict[str, int] = {}
    total = len(y)
    for attack in autoattack.ensemble(10, tuple(x.shape[1:]), norm):
        if not len(y):
            break
        rows = {name: Row() for name in names}
        robust = {}
        for _ in range(options.repeats):
            for name in names:
                run = _runner(name, attack, model, x, y, norm, radius, options.queries)
                seconds, x_adv = _timed(run, x.device)
                rows[name].seconds.append(seconds)
                with torch.no_grad():
                    robust[name] = model(x_adv).argmax(1) == y
        for name in names:
            rows[name].flips = int((robust[name] != robust["reference"]).sum())
        stages[attack], given[attack] = rows, len(y)
        x, y = x[robust["reference"]], y[robust["reference"]]
    _show(stages, given, total, norm, radius, options)


def _runner(
    name: str, attack: str, model: nn.Module, x: Tensor, y: Tensor, norm: str, radius: float, queries: int
) -> Callable[[], Tensor]:
    if name == "reference":
        return lambda: _plain(attack, model, x, y, norm, radius, queries)
    arithmetic = name if name in {"channels_last", "bfloat16"} else "reference"
    return lambda: autoattack.reference_attack(
        attack,
        model,
        x,
        y,
        radius=radius,
        norm=norm,
        classes=10,
        seed=0,
        queries=queries,
        shortcuts=name != "frozen",
        arithmetic=arithmetic,
    )


def _plain(attack: str, model: nn.Module, x: Tensor, y: Tensor, norm: str, radius: float, queries: int) -> Tensor:
    """The reference package on a model in eval mode, as its documentation has it."""
    suite = pyautoattack.AutoAttack(model, device=x.device, eps=radius, norm=NORMS[norm], seed=0, version="standard")
    runner = autoattack._runner(suite, attack, 10)
    suite.square.n_queries = queries
    adversarial: Tensor = runner.perturb(x.clone(), y.clone())
    return adversarial.detach()


def _timed(run: Callable[[], Tensor], device: torch.device) -> tuple[float, Tensor]:
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    if device.type == "cuda":
        torch.cuda.synchronize()
    begun = clock()
    result = run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - begun, result


def _weight(attack: str, options: argparse.Namespace) -> float:
    """How many times as long the standard version takes in this stage."""
    if attack == "square":
        return autoattack.QUERIES / options.queries
    return STANDARD[attack] / options.targets if attack in STANDARD else 1.0


def _show(
    stages: dict[str, dict[str, Row]],
    given: dict[str, int],
    total: int,
    norm: str,
    radius: float,
    options: argparse.Namespace,
) -> None:
    names = list(next(iter(stages.values())))
    whole = {
        name: Row(
            [
                sum(_weight(attack, options) * rows[name].seconds[turn] for attack, rows in stages.items())
                for turn in range(options.repeats)
            ],
            sum(rows[name].flips for rows in stages.values()),
        )
        for name in names
    }
    report = Report(
        f"reference seconds / seconds, {norm}, radius {radius:.4g}, {total} samples; {hardware_line()}",
        ["stage", "samples", "share", *names[1:], "other verdicts"],
        left=["stage"],
    )
    records = []
    for attack, rows in {**stages, "in all": whole}.items():
        reference = rows["reference"].seconds
        ratios = {
            name: Spread.of([its / own for its, own in zip(reference, rows[name].seconds, strict=True)])
            for name in names[1:]
        }
        share = _weight(attack, options) * sum(reference) / sum(whole["reference"].seconds) if attack in stages else 1.0
        flips = " / ".join(str(rows[name].flips) for name in names[1:])
        cells = [attack, str(given.get(attack, total)), f"{100 * share:.0f} %", *map(str, ratios.values()), flips]
        report.rows.append(cells)
        records.append({"stage": attack, "share": share, **{name: asdict(row) for name, row in rows.items()}})
    report.show()
    name = options.weights.stem if options.weights else options.model
    config = {
        "model": name,
        "norm": norm,
        "radius": radius,
        "samples": total,
        "targets": options.targets,
        "queries": options.queries,
    }
    write_results(f"autoattack-{name}-{norm}", config, records, packages=("pyautoattack",), folder=options.out)


def _given(options: argparse.Namespace, device: torch.device) -> tuple[nn.Module, Tensor, Tensor]:
    """The network with images and labels."""
    if options.weights:
        return iaat.load(options.weights).to(device), *_images(options.images)
    work = build_workload(options.model, argparse.Namespace(batch_size=512, steps=10, radii=None), device)
    return work.model, work.batch.x, work.batch.y


def _images(folder: Path) -> tuple[Tensor, Tensor]:
    """Images `[n, 3, H, W]` in [0, 1] and labels, the classes in turns."""
    from torchvision.io import ImageReadMode, decode_image

    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    files = [sorted(path for path in each.iterdir() if path.is_file())[:100] for each in classes]
    turns = [(file, number) for several in zip(*files, strict=False) for number, file in enumerate(several)]
    pixels = torch.stack([decode_image(str(file), ImageReadMode.RGB) for file, _ in turns])
    return pixels.float() / 255, torch.tensor([number for _, number in turns])


def _correct(model: nn.Module, x: Tensor, y: Tensor, n: int, device: torch.device) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        right = torch.cat([model(part.to(device)).argmax(1).cpu() for part in x.split(256)]) == y
    rows = right.nonzero()[:n, 0]
    return x[rows].to(device), y[rows].to(device)


if __name__ == "__main__":
    main()
