"""The charts of a report as files for a paper: PNG of 300 dpi, and PDF and SVG whose text is text."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from iaat.analysis import style
from iaat.analysis.pictures import paper
from iaat.errors import UserError, check_choice
from iaat.report.content import Content, Gallery, RunPart, SurfacePart, Verdict
from iaat.units import Radius

EXTREMES = 10
"""Images of the smallest radii that are drawn, and of the largest."""

SUSPECTS = 20
"""Suspects that are drawn, the most suspect first."""

Item = TypeVar("Item")

_UNIFORM = "pgd_at"
_RADIUS = "method.radius"
_CHECKPOINTS = ("best", "last")
_WEIGHTS = ("averaged", "trained")
_PER_PAGE = 6
_MAPS_PER_PAGE = 4
_FEW_CLASSES = 20
_PANELS = (
    # key, title, factor, whether the axis begins at 0
    ("loss", "training loss", 1.0, False),
    ("train_accuracy", "accuracy on training inputs (%)", 100.0, False),
    ("holdout_clean", "hold-out, clean (%)", 100.0, False),
    ("holdout_robust", "hold-out, robust (%)", 100.0, False),
    ("radius_mean_px", "mean radius (px)", 1.0, True),
    ("lr", "learning rate", 1.0, True),
)


def write_figures(content: Content, folder: Path, formats: Sequence[str] = ("png", "pdf", "svg")) -> list[Path]:
    """Write each chart that there is something to draw of; files of the same names are replaced, others stay.

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
        check_choice(name, paper.FORMATS, "figure format")
    _make(folder)
    figures = draw_figures(content)
    files = []
    for name, figure in figures.items():
        for kind in dict.fromkeys(formats):
            files.append(folder / f"{name}.{kind}")
            paper.save(figure, files[-1])
    return files


def _make(folder: Path) -> None:
    """Make the folder before anything is drawn: that takes seconds."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write figures to {folder}: {error.strerror or error}; choose another folder"
        ) from error


def draw_figures(content: Content) -> dict[str, Figure]:
    """The charts by their names, such as `tradeoff`, without those that there is nothing to draw of."""
    return {
        name if page == 0 else f"{name}-{page + 1}": figure
        for name, draw in _CHARTS.items()
        for page, figure in enumerate(draw(content))
    }


@dataclass(frozen=True, slots=True)
class _Recipe:
    """Runs that differ in their seeds alone: what they are called and the number of their look."""

    name: str
    number: int
    runs: tuple[int, ...]


def _recipes(content: Content) -> list[_Recipe]:
    """The recipes of the runs, in their order."""
    settings = [
        tuple(values[place] for key, values in content.differences if key != "seed")
        for place in range(len(content.runs))
    ]
    groups: dict[Any, list[int]] = {}
    for place, run in enumerate(content.runs):
        groups.setdefault((_recipe_name(run), run.method, settings[place]), []).append(place)
    names = [name for name, _, _ in groups]
    return [
        _Recipe(name if names.count(name) == 1 else content.runs[places[0]].name, number, tuple(places))
        for number, ((name, _, _), places) in enumerate(groups.items())
    ]


def _recipe_name(run: RunPart) -> str:
    name, _, _ = run.name.partition(f" seed {run.seed}")
    return name or run.name


def _of_run(content: Content) -> dict[int, _Recipe]:
    return {place: recipe for recipe in _recipes(content) for place in recipe.runs}


def _tradeoff(content: Content) -> Iterator[Figure]:
    """A chart for each suite of attacks, that of most runs first."""
    suites: dict[str, list[Verdict]] = {}
    for verdict in content.verdicts:
        if verdict.attacks:
            suites.setdefault(verdict.suite, []).append(verdict)
    chosen = {suite: _preferred(rows) for suite, rows in suites.items()}
    for suite, rows in sorted(chosen.items(), key=lambda pair: -len(pair[1])):
        clouds = [
            _cloud(content, recipe, [rows[place] for place in recipe.runs if place in rows])
            for recipe in _recipes(content)
            if any(place in rows for place in recipe.runs)
        ]
        yield paper.intervals_tradeoff(_curve_named(content, clouds), [_worst_cases(rows), f"{suite}; {_kinds(rows)}"])


def _preferred(verdicts: Sequence[Verdict]) -> dict[int, Verdict]:
    """Of each run the evaluation of its best checkpoint's averaged weights, or what is nearest to that."""

    def rank(verdict: Verdict) -> tuple[int, int]:
        return _place(verdict.checkpoint, _CHECKPOINTS), _place(verdict.weights, _WEIGHTS)

    found: dict[int, Verdict] = {}
    for verdict in verdicts:
        if verdict.run not in found or rank(verdict) < rank(found[verdict.run]):
            found[verdict.run] = verdict
    return found


def _worst_cases(rows: dict[int, Verdict]) -> str:
    return "; ".join(sorted({f"robust: {row.worst_case}" for row in rows.values()}))


def _place(word: str, order: Sequence[str]) -> int:
    return order.index(word) if word in order else len(order)


def _kinds(rows: dict[int, Verdict]) -> str:
    kinds = sorted({f"{row.checkpoint} checkpoint, {row.weights} weights" for row in rows.values()})
    return "; ".join(kinds)


def _cloud(content: Content, recipe: _Recipe, verdicts: Sequence[Verdict]) -> paper.Cloud:
    ends = [[_interval(row, "clean", row.clean), _interval(row, list(row.attacks)[-1], row.robust)] for row in verdicts]
    low, high = np.moveaxis(np.array(ends), 2, 0)
    runs = np.array([(row.clean, row.robust) for row in verdicts])
    uniform = content.runs[recipe.runs[0]].method == _UNIFORM
    return paper.Cloud(recipe.name, recipe.number, runs, low, high, uniform)


def _interval(verdict: Verdict, name: str, value: float) -> tuple[float, float]:
    low, high = verdict.interval95.get(name, (value, value))
    return low, high


def _curve_named(content: Content, clouds: Sequence[paper.Cloud]) -> list[paper.Cloud]:
    """The recipes of uniform radii first, in the order of these, and called by them where they tell them apart."""
    recipes = {recipe.number: recipe for recipe in _recipes(content)}
    uniform, others = ([cloud for cloud in clouds if cloud.uniform is each] for each in (True, False))
    radii = [_radius_px(content, recipes[cloud.number].runs[0]) for cloud in uniform]
    known = [radius for radius in radii if radius is not None]
    if len(uniform) < 2 or len(set(known)) < len(uniform):
        return [*sorted(uniform, key=lambda cloud: float(cloud.mean[0])), *others]
    order = sorted(zip(known, uniform, strict=True), key=lambda pair: pair[0])
    return [*(replace(cloud, name=f"{radius:g} px") for radius, cloud in order), *others]


def _radius_px(content: Content, place: int) -> float | None:
    """Setting of a run's uniform radius where the runs differ in it."""
    found = [values[place] for key, values in content.differences if key == _RADIUS]
    try:
        return Radius(found[0]).px if found else None
    except UserError:
        return None


def _accuracy(content: Content) -> Iterator[Figure]:
    recipes, both = _of_run(content), len({part.checkpoint for part in content.curves}) > 1
    expected: dict[tuple[int, str], list[float]] = {}
    for part in content.curves:
        expected.setdefault((recipes[part.run].number, part.checkpoint), []).append(100 * part.expected)
    lines = []
    for part in content.curves:
        recipe = recipes[part.run]
        mean = float(np.mean(expected[recipe.number, part.checkpoint]))
        name = f"{recipe.name}{f', {part.checkpoint}' if both else ''} ({mean:.1f} %)"
        hollow = both and part.checkpoint != _CHECKPOINTS[0]
        lines.append(paper.Line(name, recipe.number, part.radius_px, part.accuracy, hollow))
    if lines:
        yield paper.accuracy_curves(lines, "in parentheses: mean over the radii")


def _ridge(content: Content) -> Iterator[Figure]:
    parts = [
        paper.Ridge(content.runs[part.run].name, part.epochs, part.edges_px, part.counts)
        for part in content.radii
        if part.epochs
    ]
    yield from map(paper.ridges, _pages(parts, _PER_PAGE))


def _classes(content: Content) -> Iterator[Figure]:
    parts = [
        paper.ByClass(content.runs[part.run].name, part.by_class)
        for part in content.radii
        if any(quantiles is not None for quantiles in part.by_class)
    ]
    per_page = _PER_PAGE if len(content.classes) <= _FEW_CLASSES else _PER_PAGE // 2
    yield from map(partial(paper.class_quantiles, classes=content.classes), _pages(parts, per_page))


def _bands(content: Content) -> Iterator[Figure]:
    parts = [
        paper.Band(run.name, range(1, 1 + max(map(len, run.quantiles.values()))), run.quantiles)
        for run in content.runs
        if any(_known(series) for series in run.quantiles.values())
    ]
    yield from map(paper.quantile_bands, _pages(parts, _PER_PAGE))


def _norms(content: Content) -> Iterator[Figure]:
    recipes = _of_run(content)
    parts = [
        paper.Pairs(
            content.runs[part.run].name,
            recipes[part.run].number,
            part.norms["radius_px"],
            part.norms["norm_px"],
            part.norms.get("searched_px"),
            part.norms.get("correlation"),
        )
        for part in content.radii
        if part.norms and part.norms["radius_px"]
    ]
    yield from map(paper.radius_against_norm, _pages(parts, _PER_PAGE))


def _stability(content: Content) -> Iterator[Figure]:
    places = sorted({place for pair in content.stability for place in (pair.first, pair.second)})
    position = {place: number for number, place in enumerate(places)}
    values = {(position[pair.first], position[pair.second]): pair.correlation for pair in content.stability}
    if places:
        yield paper.pair_matrix([content.runs[place].name for place in places], values, "rank correlation of radii")


def _extremes(content: Content) -> Iterator[Figure]:
    gallery = content.gallery
    if gallery is None or not gallery.sheets or not gallery.index:
        return
    # Of equal radii by chance: in the order of the data the first ones of a folder are all of one class.
    shuffled = np.random.default_rng(0).permutation(len(gallery.index))
    order = shuffled[np.argsort(np.array(gallery.radius_px)[shuffled], kind="stable")].tolist()
    each = min(EXTREMES, -(-len(order) // 2))
    sheets = _Sheets(gallery)
    blocks = [
        paper.Block(heading, [_captioned(content, gallery, sheets, place) for place in places])
        for heading, places in (("Smallest radii", order[:each]), ("Largest radii", order[each:][::-1][:each]))
        if places
    ]
    of = f"Of {gallery.total:,} images of {content.runs[gallery.run].name}"
    yield paper.image_blocks(
        blocks, f"Under each: label, \N{RIGHTWARDS ARROW} prediction (orange if wrong), radius. {of}"
    )


def _captioned(content: Content, gallery: Gallery, sheets: _Sheets, place: int) -> paper.Picture:
    label, prediction = gallery.label[place], gallery.prediction[place]
    lines = [(_class(content, label), style.INK)]
    if prediction >= 0:
        color = style.PALETTE["blue" if label == prediction else "vermillion"]
        lines.append((f"\N{RIGHTWARDS ARROW} {_class(content, prediction)}", color))
    lines.append((f"{gallery.radius_px[place]:.2f} px", style.INK))
    return paper.Picture(sheets[place], lines)


def _suspects(content: Content) -> Iterator[Figure]:
    gallery = content.gallery
    if gallery is None or not gallery.sheets:
        return
    scores = {
        place: score
        for place, (score, kind) in enumerate(zip(gallery.suspicion, gallery.kind, strict=True))
        if score is not None and kind
    }
    top = sorted(scores, key=lambda place: -scores[place])[:SUSPECTS]
    if not top:
        return
    sheets = _Sheets(gallery)
    pictures = []
    for place in top:
        suggested = gallery.suggested[place]
        instead = f"\N{RIGHTWARDS ARROW} {_class(content, suggested)}" if suggested >= 0 else "label unsure"
        lines = [
            (_class(content, gallery.label[place]), style.INK),
            (instead, style.PALETTE["vermillion"] if suggested >= 0 else style.MUTED),
            (f"#{gallery.index[place]}", style.MUTED),
            (f"score {scores[place]:.2f}", style.INK),
        ]
        pictures.append(paper.Picture(sheets[place], lines))
    caption = (
        "Under each: label, \N{RIGHTWARDS ARROW} class it may be instead, index in the training data, suspicion. "
        f"By {content.runs[gallery.run].name}"
    )
    yield paper.image_blocks([paper.Block("Most suspect images", pictures)], caption)


def _surfaces(content: Content) -> Iterator[Figure]:
    places = sorted({int(place) for part in content.surfaces for place in part.losses})
    for some in _pages(content.surfaces, _MAPS_PER_PAGE):
        for runs in _pages(places, _MAPS_PER_PAGE):
            planes = [_plane(content, part, runs) for part in some]
            yield paper.loss_planes(planes, [content.runs[place].name for place in runs])


def _plane(content: Content, part: SurfacePart, runs: Sequence[int]) -> paper.Plane:
    there = [(column, str(place)) for column, place in enumerate(runs) if str(place) in part.losses]
    return paper.Plane(
        pixels=None if part.image is None else _pixels(part.image),
        lines=[_class(content, part.label), f"#{part.index}"],
        offsets_px=part.offsets_px,
        losses={column: np.array(part.losses[key], dtype=np.float64) for column, key in there},
        wrong={column: np.array(part.predictions[key]) != part.label for column, key in there},
        radius_px=part.radius_px,
    )


def _training(content: Content) -> Iterator[Figure]:
    recipes = _of_run(content)
    panels = []
    for key, title, scale, from_zero in _PANELS:
        lines = [
            paper.Line(recipes[place].name, recipes[place].number, range(1, 1 + len(run.curves[key])), run.curves[key])
            for place, run in enumerate(content.runs)
            if _known(run.curves.get(key, []))
        ]
        if lines:
            panels.append(paper.Panel(title, lines, scale, from_zero))
    if panels:
        yield paper.line_panels(panels)


def _known(series: Sequence[float | None]) -> bool:
    return any(value is not None and math.isfinite(value) for value in series)


def _corruptions(content: Content) -> Iterator[Figure]:
    """A panel a recipe, the mean over its seeds."""
    recipes, both = _of_run(content), len({part.checkpoint for part in content.corruptions}) > 1
    groups: dict[tuple[str, str], list[dict[str, list[float]]]] = {}
    for part in content.corruptions:
        if any(_known(values) for values in part.accuracy.values()):
            groups.setdefault((recipes[part.run].name, part.checkpoint), []).append(part.accuracy)
    parts = [
        paper.Grid(
            f"{name}{f', {checkpoint}' if both else ''}",
            {kind: _mean([each[kind] for each in found if kind in each]) for kind in dict.fromkeys(chain(*found))},
            len(found),
        )
        for (name, checkpoint), found in groups.items()
    ]
    yield from map(paper.severity_maps, _pages(parts, _MAPS_PER_PAGE))


def _mean(series: Sequence[Sequence[float | None]]) -> list[float | None]:
    """The mean at each place over those that are known there."""
    places = [
        [value for value in values if value is not None and math.isfinite(value)] for values in zip_longest(*series)
    ]
    return [sum(known) / len(known) if known else None for known in places]


def _pages(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _class(content: Content, number: int) -> str:
    return content.classes[number] if 0 <= number < len(content.classes) else str(number)


class _Sheets:
    """The thumbnails of a gallery, cut from its sprite sheets, each of which is decoded once."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._decoded: dict[int, NDArray[np.uint8]] = {}

    def __getitem__(self, place: int) -> NDArray[np.uint8]:
        gallery = self._gallery
        sheet, position = divmod(place, gallery.columns * gallery.rows)
        if sheet not in self._decoded:
            self._decoded[sheet] = _pixels(gallery.sheets[sheet])
        row, column = divmod(position, gallery.columns)
        top, left = row * gallery.height, column * gallery.width
        return self._decoded[sheet][top : top + gallery.height, left : left + gallery.width]


def _pixels(uri: str) -> NDArray[np.uint8]:
    """The picture of a data URI as bytes `[H, W]` or `[H, W, 3]`."""
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as picture:
        return np.asarray(picture if picture.mode == "L" else picture.convert("RGB"))


_CHARTS: dict[str, Callable[[Content], Iterator[Figure]]] = {
    "tradeoff": _tradeoff,
    "accuracy-by-radius": _accuracy,
    "radii-by-epoch": _ridge,
    "radii-by-class": _classes,
    "radii-quantiles": _bands,
    "radius-against-norm": _norms,
    "stability": _stability,
    "extremes": _extremes,
    "suspects": _suspects,
    "loss-surfaces": _surfaces,
    "training": _training,
    "corruptions": _corruptions,
}
"""How each chart is drawn, by the name of its files."""
