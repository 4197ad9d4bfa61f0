"""Content of a report from run folders: summaries of their files, and images examined with their models."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import nn

from iaat import __version__
from iaat.analysis.array_checks import PX_PER_UNIT, suffix_of
from iaat.analysis.radius_order import radius_history
from iaat.analysis.tables import write_table
from iaat.config.load_recipe import CODE_OF_IMAGES
from iaat.config.recipe import Recipe
from iaat.data import DataSplits, build_data, sequential_order
from iaat.errors import UserError
from iaat.evaluate.evaluate_run import evaluations_of
from iaat.evaluate.results import EvaluationResult
from iaat.evaluate.sample_records import RECORDS_FILE, SampleRecords, read_records
from iaat.report import run_summary
from iaat.report.detail_pictures import drawn_detail
from iaat.report.detail_records import DetailSettings
from iaat.report.gallery import (
    by_suspicion,
    in_detail,
    in_px,
    make_gallery,
    make_wall,
    neighbours_elsewhere,
    with_sheets,
)
from iaat.report.image_content import Gallery, Neighbours, SurfacePart
from iaat.report.loss_surface import loss_surface
from iaat.report.opening import focus_row, opening_of, report_title
from iaat.report.pooled_results import with_pooled_results
from iaat.report.radius_reasons import RadiusReasons, radius_reasons
from iaat.report.recipe_parts import dataset_title
from iaat.report.report_content import Radii, ReportContent
from iaat.report.run_summary import path_for_commands
from iaat.report.sample_details import near_samples, sample_details
from iaat.report.smallest_norms import smallest_norms
from iaat.report.suspects import Suspects, class_probabilities, find_suspects
from iaat.report.thumbnails import SHEET_BUDGET, Sprites, picture_uri, source_sprites, why_no_picture
from iaat.report.under_attack import attacked_images, under_attack
from iaat.runs.checkpoint import check_same_data, load_checkpoint, restore_model
from iaat.runs.run_folder import RunFolder
from iaat.runtime import rng
from iaat.runtime.device import pick_device
from iaat.runtime.json_files import DamagedFileError
from iaat.runtime.progress import Reporter

BESIDE = 4
"""Loss surfaces side by side, one a model."""

SURFACES = 4
"""Images with loss surfaces."""

REVIEWED = 200
"""Suspected label errors with neighbours of both classes, at most."""

NORMS = 300
"""Samples with a measured smallest adversarial norm."""
NORM_STEPS = 20
"""Steps of PGD at each radius of that search."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Extent of a report.

    Attributes:
        images: Thumbnails in the gallery.
        details: Images of them that have details, at up to 402 forwards and 380 backwards each: suspects first.
        details_of: Positions in the training data of images that have details and are in the gallery, too.
        pictures: Whether to read the data and run the models at all.
        suspects: A `.csv` or `.parquet` file for the table of all suspects; None: not written.
        page: The page that is made by `iaat report`, for the commands on it; None: it is made by `FittedRun.report`.
    """

    images: int = 2000
    details: int = 40
    details_of: tuple[int, ...] = ()
    pictures: bool = True
    suspects: Path | None = None
    page: Path | None = None


def collect_content(
    runs: Sequence[RunFolder],
    overrides: Sequence[str],
    reporter: Reporter,
    scope: Scope | None = None,
    *,
    recipes: Sequence[Recipe] | None = None,
) -> ReportContent:
    """Collect the content of the report of some runs.

    Gallery, details and suspects are those of the first run with radii, by its last model, to which the radii
    belong.

    Args:
        runs: At least one run with a finished epoch.
        overrides: Where the data lies now, as recipe keys.
        reporter: Shows progress.
        scope: How much; the defaults of `Scope` if None.
        recipes: The recipes of the runs, with models and data that were passed as objects; by default those in the
            folders.

    Raises:
        UserError: a folder without a run, or a damaged file; data that cannot be read or is not what was trained on.
    """
    scope = scope or Scope()
    run_summary.check_runs(runs)
    recipes = recipes or [run.recipe(overrides, code=CODE_OF_IMAGES if scope.pictures else ()) for run in runs]
    parts = run_summary.run_parts(runs, recipes)
    facts = [_state(run)["data"] for run in runs]
    prints = [fact["train_fingerprint"] for fact in facts]
    classes = [str(name) for name in facts[0]["classes"]]
    evaluations = [(number, *found) for number, run in enumerate(runs) for found in evaluations_of(run)]
    results = [(number, row) for number, _, row in evaluations]
    others = [part.name for part, own in zip(parts, prints, strict=True) if own != prints[0]]
    notes = [f"the images are those of {parts[0].name}; trained on other data: {', '.join(others)}"] if others else []
    models = _read_data(runs, recipes, facts[0], reporter) if scope.pictures else None
    labels = None if models is None else models.data.train.labels.numpy()
    radii = [
        found
        for number, run in enumerate(runs)
        if (found := run_summary.radii_part(number, run, labels if prints[number] == prints[0] else None, classes))
    ]
    content = ReportContent(
        title="",
        made=f"{date.today().isoformat()}, iaat {__version__}",
        classes=classes,
        runs=parts,
        verdicts=[run_summary.verdict_row(*each) for each in results],
        differences=run_summary.recipe_comparison(recipes),
        curves=run_summary.accuracies(results),
        corruptions=run_summary.corruptions(results),
        radii=radii,
        stability=run_summary.stabilities(runs, prints),
        notes=notes,
        dataset=dataset_title(recipes[0].data.name),
    )
    records = _records(evaluations, facts, classes)
    content = _with_classes(with_pooled_results(content, records), records, [row for _, row in results], models)
    if models is None:
        notes.append("no images, suspects and loss surfaces: --no-images leaves them out")
    else:
        content = _with_images(content, models, prints, scope, overrides)
    return replace(content, title=report_title(content), opening=opening_of(content))


def _records(
    evaluations: Sequence[tuple[int, Path, EvaluationResult]], facts: Sequence[dict[str, Any]], classes: Sequence[str]
) -> dict[int, SampleRecords]:
    """Read the records of evaluations on the test data of the first run, by place; damaged ones are left out."""
    found = {}
    for place, (number, folder, row) in enumerate(evaluations):
        if facts[number].get("test_fingerprint") != facts[0].get("test_fingerprint"):
            continue
        try:
            records = read_records(folder / RECORDS_FILE, classes)
        except DamagedFileError as error:
            warnings.warn(f"{error}; its test samples are left out", stacklevel=3)
            continue
        if len(records.index) == row.n:
            found[place] = records
    return found


def _with_classes(
    content: ReportContent,
    records: dict[int, SampleRecords],
    results: Sequence[EvaluationResult],
    models: _Models | None,
) -> ReportContent:
    """Add what attacks do to classes and test images, by the evaluations in focus."""
    row = focus_row(content)
    found = None if row is None else under_attack(content, row, records)
    if row is None or found is None or models is None:
        return replace(content, under_attack=found)
    place = row.verdicts[0]
    verdict, test = content.verdicts[place], models.data.test
    images = attacked_images(verdict.run, verdict.checkpoint, records[place], test, results[place].evaluate.norm)
    return replace(content, under_attack=replace(found, images=images))


@dataclass(frozen=True, slots=True)
class _Models:
    """The runs with their recipes and models, and the data of the first run."""

    runs: Sequence[RunFolder]
    recipes: Sequence[Recipe]
    data: DataSplits
    device: torch.device
    reporter: Reporter

    def of_run(self, number: int) -> nn.Module:
        """Return the model of a run that its last radii belong to."""
        return restore_model(self.recipes[number], _state(self.runs[number]), self.device)


def _state(run: RunFolder) -> dict[str, Any]:
    """Read the last checkpoint of a run; it is not kept, because those of many runs would fill the RAM."""
    return load_checkpoint(run.checkpoint("last" if run.checkpoint("last").exists() else "best"))


def _read_data(
    runs: Sequence[RunFolder], recipes: Sequence[Recipe], facts: dict[str, Any], reporter: Reporter
) -> _Models:
    device = pick_device(recipes[0].train.device)
    reporter.say(f"reading data: {recipes[0].data.name}")
    data = build_data(recipes[0].data, seed=recipes[0].seed, device=device, reporter=reporter)
    check_same_data(facts, data)
    return _Models(runs, recipes, data, device, reporter)


def _with_images(
    content: ReportContent, models: _Models, prints: Sequence[str], scope: Scope, overrides: Sequence[str]
) -> ReportContent:
    """Add gallery, details, measured norms and loss surfaces to the content."""
    own = [part.run for part in content.radii if prints[part.run] == prints[0]]
    if not own:
        content.notes.append("no run has a radius for each image, so no gallery is shown")
        return content
    number = own[0]
    run, recipe, train = models.runs[number], models.recipes[number], models.data.train
    index, history = radius_history(run)
    asked = _positions(index, scope.details_of, content.runs[number].name)
    model = models.of_run(number)
    probabilities = class_probabilities(model, train, index, recipe.evaluate.batch_size, models.reporter)
    suspects = find_suspects(history, train.labels.numpy()[index], probabilities, index=index)
    if scope.suspects is not None:
        write_table(suspects.table(train.classes, train.paths), scope.suspects)
    content.notes.extend(_why_missing(scope, suspects))
    gallery = make_gallery(number, train, index, history, suspects, scope.images, asked)
    compute, compute_more = _commands([part.folder for part in content.runs], overrides, scope)
    near_suspects = _neighbours(gallery, model, models, recipe)
    gallery = replace(gallery, compute=compute, compute_more=compute_more, neighbours=near_suspects)
    gallery.details.update(_details(gallery, model, models, recipe, scope))
    near = neighbours_elsewhere(gallery, index)
    gallery = with_sheets(gallery, near, train)
    reasons = _reasons(recipe, run.radii_epochs(), history, suspects.label, probabilities)
    wall = make_wall(gallery, near, run.radii_epochs(), history, suspects, reasons)
    same = [other for other in range(len(models.runs)) if prints[other] == prints[0]]
    radii = [_with_norms(part, model, models, recipe) if part.run == number else part for part in content.radii]
    surfaces = _surfaces(gallery, [number, *(other for other in same if other != number)][:BESIDE], models, recipe)
    return replace(content, gallery=gallery, wall=wall, radii=radii, surfaces=surfaces)


def _why_missing(scope: Scope, suspects: Suspects) -> list[str]:
    """Return a sentence on sections that the page has not, and why."""
    if not scope.images:
        return ["no gallery, wall and suspects: --images is 0"]
    if (suspects.kind == "clear").all():
        return ["no image is suspected of a label error or of being ambiguous, so no suspects are shown"]
    return []


def _positions(index: NDArray[np.int64], asked: Sequence[int], run: str) -> NDArray[np.int64]:
    """Return the places of images in `index` `[n]`, ascending positions in the training data."""
    wanted = np.array(asked, dtype=np.int64)
    if lost := sorted(set(asked) - set(index[np.isin(index, wanted)].tolist())):
        raise UserError(
            f"--details-of {lost[0]}: {run} has no radius for this image; it has those of {len(index)} training images "
            f"between {index.min()} and {index.max()}, and images for validation have none"
        )
    return np.searchsorted(index, wanted)


def _commands(folders: Sequence[str], overrides: Sequence[str], scope: Scope) -> tuple[str, str]:
    """Return how the details of one image more are computed, and how those of more images."""
    before = "".join(f"{number}," for number in scope.details_of)
    if scope.page is None:
        return f"run.report(details_of=[{before}{{index}}])", "details=N"
    sizes = [("--images", scope.images, Scope.images), ("--details", scope.details, Scope.details)]
    given = [word for name, size, usual in sizes if size != usual for word in (name, str(size))]
    start = shlex.join(["iaat", "report", *folders, *overrides, *given, "-o", path_for_commands(scope.page)])
    return f"{start} --details-of {before}{{index}}", "--details N"


def _reasons(
    recipe: Recipe,
    epochs: Sequence[int],
    history: NDArray[np.float32],
    label: NDArray[np.int64],
    probabilities: NDArray[np.float64],
) -> RadiusReasons | None:
    """Say why the radii are what they are; None where there is one class, with no other to confuse it with."""
    if probabilities.shape[1] < 2:
        return None
    # In natural training no radius moves.
    rows = [row for row, epoch in enumerate(epochs) if epoch > recipe.train.natural_epochs] or [len(epochs) - 1]
    cap = getattr(recipe.method, "cap", None)
    # Attacks of a constant mean are not at the learned radii: one of 0 says nothing of the sample without attack.
    attacked_there = not getattr(recipe.method, "spread", 0)
    return radius_reasons(
        history[rows],
        [epochs[row] for row in rows],
        label,
        probabilities,
        method=recipe.method_name if attacked_there else "",
        largest=float(cap) if isinstance(cap, int | float) else None,  # of a method of the user's it may be text
    )


def _neighbours(gallery: Gallery, model: nn.Module, models: _Models, recipe: Recipe) -> Neighbours | None:
    """Find neighbours of both classes of the images that are most suspected of a label error."""
    places = [place for place in by_suspicion(gallery) if gallery.kind[place] == "label"][:REVIEWED]
    if not places:
        return None
    models.reporter.say("neighbours of suspects")
    train, samples = models.data.train, torch.tensor([gallery.index[place] for place in places])
    settings = DetailSettings(batch_size=recipe.evaluate.batch_size)
    sides = near_samples(model, train, samples, train, models.data.train_index, settings)
    near = [[[found for found, _ in side.row(row)] for row in range(len(places))] for side in sides]
    index = sorted({found for side in near for row in side for found in row})
    own, other = ([[index.index(found) for found in row] for row in side] for side in near)
    packed = source_sprites(train, torch.tensor(index), budget=SHEET_BUDGET // 4) if index else Sprites()
    return Neighbours(places, own, other, index, **asdict(packed))


def _details(
    gallery: Gallery, model: nn.Module, models: _Models, recipe: Recipe, scope: Scope
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Compute the details of some images; yield them by the positions of the images."""
    places = in_detail(gallery, scope.details, scope.details_of)
    if not places:
        return
    samples = torch.tensor([gallery.index[place] for place in places])
    own = torch.tensor([gallery.radius_px[place] for place in places]) / PX_PER_UNIT
    settings = DetailSettings(radius=float(recipe.evaluate.radius), norm=recipe.evaluate.norm)
    train = models.data.train
    found = sample_details(model, train, samples, train, own=own, among=models.data.train_index, settings=settings)
    shown = models.reporter.track(found, total=len(places), what="details")
    for place, detail in zip(places, shown, strict=True):
        yield str(place), drawn_detail(detail)


def _with_norms(part: Radii, model: nn.Module, models: _Models, recipe: Recipe) -> Radii:
    """Add the smallest adversarial norms of some of the samples to the radii."""
    index, radius = models.runs[part.run].radii_after(part.epochs[-1])
    some = rng.permutation(len(index), seed=0, epoch=1)[:NORMS].sort().values.numpy()
    top = 4 * float(recipe.evaluate.radius)
    levels = torch.linspace(0, top, 33)[1:]
    batches = models.data.train.batches(sequential_order(torch.from_numpy(index[some]), recipe.evaluate.batch_size))
    shown = models.reporter.track(batches, total=len(some), what="smallest norms", size=lambda batch: len(batch.y))
    smallest = partial(smallest_norms, model, levels=levels, norm=recipe.evaluate.norm, steps=NORM_STEPS)
    norm = torch.cat([smallest(batch.x, batch.y).cpu() for batch in shown]).numpy()
    known = np.isfinite(norm)
    pairs = {
        "index": index[some].tolist(),
        "radius_px": in_px(radius[some]),
        "norm_px": [
            round(float(value) * PX_PER_UNIT, 2) if finite else None for value, finite in zip(norm, known, strict=True)
        ],
        "searched_px": round(top * PX_PER_UNIT, 2),
        # The norm of a robust sample is above all that were tried.
        "correlation": float(spearmanr(radius[some], np.where(known, norm, np.inf)).statistic),
        "n": len(some),
    }
    return replace(part, norms=pairs)


def _surfaces(gallery: Gallery, numbers: Sequence[int], models: _Models, recipe: Recipe) -> list[SurfacePart]:
    """Compute loss surfaces of the models of some runs around the most suspect images and those of extreme radii."""
    ends = [0, len(gallery.index) - 1] if gallery.index else []
    places = list(dict.fromkeys([*by_suspicion(gallery)[: SURFACES - 2], *ends]))
    if not places:
        return []
    samples = torch.tensor([gallery.index[place] for place in places])
    (batch,) = models.data.train.batches([samples])
    radius, norm = float(recipe.evaluate.radius), recipe.evaluate.norm
    models.reporter.say("loss surfaces")
    found = {
        str(number): loss_surface(models.of_run(number), batch.x, batch.y, samples, radius=radius, norm=norm)
        for number in numbers
    }
    drawn = why_no_picture(models.data.shape) is None
    return [
        SurfacePart(
            index=int(samples[row]),
            label=int(batch.y[row]),
            image=picture_uri(batch.x[row].cpu()) if drawn else None,
            offsets_px=[round(float(value), 3) for value in next(iter(found.values()))[row].offsets_px],
            losses={key: _rounded(surfaces[row].loss) for key, surfaces in found.items()},
            predictions={key: surfaces[row].prediction.tolist() for key, surfaces in found.items()},
            radius_px=round(radius * PX_PER_UNIT, 3),
        )
        for row in range(len(places))
    ]


def _rounded(values: NDArray[np.float32]) -> list[list[float]]:
    return [[round(float(value), 4) for value in row] for row in values]


def check_scope(scope: Scope, page: Path, figures: Path | None) -> None:
    """Check the options of a report before it is begun.

    Raises:
        UserError: naming the option.
    """
    for name, count in (("--images", scope.images), ("--details", scope.details)):
        if count < 0:
            raise UserError(f"{name} {count}: a number, 0 or more")
    for number in scope.details_of:
        if number < 0:
            raise UserError(f"--details-of {number}: images are numbered from 0")
    if scope.details_of and not scope.pictures:
        raise UserError("--details-of needs the data, which --no-images leaves out")
    if page.is_dir():
        raise UserError(f"--out {page} is a folder: give the name of a file, such as {page / 'report.html'}")
    if figures is not None and figures.is_file():
        raise UserError(f"--figures {figures} is a file: give a folder")
    if scope.suspects is not None:
        suffix_of(scope.suspects, ("csv", "parquet"))
        if not scope.pictures:
            raise UserError("--suspects needs the models' predictions, which --no-images leaves out")
