"""The newest results on one page: ratios to the floor, to other libraries and to the peak; what accuracy costs.

    python benchmarks/overview.py [--results FOLDER] [--runs FOLDER] [--out FILE]

Reads the JSON files of the other benchmarks and the runs of docs/results/cifar10, and writes docs/results/speed.md. Of
each figure the newest file that has it counts. Nothing is measured here.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _measure import CONSOLE, RESULTS
from _rows import counted_flops

from iaat.evaluate.results import read_results
from iaat.models import ModelConfig, build_model
from iaat.runtime.text import markdown_table

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "docs/results/cifar10/runs"
PAGE = ROOT / "docs/results/speed.md"

MODELS = {"small-cnn": "small CNN, batch 128", "resnet18": "ResNet-18, batch 32"}
PRECISIONS = ("fp32", "bf16")
TRAINED = " (trained)"
"""End of the name of a row with `--radii` of a trained run, not made-up ones."""
STEPS = {
    "forwards and backwards alone, the lower bound": ("floor, mode eval",),
    "**PGD-AT**": ("pgd_at",),
    "**IAAT**, all radii at 8px": ("iaat",),
    "**IAAT**, radii spread from 0 to 16px": ("iaat, spread radii",),
    "**IAAT**, radii as it ended with on CIFAR-10": ("iaat, spread radii" + TRAINED,),
    "IAAT by the authors' rule": ("iaat_paper",),
    "IAAT, single steps (N-FGSM)": ("iaat, inner nfgsm",),
    "PGD-AT with torchattacks": ("torchattacks",),
    "PGD-AT with adv-lib": ("adv-lib",),
    "PGD-AT with foolbox": ("foolbox",),
    "PGD-AT with ART": ("ART Madry trainer",),
    "the fastest of these given our memory format": ("torchattacks, channels_last", "adv-lib, channels_last"),
    "the IAAT procedure as published": ("IAAT as published",),
}
"""Rows of the table of steps, and the names of what they are in the files; of several the fastest counts."""


FILES = {
    "start from the cache": ("60,000 PNG files, start with `data.cache`", "images a second, to the files themselves"),
    "epoch from files, 2 workers": (
        "the same, a streamed epoch, 2 workers",
        "images a second, to torchvision's ImageFolder with two workers",
    ),
    "epoch from the cache, 0 workers": (
        "the same with `data.cache`, no workers",
        "images a second, to torchvision's ImageFolder with two workers",
    ),
}
"""Rows of the benchmark of image files, with what they and their ratios are."""


class Results:
    """All result files, the newest first."""

    def __init__(self, folder: Path) -> None:
        files = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
        # Of one day's files the one of most rows counts, not that of a few.
        self._files = sorted(files, key=lambda file: (str(file["date"]), len(file["rows"])), reverse=True)
        self.used: dict[str, dict[str, Any]] = {}

    def find(self, what: str, key: str, **named: str) -> dict[str, Any] | None:
        """The newest row that has a value of `key` and is named so, of a file of `what`; None where there is none."""
        for file in self._files:
            for row in _named_rows(file) if file["what"] == what else ():
                if key in row and all(row.get(name) == value for name, value in named.items()):
                    self.used[f"{file['date']} {file['command']}"] = file
                    return row
        return None

    def median(self, what: str, key: str, **named: str) -> float | None:
        """The median of a ratio."""
        found = self.find(what, key, **named)
        return None if found is None else float(found[key]["median"])


def _named_rows(file: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of a file; those with radii of a trained run are named so."""
    trained = bool(file.get("config", {}).get("radii"))
    for row in file["rows"]:
        yield {**row, "name": f"{row['name']}{TRAINED}"} if trained and row.get("radii") == "spread" else row


def main() -> None:
    """Write the page, and print it."""
    options = _parser().parse_args()
    text = page(Results(options.results), options.runs)
    options.out.write_text(text, encoding="utf-8")
    CONSOLE.print(text, highlight=False, markup=False, soft_wrap=True)
    CONSOLE.print(f"written: {options.out}", highlight=False, soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files (default %(default)s)")
    made.add_argument("--runs", type=Path, default=RUNS, help="folder of results of runs (default %(default)s)")
    made.add_argument("--out", type=Path, default=PAGE, help="the page (default %(default)s)")
    return made


def page(results: Results, runs: Path) -> str:
    """The page, as Markdown."""
    tables = {name: markdown_table(rows) for name, rows in _rows_of(results, runs)}
    return _PAGE.format(**tables, sources="\n".join(_sources(results)))


def _rows_of(results: Results, runs: Path) -> Iterator[tuple[str, Iterator[Sequence[str]]]]:
    yield "steps", _step_rows(results)
    yield "others", _other_rows(results)
    yield "runs", _run_rows(runs)


_PAGE = """\
# Speed

Written by `python benchmarks/overview.py`, the last step of `make bench`; do not edit. Ratios are medians over rounds
in which all candidates take turns in one process; spreads are in `benchmarks/results`. How each is measured:
[benchmarks/README.md](../../benchmarks/README.md).

## A training step

PGD-AT with ten attack steps is 1; less is faster. Other libraries compute in float32 only, and in PyTorch's default
memory format unless given another.

{steps}

The peak is that of the product of two large matrices. A fraction above 1 is no error: convolutions need fewer
multiplications than their formula counts (Winograd's algorithm).

## Attacks, evaluation, data

{others}

## What accuracy costs

All of CIFAR-10, PreActResNet-18 of width 16, [last checkpoints](cifar10/README.md), means over seeds. A pass is one
image forward or backward. PFLOP are 10^15 floating point operations of training, a multiplication and an addition being
two. Robust accuracy is screening at 8px, not AutoAttack.

{runs}

## Where and when

{sources}
"""


def _step_rows(results: Results) -> Iterator[Sequence[str]]:
    columns = [(model, precision) for model in MODELS for precision in PRECISIONS]
    yield ["", "passes a sample", *(f"{MODELS[model]}: {precision}" for model, precision in columns)]
    for title, names in STEPS.items():
        figures = [_fastest(results, model, precision, names) for model, precision in columns]
        if any(figure is not None for figure in figures):
            yield [title, _passes(results, names), *map(_shown, figures)]
    shares = [
        results.median(f"step-{model}", "share_of_peak", name="pgd_at", precision=precision)
        for model, precision in columns
    ]
    yield ["PGD-AT: fraction of the processor's peak", "", *map(_shown, shares)]


def _fastest(results: Results, model: str, precision: str, names: Sequence[str]) -> float | None:
    figures = [results.median(f"step-{model}", "of_pgd_at", name=name, precision=precision) for name in names]
    return min((figure for figure in figures if figure is not None), default=None)


def _passes(results: Results, names: Sequence[str]) -> str:
    for model in MODELS:
        found = results.find(f"step-{model}", "passes", name=names[0])
        if found is not None:
            passes = found["passes"]
            return f"{passes['forward']:.3g}F {passes['backward']:.3g}B"
    return ""


def _shown(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.2f}"


def _other_rows(results: Results) -> Iterator[Sequence[str]]:
    yield ["", "ratio", "of what"]
    for model, title in MODELS.items():
        attack = results.median(f"attack-{model}", "of_floor", name="ours, mode eval, one radius", precision="fp32")
        if attack is not None:
            yield [f"PGD-10, {title}, float32", f"{attack:.2f}", "seconds, to forwards and backwards alone"]
    for what, norm in (("autoattack-uniform-4px-seed1-linf", "L-inf"), ("autoattack-uniform-4px-seed1-l2", "L2")):
        for key, title in (("ours", "as it is"), ("bfloat16", "in bfloat16")):
            found = results.find(what, key, stage="in all")
            if found is not None:
                times = [found[each]["seconds"] for each in ("reference", key)]
                gain = statistics.median(its / mine for its, mine in zip(*times, strict=True))
                yield [f"AutoAttack, {norm}, {title}", f"{gain:.2f}", "the reference's seconds, to ours"]
    for name, (title, what) in FILES.items():
        rate = results.median("image-files", "times_as_fast", name=name)
        if rate is not None:
            yield [title, f"{rate:.1f}", what]
    for name, title in (("ours, reflect", "reflected"), ("ours, zeros", "zero")):
        rate = results.median("data", "over_torchvision", name=name)
        if rate is not None:
            what = "images a second, to torchvision with two workers"
            yield [f"CIFAR-10 batches, crop and flip, {title} padding", f"{rate:.0f}", what]


class _Run(NamedTuple):
    """What a finished run of the CIFAR-10 testbed cost and gave."""

    cell: str
    passes: float
    petaflops: float
    clean: float
    robust: float


def _run_rows(runs: Path) -> Iterator[Sequence[str]]:
    yield ["run", "seeds", "passes of training, millions", "PFLOP", "clean", "screening @8px"]
    paths = [path for path in sorted(runs.glob("*.results.json")) if re.fullmatch(r"[^.]+\.results\.json", path.name)]
    found = [_read_run(path) for path in paths]
    for cell in dict.fromkeys(run.cell for run in found):
        some = [run for run in found if run.cell == cell]
        means = [statistics.mean(values) for values in zip(*(run[1:] for run in some), strict=True)]
        yield [
            cell,
            str(len(some)),
            f"{means[0] / 1e6:.1f}",
            f"{means[1]:.2f}",
            *(f"{100 * each:.1f}" for each in means[2:]),
        ]


def _read_run(path: Path) -> _Run:
    result = read_results(path)
    assert result.clean_all is not None, f"{path}: evaluated without the clean accuracy of all test images"
    forwards, backwards, steps = _training_passes(path.with_name(path.name.replace("results.json", "metrics.jsonl")))
    forward, to_inputs, full = _flops_of_testbed()
    # A backward of an attack goes to the inputs alone, that of the loss to the weights, too.
    flops = forwards * forward + (backwards - steps) * to_inputs + steps * full
    cell = path.name.removesuffix(".results.json").rpartition("-seed")[0]
    return _Run(cell, forwards + backwards, flops / 1e15, result.clean_all.accuracy, result.accuracy["screening"])


SAMPLES = 49_000
"""Training images of the testbed."""


def _training_passes(metrics: Path) -> tuple[float, float, float]:
    """Images forward and backward in training, and those of the losses among the latter."""
    epochs = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    forwards, backwards = (sum(epoch[key] for epoch in epochs) for key in ("forwards", "backwards"))
    return SAMPLES * forwards, SAMPLES * backwards, SAMPLES * len(epochs)


def _flops_of_testbed() -> tuple[float, float, float]:
    """Operations of one image: forward; backward to the input alone; backward to the weights, too."""
    data = {"shape": (3, 32, 32), "classes": 10, "mean": torch.zeros(3), "std": torch.ones(3)}
    model = build_model(ModelConfig(name="preactresnet18", width=16), seed=0, **data).eval()
    x = torch.rand(1, 3, 32, 32)
    forward = counted_flops(lambda: model(x))
    full = counted_flops(lambda: model(x).sum().backward()) - forward
    model.requires_grad_(False)
    leaf = x.clone().requires_grad_()
    return forward, counted_flops(lambda: model(leaf).sum().backward()) - forward, full


def _sources(results: Results) -> Iterator[str]:
    for file in results.used.values():
        machine, version = file["hardware"], file["versions"]["torch"]
        threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
        yield f"- {file['date']}, {machine['gpu'] or machine['cpu']}, {threads}, torch {version}: `{file['command']}`"


if __name__ == "__main__":
    sys.exit(main())
