"""IAAT against the line between two uniform radii of the same seed, from the results of runs that are kept.

    python benchmarks/claim.py [--runs FOLDER] [--out FILE]

Reads CELL-seedN.results.json and records.parquet (suite quick) and CELL-seedN.autoattack.results.json (AutoAttack) and
writes docs/results/cifar10/claim.md. Nothing is trained or evaluated here.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _measure import CONSOLE
from _rows import markdown_table
from numpy.typing import NDArray

from iaat.analysis.uniform_curve import Point, above_curve
from iaat.corruptions.cifar_classes import CIFAR10
from iaat.evaluate.results import read_results
from iaat.evaluate.sample_records import read_records
from iaat.statistics import mcnemar_two_sided, spread

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "docs/results/cifar10/runs"
PAGE = ROOT / "docs/results/cifar10/claim.md"

RECIPE, LINE = "iaat", ("uniform-3px", "uniform-4px")
ATTACKS = {"screening": "results.json", "autoattack": "autoattack.results.json"}
TITLES = {"screening": "screening", "autoattack": "AutoAttack"}
FRESH = 10
"""Seeds from here on: no choice was made on them."""


class Outcome(NamedTuple):
    """One run under one attack, in percent."""

    clean: float
    robust: float
    samples: int


Outcomes = Mapping[tuple[str, int], Outcome]
"""By cell and seed."""


def main() -> None:
    """Write the page, and print it."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--runs", type=Path, default=RUNS, help="folder of the results (default %(default)s)")
    made.add_argument("--out", type=Path, default=PAGE, help="the page (default %(default)s)")
    options = made.parse_args()
    text = page(options.runs)
    options.out.write_text(text, encoding="utf-8")
    CONSOLE.print(text, highlight=False, markup=False, soft_wrap=True)
    CONSOLE.print(f"written: {options.out}", highlight=False, soft_wrap=True)


def page(runs: Path) -> str:
    """The page, as Markdown."""
    found = {attack: read_outcomes(runs, attack) for attack in ATTACKS}
    tables = {
        "accuracies": _accuracy_rows(found),
        "distances": _distance_rows(found),
        "others": _other_rows(found),
        "pairs": _pair_rows(runs, found),
    }
    return _PAGE.format(**{name: markdown_table(rows) for name, rows in tables.items()})


_PAGE = """\
# IAAT and the line between uniform 3 and 4px

Written by `python benchmarks/claim.py` from the results in [runs/](runs); do not edit. Accuracies in %: clean of 10,000
test images; robust at 8px of the first images of the seeded order, as many as the heading says.

## Accuracies

{accuracies}

## Above the line

The line goes through uniform 3 and 4px of the same seed: how much more clean accuracy IAAT has at its robust accuracy,
and how much more robust accuracy at its clean accuracy, in points. Interval: 95 % t-interval of the mean over seeds.
Seeds from 10 on are fresh: nothing was chosen by them. A chord lies below a curve that bends, so the distance to the
curve itself is smaller.

{distances}

## Other rules

Robust accuracy above the curve of the uniform radii of the same seed, at the same clean accuracy: straight lines
between the radii that were run; empty outside of them.

{others}

## On the same images

Robust images that only one of two runs of a seed has; two-sided exact McNemar test.

{pairs}
"""


def read_outcomes(runs: Path, attack: str) -> dict[tuple[str, int], Outcome]:
    """What is known of each cell and seed under one attack."""
    found = {}
    for path in sorted(runs.glob(f"*.{ATTACKS[attack]}")):
        match = re.fullmatch(rf"(.+)-seed(\d+)\.{re.escape(ATTACKS[attack])}", path.name)
        if match is None or match[1].endswith(".autoattack"):
            continue
        result = read_results(path)
        assert result.clean_all is not None, f"{path}: evaluated without the clean accuracy of all test images"
        robust = result.accuracy[attack]
        found[match[1], int(match[2])] = Outcome(100 * result.clean_all.accuracy, 100 * robust, result.n)
    return found


def above_line(point: Outcome, first: Outcome, second: Outcome) -> tuple[float, float]:
    """Distance of a point from the line through two others: in clean accuracy and, at its clean accuracy, in robust."""
    slope = (second.robust - first.robust) / (second.clean - first.clean)
    robust = point.robust - (first.robust + slope * (point.clean - first.clean))
    return point.clean - (first.clean + (point.robust - first.robust) / slope), robust


def distances(outcomes: Outcomes) -> dict[int, tuple[float, float]]:
    """Distance of IAAT from the line of its own seed, for each seed that has all three runs."""
    cells = (RECIPE, *LINE)
    seeds = sorted({seed for _, seed in outcomes})
    whole = [seed for seed in seeds if all((cell, seed) in outcomes for cell in cells)]
    return {seed: above_line(*(outcomes[cell, seed] for cell in cells)) for seed in whole}


def _accuracy_rows(found: Mapping[str, Outcomes]) -> Iterator[Sequence[str]]:
    counts = {attack: {each.samples for each in outcomes.values()} for attack, outcomes in found.items()}
    shown = [
        f"{TITLES[attack]} ({', '.join(f'{n:,}' for n in sorted(counts[attack]))})"
        for attack in ATTACKS
        if counts[attack]
    ]
    yield ["run", "seed", "clean", *shown]
    keys = sorted({key for outcomes in found.values() for key in outcomes}, key=lambda key: (key[1], key[0]))
    for key in keys:
        known = [outcomes.get(key) for attack, outcomes in found.items() if counts[attack]]
        clean = next(each.clean for each in known if each is not None)
        robust = ("" if each is None else f"{each.robust:.1f}" for each in known)
        yield [key[0], str(key[1]), f"{clean:.2f}", *robust]


def _distance_rows(found: Mapping[str, Outcomes]) -> Iterator[Sequence[str]]:
    yield ["attack", "seeds", "clean, each seed", "mean, interval", "robust, each seed", "mean, interval"]
    for attack, outcomes in found.items():
        above = distances(outcomes)
        looked_at, fresh = ([seed for seed in above if (seed >= FRESH) is new] for new in (False, True))
        groups = {"": looked_at, "fresh: ": fresh, "all: ": [*looked_at, *fresh] if looked_at and fresh else []}
        for name, seeds in groups.items():
            if seeds:
                columns = zip(*(above[seed] for seed in seeds), strict=True)
                figures = (cell for values in columns for cell in (_each(values), _mean(values)))
                yield [TITLES[attack], f"{name}{', '.join(map(str, seeds))}", *figures]


def _each(values: Sequence[float]) -> str:
    return ", ".join(f"{each:+.1f}" for each in values)


def _mean(values: Sequence[float]) -> str:
    over = spread(values)
    interval = "" if over.interval is None else f" ({over.interval[0]:+.2f} to {over.interval[1]:+.2f})"
    return f"{over.mean:+.2f}{interval}"


def _other_rows(found: Mapping[str, Outcomes]) -> Iterator[Sequence[str]]:
    yield ["attack", "run", "seed", "clean", "robust", "above the curve, points"]
    for attack, outcomes in found.items():
        others = [key for key in outcomes if not key[0].startswith("uniform-") and key[0] != RECIPE]
        for cell, seed in sorted(others):
            point = outcomes[cell, seed]
            curve = [each for key, each in outcomes.items() if key[0].startswith("uniform-") and key[1] == seed]
            above = above_curve([Point(each.clean, each.robust) for each in curve], point.clean, point.robust)
            shown = "" if above is None else f"{above:+.1f}"
            yield [TITLES[attack], cell, str(seed), f"{point.clean:.2f}", f"{point.robust:.1f}", shown]


def _pair_rows(runs: Path, found: Mapping[str, Outcomes]) -> Iterator[Sequence[str]]:
    yield ["attack", "seed", "against", "only IAAT", "only the other", "difference, points", "p"]
    for attack, outcomes in found.items():
        for seed in sorted({seed for cell, seed in outcomes if cell == RECIPE}):
            for other in (cell for cell in LINE if (cell, seed) in outcomes):
                first, second = (_robust(runs, cell, seed, attack) for cell in (RECIPE, other))
                gained, lost = int((first & ~second).sum()), int((second & ~first).sum())
                p_value = mcnemar_two_sided(gained, lost)
                points = 100 * (gained - lost) / len(first)
                yield [TITLES[attack], str(seed), other, str(gained), str(lost), f"{points:+.1f}", f"{p_value:.1g}"]


def _robust(runs: Path, cell: str, seed: int, attack: str) -> NDArray[np.bool_]:
    """Whether each image is robust; the images are the same ones in all runs."""
    kind = ATTACKS[attack].replace("results.json", "records.parquet")
    records = read_records(runs / f"{cell}-seed{seed}.{kind}", CIFAR10)
    return records.is_robust


if __name__ == "__main__":
    sys.exit(main())
