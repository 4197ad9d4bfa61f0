"""Details of single samples: predictions, attacks, smallest adversarial norm, nearest training samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from iaat.attacks import Targeted, geometry, pgd
from iaat.data import Source, sequential_order
from iaat.errors import UserError
from iaat.report.detail_records import Attempt, DetailSettings, Neighbour, Reading, SampleDetail, Space
from iaat.report.neighbours import Nearest, nearest, neighbour_pool
from iaat.report.representation import eval_logits, last_linear, on_model_device, represent
from iaat.report.smallest_norms import largest_radius, smallest_norms
from iaat.report.thumbnails import Picture, as_bytes, perturbation_picture, why_no_picture
from iaat.runtime import rng
from iaat.units import unit_of


def sample_details(
    model: nn.Module,
    source: Source,
    index: Tensor,
    train: Source,
    *,
    own: Tensor | None = None,
    among: Tensor | None = None,
    settings: DetailSettings | None = None,
) -> Iterator[SampleDetail]:
    """Compute the details of samples, in the order of `index`, a batch at a time as they are asked for.

    With the default settings a sample costs at most 402 forwards and 380 backwards: 2 forwards of the clean input, 21
    forwards and 20 backwards for PGD at each of 9 radii and towards another class at 3, and for the smallest radius 1
    forward and 7 rounds of bisection of 21 forwards and 20 backwards, fewer where an attack succeeds early. To that
    come one forward for each sample of the pool, and one more. RAM holds a batch of attacked inputs, their pictures,
    the representations of all N samples and those of a batch of the pool.

    The pool is of the classes that are needed, in equal parts, drawn by the seed; where `source` is `train` itself a
    sample is no neighbour of its own. The representation is what the last linear layer of the model is given, if its
    outputs are the logits; models without one are compared by their inputs.

    Args:
        model: Maps inputs `[B, ...]` in [0, 1] to logits `[B, classes]`, at least 2; its flags come back as they were.
        source: Data set of the samples.
        index: `[N]` int64, which of them.
        train: Training data, for the neighbours.
        own: Radius of each sample `[N]` on the [0, 1] scale, NaN where it has none; None: no sample has one.
        among: `[M]` int64, training samples that may be neighbours; all by default.
        settings: The radii and sizes; the defaults of `DetailSettings` if None.

    Raises:
        UserError: radii of another number than the samples, a model of one class, or an index outside its data.

    Source: PGD of Madry et al. 2018 (arXiv 1706.06083). That perturbations of robust models lead to images of the
    target class, and that distances in their last representation are those people see: Tsipras et al. 2019 (arXiv
    1805.12152), Engstrom et al. 2019 (arXiv 1906.00945).
    """
    settings = settings or DetailSettings()
    index = index.to("cpu", torch.int64)
    radii = torch.full((len(index),), torch.nan) if own is None else own.detach().to("cpu", torch.float32)
    if radii.shape != index.shape:
        raise UserError(f"radii of shape {list(radii.shape)} for {len(index)} samples: pass one for each, or None")
    if not len(index):
        return
    survey, sides = _near(model, source, index, train, among, settings)
    order = sequential_order(torch.arange(len(index)), settings.batch_size)
    batches = source.batches([index[rows] for rows in order])
    for number, (rows, batch) in enumerate(zip(order, batches, strict=True)):
        near = [[side.row(row) for row in rows.tolist()] for side in sides]
        pictures = _pictures_of(train, {place for side in near for row in side for place, _ in row}, settings)
        neighbours = [[_neighbours(row, train, pictures) for row in side] for side in near]
        confused = survey.confused[rows.to(survey.confused.device)]
        attacks = _Attacks(
            model, *on_model_device(batch, model), confused, settings, why_no_picture(source.shape) is None
        )
        found = _attack_batch(attacks, radii[rows], number)
        for row, place in enumerate(batch.index.tolist()):
            yield _detail(attacks, found, row, place, survey.space, neighbours)


class _Survey(NamedTuple):
    """Representation `[N, D]`, label and confused class `[N]` of N samples, on the device of the model."""

    features: Tensor
    label: Tensor
    confused: Tensor
    head: nn.Module | None

    @property
    def space(self) -> Space:
        return "input" if self.head is None else "penultimate"


def near_samples(
    model: nn.Module, source: Source, index: Tensor, train: Source, among: Tensor, settings: DetailSettings
) -> tuple[Nearest, Nearest]:
    """Find the nearest training samples of the label and of the likeliest other class, without attacks.

    It costs one forward for each sample and for each of the pool.

    Args:
        model: As in `sample_details`.
        source: Data set of the samples.
        index: `[N]` int64, which of them, at least one.
        train: Training data.
        among: `[M]` int64, training samples that may be neighbours.
        settings: The sizes.

    Raises:
        UserError: as `sample_details`.
    """
    return _near(model, source, index, train, among, settings)[1]


def _near(
    model: nn.Module, source: Source, index: Tensor, train: Source, among: Tensor | None, settings: DetailSettings
) -> tuple[_Survey, tuple[Nearest, Nearest]]:
    survey = _survey(model, source, index, settings.batch_size)
    among = torch.arange(len(train)) if among is None else among
    wanted = (survey.label, survey.confused)
    pool = neighbour_pool(
        train.labels, among, torch.cat(wanted).cpu(), settings.pool, settings.neighbours + 1, settings.seed
    )
    sides = nearest(
        model,
        survey.head,
        survey.features,
        wanted,
        train,
        pool,
        alike=index if source is train else torch.full_like(index, -1),
        count=settings.neighbours,
        batch_size=settings.batch_size,
    )
    return survey, sides


def _survey(model: nn.Module, source: Source, index: Tensor, batch_size: int) -> _Survey:
    head: nn.Module | None = None
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for batch in source.batches(sequential_order(index, batch_size)):
        x, y = on_model_device(batch, model)
        if not parts:
            head = last_linear(model, x[:1])
        logits, features = represent(model, x, head)
        if logits.shape[1] < 2:
            raise UserError(f"the model has {logits.shape[1]} class: there is no other to confuse it with")
        others = logits.scatter(1, y[:, None], -torch.inf)
        parts.append((features, y, others.argmax(dim=1)))
    features, label, confused = (torch.cat(part) for part in zip(*parts, strict=True))
    return _Survey(features, label, confused, head)


def _pictures_of(source: Source, wanted: set[int], settings: DetailSettings) -> dict[int, Picture]:
    """Return images of samples by index; none where inputs are no images."""
    if why_no_picture(source.shape) is not None or not wanted:
        return {}
    batches = source.batches(sequential_order(torch.tensor(sorted(wanted)), settings.batch_size))
    pairs = ((batch.index.tolist(), as_bytes(batch.x)) for batch in batches)
    return {place: image for places, images in pairs for place, image in zip(places, images, strict=True)}


def _neighbours(
    found: Sequence[tuple[int, float]], source: Source, pictures: dict[int, Picture]
) -> tuple[Neighbour, ...]:
    return tuple(
        Neighbour(place, int(source.labels[place]), distance, pictures.get(place)) for place, distance in found
    )


@dataclass(frozen=True, slots=True)
class _Attacks:
    """Attacks on one batch, on the device of its model, and readings of their results."""

    model: nn.Module
    x: Tensor
    y: Tensor
    confused: Tensor
    settings: DetailSettings
    drawable: bool

    def read(self, x: Tensor) -> list[Reading]:
        """Return the predictions of inputs `[B, ...]` in place of the clean ones."""
        probability = eval_logits(self.model, x).softmax(dim=1)
        ordered = probability.sort(dim=1, descending=True, stable=True)
        columns = (
            ordered.indices[:, : self.settings.top],
            ordered.values[:, : self.settings.top],
            *(probability.gather(1, classes[:, None])[:, 0] for classes in (self.y, self.confused)),
        )
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [Reading(top[0], tuple(top), tuple(values), *both) for top, values, *both in rows]

    def attempts(self, radius: Tensor, *, targeted: bool, purpose: tuple[str | int, ...]) -> list[Attempt]:
        """Run PGD within radii `[B]`; return its results."""
        settings = self.settings
        generator = rng.generator(settings.seed, "details", *purpose, device=self.x.device)
        # The attack checks a radius of one number only. No ball is larger than the range of all inputs.
        radius = radius.clamp_max(largest_radius(math.inf, settings.norm, self.x))
        with torch.autocast(self.x.device.type, enabled=False):
            x_adv = pgd(
                self.model,
                self.x,
                self.confused if targeted else self.y,
                radius=radius,
                steps=settings.steps,
                norm=settings.norm,
                loss=Targeted() if targeted else "ce",
                generator=generator,
            )
        return self.outcomes(x_adv, radius, targeted=targeted)

    def outcomes(self, x_adv: Tensor, radius: Tensor, *, targeted: bool) -> list[Attempt]:
        """Return what inputs `[B, ...]` within radii `[B]` are read as."""
        size, scale = geometry(self.settings.norm).norm(x_adv - self.x), unit_of(self.settings.norm).scale
        pictures = self.pictures(x_adv)
        columns = zip(self.y.tolist(), self.confused.tolist(), radius.tolist(), size.tolist(), strict=True)
        made = []
        for number, (reading, (label, confused, allowed, norm)) in enumerate(
            zip(self.read(x_adv), columns, strict=True)
        ):
            perturbation, factor = perturbation_picture(x_adv[number] - self.x[number]) if self.drawable else (None, 1)
            made.append(
                Attempt(
                    target=confused if targeted else None,
                    radius=scale * allowed,
                    size=scale * norm,
                    succeeded=reading.prediction == confused if targeted else reading.prediction != label,
                    reading=reading,
                    image=pictures[number],
                    perturbation=perturbation,
                    factor=factor,
                )
            )
        return made

    def pictures(self, x: Tensor) -> list[Picture | None]:
        """Return inputs `[B, ...]` as images, where they are."""
        return list(as_bytes(x)) if self.drawable else [None] * len(x)

    def smallest(self, levels: Tensor) -> Tensor:
        """Return the smallest adversarial norm found `[B]`: 0 where misclassified, NaN where none was found."""
        settings = self.settings
        with torch.autocast(self.x.device.type, enabled=False):
            return smallest_norms(self.model, self.x, self.y, levels=levels, norm=settings.norm, steps=settings.steps)


class _Attacked(NamedTuple):
    """Results of all attacks on a batch of B samples.

    Attributes:
        frames: At radius 0 and those of the sweep, ascending; B attempts each.
        uniform: Place among them of the radius of the evaluation.
        own: B attempts at the radius of each sample; None for one that has none.
        strip: Towards the class it is confused with, at growing radii; B attempts each.
        size: The smallest adversarial norm found for each sample, on the [0, 1] scale; NaN where there was none.
        reach: Up to which norm it was searched for, on the same scale.
    """

    frames: list[list[Attempt]]
    uniform: int
    own: list[Attempt | None]
    strip: list[list[Attempt]]
    size: list[float]
    reach: float


def _attack_batch(attacks: _Attacks, own: Tensor, number: int) -> _Attacked:
    """Run all attacks on batch number `number`; `own` are the radii of its samples `[B]`, NaN for one without."""
    x, settings = attacks.x, attacks.settings
    has_own = own.isfinite().tolist()
    at_own = attacks.attempts(own.to(x), targeted=False, purpose=("own", number)) if any(has_own) else [None] * len(x)
    limit = largest_radius(math.inf, settings.norm, x)
    swept = sorted({min(factor * settings.radius, limit) for factor in (1.0, *settings.sweep)})
    frames = [attacks.outcomes(x, torch.zeros_like(own).to(x), targeted=False)]
    for place, radius in enumerate(swept):
        purpose = ("frame", place, number)
        frames.append(attacks.attempts(torch.full_like(own, radius).to(x), targeted=False, purpose=purpose))
    strip = [
        attacks.attempts(
            torch.full_like(own, factor * settings.radius).to(x), targeted=True, purpose=("strip", place, number)
        )
        for place, factor in enumerate(settings.growth)
    ]
    reach = min(settings.reach * settings.radius, limit)
    levels = torch.arange(1, settings.levels + 1, dtype=torch.float64) / settings.levels * reach
    return _Attacked(
        frames,
        1 + swept.index(min(settings.radius, limit)),
        [attempt if known else None for attempt, known in zip(at_own, has_own, strict=True)],
        strip,
        attacks.smallest(levels.to(x)).tolist(),
        reach,
    )


def _detail(
    attacks: _Attacks,
    found: _Attacked,
    row: int,
    index: int,
    space: Space,
    near: Sequence[Sequence[tuple[Neighbour, ...]]],
) -> SampleDetail:
    """Return the details of one row of a batch, with neighbours of the label and of the class it is confused with."""
    unit, label = unit_of(attacks.settings.norm), int(attacks.y[row])
    # Of two radii that look alike one frame is enough.
    ordered, own_at = _with_own([frame[row] for frame in found.frames], found.own[row], 0.5 / 10**unit.digits)
    uniform, targeted = found.frames[found.uniform][row], tuple(each[row] for each in found.strip)
    return SampleDetail(
        index=index,
        label=label,
        confused=int(attacks.confused[row]),
        frames=tuple(ordered),
        own_at=own_at,
        uniform_at=next(place for place, frame in enumerate(ordered) if frame is uniform),
        smallest=_smallest(unit.scale * found.size[row], [*ordered, *targeted], label),
        searched=unit.scale * found.reach,
        strip=targeted,
        space=space,
        near_own=near[0][row],
        near_confused=near[1][row],
        norm=attacks.settings.norm,
    )


def _with_own(frames: Sequence[Attempt], own: Attempt | None, alike: float) -> tuple[list[Attempt], int | None]:
    """Return frames with that of the own radius at its place, and the place; of two nearer than `alike` one stays."""
    if own is None:
        return list(frames), None
    place = sum(frame.radius < own.radius for frame in frames)
    for near in (place - 1, place):
        if 0 <= near < len(frames) and abs(frames[near].radius - own.radius) < alike:
            return list(frames), near
    return [*frames[:place], own, *frames[place:]], place


def _smallest(size: float, attempts: Sequence[Attempt], label: int) -> float | None:
    """Return the smallest adversarial norm, of the search and of all attacks that succeeded."""
    sizes = [attempt.size for attempt in attempts if attempt.reading.prediction != label]
    return min([*sizes, *([] if math.isnan(size) else [size])], default=None)
