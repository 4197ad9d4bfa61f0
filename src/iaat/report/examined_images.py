"""What a report shows of training images: they are examined with the models of the runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import nn

from iaat.analysis.tables import write_table
from iaat.config.recipe import Recipe
from iaat.data import DataSplits, build_data, sequential_order
from iaat.errors import UserError
from iaat.evaluate.training_predictions import class_probabilities
from iaat.report.commands import commands_for_more
from iaat.report.detail_pictures import drawn_detail
from iaat.report.detail_records import DetailSettings
from iaat.report.gallery import (
    by_suspicion,
    first_extra,
    in_detail,
    in_unit,
    make_gallery,
    make_wall,
    neighbours_elsewhere,
    with_sheets,
)
from iaat.report.image_content import Gallery, Neighbours, SurfacePart
from iaat.report.loss_surface import loss_surface
from iaat.report.radius_reasons import RadiusReasons, radius_reasons
from iaat.report.report_content import Radii, ReportContent
from iaat.report.run_summary import path_for_commands
from iaat.report.sample_details import near_samples, sample_details
from iaat.report.scope import Scope
from iaat.report.smallest_norms import largest_radius, smallest_norms
from iaat.report.suspects import Suspects, find_suspects
from iaat.report.thumbnails import SHEET_BUDGET, Sprites, picture_uri, source_sprites, why_no_picture
from iaat.runs.checkpoint import load_checkpoint, restore_model
from iaat.runs.data_record import check_same_data
from iaat.runs.run_folder import RunFolder
from iaat.runtime import rng
from iaat.runtime.device import pick_device
from iaat.runtime.progress import Reporter
from iaat.runtime.user_code import GIVEN, passed_as_object
from iaat.units import significant, unit_of

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


@dataclass(frozen=True, slots=True)
class ExaminedRuns:
    """The runs with their recipes and models, and the data of the first run."""

    runs: Sequence[RunFolder]
    recipes: Sequence[Recipe]
    data: DataSplits
    device: torch.device
    reporter: Reporter

    def of_run(self, number: int) -> nn.Module:
        """Return the model of a run that its last radii belong to.

        Raises:
            UserError: no file has it.
        """
        run, recipe = self.runs[number], self.recipes[number]
        if recipe.model.name == GIVEN and recipe.model.module is None:
            raise _passed_as_object("model", run)
        return restore_model(recipe, state_of(run), self.device)


def state_of(run: RunFolder) -> dict[str, Any]:
    """Read the last checkpoint of a run, else its best; it is not kept, as those of many runs would fill the RAM."""
    return load_checkpoint(run.checkpoint("last" if run.checkpoint("last").exists() else "best"))


def read_data(
    runs: Sequence[RunFolder], recipes: Sequence[Recipe], facts: dict[str, Any], reporter: Reporter
) -> ExaminedRuns:
    """Read the data of the first run.

    Raises:
        UserError: They cannot be read, or are not those that it was trained on, by `facts` of its checkpoint.
    """
    if recipes[0].data.name == GIVEN and recipes[0].data.given is None:
        raise _passed_as_object("data", runs[0])
    device = pick_device(recipes[0].train.device)
    reporter.say(recipes[0].data.reading)
    data = build_data(recipes[0].data, seed=recipes[0].seed, device=device, reporter=reporter)
    check_same_data(facts, data)
    return ExaminedRuns(runs, recipes, data, device, reporter)


def _passed_as_object(what: str, run: RunFolder) -> UserError:
    """The error for a run with an object that no file has."""
    return UserError(
        f"{passed_as_object(str(run.path), what)}. In Python call iaat.fit as before, "
        f"run = iaat.fit(..., out={str(run.path)!r}), which reads the finished run, and then run.report('report.html');"
        f" or leave the images out: iaat report {quote(str(run.path))} --no-images"
    )


def with_images(content: ReportContent, models: ExaminedRuns, prints: Sequence[str], scope: Scope) -> ReportContent:
    """Add gallery, details, measured norms and loss surfaces to the content.

    Args:
        content: What the files of the runs say.
        models: The runs.
        prints: Fingerprint of the training data of each run; runs on other data than the first's are left out.
        scope: How much.

    Raises:
        UserError: `scope` asks for an image that has no radius.
    """
    own = [part.run for part in content.radii if prints[part.run] == prints[0]]
    if not own:
        content.notes.append("no run has a radius for each image, so no gallery is shown")
        return content
    number = own[0]
    run, recipe, train = models.runs[number], models.recipes[number], models.data.train
    index, history = run.radius_history()
    asked = _positions(index, scope.details_of, content.runs[number].name)
    model = models.of_run(number)
    probabilities = class_probabilities(model, train, index, recipe.evaluate.batch_size, models.reporter)
    suspects = find_suspects(history, train.labels.numpy()[index], probabilities, index=index)
    if scope.suspects is not None:
        write_table(suspects.table(train.classes, train.paths), scope.suspects)
    content.notes.extend(_why_missing(scope, suspects))
    gallery = make_gallery(number, train, index, history, suspects, scope.images, asked, recipe.radius_norm)
    relabel = "" if recipe.data.relabel is None else path_for_commands(Path(recipe.data.relabel))
    gallery = replace(gallery, extra_from=first_extra(models.data), relabel=relabel)
    compute, compute_more = commands_for_more(content.runs, content.overrides, scope)
    near_suspects = _neighbours(gallery, model, models, recipe)
    gallery = replace(gallery, compute=compute, compute_more=compute_more, neighbours=near_suspects)
    gallery.details.update(_details(gallery, model, models, recipe, scope))
    near = neighbours_elsewhere(gallery, index)
    gallery = with_sheets(gallery, near, train)
    reasons = _reasons(recipe, run.radii_epochs(), history, suspects.label, probabilities)
    wall = make_wall(gallery, near, run.radii_epochs(), history, suspects, reasons, recipe.radius_norm)
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


def _neighbours(gallery: Gallery, model: nn.Module, models: ExaminedRuns, recipe: Recipe) -> Neighbours | None:
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
    gallery: Gallery, model: nn.Module, models: ExaminedRuns, recipe: Recipe, scope: Scope
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Compute the details of some images; yield them by the positions of the images."""
    places = in_detail(gallery, scope.details, scope.details_of)
    if not places:
        return
    samples = torch.tensor([gallery.index[place] for place in places])
    settings = DetailSettings(radius=float(recipe.evaluate.radius), norm=recipe.evaluate.norm)
    own = torch.tensor([gallery.radius[place] for place in places]) / unit_of(settings.norm).scale
    # Attacks are in the norm of the evaluation; radii of another norm say nothing there.
    if recipe.radius_norm != settings.norm:
        own = torch.full_like(own, torch.nan)
    train = models.data.train
    found = sample_details(model, train, samples, train, own=own, among=models.data.train_index, settings=settings)
    shown = models.reporter.track(found, total=len(places), what="details")
    for place, detail in zip(places, shown, strict=True):
        yield str(place), drawn_detail(detail)


def _with_norms(part: Radii, model: nn.Module, models: ExaminedRuns, recipe: Recipe) -> Radii:
    """Add the smallest adversarial norms of some of the samples to the radii."""
    index, radius = models.runs[part.run].radii_after(part.epochs[-1])
    some = rng.permutation(len(index), seed=0, epoch=1)[:NORMS].sort().values.numpy()
    top = largest_radius(4 * float(recipe.evaluate.radius), recipe.evaluate.norm, torch.empty(1, *models.data.shape))
    levels = torch.linspace(0, top, 33)[1:]
    batches = models.data.train.batches(sequential_order(torch.from_numpy(index[some]), recipe.evaluate.batch_size))
    shown = models.reporter.track(batches, total=len(some), what="smallest norms", size=lambda batch: len(batch.y))
    norm, unit = recipe.evaluate.norm, unit_of(recipe.evaluate.norm)
    smallest = partial(smallest_norms, model, levels=levels, norm=norm, steps=NORM_STEPS)
    size = torch.cat([smallest(batch.x, batch.y).cpu() for batch in shown]).numpy()
    known = np.isfinite(size)
    pairs = {
        "index": index[some].tolist(),
        "radius": in_unit(radius[some], recipe.radius_norm),
        "smallest": [value if finite else None for value, finite in zip(in_unit(size, norm), known, strict=True)],
        "searched": significant(unit.scale * top),
        "norm": norm,
        # The norm of a robust sample is above all that were tried.
        "correlation": float(spearmanr(radius[some], np.where(known, size, np.inf)).statistic),
        "n": len(some),
    }
    return replace(part, norms=pairs)


def _surfaces(gallery: Gallery, numbers: Sequence[int], models: ExaminedRuns, recipe: Recipe) -> list[SurfacePart]:
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
            offsets=[significant(float(value)) for value in next(iter(found.values()))[row].offsets],
            losses={key: _rounded(surfaces[row].loss) for key, surfaces in found.items()},
            predictions={key: surfaces[row].prediction.tolist() for key, surfaces in found.items()},
            radius=significant(unit_of(norm).scale * radius),
            norm=norm,
        )
        for row in range(len(places))
    ]


def _rounded(values: NDArray[np.float32]) -> list[list[float]]:
    return [[round(float(value), 4) for value in row] for row in values]
