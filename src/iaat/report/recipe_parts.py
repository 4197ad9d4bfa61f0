"""Runs of a report by recipe: those that differ in their seeds alone are one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from iaat.analysis.style import series_numbers
from iaat.report.report_content import ReportContent, RunPart
from iaat.report.result_content import RecipePart
from iaat.statistics import known_mean

_UNIFORM = "pgd_at"
"""The method of one radius for all images."""

METHOD_TITLES = {
    "natural": "natural training",
    "pgd_at": "PGD-AT",
    "nfgsm": "N-FGSM",
    "trades": "TRADES",
    "mart": "MART",
    "fat": "FAT",
    "mma": "MMA",
    "cat": "CAT",
    "vpb": "VPB",
    "gradnorm": "GradNorm",
    "iaat": "IAAT",
    "iaat_paper": "IAAT (paper's rule)",
    "iaat_trades": "IAAT-TRADES",
}
"""Methods as sentences call them."""

DATASET_TITLES = {
    **{"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "svhn": "SVHN", "mnist": "MNIST", "digits": "digits"},
    **{"folder": "a folder of images", "webdataset": "shards of images"},
}
"""Data sets as sentences call them."""


def recipe_parts(runs: Sequence[RunPart], differences: Sequence[tuple[str, list[str]]]) -> list[RecipePart]:
    """Return the recipes of the runs, in their order.

    Args:
        runs: The runs.
        differences: Settings in which they differ, as of `ReportContent`.
    """
    groups: dict[Any, list[int]] = {}
    seen: Counter[Any] = Counter()
    for place, run in enumerate(runs):
        key = (name_without_seed(run), run.method, tuple(values[place] for key, values in differences if key != "seed"))
        seen[key, run.seed] += 1  # the same seed again is no further seed of the recipe
        groups.setdefault((*key, seen[key, run.seed]), []).append(place)
    names = Counter(name for name, *_ in groups)
    methods = [method for _, method, *_ in groups]
    parts = []
    for number, ((name, method, *_), places) in enumerate(groups.items()):
        unique = name if names[name] == 1 else runs[places[0]].name
        is_control = runs[places[0]].given_radii
        parts.append(
            RecipePart(
                name=unique,
                title=method_title(method) if methods.count(method) == 1 and not is_control else unique,
                method=method,
                uniform=method == _UNIFORM and not is_control,
                series=series_numbers(methods)[number],
                runs=places,
                forwards=known_mean([runs[place].forwards for place in places]),
                backwards=known_mean([runs[place].backwards for place in places]),
                seconds=known_mean([runs[place].seconds for place in places]),
            )
        )
    return parts


def name_without_seed(run: RunPart) -> str:
    """Return the name of a run without its seed."""
    return run.name.partition(f" seed {run.seed}")[0] or run.name


def method_title(method: str) -> str:
    """Return a method as sentences call it; one of the user's by its class."""
    return METHOD_TITLES.get(method, method.rpartition(":")[2])


def dataset_title(name: str) -> str:
    """Return the data as sentences call them; those of a user's function by its name."""
    return DATASET_TITLES.get(name, name.rpartition(":")[2])


def recipe_of_runs(content: ReportContent) -> dict[int, RecipePart]:
    """Return the recipe of each run, by the place of the run."""
    return {place: recipe for recipe in content.recipes for place in recipe.runs}
