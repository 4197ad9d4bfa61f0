"""The first sentences of a report: price, gain, cost, whether the figures may be quoted, and what to do next."""

from __future__ import annotations

from statistics import mean

from iaat.evaluate.masking.case import percent
from iaat.evaluate.mean_accuracy import MeanAccuracy
from iaat.report.commands import evaluation_command, training_command
from iaat.report.pooled_results import has_autoattack, row_of, shared_seeds
from iaat.report.quotation import FEW_SEEDS, quotation
from iaat.report.report_content import ReportContent, RunPart
from iaat.report.result_content import Answer, NextStep, Opening, Pooled, RecipePart
from iaat.runtime.text import counted
from iaat.statistics import Difference, wilson_interval

MOST_STEPS = 3
"""Next steps at most."""


def report_title(content: ReportContent) -> str:
    """Return the title of a report: methods, data, how many runs and seeds.

    Example: `IAAT against PGD-AT on digits: 6 runs, 2 seeds`.
    """
    recipes, runs = content.recipes, content.runs
    where = f" on {content.dataset}" if content.dataset else ""
    if not recipes:
        return f"No runs{where}"
    focus = recipes[focus_of(content)]
    others = [recipe.title for recipe in recipes if recipe is not focus]
    # The baseline is named; the others are counted.
    first = next((recipe.title for recipe in recipes if recipe.uniform and recipe is not focus), None)
    named = first or (others[0] if others else None)
    against = "" if named is None else f" against {named}"
    more = f" and {counted(len(others) - 1, 'other')}" if len(others) > 2 else ""
    seeds = len({run.seed for run in runs})
    what = f"seed {runs[0].seed}" if len(runs) == 1 else f"{counted(len(runs), 'run')}, {counted(seeds, 'seed')}"
    return f"{_capital(focus.title)}{against}{more}{where}: {what}"


def focus_of(content: ReportContent) -> int:
    """Return the recipe a report is about: the first with a radius for each image, else the first that is no baseline.

    With baselines alone it is the first of one radius for all images, and else the first recipe.
    """
    with_radii = {part.run for part in content.radii} | {
        place for place, run in enumerate(content.runs) if run.quantiles
    }
    choices = [
        [number for number, recipe in enumerate(content.recipes) if with_radii & set(recipe.runs)],
        [number for number, recipe in enumerate(content.recipes) if not recipe.uniform and recipe.method != "natural"],
        [number for number, recipe in enumerate(content.recipes) if recipe.uniform],
    ]
    return next((found[0] for found in choices if found), 0)


def opening_of(content: ReportContent) -> Opening | None:
    """Return what a report says first, from its pooled results; None without runs."""
    if not content.recipes:
        return None
    focus = focus_of(content)
    row = focus_row(content)
    if row is None:
        steps = _steps(content, focus, None, quoted=None)
        return Opening(focus, None, [_not_evaluated(content, focus)], steps)
    answers = [_price(content, row), _gain(content, row), quotation(content, row)]
    return Opening(focus, row.against, answers, _steps(content, focus, row, quoted=answers[-1].command))


def focus_row(content: ReportContent) -> Pooled | None:
    """Return the pooled evaluations that the opening is about; None where the recipe in focus has none.

    AutoAttack before any other suite, one that has a recipe to compare with before one that has none.
    """
    own = [row for row in content.pooled if row.recipe == focus_of(content)]

    def rank(row: Pooled) -> tuple[bool, bool, int]:
        return row.against is not None, has_autoattack(row.attacks), row.n

    return max(own, key=rank, default=None)


def _not_evaluated(content: ReportContent, focus: int) -> Answer:
    sentence = f"No accuracy yet: {_subject(content.recipes[focus])} has not been evaluated."
    return Answer("quote", "open", sentence, "", evaluation_command(content, [focus], "standard"))


def _price(content: ReportContent, row: Pooled) -> Answer:
    """Clean accuracy, against the baseline and against natural training where that is among the runs."""
    other, found = _baseline(content, row), row.clean_against
    natural = _natural_price(content, row)
    value = percent(row.clean.mean)
    title = _subject(content.recipes[row.recipe])
    if other is None or found is None:
        return Answer(
            "price", "open", f"{title} classifies {value} of clean test images correctly.", _figures(row.clean)
        )
    detail = f"{other.title}: {percent(row_of(content, row, row.against).clean.mean)}; {_interval(found)}"
    tied = f"a tie with {other.title}, a tie with "
    more = "" if natural is None else f", {natural}"
    said = f"{_compared(found, other)}{more}".replace(tied, f"a tie with {other.title} and with ")
    sentence = f"Clean accuracy is {value}, {_on_shared(content, row)}{said}."
    return Answer("price", _outcome(found), sentence, detail)


def _natural_price(content: ReportContent, row: Pooled) -> str | None:
    """How far below natural training the clean accuracy is; None where that is the baseline or not there."""
    rows = [each for each in content.pooled if (each.suite, each.n) == (row.suite, row.n)]
    natural = next((each for each in rows if content.recipes[each.recipe].method == "natural"), None)
    if natural is None or natural.recipe in (row.recipe, row.against) or row.against is None:
        return None
    found = row.natural_against
    return None if found is None else _compared(found, content.recipes[natural.recipe])


def _gain(content: ReportContent, row: Pooled) -> Answer:
    other, found = _baseline(content, row), row.robust_against
    value = percent(row.robust.mean)
    if other is None or found is None:
        return Answer(
            "gain", "open", f"Robust accuracy is {value}, with nothing to compare it with.", _figures(row.robust)
        )
    cost = _cost(content, content.recipes[row.recipe], other)
    theirs = percent(row_of(content, row, row.against).robust.mean)
    detail = f"{row.worst_case}; {other.title}: {theirs}; {_interval(found)}"
    sentence = f"Robust accuracy is {value}, {_on_shared(content, row)}{_compared(found, other)}{cost}."
    return Answer("gain", _outcome(found), sentence, detail)


def _on_shared(content: ReportContent, row: Pooled) -> str:
    """Where a difference is over fewer seeds than the accuracy beside it: over which."""
    shared = shared_seeds(content, row)
    if not shared or len(shared) == len(row.evaluations) == len(row_of(content, row, row.against).evaluations):
        return ""
    return f"and on seed{'' if len(shared) == 1 else 's'} {', '.join(map(str, shared))}, which both have, "


def _cost(content: ReportContent, own: RecipePart, other: RecipePart) -> str:
    """What the training cost beside that of another recipe, in passes of all its epochs."""
    passes = [_passes(content, recipe) for recipe in (own, other)]
    if passes[0] is None or not passes[1]:
        return ""
    return f", for {passes[0] / passes[1]:.2g} times the training passes"


def _passes(content: ReportContent, recipe: RecipePart) -> float | None:
    if recipe.forwards is None or recipe.backwards is None:
        return None
    return (recipe.forwards + recipe.backwards) * mean(content.runs[place].epochs for place in recipe.runs)


def _steps(content: ReportContent, focus: int, row: Pooled | None, *, quoted: str | None) -> list[NextStep]:
    """Return the next steps, the most telling first; the command of the quotation is not repeated."""
    found = [
        _more_seeds(content, focus, row),
        _baseline_step(content, focus, row),
        _smaller_radius(content, focus),
        _suspects(content),
        _weak_class(content),
    ]
    return [step for step in found if step is not None and step.command != quoted][:MOST_STEPS]


def _more_seeds(content: ReportContent, focus: int, row: Pooled | None) -> NextStep | None:
    """Train one more seed where there are few, first one that what it is compared with has: seeds are paired."""
    seeds = len(content.recipes[focus].runs)
    if seeds >= FEW_SEEDS:
        return None
    first = content.runs[content.recipes[focus].runs[0]]
    own, theirs = (
        {content.runs[place].seed for place in recipe.runs} if recipe else set[int]()
        for recipe in (content.recipes[focus], None if row is None else _baseline(content, row))
    )
    others = {run.seed for run in content.runs}
    free = min(theirs - own, default=next(seed for seed in range(len(content.runs) + 1) if seed not in others))
    said = (
        "1 seed shows no spread" if seeds == 1 else "The interval of 2 seeds reaches 9 standard deviations to each side"
    )
    command = training_command(content, first, {"seed": free, "out": _renamed(first.folder, free)})
    return NextStep(f"{said}: train one more.", command)


def _renamed(folder: str, seed: int) -> str:
    stem, mark, number = folder.rpartition("-seed")
    return f"{stem}{mark}{seed}" if mark and number.isdigit() else f"{folder}-seed{seed}"


def _baseline_step(content: ReportContent, focus: int, row: Pooled | None) -> NextStep | None:
    """Train the same recipe with one radius for all images, where no run has that."""
    if any(recipe.uniform for recipe in content.recipes):
        return None
    first = content.runs[content.recipes[focus].runs[0]]
    settings = {"method": "pgd_at", **_radius_of_evaluation(content, first, row)}
    if first.given_radii:
        settings |= {"method.radii": "null", "method.shuffle_radii": "false"}
    if first.softens_by_radius:  # which one radius for all has no use for
        settings |= {"method.soft_by_radius": "false"}
    command = training_command(content, first, {**settings, "out": f"{first.folder}-pgd-at"})
    return NextStep("Nothing is compared with one radius for all images: train PGD-AT beside it.", command)


def _radius_of_evaluation(content: ReportContent, run: RunPart, row: Pooled | None) -> dict[str, str]:
    """Return the settings by which a run is trained at the radius of its evaluation, where its method has none."""
    if run.evaluated_at is None:
        return {}
    evaluation = None if row is None else content.evaluations[row.evaluations[0]]
    found = run.evaluated_at if evaluation is None else (evaluation.radius, evaluation.norm)
    sections = ("method",) if found == run.evaluated_at else ("method", "evaluate")
    return {
        f"{section}.{key}": value for section in sections for key, value in zip(("radius", "norm"), found, strict=True)
    }


def _smaller_radius(content: ReportContent, focus: int) -> NextStep | None:
    """Train PGD-AT at the mean radius, where only one uniform radius is among the runs."""
    norm = content.runs[content.recipes[focus].runs[0]].norm
    alike = [recipe for recipe in content.recipes if content.runs[recipe.runs[0]].norm == norm]
    uniform = [recipe for recipe in alike if recipe.uniform]
    means = [found for place in content.recipes[focus].runs if (found := _mean_radius(content, place)) is not None]
    if len(uniform) != 1 or not means or content.recipes[focus].uniform:
        return None
    length, first = f"{mean(means):.3g}", content.runs[uniform[0].runs[0]]
    radius, said = (f"{length}px", f"{length} px") if norm == "linf" else (length, length)
    command = training_command(content, first, {"method.radius": radius, "out": f"{first.folder}-{radius}"})
    sentence = f"The mean radius is {said}: train PGD-AT at it, to see what comes from a radius for each image."
    return NextStep(sentence, command)


def _mean_radius(content: ReportContent, place: int) -> float | None:
    """Return the mean radius of a run's attacks, where it learns radii; with `method.spread` its memory has others."""
    curves = content.runs[place].curves
    learned, trained = (
        [value for value in curves.get(name, ()) if value is not None] for name in ("radius_mean", "trained_radius")
    )
    known = (trained or learned) if learned else []
    return known[-1] if known and known[-1] > 0 else None


def _suspects(content: ReportContent) -> NextStep | None:
    gallery = content.gallery
    count = 0 if gallery is None else gallery.kind.count("label")
    if gallery is None or not count:
        return None
    run = content.runs[gallery.run]
    file = "both.csv" if gallery.relabel else "relabel.csv"
    command = training_command(content, run, {"data.relabel": file, "out": f"{run.folder}-relabelled"})
    errors = "1 label on this page may be an error" if count == 1 else f"{count} labels on this page may be errors"
    # The new table alone would take back the corrections that the run was trained on, and the run needs their file.
    then = f"put its rows below those of {gallery.relabel} in a new file, {file}" if gallery.relabel else "train on it"
    return NextStep(f"{errors}: review them under Suspects, save relabel.csv, and {then}.", command)


def _weak_class(content: ReportContent) -> NextStep | None:
    """Name the least robust class, where that is surely below the mean of all: the interval allows for all classes."""
    found = content.under_attack
    results = found.results[0] if found is not None and found.results else None
    if found is None or results is None or len(results.classes) < 2:
        return None
    overall = sum(each.robust * each.n for each in results.classes) / sum(each.n for each in results.classes)
    worst = min(results.classes, key=lambda each: each.robust)
    if wilson_interval(worst.robust, worst.n, tests=len(results.classes))[1] >= overall:
        return None
    first = content.runs[content.recipes[results.recipe].runs[0]]
    if first.weighs_classes:
        return None
    name = content.classes[worst.label] if worst.label < len(content.classes) else str(worst.label)
    weights = [2 if each == worst.label else 1 for each in range(len(content.classes))]
    command = training_command(content, first, {"method.class_weights": weights, "out": f"{first.folder}-weighted"})
    return NextStep(
        f"Class {name} is the weakest under attack, {percent(worst.robust)} against {percent(overall)} of all: "
        "give it more weight.",
        command,
    )


def _baseline(content: ReportContent, row: Pooled) -> RecipePart | None:
    return None if row.against is None else content.recipes[row.against]


def _outcome(found: Difference) -> str:
    if not found.holds:
        return "tie"
    return "better" if found.mean > 0 else "worse"


def _compared(found: Difference, other: RecipePart) -> str:
    if not found.holds:
        return f"a tie with {other.title}"
    return f"{abs(100 * found.mean):.1f} points {'above' if found.mean > 0 else 'below'} {other.title}"


def _interval(found: Difference) -> str:
    low, high = found.interval
    ends = f"95 % interval {signed_points(low)} to {signed_points(high)}"
    return f"difference {signed_points(found.mean)} points, {ends} ({found.by})"


def _figures(value: MeanAccuracy) -> str:
    low, high = value.interval95
    return f"95 % interval {100 * low:.1f} to {100 * high:.1f} %"


def signed_points(fraction: float) -> str:
    """A difference of accuracies in points, such as `+12.3`, with the sign that minus has in print."""
    return f"{100 * fraction:+.1f}".replace("-", "\N{MINUS SIGN}")


def _subject(recipe: RecipePart) -> str:
    return _capital(recipe.title)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
