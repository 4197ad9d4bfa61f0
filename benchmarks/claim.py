"""IAAT and other rules against uniform radii on all of CIFAR-10, from the results of runs that are kept.

    python benchmarks/claim.py [--runs FOLDER] [--out FILE]

Reads CELL-seedN.results.json and records.parquet (suite quick), CELL-seedN.autoattack.results.json (AutoAttack) and
CELL-seedN.curve.results.json (suite pgd+curve). Writes docs/results/cifar10/claim.md and, with the screening of all
runs, claim.png. Nothing is trained or evaluated here.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _measure import CONSOLE
from numpy.typing import NDArray

from iaat.analysis.charts.tradeoff import TradeoffPoint, draw_tradeoff
from iaat.analysis.style import SCREEN
from iaat.corruptions.cifar_classes import CIFAR10
from iaat.evaluate.results import read_results
from iaat.evaluate.sample_records import read_records
from iaat.runtime.text import markdown_table
from iaat.statistics import mcnemar_two_sided, spread

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "docs/results/cifar10/runs"
PAGE = ROOT / "docs/results/cifar10/claim.md"

CLAIMS = {"iaat": ("uniform-3px", "uniform-4px"), "iaat-rests-70": ("uniform-2px", "uniform-3px")}
"""Recipes, and the two uniform radii that each is compared with: those around its clean accuracy."""
UNIFORM = "uniform-"
_BY_CLASS = ("iaat", *CLAIMS["iaat"])
"""Cells that the table of classes compares: the first with a mix of the other two."""

ATTACKS = {"screening": "results.json", "autoattack": "autoattack.results.json"}
TITLES = {"screening": "screening", "autoattack": "AutoAttack"}
SHOWN_PX = (2, 4, 6, 8, 12, 16)
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
    draw(read_outcomes(options.runs, "screening"), picture := options.out.with_suffix(".png"))
    CONSOLE.print(text, highlight=False, markup=False, soft_wrap=True)
    CONSOLE.print(f"written: {options.out}, {picture}", highlight=False, soft_wrap=True)


def page(runs: Path) -> str:
    """The page, as Markdown."""
    found = {attack: read_outcomes(runs, attack) for attack in ATTACKS}
    tables = {
        "accuracies": _accuracy_rows(found),
        "distances": _distance_rows(found),
        "above_curve": _curve_rows(found),
        "radii": _radius_rows(runs),
        "classes": _class_rows(runs, found["screening"]),
        "pairs": _pair_rows(runs, found),
    }
    scatter = "; ".join(
        f"Under {TITLES[attack]}: {curve}" for attack in ATTACKS if (curve := fitted_curve(found[attack]))
    )
    return _PAGE.format(**{name: markdown_table(rows) for name, rows in tables.items()}, scatter=scatter)


_PAGE = """\
# IAAT and other rules against uniform radii

Written by `python benchmarks/claim.py` from the results in [runs/](runs); do not edit. Accuracies in %: clean of 10,000
test images; robust at 8px of the first images of the seeded order, as many as the heading says.

## Accuracies

{accuracies}

## Above the line of two uniform radii

The line goes through two uniform runs of the same seed, of the radii around the recipe's clean accuracy: how much more
clean accuracy the recipe has at its robust accuracy, and how much more robust accuracy at its clean accuracy, in
points. Interval: 95 % t-interval of the mean over seeds. Seeds from 10 on are fresh: nothing was chosen by them. A line
lies below a curve that bends, so the distance to the curve itself is smaller.

{distances}

## Above the curve of all uniform runs

Robust accuracy above the parabola of least squares through all uniform runs of all seeds, at the same clean accuracy,
in points; empty outside of them. How far these runs themselves scatter about it says how much of that is chance.
{scatter}.

{above_curve}

## At other radii

Accuracy under screening within each radius, on the first images of the seeded order; expected robustness is the mean
over the radii 0 to 16px.

{radii}

## By class

Accuracy of each class, clean and under screening, on the images that are attacked: means over the seeds of IAAT and of
uniform 3 and 4px, and how much more IAAT has than the mix of the two that has its clean accuracy of all test images.

{classes}

## On the same images

Robust images that only one of two runs of a seed has; two-sided exact McNemar test.

{pairs}
"""


def draw(outcomes: Outcomes, file: Path) -> None:
    """Draw clean against robust accuracy of each run, the means of the uniform radii joined."""
    points = [TradeoffPoint(cell, each.clean / 100, each.robust / 100) for (cell, _), each in outcomes.items()]
    joined = sorted({point.label for point in points if point.label.startswith(UNIFORM)})
    notes = ["robust: screening at 8px; faint: single runs"]
    SCREEN.save(draw_tradeoff(points, style=SCREEN, joined=joined, notes=notes), file)


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


def distances(outcomes: Outcomes, recipe: str, line: tuple[str, str]) -> dict[int, tuple[float, float]]:
    """Distance of a recipe from the line of its own seed, for each seed that has all three runs."""
    cells = (recipe, *line)
    seeds = sorted({seed for _, seed in outcomes})
    whole = [seed for seed in seeds if all((cell, seed) in outcomes for cell in cells)]
    return {seed: above_line(*(outcomes[cell, seed] for cell in cells)) for seed in whole}


class Curve(NamedTuple):
    """Robust accuracy by clean accuracy, `a x^2 + b x + c`, of uniform radii.

    Attributes:
        coefficients: a, b, c.
        sd: Standard deviation of the runs about it, in points of robust accuracy.
        ends: Smallest and largest clean accuracy.
        runs: How many it goes through.
    """

    coefficients: tuple[float, ...]
    sd: float
    ends: tuple[float, float]
    runs: int

    def __str__(self) -> str:
        return f"{self.runs} runs, standard deviation {self.sd:.2f} points"

    def above(self, point: Outcome) -> float | None:
        """Robust accuracy of a point above the curve; None outside of it."""
        low, high = self.ends
        return point.robust - float(np.polyval(self.coefficients, point.clean)) if low <= point.clean <= high else None


def fitted_curve(outcomes: Outcomes) -> Curve | None:
    """The parabola of least squares through the uniform runs; None with fewer than three radii or five runs."""
    uniform = {key: each for key, each in outcomes.items() if key[0].startswith(UNIFORM)}
    if len({cell for cell, _ in uniform}) < 3 or len(uniform) < 5:
        return None
    clean, robust = (np.array(values) for values in list(zip(*uniform.values(), strict=True))[:2])
    coefficients = np.polyfit(clean, robust, 2)
    left = robust - np.polyval(coefficients, clean)
    sd = float(np.sqrt((left**2).sum() / (len(left) - 3)))
    return Curve(tuple(map(float, coefficients)), sd, (float(clean.min()), float(clean.max())), len(uniform))


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


def _radius_rows(runs: Path) -> Iterator[Sequence[str]]:
    yield ["run", "seed", "images", "clean", *(f"{px}px" for px in SHOWN_PX), "expected robustness"]
    for path in sorted(runs.glob("*.curve.results.json")):
        match, result = re.fullmatch(r"(.+)-seed(\d+)\.curve\.results\.json", path.name), read_results(path)
        assert match is not None
        assert result.curve is not None, f"{path}: evaluated without the curve"
        within = {
            round(255 * radius): accuracy
            for radius, accuracy in zip(result.curve.radius, result.curve.accuracy, strict=True)
        }
        values = [within[0], *(within[each] for each in SHOWN_PX), result.curve.expected_robustness]
        yield [match[1], match[2], f"{result.n:,}", *(f"{100 * value:.1f}" for value in values)]


def _class_rows(runs: Path, outcomes: Outcomes) -> Iterator[Sequence[str]]:
    """Clean and robust accuracy of the classes, those first that IAAT favours most in robust accuracy."""
    yield ["class", *(f"{cell}, {kind}" for kind in ("clean", "robust") for cell in _BY_CLASS), "clean +", "robust +"]
    seeds = list(distances(outcomes, _BY_CLASS[0], _BY_CLASS[1:]))
    if not seeds:
        return
    values = np.array([_class_accuracies(runs, seed) for seed in seeds])  # [seed, cell, class, clean or robust]
    shares = [_share(*(outcomes[cell, seed].clean for cell in _BY_CLASS)) for seed in seeds]
    mixed = np.array([share * own[1] + (1 - share) * own[2] for share, own in zip(shares, values, strict=True)])
    mean, more = values.mean(axis=0), (values[:, 0] - mixed).mean(axis=0)
    for place in np.argsort(-more[:, 1]):
        cells = [f"{mean[cell, place, kind]:.1f}" for kind in (0, 1) for cell in range(len(_BY_CLASS))]
        yield [CIFAR10[place], *cells, *(f"{value:+.1f}" for value in more[place])]


def _share(wanted: float, first: float, second: float) -> float:
    """The share of the first in a mix of two that has the clean accuracy that is wanted."""
    return (wanted - second) / (first - second)


def _class_accuracies(runs: Path, seed: int) -> NDArray[np.float64]:
    """Accuracies in % `[cell, class, 2]`, clean and robust, of the runs of one seed."""
    results = [read_results(runs / f"{cell}-seed{seed}.{ATTACKS['screening']}") for cell in _BY_CLASS]
    found = [{each.name: (each.clean, each.worst) for each in result.per_class} for result in results]
    return 100 * np.array([[by_name[name] for name in CIFAR10] for by_name in found])


def _distance_rows(found: Mapping[str, Outcomes]) -> Iterator[Sequence[str]]:
    figures = [title for kind in ("clean", "robust") for title in (f"{kind}, each seed", "mean, interval")]
    yield ["recipe", "line", "attack", "seeds", *figures]
    for recipe, line in CLAIMS.items():
        for attack, outcomes in found.items():
            above = distances(outcomes, recipe, line)
            for name, seeds in _seed_groups(above).items():
                columns = zip(*(above[seed] for seed in seeds), strict=True)
                figures = [cell for values in columns for cell in (_each(values), _mean(values))]
                yield [recipe, " ".join(line), TITLES[attack], name, *figures]


def _seed_groups(seeds: Iterable[int]) -> dict[str, list[int]]:
    """Seeds that were looked at, fresh ones, and all, by what the page calls them; only groups that have a seed."""
    looked_at, fresh = ([seed for seed in seeds if (seed >= FRESH) is new] for new in (False, True))
    groups = {"": looked_at, "fresh: ": fresh, "all: ": [*looked_at, *fresh] if looked_at and fresh else []}
    return {f"{name}{_numbers(group)}": group for name, group in groups.items() if group}


def _numbers(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, seeds))


def _each(values: Sequence[float]) -> str:
    return ", ".join(f"{each:+.1f}" for each in values)


def _mean(values: Sequence[float]) -> str:
    over = spread(values)
    interval = "" if over.interval is None else f" ({over.interval[0]:+.2f} to {over.interval[1]:+.2f})"
    return f"{over.mean:+.2f}{interval}"


def _curve_rows(found: Mapping[str, Outcomes]) -> Iterator[Sequence[str]]:
    yield ["attack", "run", "seeds", "each seed", "mean, interval"]
    for attack, outcomes in found.items():
        if (curve := fitted_curve(outcomes)) is None:
            continue
        for cell in sorted({cell for cell, _ in outcomes if not cell.startswith(UNIFORM)}):
            known = {seed: curve.above(point) for (each, seed), point in sorted(outcomes.items()) if each == cell}
            inside = {seed: value for seed, value in known.items() if value is not None}
            shown = list(inside.values())
            yield [TITLES[attack], cell, _numbers(inside or known), _each(shown), _mean(shown) if shown else ""]


def _pair_rows(runs: Path, found: Mapping[str, Outcomes]) -> Iterator[Sequence[str]]:
    yield ["attack", "recipe", "seed", "against", "only the recipe", "only the other", "difference, points", "p"]
    for attack, outcomes in found.items():
        for recipe, line in CLAIMS.items():
            for seed in sorted({seed for cell, seed in outcomes if cell == recipe}):
                for other in (cell for cell in line if (cell, seed) in outcomes):
                    figures = _pair(*(_robust(runs, cell, seed, attack) for cell in (recipe, other)))
                    yield [TITLES[attack], recipe, str(seed), other, *figures]


def _pair(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> list[str]:
    gained, lost = int((first & ~second).sum()), int((second & ~first).sum())
    points = 100 * (gained - lost) / len(first)
    return [str(gained), str(lost), f"{points:+.1f}", f"{mcnemar_two_sided(gained, lost):.1g}"]


def _robust(runs: Path, cell: str, seed: int, attack: str) -> NDArray[np.bool_]:
    """Whether each image is robust; the images are the same ones in all runs."""
    kind = ATTACKS[attack].replace("results.json", "records.parquet")
    records = read_records(runs / f"{cell}-seed{seed}.{kind}", CIFAR10)
    return records.is_robust


if __name__ == "__main__":
    sys.exit(main())
