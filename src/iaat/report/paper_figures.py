"""Charts of a report as files for a paper: PNG of 300 dpi, and PDF and SVG in which text stays text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import TypeVar

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from iaat.analysis import charts
from iaat.analysis.charts import TradeoffPoint
from iaat.analysis.radius_summary import RadiusHistograms
from iaat.analysis.style import FIGURE_FORMATS, INK, MUTED, PALETTE, PRINT
from iaat.corruptions.mce import corruption_mean
from iaat.errors import UserError, check_choice
from iaat.report.evaluation_groups import EvaluationGroup, Measured, curves_by_axis, evaluation_groups
from iaat.report.image_content import Gallery, SurfacePart
from iaat.report.pooled_results import with_pooled_results
from iaat.report.recipe_parts import recipe_of_runs
from iaat.report.report_content import ReportContent, RunPart
from iaat.report.result_content import EvaluationRow, Pooled, RecipePart
from iaat.report.thumbnails import picture_of
from iaat.report.uniform_recipes import recipe_labels, uniform_recipes

_EXTREMES = 10
"""Images of the smallest radii in the figure, and of the largest."""

_SUSPECTS = 20
"""Suspects in the figure, the most suspect first."""

Item = TypeVar("Item")
Normed = TypeVar("Normed", RadiusHistograms, RunPart, charts.TrainingRun)

_CHECKPOINTS = ("best", "last")
_PER_PAGE = 6
_MAPS_PER_PAGE = 4
_FEW_CLASSES = 20


def write_figures(content: ReportContent, folder: Path, formats: Sequence[str] = ("png", "pdf", "svg")) -> list[Path]:
    """Write each chart that has data; files of the same names are replaced, others stay.

    Every file appears whole or not at all, and equal content gives equal bytes where versions of matplotlib and fonts
    are equal. A chart of more panels than a page holds goes on in `NAME-2`, `NAME-3` and so on.

    Args:
        content: What the report shows.
        folder: Made where it is missing.
        formats: `png`, `pdf` and `svg`, or some of them.

    Returns:
        The files, chart by chart.

    Raises:
        UserError: an unknown format, or the folder cannot be written.
    """
    for name in formats:
        check_choice(name, FIGURE_FORMATS, "figure format")
    # Before anything is drawn, because drawing takes seconds.
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write figures to {folder}: {error.strerror or error}; choose another folder"
        ) from error
    files = []
    for name, figure in draw_figures(content).items():
        for kind in dict.fromkeys(formats):
            files.append(folder / f"{name}.{kind}")
            PRINT.save(figure, files[-1])
    return files


def draw_figures(content: ReportContent) -> dict[str, Figure]:
    """Draw the charts that have data; return them by their names, such as `tradeoff`."""
    content = content if content.recipes else with_pooled_results(content)
    return {
        name if page == 0 else f"{name}-{page + 1}": figure
        for name, draw in _CHARTS.items()
        for page, figure in enumerate(draw(content))
    }


def _tradeoff(content: ReportContent) -> Iterator[Figure]:
    """Draw a chart for each suite of attacks, that of most recipes first."""
    suites: dict[tuple[str, int], list[Pooled]] = {}
    for row in content.pooled:
        if row.attacks:
            suites.setdefault((row.suite, row.n), []).append(row)
    for (suite, _), rows in suites.items():
        labels = recipe_labels(content, rows)
        points = [
            _tradeoff_point(content.recipes[row.recipe], labels[row.recipe], content.evaluations[place])
            for row in rows
            for place in row.evaluations
        ]
        curve = [labels[row.recipe] for row in uniform_recipes(content, rows)]
        corners = [labels[row.recipe] for row in sorted(rows, key=lambda row: -row.clean.mean) if row.on_frontier]
        worst = sorted({f"robust: {row.worst_case}" for row in rows})
        kinds = sorted(
            {f"{row.checkpoint} checkpoint" + (f", {row.weights} weights" if row.weights else "") for row in rows}
        )
        notes = ["; ".join(worst), f"{suite}; {'; '.join(kinds)}"]
        yield charts.draw_tradeoff(points, style=PRINT, joined=curve, frontier=corners, notes=notes)


def _tradeoff_point(recipe: RecipePart, label: str, row: EvaluationRow) -> TradeoffPoint:
    return TradeoffPoint(
        label,
        row.clean,
        row.robust,
        number=recipe.series,
        clean_interval=row.interval95.get("clean"),
        robust_interval=row.interval95.get(list(row.attacks)[-1]),
    )


def _accuracy(content: ReportContent) -> Iterator[Figure]:
    """Draw a chart for each axis of radii: means over others do not compare."""
    axes = curves_by_axis(content.curves)
    for curves in axes:
        both = len({part.checkpoint for part in curves}) > 1
        lines: list[charts.Line] = []
        for group in evaluation_groups(content, curves):
            mean = float(np.mean([100 * part.expected for part in group.members]))
            name = f"{_named(group)} ({mean:.1f} %)"
            hollow = both and group.members[0].checkpoint != _CHECKPOINTS[0]
            lines.extend(
                charts.Line(name, group.recipe.series, part.radius, part.accuracy, hollow) for part in group.members
            )
        radii = f"the radii, n = {curves[0].n}" if len(axes) > 1 else "the radii"
        note = f"in parentheses: mean over {radii}"
        yield charts.draw_accuracy_by_radius(lines, note, style=PRINT, norm=curves[0].norm)


def _named(group: EvaluationGroup[Measured]) -> str:
    """Return the recipe, and what tells the group from others of it."""
    return f"{group.recipe.name}, {group.names}" if group.names else group.recipe.name


def _radii_by_epoch(content: ReportContent) -> Iterator[Figure]:
    parts = []
    for part in content.radii:
        run = content.runs[part.run]
        medians = dict(enumerate(run.quantiles.get("50", ()), start=1))
        known = [medians.get(epoch) for epoch in part.epochs]
        if part.epochs:
            parts.append(RadiusHistograms(run.name, part.epochs, part.edges, part.counts, known, run.norm))
    yield from map(partial(charts.draw_radius_histograms, style=PRINT), _pages_by_norm(parts, _PER_PAGE))


def _radii_by_class(content: ReportContent) -> Iterator[Figure]:
    parts = {
        part.run: part.by_class for part in content.radii if any(quantiles is not None for quantiles in part.by_class)
    }
    per_page = _PER_PAGE if len(content.classes) <= _FEW_CLASSES else _PER_PAGE // 2
    for runs in _pages_by_norm([content.runs[place] for place in parts], per_page):
        quantiles = {run.name: parts[content.runs.index(run)] for run in runs}
        yield charts.draw_class_radii(quantiles, content.classes, style=PRINT, norm=runs[0].norm)


def _bands(content: ReportContent) -> Iterator[Figure]:
    runs = [
        _training_run(run, run.name) for run in content.runs if any(_known(series) for series in run.quantiles.values())
    ]
    yield from map(partial(charts.draw_radius_bands, style=PRINT), _pages_by_norm(runs, _PER_PAGE))


def _training_run(run: RunPart, name: str, number: int = 0) -> charts.TrainingRun:
    return charts.TrainingRun(name, number, range(1, 1 + run.epochs), run.curves, run.quantiles, run.norm)


def _norms(content: ReportContent) -> Iterator[Figure]:
    recipes = recipe_of_runs(content)
    parts = [
        charts.MeasuredNorms(
            content.runs[part.run].name,
            recipes[part.run].series,
            part.norms["radius"],
            part.norms["smallest"],
            part.norms.get("searched"),
            part.norms.get("correlation"),
            content.runs[part.run].norm,
            part.norms.get("norm"),
        )
        for part in content.radii
        if part.norms and part.norms["radius"]
    ]
    yield from map(partial(charts.draw_radius_against_norm, style=PRINT), _pages(parts, _PER_PAGE))


def _stability(content: ReportContent) -> Iterator[Figure]:
    places = sorted({place for pair in content.stability for place in (pair.first, pair.second)})
    position = {place: number for number, place in enumerate(places)}
    values = {(position[pair.first], position[pair.second]): pair.correlation for pair in content.stability}
    if places:
        names = [content.runs[place].name for place in places]
        yield charts.draw_rank_correlations(names, values, style=PRINT)


def _extremes(content: ReportContent) -> Iterator[Figure]:
    gallery = content.gallery
    if gallery is None or not gallery.sheets or not gallery.index:
        return
    order = range(len(gallery.index))
    each = min(_EXTREMES, -(-len(order) // 2))
    sheets = _Sheets(gallery)
    smallest, largest = (
        [_thumbnail(content, gallery, sheets, place) for place in places]
        for places in (order[:each], order[each:][::-1][:each])
    )
    note = f"Of {gallery.total:,} images of {content.runs[gallery.run].name}"
    yield charts.draw_extremes(smallest, largest, style=PRINT, note=note)


def _thumbnail(content: ReportContent, gallery: Gallery, sheets: _Sheets, place: int) -> charts.Thumbnail:
    prediction = gallery.prediction[place]
    return charts.labelled_thumbnail(
        sheets[place],
        _class(content, gallery.label[place]),
        None if prediction < 0 else _class(content, prediction),
        gallery.radius[place],
        content.runs[gallery.run].norm,
    )


def _suspects(content: ReportContent) -> Iterator[Figure]:
    gallery = content.gallery
    if gallery is None or not gallery.sheets:
        return
    top = sorted((place for place, kind in enumerate(gallery.kind) if kind), key=gallery.rank.__getitem__)[:_SUSPECTS]
    if not top:
        return
    sheets = _Sheets(gallery)
    thumbnails = []
    for place in top:
        suggested = gallery.suggested[place]
        instead = f"\N{RIGHTWARDS ARROW} {_class(content, suggested)}" if suggested >= 0 else "label unsure"
        lines = [
            (_class(content, gallery.label[place]), INK),
            (instead, PALETTE["vermillion"] if suggested >= 0 else MUTED),
            (f"#{gallery.index[place]}", MUTED),
            (f"rank {gallery.rank[place]:,}", INK),
        ]
        thumbnails.append(charts.Thumbnail(sheets[place], lines))
    caption = (
        "Under each: label, \N{RIGHTWARDS ARROW} class it may be instead, index in the training data, rank "
        f"among {gallery.total:,} images. By {content.runs[gallery.run].name}"
    )
    yield charts.draw_image_blocks([charts.ImageBlock("Most suspect images", thumbnails)], caption, style=PRINT)


def _surfaces(content: ReportContent) -> Iterator[Figure]:
    places = sorted({int(place) for part in content.surfaces for place in part.losses})
    for some in _pages(content.surfaces, _MAPS_PER_PAGE):
        for runs in _pages(places, _MAPS_PER_PAGE):
            planes = [_plane(content, part, runs) for part in some]
            yield charts.draw_loss_planes(planes, [content.runs[place].name for place in runs], style=PRINT)


def _plane(content: ReportContent, part: SurfacePart, runs: Sequence[int]) -> charts.LossPlane:
    there = [(column, str(place)) for column, place in enumerate(runs) if str(place) in part.losses]
    return charts.LossPlane(
        image=None if part.image is None else _pixels(part.image),
        lines=[_class(content, part.label), f"#{part.index}"],
        offsets=part.offsets,
        losses={column: np.array(part.losses[key], dtype=np.float64) for column, key in there},
        misclassified={column: np.array(part.predictions[key]) != part.label for column, key in there},
        radius=part.radius,
        norm=part.norm,
    )


def _training(content: ReportContent) -> Iterator[Figure]:
    recipes = recipe_of_runs(content)
    runs = [
        _training_run(run, recipes[place].name, recipes[place].series)
        for place, run in enumerate(content.runs)
        if any(map(_known, run.curves.values()))
    ]
    if runs:
        yield charts.draw_training(runs, style=PRINT)


def _known(series: Sequence[float | None]) -> bool:
    return any(value is not None and math.isfinite(value) for value in series)


def _corruptions(content: ReportContent) -> Iterator[Figure]:
    """Draw a panel a recipe and evaluation, the mean over its seeds."""
    known = [part for part in content.corruptions if any(map(_known, part.accuracy.values()))]
    parts = []
    for group in evaluation_groups(content, known):
        found = [part.accuracy for part in group.members]
        means = {kind: _mean([each[kind] for each in found if kind in each]) for kind in dict.fromkeys(chain(*found))}
        rows = {kind: [value for value in row if value is not None] for kind, row in means.items()}
        mean, over = corruption_mean({kind: row for kind, row in rows.items() if row})
        parts.append(charts.CorruptionGrid(_named(group), means, group.members[0].severities, mean, over, len(found)))
    yield from map(partial(charts.draw_corruptions, style=PRINT), _pages(parts, _MAPS_PER_PAGE))


def _mean(series: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Return the mean at each position over the known values."""
    places = [
        [value for value in values if value is not None and math.isfinite(value)] for values in zip_longest(*series)
    ]
    return [sum(known) / len(known) if known else None for known in places]


def _pages(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _pages_by_norm(items: Sequence[Normed], size: int) -> Iterator[Sequence[Normed]]:
    """Pages of one norm each: lengths of several are not drawn on one axis."""
    norms = dict.fromkeys(item.norm for item in items)
    return chain.from_iterable(_pages([item for item in items if item.norm == norm], size) for norm in norms)


def _class(content: ReportContent, number: int) -> str:
    return content.classes[number] if 0 <= number < len(content.classes) else str(number)


class _Sheets:
    """The thumbnails of a gallery, cut from its sprite sheets, each of which is decoded once."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._decoded = cache(lambda sheet: _pixels(gallery.sheets[sheet]))

    def __getitem__(self, place: int) -> NDArray[np.float64]:
        gallery = self._gallery
        sheet, row, column = gallery.tile(place)
        top, left = row * gallery.height, column * gallery.width
        return self._decoded(sheet)[top : top + gallery.height, left : left + gallery.width]


def _pixels(uri: str) -> NDArray[np.float64]:
    """Return the picture of a data URI as `[H, W]` or `[H, W, 3]` in [0, 1]."""
    return np.asarray(picture_of(uri)) / 255


_CHARTS: dict[str, Callable[[ReportContent], Iterator[Figure]]] = {
    "tradeoff": _tradeoff,
    "accuracy-by-radius": _accuracy,
    "radii-by-epoch": _radii_by_epoch,
    "radii-by-class": _radii_by_class,
    "radii-quantiles": _bands,
    "radius-against-norm": _norms,
    "stability": _stability,
    "extremes": _extremes,
    "suspects": _suspects,
    "loss-surfaces": _surfaces,
    "training": _training,
    "corruptions": _corruptions,
}
"""Functions that draw the charts, by the name of their files."""
